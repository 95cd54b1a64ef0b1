from __future__ import annotations

import pytest

from stack.errors import ConfigError
from stack.trace.known import KnownStack
from stack.trace.run import chosen
from stack.trace.target import parse

GOOD = [
    ("https://shop.test:8443/a?b=c", "https://shop.test:8443/a?b=c", "shop.test", 8443),
    ("https://shop.test", "https://shop.test/", "shop.test", 443),
    ("http://shop.test:80/", "http://shop.test/", "shop.test", 80),
    ("shop.test/x", "https://shop.test/x", "shop.test", 443),
    ("shop.test:8443/x", "https://shop.test:8443/x", "shop.test", 8443),
    ("HTTPS://Shop.TEST./x", "https://shop.test/x", "shop.test", 443),
    ("/products/shoes", "https://shop.test/products/shoes", "shop.test", 443),
    ("https://[::1]:8443/", "https://[::1]:8443/", "::1", 8443),
    ("http://127.0.0.1:3000/a b/ü?q=ä#part", "http://127.0.0.1:3000/a%20b/%C3%BC?q=%C3%A4", "127.0.0.1", 3000),
    ("https://bücher.test/", "https://xn--bcher-kva.test/", "xn--bcher-kva.test", 443),
    ("https://shop.test/%2e%2E/a%2Fb", "https://shop.test/%2e%2E/a%2Fb", "shop.test", 443),
    ("https://shop.test/?", "https://shop.test/?", "shop.test", 443),
    ("wss://shop.test/chat", "wss://shop.test/chat", "shop.test", 443),
    ("ws://shop.test/chat", "ws://shop.test/chat", "shop.test", 80),
]


@pytest.mark.parametrize(("text", "url", "host", "port"), GOOD)
def test_taken_apart(text: str, url: str, host: str, port: int) -> None:
    target = parse(text, default="shop.test")
    assert (str(target), target.host, target.port) == (url, host, port)


BAD = [
    ("ftp://x/", "ftp is not traced; wanted http, https, ws or wss"),
    ("https://", "no host"),
    ("https:///x", "no host"),
    ("https://x:99999/", "ort out of range"),
    ("https://x:y/", "ort could not be cast"),
    ("https://x:0/", "port 0"),
    ("https://u:geheim@x/", "give a password with -H"),
    ("https://a..b/", "is no host name"),
    (f"https://{'a' * 64}.test/", "63 characters"),
    ("https://a b/", "is no host name"),
    ("https://[::1/", "nvalid IPv6 URL"),
]


@pytest.mark.parametrize(("text", "said"), BAD)
def test_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(text)
    assert said in str(error.value)
    assert "geheim" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_path_needs_a_stack() -> None:
    with pytest.raises(ConfigError, match="no stack runs here whose path this could be"):
        parse("/x")


def hop(name: str, kind: str, **listen: str) -> dict[str, object]:
    return {"name": name, "kind": kind, "listen": listen}


STATUS = {
    "name": "shop.test",
    "ca": "/x/ca.pem",
    "hops": [
        hop("dns-root", "dns_server", dns="127.0.53.1:5053"),
        hop("dns-tld", "dns_server", dns="127.0.53.2:5053"),
        hop("resolver", "dns_server", dns="127.0.0.1:5053", https="127.0.0.1:8053"),
        hop("edge-fra", "cdn_edge", https="127.0.1.1:8443", http="127.0.1.1:8080"),
        hop("edge-nrt", "cdn_edge", https="0.0.0.0:8453"),
        hop("lb-a", "loadbalancer", http="[::1]:8101"),
    ],
}


def known() -> KnownStack:
    stack = KnownStack.of(STATUS)
    assert stack is not None
    return stack


def test_what_the_status_says() -> None:
    stack = known()
    assert stack.roots == (("127.0.53.1", 5053),)
    assert stack.servers["127.0.53.2", 5053] == "dns-tld"
    assert stack.edge("nrt", "https") == ("edge-nrt", ("127.0.0.1", 8453))
    assert stack.edge("edge-fra", "http") == ("edge-fra", ("127.0.1.1", 8080))
    assert stack.usual("https") == ("127.0.1.1", 8443)


@pytest.mark.parametrize("status", [{}, {"hops": []}])
def test_nothing_runs(status: dict[str, object]) -> None:
    assert KnownStack.of(status) is None


OWNED = [
    ("shop.test", "shop.test", True),
    ("shop.test", "WWW.shop.test.", True),
    ("shop.test", "other.test", True),  # nobody else has .test (RFC 6761 §6.2)
    ("shop.test", "example.com", False),
    ("shop.test", "localhost", False),
    ("shop.example.com", "shop.example.com", True),
    ("shop.example.com", "a.shop.example.com", True),
    ("shop.example.com", "www.example.com", False),
    ("shop.example.com", "workshop.example.com", False),
]


@pytest.mark.parametrize(("name", "host", "wanted"), OWNED)
def test_whose_name_it_is(name: str, host: str, wanted: bool) -> None:
    stack = KnownStack.of(STATUS | {"name": name})
    assert stack is not None
    assert stack.owns(host) is wanted


@pytest.mark.parametrize(
    ("name", "scheme", "said"),
    [
        ("frq", "https", "did you mean edge-fra?"),
        ("tokyo", "https", "there is edge-fra, edge-nrt"),
        ("nrt", "http", "edge-nrt does not listen for http"),
    ],
)
def test_an_edge_that_is_not_there(name: str, scheme: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        known().edge(name, scheme)
    assert said in str(error.value)


def test_a_url_of_the_stacks_without_a_port_means_where_the_edges_listen() -> None:
    assert str(chosen(known(), parse("https://shop.test/x"))) == "https://shop.test:8443/x"
    assert str(chosen(known(), parse("http://www.shop.test/x"))) == "http://www.shop.test:8080/x"
    assert str(chosen(known(), parse("https://shop.test:443/x"))) == "https://shop.test/x"
    assert str(chosen(known(), parse("https://example.com/x"))) == "https://example.com/x"
    assert str(chosen(None, parse("https://shop.test/x"))) == "https://shop.test/x"
