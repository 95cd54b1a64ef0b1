"""RFC 1034 §4.3.2, word by word and slow, is the judge of the compiled zones: random zones, random questions."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from dns_server.rules.rrset import RRset
from dns_server.rules.zone import Record, Zones, compile_zone
from tests.support import dns_model
from tests.support.dns_network import respond
from tests.support.dns_reading import Line, Response, read
from tests.support.dns_servers import query
from tests.support.dns_worlds import Maker, Name, World, ZoneText, to_text, to_wire

COMPRESSED = (2, 5, 6, 12, 15)
"""Letter case of what is pointed to is that of the place pointed at (RFC 1035 §4.1.4)."""


def compiled(world: World) -> Zones:
    zones = []
    for zone in world:
        records = [Record(to_wire(record.owner), record.type, record.ttl, record.wire()) for record in zone.records]
        made, faults = compile_zone(to_wire(zone.origin), records)
        assert made is not None, faults
        zones.append(made)
    return Zones(zones)


def folded(section: list[Line]) -> list[Line]:
    return sorted(
        (tuple(label.lower() for label in owner), type, ttl, rdata.lower() if type in COMPRESSED else rdata)
        for owner, type, ttl, rdata in section
    )


def shown(response: Response) -> dict[str, object]:
    return {
        "rcode": response.rcode,
        "aa": response.authoritative,
        "tc": response.truncated,
        "answer": folded(response.answer),
        "authority": folded(response.authority),
        "additional": folded(response.additional),
    }


def judge(zones: Zones, world: World, name: Name, type: int) -> None:
    message = respond(zones, query(name, type, payload=0), stream=True)
    assert message is not None
    ours, wanted = read(message), dns_model.answer(world, name, type)
    for payload in (0, 512, 1232):  # whichever way is taken, it is the same one: `respond` sees to that
        respond(zones, query(name, type, payload=payload), stream=False)
    text = "\n".join(f"; {to_text(zone.origin)}\n{zone.text()}" for zone in world)
    assert shown(ours) == shown(wanted), f"{to_text(name)} TYPE{type}\n{text}"
    for owner, *_ in ours.answer[:1]:
        if len(owner) == len(name):
            assert owner == name, "the owner is not written as it was asked"


SEEDED = st.randoms(use_true_random=True)
"""Many and cheap; the others shrink."""


@settings(max_examples=20)
@given(st.randoms(use_true_random=False), st.booleans())
def test_the_compiled_zones_answer_as_the_text_says(random: Random, strict: bool) -> None:
    maker = Maker(random, strict=strict)
    world = maker.world()
    zones = compiled(world)
    for name, type in maker.questions(world, 10):
        judge(zones, world, name, type)


@settings(max_examples=150)
@given(SEEDED, st.booleans())
def test_many_zones_answer_as_the_text_says(random: Random, strict: bool) -> None:
    maker = Maker(random, strict=strict)
    world = maker.world()
    zones = compiled(world)
    for name, type in maker.questions(world, 40):
        judge(zones, world, name, type)


@settings(max_examples=60)
@given(SEEDED)
def test_a_changed_zone_answers_as_if_it_had_been_read_so(random: Random) -> None:
    maker = Maker(random, strict=True)
    world = maker.world()
    other = maker.zone_like(world[0], world)
    before = compiled(world).by_key[to_wire(world[0].origin).lower()]
    after, faults = before.changed(before.rrsets(), sets(other))
    assert after is not None, faults
    changed = (other, *world[1:])
    zones = Zones([after, *(zone for key, zone in compiled(world).by_key.items() if key != after.key)])
    for name, type in maker.questions(changed, 30):
        judge(zones, changed, name, type)


def sets(zone: ZoneText) -> list[RRset]:
    """The records one by one: `changed` has to join them."""
    return [RRset(to_wire(record.owner), record.type, record.ttl, [record.wire()]) for record in zone.records]
