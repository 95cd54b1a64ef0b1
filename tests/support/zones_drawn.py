"""Zones drawn by hypothesis: odd names, cuts, glue and what they hide, large sets; and other versions of them."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from dns_server.rules import types
from dns_server.rules.zone import Record, Zone, compile_zone

ORIGIN = b"\x04Shop\x04test\x00"

LABELS = st.one_of(
    st.sampled_from(
        [b"a", b"A", b"www", b"*", b"_tcp", b"ns1", b"xn--p1ai", b"x" * 63, b"\x00", b".", b"\xff\xfe", b"a b"]
    ),
    st.binary(min_size=1, max_size=6),
)


def name(labels: Sequence[bytes]) -> bytes:
    return b"".join(bytes((len(label),)) + label for label in labels) + ORIGIN


NAMES = st.lists(LABELS, max_size=3).map(name).filter(lambda wire: len(wire) <= 255)
TTLS = st.sampled_from([0, 60, 3600, 0x7FFF_FFFF])
RDATA = st.one_of(
    st.tuples(st.just(types.A), st.binary(min_size=4, max_size=4)),
    st.tuples(st.just(types.AAAA), st.binary(min_size=16, max_size=16)),
    st.tuples(st.sampled_from([types.NS, types.PTR, types.CNAME, types.DNAME]), NAMES),
    st.tuples(st.just(types.MX), NAMES.map(lambda target: b"\0\x0a" + target)),
    st.tuples(st.just(types.SRV), NAMES.map(lambda target: b"\0\x01\0\x02\0\x50" + target)),
    st.tuples(st.just(types.TXT), st.binary(max_size=255).map(lambda text: bytes((len(text),)) + text)),
    st.tuples(st.just(types.TXT), st.integers(2, 120).map(lambda count: (b"\xff" + b"t" * 255) * count)),
    st.tuples(st.just(65280), st.binary(max_size=40)),
)
RECORDS = st.lists(st.tuples(NAMES, TTLS, RDATA), max_size=25)


def soa(serial: int, ttl: int = 300) -> Record:
    timers = b"".join(number.to_bytes(4, "big") for number in (serial, 3600, 600, 86400, 30))
    return Record(ORIGIN, types.SOA, ttl, name([b"ns1"]) + name([b"Host"]) + timers)


def make(serial: int, drawn: Sequence[tuple[bytes, int, tuple[int, bytes]]]) -> Zone:
    """As much of what was drawn as makes a zone."""
    records = [soa(serial), Record(ORIGIN, types.NS, 60, name([b"ns1"]))]
    taken: dict[bytes, set[int]] = {ORIGIN.lower(): {types.SOA, types.NS}}
    for owner, ttl, (type, rdata) in drawn:
        there = taken.setdefault(owner.lower(), set())
        lonely = (type == types.CNAME and there) or types.CNAME in there
        if not lonely and not (type == types.DNAME and types.DNAME in there):
            there.add(type)
            records.append(Record(owner, type, ttl, rdata))
    zone, faults = compile_zone(ORIGIN, records)
    assert zone is not None, faults
    return zone


ZONES = RECORDS.map(lambda drawn: make(1, drawn))


def content(zone: Zone) -> set[tuple[bytes, int, int, bytes]]:
    """Every record, by which two versions are compared."""
    return {(rrset.owner.lower(), rrset.type, rrset.ttl, rdata) for rrset in zone.rrsets() for rdata in rrset.rdatas}
