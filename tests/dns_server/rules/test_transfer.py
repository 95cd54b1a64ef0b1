"""AXFR and IXFR as messages, and their reader: what goes out comes in, and nothing else is taken."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable

import dns.message
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dns_server.book import Book, Change, difference
from dns_server.history import History
from dns_server.rules import incoming as module
from dns_server.rules import types
from dns_server.rules.incoming import Incoming, TransferFault, apply, soa_among
from dns_server.rules.query import Query, parse
from dns_server.rules.rdata import read_name
from dns_server.rules.rrset import RRset
from dns_server.rules.transfer import LARGEST, SIZE, Step, TooLarge, messages, newer, steps, whole
from dns_server.rules.zone import Zone, finish
from tests.support.zones_drawn import ORIGIN, RECORDS, ZONES, content, make, name, soa


def query(type: int, *, edns: bool = False) -> Query:
    opt = b"\0\0\x29\x04\xd0\0\0\0\0\0\0" if edns else b""
    parsed = parse(
        b"\x12\x34\0\0\0\x01\0\0\0\0\0" + bytes((edns,)) + ORIGIN + type.to_bytes(2, "big") + b"\0\x01" + opt
    )
    assert parsed is not None
    assert not parsed.rcode
    return parsed


def read(packed: Iterable[bytes], type: int, serial: int | None = None) -> Incoming:
    incoming = Incoming(ORIGIN, type, 0x1234, serial)
    for message in packed:
        assert not incoming.done
        for _ in incoming.read(message):
            pass
    return incoming


def is_strict_about_names(message: bytes) -> None:
    """dnspython finds the same records, compression and all."""
    parsed = dns.message.from_wire(message, xfr=True, one_rr_per_rrset=True)
    assert parsed.id == 0x1234
    assert len(parsed.answer) == int.from_bytes(message[6:8], "big")


@given(ZONES)
def test_a_zone_comes_in_as_it_went_out(zone: Zone) -> None:
    packed = list(messages(query(types.AXFR), whole(zone)))
    for number, message in enumerate(packed):
        assert len(message) <= LARGEST
        assert message[4:6] == (b"\0\0" if number else b"\0\x01")  # RFC 5936 §2.2.1
        is_strict_about_names(message)
    incoming = read(packed, types.AXFR)
    assert incoming.done
    assert incoming.octets == sum(map(len, packed))
    assert incoming.whole is not None
    received, faults = finish(incoming.whole)
    assert received is not None, faults
    assert content(received) == content(zone)
    assert {rrset.owner for rrset in received.rrsets()} == {rrset.owner for rrset in zone.rrsets()}, "letter case"


@given(st.lists(RECORDS, min_size=2, max_size=5), st.integers(0, 2**32 - 1), st.data())
def test_steps_applied_are_the_new_version(
    drawn: list[list[tuple[bytes, int, tuple[int, bytes]]]], first: int, data: st.DataObject
) -> None:
    versions = [make((first + number) % 2**32, records) for number, records in enumerate(drawn)]
    book = Book()
    history = History(book, records=10**6, octets=10**9)
    for version in versions:
        book.put(version)
    start = data.draw(st.sampled_from(versions[:-1]))
    chain = [
        Step.of(a.serial, b.serial, *difference(a, b))
        for a, b in itertools.pairwise(versions)
        if not newer(start.serial, a.serial)
    ]
    known = history.since(versions[-1], start.serial)
    assert known is None or [step.before for step in known] == [step.before for step in chain]
    packed = list(messages(query(types.IXFR), steps(versions[-1], chain)))
    for message in packed:
        is_strict_about_names(message)
    incoming = read(packed, types.IXFR, start.serial)
    assert incoming.done
    assert incoming.whole is None
    after, faults = start.changed(*apply(start, incoming.deltas))
    assert after is not None, faults
    assert content(after) == content(versions[-1])


def test_messages_are_packed_full() -> None:
    zone = make(1, [(name([b"host%d" % number]), 60, (types.A, number.to_bytes(4, "big"))) for number in range(5000)])
    packed = list(messages(query(types.AXFR), whole(zone)))
    assert all(SIZE - 100 < len(message) <= SIZE for message in packed[:-1])
    assert len(packed) < 10, "names are compressed"


def test_opt_is_in_the_first_message_when_the_client_sent_one() -> None:
    zone = make(1, [(name([b"h%d" % number]), 60, (types.A, number.to_bytes(4, "big"))) for number in range(2000)])
    packed = [
        dns.message.from_wire(m, xfr=True) for m in messages(query(types.AXFR, edns=True), whole(zone), payload=1232)
    ]
    assert [message.edns for message in packed] == [0] + [-1] * (len(packed) - 1)
    assert len(packed) > 1


def test_a_large_record_has_a_message_to_itself() -> None:
    large = RRset(name([b"large"]), 65280, 60, [b"x" * 60_000])
    packed = list(messages(query(types.AXFR), [large]))
    assert [len(message) > 60_000 for message in packed] == [True]
    with pytest.raises(TooLarge):
        list(messages(query(types.AXFR), [RRset(name([b"large"]), 65280, 60, [b"x" * 65_500])]))


A1, A2 = ((name([b"www"]), 60, (types.A, bytes((192, 0, 2, last)))) for last in (1, 2))


def rrset(record: object, **changes: object) -> RRset:
    values = {"owner": record.owner, "type": record.type, "ttl": record.ttl, "rdata": record.rdata, **changes}  # type: ignore[attr-defined]
    return RRset(values["owner"], values["type"], values["ttl"], [values["rdata"]])


FOREIGN = RRset(b"\x07example\0", types.A, 60, [b"\1\2\3\4"])
OTHER_SOA = RRset(b"\x07example\0", types.SOA, 60, [soa(2).rdata])
INNER = RRset(name([b"www"]), types.A, 60, [b"\1\2\3\4"])


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ([INNER], "does not begin with the SOA"),
        ([rrset(soa(2)), FOREIGN, rrset(soa(2))], "example. is not in the zone shop.test."),
        ([rrset(soa(2)), OTHER_SOA], "a SOA record of example."),
        ([rrset(soa(2)), INNER, rrset(soa(3))], "the last SOA is not the first"),
        ([rrset(soa(2)), INNER, rrset(soa(2)), INNER], "records behind the last SOA"),
        ([], "no record"),
    ],
    ids=["no-soa", "foreign", "foreign-soa", "changed", "more", "empty"],
)
def test_a_lying_transfer_is_not_taken(sent: list[RRset], said: str) -> None:
    packed = list(messages(query(types.AXFR), sent)) or [b"\x12\x34\x84\0" + bytes(8)]
    with pytest.raises(TransferFault, match=said):
        read(packed, types.AXFR)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: b"\0\0" + m[2:], "no response to this query"),
        (lambda m: m[:2] + b"\x04\0" + m[4:], "no response to this query"),
        (lambda m: m[:3] + b"\x05" + m[4:], "answered REFUSED"),
        (lambda m: m[:2] + b"\x86\0" + m[4:], "truncated"),
        (lambda m: m[:12] + b"\x04hops" + m[17:], "answers another question"),
        (lambda m: m[:-1], "malformed"),
        (lambda m: m[:6] + b"\0\xff" + m[8:], "malformed"),
    ],
    ids=["id", "query", "rcode", "tc", "question", "cut", "counts"],
)
def test_a_wrong_message_is_not_taken(change: object, said: str) -> None:
    (message,) = messages(query(types.AXFR), whole(make(1, [A1])))
    with pytest.raises(TransferFault, match=said):
        read([change(message)], types.AXFR)  # type: ignore[operator]


def test_what_ends_early_is_not_done() -> None:
    packed = list(messages(query(types.AXFR), list(whole(make(1, [A1])))[:-1]))
    assert not read(packed, types.AXFR).done


@given(st.binary(max_size=200), st.integers(0, 11))
def test_no_bytes_crash_the_reader(noise: bytes, keep: int) -> None:
    (message,) = messages(query(types.IXFR), whole(make(1, [A1, A2])))
    for mixed in (noise, message[: 12 + keep] + noise, message[: len(message) - len(noise)] + noise):
        with contextlib.suppress(TransferFault):
            read([mixed], types.IXFR, 0)
        with contextlib.suppress(ValueError):
            soa_among(mixed + bytes(12), 0)


@pytest.mark.parametrize("serial", [5, 6])
def test_one_soa_says_that_nothing_is_newer(serial: int) -> None:
    incoming = read(messages(query(types.IXFR), [make(5, []).soa]), types.IXFR, serial)
    assert incoming.done
    assert incoming.current


def test_ixfr_may_be_answered_by_the_whole_zone() -> None:
    zone = make(5, [A1])
    incoming = read(messages(query(types.IXFR), whole(zone)), types.IXFR, 3)
    assert incoming.done
    assert incoming.records == 3
    assert not incoming.deltas


def test_ixfr_in_messages_of_one_record() -> None:
    before, after = make(1, [A1]), make(2, [A2])
    step = Step.of(1, 2, *difference(before, after))
    alone = [m for rrset in steps(after, [step]) for m in messages(query(types.IXFR), [rrset])]
    incoming = read(alone, types.IXFR, 1)
    assert incoming.done
    changed, _ = before.changed(*apply(before, incoming.deltas))
    assert changed is not None
    assert content(changed) == content(after)


@pytest.mark.parametrize(
    ("held", "said"),
    [(make(1, []), "to be removed and is not here"), (make(7, [A1]), "a step from serial 1, but here is 7")],
)
def test_a_step_from_elsewhere_is_not_applied(held: Zone, said: str) -> None:
    before, after = make(1, [A1]), make(2, [A2])
    incoming = read(
        messages(query(types.IXFR), steps(after, [Step.of(1, 2, *difference(before, after))])), types.IXFR, 1
    )
    with pytest.raises(TransferFault, match=said):
        apply(held, incoming.deltas)


@pytest.mark.parametrize(
    ("a", "b", "is_newer"),
    [(1, 0, True), (0, 1, False), (5, 5, False), (0, 2**32 - 1, True), (2**31, 0, False), (0, 2**31, False)],
)
def test_serials_are_compared_by_rfc_1982(a: int, b: int, is_newer: bool) -> None:
    assert newer(a, b) is is_newer


# The history.


def changes(*versions: Zone, records: int = 1000, octets: int = 10**6) -> tuple[History, Zone]:
    book = Book()
    history = History(book, records=records, octets=octets)
    for version in versions:
        book.put(version)
    return history, versions[-1]


MANY = [(name([b"host%d" % number]), 60, (types.A, number.to_bytes(4, "big"))) for number in range(50)]


def test_history_knows_the_way() -> None:
    history, zone = changes(make(1, MANY), make(2, [*MANY, A1]), make(4, [*MANY, A2]))
    assert [(step.before, step.after) for step in history.since(zone, 1) or []] == [(1, 2), (2, 4)]
    assert [(step.before, step.after) for step in history.since(zone, 2) or []] == [(2, 4)]
    assert history.since(zone, 3) is None


def test_history_of_more_than_the_zone_is_none() -> None:
    history, zone = changes(make(1, MANY), make(2, [A1]))
    assert history.since(zone, 1) is None


def test_history_is_bounded() -> None:
    versions = [
        make(number, [*MANY, (name([b"v"]), 60, (types.A, number.to_bytes(4, "big")))]) for number in range(1, 9)
    ]
    history, zone = changes(*versions, records=8)  # a step has four records: two SOA, two A
    assert history.statistics()["records"] == 8
    assert history.since(zone, 6) is not None
    assert history.since(zone, 5) is None


def test_history_is_bounded_by_octets() -> None:
    versions = [
        make(number, [*MANY, (name([b"v"]), 60, (types.A, number.to_bytes(4, "big")))]) for number in range(1, 9)
    ]
    step = changes(*versions[:2])[0].statistics()["bytes"]
    history, zone = changes(*versions, octets=3 * step)
    assert history.statistics() == {"steps": 3, "records": 12, "bytes": 3 * step}
    assert history.since(zone, 5) is not None
    assert history.since(zone, 4) is None


def test_a_serial_that_does_not_grow_ends_the_history() -> None:
    history, zone = changes(make(1, MANY), make(2, [*MANY, A1]), make(2, [*MANY, A2]))
    assert history.since(zone, 1) is None
    assert history.statistics() == {"steps": 0, "records": 0, "bytes": 0}


def test_reading_the_same_text_again_keeps_the_history() -> None:
    history, zone = changes(make(1, MANY), make(2, [*MANY, A1]), make(2, [*MANY, A1]))
    assert history.since(zone, 1) is not None


def test_a_zone_that_goes_takes_its_history_along() -> None:
    history, zone = changes(make(1, MANY), make(2, [*MANY, A1]))
    history.note(Change(zone, None, [], []))
    assert history.since(zone, 1) is None


def test_names_that_nobody_wants_to_know_are_not_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody may send a NOTIFY with thousands of records and the longest names in them."""
    written = 0

    def counting(message: bytes, at: int) -> tuple[bytes, int]:
        nonlocal written
        written += 1
        return read_name(message, at)

    monkeypatch.setattr(module, "read_name", counting)
    hint = soa(7).rdata
    record = ORIGIN + b"\0\1\0\1\0\0\0\x3c\0\4\1\2\3\4"
    last = ORIGIN + b"\0\6\0\1\0\0\0\x3c" + len(hint).to_bytes(2, "big") + hint
    message = b"\0\1\x20\0\0\1\7\xd1\0\0\0\0" + ORIGIN + b"\0\6\0\1" + record * 2000 + last
    found = soa_among(message, 0)
    assert found is not None
    assert found.rdata == hint
    assert written == 1
