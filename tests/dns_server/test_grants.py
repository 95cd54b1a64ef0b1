from __future__ import annotations

import pytest

from dns_server.grants import allowed, read_grants
from dns_server.rules import types
from dns_server.rules.names import from_text
from stack.errors import ConfigError

KEYS = [from_text("acme"), from_text("host1.shop.test")]


@pytest.mark.parametrize(
    ("text", "name", "type", "expected"),
    [
        ("acme", "www.shop.test", "A", True),
        ("acme", "shop.test", "MX", True),
        ("acme", "shop.test", "NS", False),
        ("acme", "shop.test", "SOA", False),
        ("acme", "sub.shop.test", "DS", False),
        ("acme type=ANY", "shop.test", "NS", True),
        ("acme type=NS", "shop.test", "NS", True),
        ("acme type=TXT,A", "shop.test", "A", True),
        ("acme type=TXT", "shop.test", "A", False),
        ("acme type=TYPE65280", "shop.test", "TYPE65280", True),
        ("acme zone=shop.test", "www.shop.test", "A", True),
        ("acme zone=shop.test.", "www.shop.test", "A", True),
        ("acme zone=other.test", "www.shop.test", "A", False),
        ("acme zone=.", "www.shop.test", "A", False),
        ("acme name=_acme-challenge.*", "_acme-challenge.shop.test", "TXT", True),
        ("acme name=_acme-challenge.*", "_acme-challenge.www.shop.test", "TXT", True),
        ("acme name=_acme-challenge.*", "_ACME-challenge.www.shop.test", "TXT", True),
        ("acme name=_acme-challenge.*", "www.shop.test", "TXT", False),
        ("acme name=www.shop.test.", "www.shop.test", "A", True),
        ("acme name=www.shop.test", "a.www.shop.test", "A", False),
        ("acme name=*.dyn.shop.test,dyn.shop.test", "dyn.shop.test", "A", True),
        ("acme name=*.dyn.shop.test", "a.b.dyn.shop.test", "A", True),
        ("acme from=192.0.2.0/24", "www.shop.test", "A", True),
        ("acme from=198.51.100.1,2001:db8::/32", "www.shop.test", "A", False),
        ("host1.shop.test", "www.shop.test", "A", False),
    ],
)
def test_what_a_grant_covers(text: str, name: str, type: str, expected: bool) -> None:
    grants = read_grants([text], KEYS).of(KEYS[0], from_text("shop.test"), "192.0.2.7")
    number = types.NUMBERS.get(type) or 65280
    assert (allowed(grants, [(from_text(name).lower(), number)]) is None) is expected


def test_a_hosts_key_may_change_the_host() -> None:
    grants = read_grants(["host1.shop.test name={key},*.{key} type=A,AAAA"], KEYS)
    own = grants.of(KEYS[1], from_text("shop.test"), "::ffff:192.0.2.1")
    assert allowed(own, [(from_text("host1.shop.test"), types.A), (from_text("a.host1.shop.test"), types.AAAA)]) is None
    assert allowed(own, [(from_text("host2.shop.test"), types.A)]) == (from_text("host2.shop.test"), types.A)


def test_grants_of_a_key_add_up() -> None:
    grants = read_grants(["acme type=TXT", "acme name=www.* type=A from=192.0.2.0/24"], KEYS)
    inside = grants.of(KEYS[0], from_text("shop.test"), "::ffff:192.0.2.1")
    outside = grants.of(KEYS[0], from_text("shop.test"), "203.0.113.1")
    wanted = [(from_text("www.shop.test"), types.A), (from_text("x.shop.test"), types.TXT)]
    assert allowed(inside, wanted) is None
    assert allowed(outside, wanted) == wanted[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "wanted KEY"),
        ("zone=shop.test", "wanted KEY"),
        ("nobody type=TXT", "no key is called nobody; the files of --tsig-key have acme, host1.shop.test"),
        ("acme typ=TXT", "'typ=TXT' is not understood; wanted KEY"),
        ("acme type=", "'type=' is not understood"),
        ("acme type=TXTT", "'TXTT' is no type of record: did you mean TXT?"),
        ("acme type=AXFR", "AXFR is no type of zone data"),
        ("acme from=192.0.2.1/24", "has host bits set; as 192.0.2.0/24"),
        ("acme zone=a..b", "has an empty label"),
        ("acme zone=a.test,b.test", "one zone in each"),
    ],
)
def test_a_grant_that_is_not_understood(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("?", r"\?").replace(".", r"\.")):
        read_grants([text], KEYS)
