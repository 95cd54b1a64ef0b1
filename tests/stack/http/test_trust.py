from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stack.errors import ConfigError
from stack.http.trust import Trust, node_address

INNER = Trust(["10.0.0.0/8", "127.0.0.1", "2001:db8:ffff::/48"])
FAR, FAR6 = "203.0.113.9", "2001:db8::9"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.1.2.3", True),
        ("127.0.0.1", True),
        ("127.0.0.2", False),
        ("2001:db8:ffff::1", True),
        ("2001:db8::1", False),
        ("::ffff:10.1.2.3", True),
        ("::ffff:11.1.2.3", False),
        ("", False),
        ("localhost", False),
        ("10.1.2.3 ", False),
    ],
)
def test_believes(address: str, expected: bool) -> None:
    assert INNER.believes(address) is expected
    assert INNER.believes(address) is expected, "remembered otherwise than decided"


@pytest.mark.parametrize("network", ["10.0.0.1/8", "10.0.0.0/33", "edge.test", "", "10.0.0"])
def test_bad_network_is_one_clear_line(network: str) -> None:
    with pytest.raises(ConfigError, match="give an address or a network"):
        Trust([network])


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        pytest.param("x-forwarded-for", FAR, FAR, id="one"),
        pytest.param("x-forwarded-for", f"{FAR}, 10.0.0.2", FAR, id="7239-5.2-rightmost-untrusted"),
        pytest.param("x-forwarded-for", f"6.6.6.6, {FAR}, 10.0.0.2", FAR, id="spoofed-left-is-not-read"),
        pytest.param("x-forwarded-for", "10.0.0.3, 10.0.0.2", "10.0.0.3", id="all-trusted-leftmost"),
        pytest.param("x-forwarded-for", f"{FAR}, junk, 10.0.0.2", "10.0.0.2", id="junk-stops"),
        pytest.param("x-forwarded-for", "junk", "10.0.0.1", id="only-junk"),
        pytest.param("x-forwarded-for", "", "10.0.0.1", id="empty"),
        pytest.param("x-forwarded-for", f"{FAR}:4711, 10.0.0.2", FAR, id="port"),
        pytest.param("x-forwarded-for", f"{FAR6}, 10.0.0.2", FAR6, id="bare-ipv6"),
        pytest.param("x-forwarded-for", f"[{FAR6}]:443", FAR6, id="bracketed-ipv6"),
        pytest.param("x-forwarded-for", f"{FAR},,10.0.0.2,", FAR, id="9110-5.6.1-empty-elements"),
        pytest.param("forwarded", f"for={FAR}", FAR, id="7239-4-one"),
        pytest.param("forwarded", f'for="[{FAR6}]:4711";proto=http, FOR=10.0.0.2', FAR6, id="7239-4-quoted-ipv6"),
        pytest.param("forwarded", f"by=_lb;proto=https;For={FAR};host=a", FAR, id="7239-4-any-order"),
        pytest.param("forwarded", f'host="a,for=6.6.6.6";for={FAR}', FAR, id="comma-in-quotes"),
        pytest.param("forwarded", f"for={FAR}, for=unknown", "10.0.0.1", id="7239-6.2-unknown-stops"),
        pytest.param("forwarded", f"for={FAR}, for=_hidden, for=10.0.0.2", "10.0.0.2", id="7239-6.3-obfuscated-stops"),
        pytest.param("forwarded", f"for={FAR}, proto=http", "10.0.0.1", id="7239-4-element-without-for"),
        pytest.param("forwarded", f'for="{FAR}', "10.0.0.1", id="open-quote"),
    ],
)
def test_client(name: str, value: str, expected: str) -> None:
    fields = [(b"accept", b"*/*"), (name.encode(), value.encode())]
    trust = Trust(["10.0.0.0/8"])
    assert trust.client("10.0.0.1", fields) == expected
    assert trust.client("10.0.0.1", fields) == expected, "remembered otherwise than decided"
    assert trust.client("192.0.2.1", fields) == "192.0.2.1", "an untrusted peer speaks for itself only"


def test_forwarded_is_preferred() -> None:
    fields = [(b"x-forwarded-for", b"198.51.100.1"), (b"forwarded", FAR.encode().join((b"for=", b"")))]
    assert INNER.client("10.0.0.1", fields) == FAR


def test_field_lines_are_one_list() -> None:
    fields = [(b"x-forwarded-for", b"6.6.6.6"), (b"x-forwarded-for", FAR.encode()), (b"x-forwarded-for", b"10.0.0.2")]
    assert INNER.client("10.0.0.1", fields) == FAR


def test_the_same_words_in_the_other_field_are_not_mixed_up() -> None:
    trust = Trust(["10.0.0.0/8"])
    assert trust.client("10.0.0.1", [(b"x-forwarded-for", FAR.encode())]) == FAR
    assert trust.client("10.0.0.1", [(b"forwarded", FAR.encode())]) == "10.0.0.1"


def test_memory_is_bounded() -> None:
    trust = Trust(["10.0.0.0/8"])
    for i in range(10_000):
        address = f"198.51.{i // 256}.{i % 256}"
        assert trust.client("10.0.0.1", [(b"x-forwarded-for", address.encode())]) == address
    assert len(trust._clients) <= 4096
    assert len(trust._known) <= 4096
    trust = Trust(["10.0.0.0/8"])
    trust.client("10.0.0.1", [(b"x-forwarded-for", b"1.1.1.1, " * 1000)])
    assert not trust._clients, "a long chain is not kept"


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (b"192.0.2.43", "192.0.2.43"),
        (b"192.0.2.43:47011", "192.0.2.43"),
        (b"192.0.2.43:_obf", "192.0.2.43"),
        (b"[2001:DB8::1]", "2001:db8::1"),
        (b"[2001:db8::1]:80", "2001:db8::1"),
        (b"[::ffff:192.0.2.1]", "192.0.2.1"),
        (b"[192.0.2.1]", None),
        (b"[2001:db8::1", None),
        (b"[2001:db8::1]80", None),
        (b"192.0.2.43:", None),
        (b"192.0.2.43:port", None),
        (b"192.0.2.43:123456", None),
        (b"unknown", None),
        (b"_hidden", None),
        (b"", None),
        (b"192.0.2.043", None),
        (b"\xff\xfe", None),
    ],
)
def test_node_address(node: bytes, expected: str | None) -> None:
    assert node_address(node) == expected


@given(st.binary(max_size=80), st.sampled_from([b"forwarded", b"x-forwarded-for"]))
def test_never_raises(value: bytes, name: bytes) -> None:
    assert INNER.client("10.0.0.1", [(name, value)])
    node_address(value)


@example([], b'"')
@given(st.lists(st.ip_addresses(), max_size=6), st.binary(max_size=30))
def test_what_the_client_claims_does_not_matter(chain: list[object], claimed: bytes) -> None:
    """The first hop appends the client's true address; whatever stands before it changes nothing."""
    inner = [f"10.0.0.{i}" for i in range(1, len(chain) + 1)]
    value = b", ".join([claimed, FAR.encode(), *(address.encode() for address in inner)])
    assert INNER.client("10.0.0.200", [(b"x-forwarded-for", value)]) == FAR
