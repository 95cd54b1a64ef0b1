"""Finished responses are given again, to the right question, and only while they hold."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from random import Random

import dns.message
import pytest

from dns_server.book import Book
from dns_server.config import RrlOptions
from dns_server.cookies import Cookies, Given
from dns_server.edns import Edns
from dns_server.handler import Authority, Handler
from dns_server.query_log import Cell, QueryLog
from dns_server.responses import Finished, Responses, weight
from dns_server.rrl import Limiter
from dns_server.rules.names import from_text, to_text
from dns_server.rules.query import Query
from dns_server.rules.rrset import Answer
from stack.clock import VirtualClock
from stack.telemetry.metrics import Metrics
from tests.support.dns_network import edns, question, respond, zones

TEXT = "$TTL 60\n@ IN SOA ns h 1 1 1 1 30\n@ IN NS ns\nns IN A 192.0.2.1\nwww IN A 192.0.2.2\n"
ZONES = zones({"z.test": TEXT})


@pytest.fixture
def handler() -> Handler:
    clock = VirtualClock()
    log = QueryLog("off", hop="dns", clock=clock, metrics=Metrics())
    return Handler(Authority(Book(ZONES)), payload=1232, responses=100, now=clock.now, log=log)


@pytest.mark.parametrize(
    "second",
    [
        question("www.z.test", id=9),
        question("WWW.z.test", id=9),
        question("www.z.test", id=9, flags=0x0100),
        question("www.z.test", id=9, opt=edns()),
        question("www.z.test", id=9, opt=edns(flags=0x8000)),
        question("www.z.test", "AAAA", id=9),
        question("nope.z.test", id=9),
        b"\0\x09" + question("www.z.test")[2:-1],
        question("www.z.test", cls=3),
    ],
    ids=["id", "letter-case", "rd", "edns", "do", "type", "name", "cut", "class"],
)
@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_what_is_kept_is_never_given_to_another_question(handler: Handler, second: bytes, protocol: str) -> None:
    for _ in range(2):
        handler.answer(question("www.z.test", id=1), "192.0.2.9", protocol)
    for _ in range(2):
        assert handler.answer(second, "192.0.2.9", protocol) == respond(ZONES, second, stream=protocol == "tcp")
    assert len(handler._streams if protocol == "tcp" else handler._datagrams) <= 2


def test_a_datagrams_response_is_not_given_on_a_stream(handler: Handler) -> None:
    role = handler.role
    assert isinstance(role, Authority)
    role.book.replace(zones({"z.test": TEXT + "".join(f"big IN A 192.0.2.{number}\n" for number in range(60))}))
    sent = question("big.z.test")
    datagram, stream = handler.answer(sent, "a", "udp"), handler.answer(sent, "a", "tcp")
    assert isinstance(datagram, bytes)
    assert isinstance(stream, bytes)
    assert len(datagram) <= 512 < len(stream)


def test_new_zones_are_answered_from_at_once(handler: Handler) -> None:
    sent = question("www.z.test")
    handler.answer(sent, "a", "udp")
    role = handler.role
    assert isinstance(role, Authority)
    role.book.replace(zones({"z.test": TEXT.replace("192.0.2.2", "192.0.2.3")}))
    response = handler.answer(sent, "a", "udp")
    assert isinstance(response, bytes)
    assert dns.message.from_wire(response).answer[0][0].to_text() == "192.0.2.3"


def test_queries_that_differ_in_their_options_share_a_response(handler: Handler) -> None:
    first = handler.answer(question("www.z.test", opt=edns()), "a", "udp")
    for options in (b"\0\x0a\0\x08abcdefgh", b"\0\x0a\0\x08hgfedcba", b"\xfd\xe9\0\0", b""):
        assert handler.answer(question("www.z.test", opt=edns(options=options)), "a", "udp") == first
    assert len(handler._datagrams) == 1


def made(tail: bytes) -> Finished:
    return Finished(tail, Query(0, 0), Answer("answered"), Cell(()))


def test_responses_are_bounded_and_keep_what_is_asked_again() -> None:
    responses = Responses(10, 1 << 20)
    finished = made(b"")
    for number in range(1000):
        responses.keep(b"%d" % number, finished)
        assert responses.get(b"0") is finished
        assert len(responses) <= 11
    assert responses.get(b"1") is None
    responses.keep(b"x" * 400, finished)
    assert responses.get(b"x" * 400) is None
    responses.keep(b"long", made(bytes(5000)))
    assert responses.get(b"long") is None
    responses.flush(1)
    assert len(responses) == 0


def test_responses_are_bounded_in_memory_and_weigh_no_more_than_is_counted(tmp_path: Path) -> None:
    """Of queries with long names for many records, and the lines that the log has ready for each."""
    clock, memory = VirtualClock(), 4 << 20
    text = TEXT + "".join(f"{'l' * 60}.{'m' * 60} 60 IN MX 10 mx{number}\n" for number in range(20))
    text += "".join(f"t{number} 60 IN TXT {'x' * 200}\n*.w{number} A 192.0.2.1\n" for number in range(50))
    served = zones({"z.test": text})
    log = QueryLog(str(tmp_path / "log"), hop="dns", clock=clock, metrics=Metrics())
    handler = Handler(
        Authority(Book(served)), payload=1232, responses=10**6, response_bytes=2 * memory, now=clock.now, log=log
    )
    names = [f"{'l' * 60}.{'m' * 60}.z.test", *(f"{kind}{n}.z.test" for n in range(50) for kind in ("t", "a.w", "no"))]
    sent = [
        question(name, type, opt=edns(payload))
        for payload in range(1232, 1256)
        for name in names
        for type in ("MX", "TXT", "A", "NS")
    ]
    kept, most, taken = handler._datagrams, 0, []
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number, message in enumerate(sent):
            for _ in range(3):
                handler.answer(message, "192.0.2.9", "udp")
            most = max(most, kept.octets)
            if number % 1000 == 999:
                log.lines.flush()
                taken.append((tracemalloc.get_traced_memory()[0] - before, kept.octets))
    finally:
        tracemalloc.stop()
    assert memory / 2 < most <= memory
    assert len(sent) > 5 * len(kept) > 3000
    assert all(counted / 3 < real < counted * 1.1 + 200_000 for real, counted in taken), taken
    handler.flush()
    assert (len(kept), kept.octets) == (0, 0)


def test_a_response_that_is_kept_again_counts_once() -> None:
    responses, finished = Responses(10, 1 << 20), made(bytes(1000))
    for _ in range(1000):
        responses.keep(b"a", finished)
    assert responses.octets == weight(b"a", finished)
    responses = Responses(10, 2 * weight(b"a", finished) - 1)
    responses.keep(b"a", finished)
    assert (len(responses), responses.octets) == (0, 0)


def test_no_responses_are_kept_when_told_so() -> None:
    responses = Responses(0, 1 << 20)
    responses.keep(b"a", made(b""))
    assert responses.get(b"a") is None


def test_names_in_the_log_cannot_break_its_lines(tmp_path: Path) -> None:

    clock = VirtualClock()
    log = QueryLog(str(tmp_path / "log"), hop='d"ns', clock=clock, metrics=Metrics())
    handler = Handler(Authority(Book(ZONES)), payload=1232, responses=0, now=clock.now, log=log)
    sent = bytearray(question("abcdef.z.test"))
    sent[13:19] = b'"\n\\,\x00\xff'
    handler.answer(bytes(sent), "192.0.2.9", "udp")
    handler.answer(b"\0\1\x08\0" + bytes(8), "192.0.2.9", "udp")
    log.lines.close()
    first, second = map(json.loads, (tmp_path / "log").read_text().splitlines())
    assert (first["hop"], first["name"], first["rcode"]) == ('d"ns', '\\"\\010\\\\,\\000\\255.z.test.', "NXDOMAIN")
    assert (second["name"], second["type"], second["rcode"]) == ("", "", "NOTIMP")


def test_a_burst_finds_what_is_finished_and_only_while_it_holds(handler: Handler) -> None:
    sent = question("www.z.test", id=7)
    look = handler.look()
    assert look is not None
    assert look(sent[2:]) is None
    for _ in range(2):
        handler.answer(sent, "a", "udp")
    look = handler.look()
    assert look is not None
    found = look(sent[2:])
    assert found is not None
    assert sent[:2] + found.tail == handler.answer(sent, "a", "udp")
    found.cell.count += 1
    handler.told([found], [], 0.001)
    assert handler._log.statistics()["words"] == {"answered": 4}
    role = handler.role
    assert isinstance(role, Authority)
    role.book.replace(zones({"z.test": TEXT.replace("192.0.2.2", "192.0.2.3")}))
    look = handler.look()
    assert look is not None
    assert look(sent[2:]) is None


@pytest.mark.parametrize("opt", [b"", edns(), edns(flags=0x8000)], ids=["plain", "edns", "do"])
@pytest.mark.parametrize(
    "name", ["www.z.test", "WWW.z.Test", "nope.z.test", "a_-b.z.test", 'q"\\\\.z.test', "x" * 40 + ".z.test"]
)
def test_every_way_to_an_answer_writes_the_same_line(tmp_path: Path, name: str, opt: bytes) -> None:
    """Made by slices, made and kept, kept before, given in a burst; and the whole way, which a response to HTTP goes."""
    clock = VirtualClock()
    zone = ZONES.by_key[from_text("z.test")].key
    log = QueryLog(str(tmp_path / "log"), hop="dns", clock=clock, metrics=Metrics(), zone_of=lambda *_: zone)
    handler = Handler(Authority(Book(ZONES)), payload=1232, responses=100, now=clock.now, log=log)
    sent = question(name, opt=opt, flags=0x0100)
    for _ in range(3):
        handler.answer(sent, "192.0.2.9", "udp")
    look = handler.look()
    assert look is not None
    found = look(sent[2:])
    assert found is not None
    handler.told([found] * 2, ["192.0.2.9"] * 2, 0.0)
    handler._directly = None
    handler.flush()
    handler.answer(sent, "192.0.2.9", "udp")
    log.lines.close()
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) == 6
    assert set(lines) == {lines[-1]}
    said = json.loads(lines[0])
    assert said["name"] == to_text(from_text(name))
    assert ("edns" in said["flags"], said["bytes"]) == (bool(opt), len(found.tail) + 2)


def test_a_burst_has_the_line_of_each_client_and_those_that_are_drawn(tmp_path: Path) -> None:
    clock = VirtualClock()
    log = QueryLog(str(tmp_path / "log"), hop="dns", clock=clock, metrics=Metrics(), share=0.25, random=Random(1))
    handler = Handler(Authority(Book(ZONES)), payload=1232, responses=100, now=clock.now, log=log)
    for sent in (question("www.z.test"), question("www.z.test", cls=3)):
        for _ in range(2):
            handler.answer(sent, "192.0.2.1", "udp")
    look = handler.look()
    assert look is not None
    found = look(question("www.z.test")[2:])
    assert found is not None
    log.lines.flush()
    before = len((tmp_path / "log").read_text().splitlines())
    handler.told([found] * 1000, [f"192.0.2.{number % 100}" for number in range(1000)], 0.0015)
    log.lines.flush()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()][before:]
    assert 180 < len(lines) < 320
    assert len({line["client"] for line in lines}) > 80
    assert {(line["sample"], line["ms"]) for line in lines} == {(0.25, 1.5)}
    failed = Finished(found.tail, found.query, Answer("servfail", 2), found.cell)
    handler.told([failed] * 100, ["192.0.2.1"] * 100, 0.0)
    log.lines.flush()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()][-100:]
    assert all(line["rcode"] == "SERVFAIL" and "sample" not in line for line in lines)


def test_what_a_cookie_vouches_for_is_its_clients_alone(tmp_path: Path) -> None:
    """Who asks the same question without a cookie is not taken for who asked first: in the log, and by a rate limit."""
    clock = VirtualClock()
    log = QueryLog(str(tmp_path / "log"), hop="dns", clock=clock, metrics=Metrics())
    options = Edns(
        nsid=b"", cookies=Cookies(Given([bytes(16)]), time=clock.time), require=False, idle=10.0
    )  # fmt: skip
    limiter = Limiter(RrlOptions(rate=1, slip=0), clock.now)
    handler = Handler(
        Authority(Book(ZONES)), payload=1232, responses=100, now=clock.now, log=log, edns=options, limiter=limiter
    )
    mine = b"\0\x0a\0\x08abcdefgh"
    first = handler.answer(question("ns.z.test", opt=edns(options=mine)), "192.0.2.1", "udp")
    assert isinstance(first, bytes)
    right = first[-28:]
    assert right[:4] == b"\0\x0a\0\x18"
    bare = question("www.z.test", opt=edns())
    for _ in range(3):
        assert handler.answer(question("www.z.test", opt=edns(options=right)), "192.0.2.1", "udp")
    answered = [handler.answer(bare, "198.51.100.7", "udp") for _ in range(20)]
    assert answered.count(None) > 10
    log.lines.close()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line.get("cookie") for line in lines] == [None, *["valid"] * 3, *[None] * 20]
