from __future__ import annotations

import pytest

from dns_server.book import Book, Change, ChangeRefused
from dns_server.rules import types
from dns_server.rules.names import from_text
from dns_server.rules.rrset import RRset
from dns_server.rules.zone import Zone, Zones
from dns_server.zonefile import load_text

TEXT = """\
$TTL 60
@    IN SOA ns hostmaster {serial} 3600 600 86400 30
@    IN NS  ns
ns   IN A   192.0.2.1
www  IN A   192.0.2.2
www  IN A   192.0.2.3
"""
SITE = from_text("shop.test")
WWW = from_text("www.shop.test")


def zone(serial: int = 1, more: str = "") -> Zone:
    return load_text(SITE, TEXT.format(serial=serial) + more)[0]


def address(name: bytes, *hosts: int, ttl: int = 60) -> RRset:
    return RRset(name, types.A, ttl, [bytes((192, 0, 2, host)) for host in hosts])


def test_a_change_is_told_by_its_records() -> None:
    told: list[Change] = []
    book = Book(Zones([zone()]))
    book.watchers.append(told.append)
    before = book.zones
    book.change(SITE, [address(WWW, 2)], [address(WWW, 4)])
    assert book.zones is not before
    assert book.zones.by_key[SITE].rrset(WWW, types.A) == address(WWW, 3, 4)
    (change,) = told
    assert change.removed == [address(WWW, 2)]
    assert change.added == [address(WWW, 4)]
    assert before.by_key[SITE].rrset(WWW, types.A) == address(WWW, 2, 3)  # who still reads it sees all of the old one


def test_what_would_be_no_zone_is_refused_as_a_whole() -> None:
    book = Book(Zones([zone()]))
    before = book.zones
    with pytest.raises(ChangeRefused, match="no NS record"):
        book.change(SITE, [RRset(SITE, types.NS, 60, [from_text("ns.shop.test")])], [address(WWW, 9)])
    assert book.zones is before


def test_a_reload_tells_what_differs_in_each_zone() -> None:
    told: list[Change] = []
    book = Book(Zones([zone()]))
    book.watchers.append(told.append)
    book.replace(Zones([zone(2, "new A 192.0.2.9\n"), load_text(from_text("other.test"), TEXT.format(serial=1))[0]]))
    changed, new = told
    assert [rrset.type for rrset in changed.removed] == [types.SOA]
    assert {rrset.owner for rrset in changed.added} == {SITE, from_text("new.shop.test")}
    assert new.before is None
    assert not new.removed


def test_of_a_change_nearly_everywhere_nobody_is_told_each_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dns_server.book.MOST_LISTED", 2)
    heard: list[Change] = []
    head = "@ 60 SOA ns h {} 7200 3600 1209600 300\n@ 60 NS ns.example.\n"
    before, after, other = (
        load_text(SITE, head.format(serial) + "".join(f"h{n} 60 A 192.0.2.{address}\n" for n in range(count)))[0]
        for serial, address, count in ((1, 1, 2), (2, 2, 2), (3, 2, 1))
    )
    book = Book(Zones([before]))
    book.watchers.append(heard.append)
    book.replace(Zones([after]))
    book.replace(Zones([other]))
    assert [(change.whole, len(change.removed), len(change.added)) for change in heard] == [
        (True, 0, 0), (False, 2, 1),
    ]  # fmt: skip
