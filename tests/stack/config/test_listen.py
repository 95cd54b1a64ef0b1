from __future__ import annotations

import pytest

from stack.config.listen import Listen, parse, usual
from stack.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("http://127.0.0.1:8080", Listen("http", "127.0.0.1", 8080)),
        ("http://127.0.0.1:8080/", Listen("http", "127.0.0.1", 8080)),
        ("HTTP://127.0.0.1:0", Listen("http", "127.0.0.1", 0)),
        ("https://[::1]:8443", Listen("https", "::1", 8443)),
        ("h2c://0.0.0.0:65535", Listen("h2c", "0.0.0.0", 65535)),
        ("dns://127.0.0.1:5300", Listen("dns", "127.0.0.1", 5300)),
        ("tls://127.0.0.1:8853", Listen("tls", "127.0.0.1", 8853)),
        ("tcp://127.0.0.1:1", Listen("tcp", "127.0.0.1", 1)),
        ("http://localhost:80", Listen("http", "127.0.0.1", 80)),
        ("http+fd://7", Listen("http", fd=7)),
        ("fd://7", Listen("dns", fd=7)),
        ("127.0.0.1:5353", Listen("dns", "127.0.0.1", 5353)),
        ("[::]:53", Listen("dns", "::", 53)),
    ],
)
def test_a_listener_as_it_is_written(text: str, wanted: Listen) -> None:
    found = parse(text, usual="dns")
    assert found == wanted
    assert parse(str(found)) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("htps://127.0.0.1:80", "no scheme is called 'htps': did you mean https://?"),
        ("gopher://127.0.0.1:70", "one of http, https"),
        ("http://127.0.0.1", "the port is missing; wanted SCHEME://HOST:PORT"),
        ("http://127.0.0.1:", "wanted a port from 0"),
        ("http://127.0.0.1:65536", "wanted a port from 0 (any free one) to 65535, not '65536'"),
        ("http://127.0.0.1:-1", "not '-1'"),
        ("http://127.0.0.1:٣", "wanted a port"),
        ("http://127.0.0.1:80/path", "wanted a port"),
        ("http://:80", "0.0.0.0 or [::] is every address"),
        ("http://*:80", "0.0.0.0 or [::] is every address"),
        ("http://::1:80", "in brackets, as [::1]:8080"),
        ("http://[::1]", "the port is missing"),
        ("http://shop.test:80", "'shop.test' is not an IP address (names are not looked up to listen)"),
        ("http+fd://x", "wanted a descriptor's number, as http+fd://7"),
        ("fd://", "wanted a descriptor's number"),
        ("", "the port is missing"),
    ],
)
def test_a_fault_names_option_value_and_remedy(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, option="--admin")
    assert str(caught.value).startswith(f"--admin {text!r}: ")
    assert message in str(caught.value)


def test_the_usual_scheme() -> None:
    assert usual("dns_server") == "dns"
    assert usual("cdn_edge") == "http"
