"""Next hops, sources and hosts as they are written."""

from __future__ import annotations

import pytest

from stack.config.upstream import UpstreamSpec, check_authority, check_source, parse_upstream
from stack.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "expected", "authority"),
    [
        ("http://a:1", UpstreamSpec("", "http", "a", 1), "a:1"),
        ("HTTPS://A.example.", UpstreamSpec("", "https", "a.example.", 443), "a.example.:443"),
        (" app-1=h2c://127.0.0.1/ ", UpstreamSpec("app-1", "h2c", "127.0.0.1", 80), "127.0.0.1:80"),
        ("http://[::1]:8000", UpstreamSpec("", "http", "::1", 8000), "[::1]:8000"),
        ("http://my_app:1", UpstreamSpec("", "http", "my_app", 1), "my_app:1"),
        ("http://xn--h-0ga:1", UpstreamSpec("", "http", "xn--h-0ga", 1), "xn--h-0ga:1"),
    ],
)
def test_next_hops(text: str, expected: UpstreamSpec, authority: str) -> None:
    found = parse_upstream(text, option="--to", example="http://a")
    assert (found, found.authority) == (expected, authority)


@pytest.mark.parametrize(
    "text",
    ["", "a", "a:1", "ftp://a", "http://", "http://:1", "http://a:0", "http://a:65536", "http://a:x", "http://[::1",
     "http://a/b", "http://a?b", "http://a#b", "http://u@a", "b d=http://a", "http://hä", "http://a b", "http://-a",
     "http://a..b", "http://1.2.3", "http://" + "a" * 64, "http://" + "a." * 130 + "a"],
)  # fmt: skip
def test_what_is_no_next_hop_is_said_in_one_line(text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_upstream(text, option="--to", example="http://a")
    assert str(raised.value).startswith(f"--to {text!r}: ")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["a", "a.example:80", "127.0.0.1", "[::1]:1", "[::1]"])
def test_hosts(text: str) -> None:
    check_authority(text, "--host")


@pytest.mark.parametrize(
    "text", ["ä", "a b", "a/", "http://a", "a:0", "a:x", "u@a", ":1", "[::1", "a\r\nx: y", "a?b", "::1"]
)
def test_what_is_no_host(text: str) -> None:
    with pytest.raises(ConfigError, match="--host"):
        check_authority(text, "--host")


@pytest.mark.parametrize("text", ["", "127.0.0.1", "127.1.2.3", "0.0.0.0"])
def test_sources(text: str) -> None:
    check_source(text)


@pytest.mark.parametrize("text", ["eth0", "localhost", "192.0.2.1", "2001:db8::1", "127.0.0.1:1"])
def test_what_is_no_source(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--from '.*wanted an IP address of this machine"):
        check_source(text, "--from")
