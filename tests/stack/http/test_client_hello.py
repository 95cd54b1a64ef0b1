from __future__ import annotations

import contextlib
import ssl

import pytest

from stack.http.client_hello import LONGEST, missing, server_name


def hello(name: str | None, *, modern: bool = True) -> bytes:
    """As OpenSSL writes it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if not modern:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    out = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    return out.read()


def split(data: bytes, size: int) -> bytes:
    """The same message in records of `size` bytes."""
    body = data[5:]
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(data[:3] + len(piece).to_bytes(2, "big") + piece for piece in pieces)


def renamed(data: bytes, name: bytes) -> bytes:
    assert len(name) == len(b"shop.test")
    return data.replace(b"shop.test", name)


@pytest.mark.parametrize("modern", [True, False], ids=["1.3", "1.2"])
@pytest.mark.parametrize(
    ("given", "read"), [("shop.test", "shop.test"), ("Shop.Test", "shop.test"), (None, ""), ("127.0.0.1", "")]
)
def test_the_name_that_openssl_sends(given: str | None, read: str, modern: bool) -> None:
    assert server_name(hello(given, modern=modern)) == read


@pytest.mark.parametrize("size", [1, 3, 100, 4096])
def test_rfc8446_5_1_a_message_in_several_records(size: int) -> None:
    assert server_name(split(hello("shop.test"), size)) == "shop.test"


def test_whatever_is_not_whole_is_waited_for() -> None:
    data = hello("shop.test")
    for end in range(len(data)):
        assert server_name(data[:end]) is None
    assert server_name(data + b"more") == "shop.test"


@pytest.mark.parametrize(
    "name", [b"shop.tes\xff", b"shop\x00test", b"shop test", b"../../../", b".........", b"-hop.test"]
)
def test_a_name_that_is_none(name: bytes) -> None:
    with pytest.raises(ValueError, match="host name"):
        server_name(renamed(hello("shop.test"), name))


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x80\x2e\x01\x00\x02" + bytes(40),  # SSL 2
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\xff\xff" + bytes(70_000),
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x20",
        b"\x16\x03\x01\x00\x04\x01\xff\xff\xff",
        b"\x16\x03\x01\x00\x08\x01\x00\x00\x04\x03\x03\x00\x00",
        split(b"\x16\x03\x01\x00\x00\x01\x00\xff\xff" + bytes(LONGEST), 1000),
    ],
)
def test_what_is_no_client_hello(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        server_name(data)


def test_any_byte_may_be_wrong() -> None:
    data = hello("shop.test")
    for at in range(len(data)):
        for value in (0, 1, 0x7F, 0xFF):
            with contextlib.suppress(ValueError):
                found = server_name(data[:at] + bytes([value]) + data[at + 1 :])
                assert found is None or isinstance(found, str)


@pytest.mark.parametrize("size", [1, 3, 100, 4096])
def test_what_comes_byte_by_byte_is_read_seldom(size: int) -> None:
    """A look reads all that has come, and 64 KiB of it may come in as many segments."""
    data = split(hello("shop.test"), size)
    looks = at = 0
    while at < len(data):
        assert server_name(data[:at]) is None
        looks, at = looks + 1, at + missing(data[:at])
    assert at == len(data)
    assert server_name(data) == "shop.test"
    assert looks < 60


def test_a_record_that_is_not_whole_is_waited_for() -> None:
    many = split(b"\x16\x03\x01\0\0" + b"\x01\0\x10\0" + b"x" * 4000, 1)
    assert missing(many) == 4096 - 4000
    assert missing(many + b"\x16\x03\x01\x40\0") == 16384
    assert missing(many + b"\x16\x03") == 96
