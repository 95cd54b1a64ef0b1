"""The WSGI environ, clause by clause of PEP 3333 and RFC 3875."""

from __future__ import annotations

from typing import Any

import pytest

from appserver.rules.environ import environ
from stack.http.message import Fields, Peer, Request

LOCAL = ("127.0.0.1", 9001)


def made(
    target: bytes = b"/",
    fields: Fields | None = None,
    *,
    authority: bytes = b"shop.test:8443",
    client: str = "127.0.0.1",
    trusted: bool = False,
    root_path: str = "",
    **parts: Any,
) -> dict[str, Any]:
    peer = Peer("127.0.0.1", 4242, local=LOCAL, trusted=trusted)
    request = Request(parts.pop("method", b"GET"), target, fields or [], authority=authority, peer=peer, **parts)
    return environ(request, client, root_path=root_path)


@pytest.mark.parametrize(
    ("target", "root_path", "expected"),
    [
        pytest.param(b"/", "", ("", "/", ""), id="the root"),
        pytest.param(b"/a/b?x=1&y=%20", "", ("", "/a/b", "x=1&y=%20"), id="RFC 3875 4.1.7: the query as it came"),
        pytest.param(b"/a%20b%2Fc", "", ("", "/a b/c", ""), id="RFC 3875 4.1.5: the path decoded"),
        pytest.param(b"/%C3%A9", "", ("", "/\xc3\xa9", ""), id="PEP 3333 Unicode: bytes as Latin-1, é"),
        pytest.param(b"/%ff", "", ("", "/\xff", ""), id="PEP 3333 Unicode: no UTF-8 is lost"),
        pytest.param(b"/%2541", "", ("", "/%41", ""), id="RFC 3986 2.4: decoded once"),
        pytest.param(b"//a", "", ("", "//a", ""), id="an empty segment stays"),
        pytest.param(b"*", "", ("", "", ""), id="RFC 9110 7.1: OPTIONS * has no path"),
        pytest.param(b"/x", "/caf\u00e9", ("/caf\xc3\xa9", "/x", ""), id="SCRIPT_NAME: the root path as Latin-1"),
    ],
)
def test_where(target: bytes, root_path: str, expected: tuple[str, str, str]) -> None:
    found = made(target, root_path=root_path)
    assert (found["SCRIPT_NAME"], found["PATH_INFO"], found["QUERY_STRING"]) == expected
    assert found["REQUEST_URI"] == target.decode("latin-1")


@pytest.mark.parametrize(
    ("authority", "expected"),
    [
        (b"shop.test:8443", ("shop.test", "8443", "shop.test:8443")),
        (b"shop.test", ("shop.test", "80", "shop.test")),
        (b"[::1]:9001", ("::1", "9001", "[::1]:9001")),
        (b"[::1]", ("::1", "80", "[::1]")),
        (b"", ("127.0.0.1", "9001", None)),  # HTTP/1.0 without Host: where the connection ended
    ],
)
def test_the_server(authority: bytes, expected: tuple[str, str, str | None]) -> None:
    found = made(authority=authority)
    assert (found["SERVER_NAME"], found["SERVER_PORT"], found.get("HTTP_HOST")) == expected


@pytest.mark.parametrize(
    ("trusted", "client", "fields", "scheme", "address", "port"),
    [
        pytest.param(False, "127.0.0.1", [], "http", "127.0.0.1", "4242", id="direct"),
        pytest.param(
            False, "127.0.0.1", [(b"x-forwarded-proto", b"https")], "http", "127.0.0.1", "4242", id="not believed"
        ),
        pytest.param(True, "192.0.2.7", [(b"x-forwarded-proto", b"https")], "https", "192.0.2.7", None, id="X-F-Proto"),
        pytest.param(
            True, "192.0.2.7", [(b"forwarded", b"for=192.0.2.7;proto=https")], "https", "192.0.2.7", None, id="RFC 7239"
        ),
        pytest.param(True, "127.0.0.1", [], "http", "127.0.0.1", "4242", id="nothing forwarded"),
    ],
)
def test_the_client(trusted: bool, client: str, fields: Fields, scheme: str, address: str, port: str | None) -> None:
    found = made(fields=fields, trusted=trusted, client=client)
    assert (found["wsgi.url_scheme"], found["REMOTE_ADDR"], found.get("REMOTE_PORT")) == (scheme, address, port)


def test_the_port_follows_the_scheme() -> None:
    found = made(authority=b"shop.test", trusted=True, client="192.0.2.7", fields=[(b"x-forwarded-proto", b"https")])
    assert found["SERVER_PORT"] == "443"


def test_fields() -> None:
    found = made(
        fields=[
            (b"content-type", b"text/plain"),
            (b"content-length", b"5"),
            (b"accept", b"text/html"),
            (b"accept", b"*/*"),
            (b"cookie", b"a=1"),
            (b"cookie", b"b=2"),
            (b"x-name", b"\xc3\xa9"),
            (b"x_forwarded_for", b"10.0.0.1"),
            (b"x-forwarded-for", b"192.0.2.7"),
            (b"proxy", b"http://evil.example"),
        ]
    )
    assert (found["CONTENT_TYPE"], found["CONTENT_LENGTH"]) == ("text/plain", "5")
    assert "HTTP_CONTENT_TYPE" not in found
    assert found["HTTP_ACCEPT"] == "text/html, */*"  # RFC 9110 §5.3
    assert found["HTTP_COOKIE"] == "a=1; b=2"  # RFC 9113 §8.2.3
    assert found["HTTP_X_NAME"] == "\xc3\xa9"
    assert found["HTTP_X_FORWARDED_FOR"] == "192.0.2.7"  # an underscore would pass for the dash
    assert "HTTP_PROXY" not in found  # CVE-2016-5385


@pytest.mark.parametrize(
    ("fields", "body", "length"),
    [
        ([], b"", None),
        ([], b"abc", "3"),  # it came in chunks, and all of it is here
        ([(b"content-length", b"3")], b"abc", "3"),
        ([(b"content-length", b"0")], b"", "0"),
    ],
)
def test_the_length(fields: Fields, body: bytes, length: str | None) -> None:
    assert made(fields=fields, body=body, method=b"POST").get("CONTENT_LENGTH") == length


@pytest.mark.parametrize(("version", "said"), [(b"1.0", "HTTP/1.0"), (b"1.1", "HTTP/1.1"), (b"2", "HTTP/2.0")])
def test_the_protocol(version: bytes, said: str) -> None:
    assert made(version=version)["SERVER_PROTOCOL"] == said
