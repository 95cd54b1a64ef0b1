"""A zone that was changed is the zone that its records would have made, with the same faults."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dns_server.rules import packed, types
from dns_server.rules.names import from_text
from dns_server.rules.rrset import RRset
from dns_server.rules.zone import Record, Zone, compile_zone

ORIGIN = from_text("Z.test")
SOA = from_text("ns.z.test") + from_text("h.z.test") + bytes(range(20))

NAMES = [
    from_text(text + "Z.test")
    for text in ("", "a.", "A.", "b.a.", "*.a.", "c.b.a.", "x.y.b.a.", "*.", "*.*.", "w.y.", "elsewhere.")
] + [from_text("a.example")]
RDATAS = {
    types.A: [bytes((192, 0, 2, last)) for last in range(3)],
    types.NS: [from_text("ns.z.test"), from_text("b.a.z.test")],
    types.CNAME: [from_text("a.z.test"), from_text("b.z.test")],
    types.DNAME: [from_text("q.z.test")],
    types.SOA: [SOA, SOA[:-1] + b"\0"],
    types.TXT: [b"\x01x", b"\x01y"],
    types.RRSIG: [b"signature"],
    types.AXFR: [b"x"],
}
USUAL = [types.A, types.A, types.NS, types.DNAME, types.CNAME, types.TXT, types.RRSIG]


@st.composite
def rrsets(draw: st.DrawFn, kinds: list[int]) -> RRset:
    type = draw(st.sampled_from(kinds))
    rdatas = draw(st.lists(st.sampled_from(RDATAS[type]), min_size=1, max_size=2, unique=True))
    return RRset(draw(st.sampled_from(NAMES)), type, draw(st.sampled_from([0, 60, 3600])), rdatas)


def records(sets: dict[tuple[bytes, int], tuple[bytes, int, dict[bytes, None]]]) -> list[Record]:
    return [Record(owner, type, ttl, rdata) for (_, type), (owner, ttl, found) in sets.items() for rdata in found]


def model(
    sets: dict[tuple[bytes, int], tuple[bytes, int, dict[bytes, None]]], removed: list[RRset], added: list[RRset]
) -> None:
    """RFC 2136 §3.4.2, slow and obvious."""
    for rrset in removed:
        for rdata in rrset.rdatas:
            place = (rrset.owner.lower(), rrset.type)
            if place in sets:
                sets[place][2].pop(rdata, None)
                if not sets[place][2]:
                    del sets[place]
    for rrset in added:
        place = (rrset.owner.lower(), rrset.type)
        owner, _, rdatas = sets.get(place, (rrset.owner, 0, {}))
        sets[place] = (owner, rrset.ttl, {**rdatas, **dict.fromkeys(rrset.rdatas)})


def start() -> dict[tuple[bytes, int], tuple[bytes, int, dict[bytes, None]]]:
    key = ORIGIN.lower()
    return {
        (key, types.SOA): (ORIGIN, 60, {SOA: None}),
        (key, types.NS): (ORIGIN, 60, {from_text("ns.z.test"): None}),
    }


def shape(zone: Zone) -> object:
    """All that answering depends on."""
    return {
        key: (packed.split(node)[:3], {rrset.type: (rrset.owner, rrset) for rrset in packed.rrsets(key, node)})
        for key, node in zone.packed.items()
    }


STEPS = st.lists(
    st.tuples(st.lists(rrsets(USUAL), max_size=3), st.lists(rrsets(USUAL), max_size=4)), min_size=1, max_size=5
)


@settings(max_examples=400, deadline=None)
@given(STEPS)
def test_a_changed_zone_is_the_compiled_one(steps: list[tuple[list[RRset], list[RRset]]]) -> None:
    sets = start()
    zone, _ = compile_zone(ORIGIN, records(sets))
    for removed, added in steps:
        assert zone is not None
        before, kept = shape(zone), dict(sets)
        sets = {place: (owner, ttl, dict(found)) for place, (owner, ttl, found) in sets.items()}
        model(sets, removed, added)
        compiled, faults = compile_zone(ORIGIN, records(sets))
        changed, found = zone.changed(removed, added)
        assert shape(zone) == before  # a change is another version; this one stays as it is
        if compiled is None:
            assert changed is None
            assert {fault.message for fault in found} == {fault.message for fault in faults if fault.fatal}
            sets = kept
        else:
            assert found == []
            assert changed is not None
            assert shape(changed) == shape(compiled)
            assert (changed.serial, changed.negative[1]) == (compiled.serial, compiled.negative[1])
            zone = changed


@settings(max_examples=200, deadline=None)
@given(st.lists(rrsets(list(RDATAS)), max_size=3), st.lists(rrsets(list(RDATAS)), max_size=3))
def test_a_change_has_the_faults_of_the_compiled_zone(removed: list[RRset], added: list[RRset]) -> None:
    sets = start()
    zone, _ = compile_zone(ORIGIN, records(sets))
    assert zone is not None
    removed = [*removed, RRset(ORIGIN, types.SOA, 60, [SOA])] if len(removed) == 3 else removed
    model(sets, removed, added)
    compiled, faults = compile_zone(ORIGIN, records(sets))
    changed, found = zone.changed(removed, added)
    assert (changed is None) == (compiled is None)
    assert {fault.message for fault in found} == {fault.message for fault in faults if fault.fatal}
