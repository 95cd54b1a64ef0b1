"""What is answered by slices is what the whole way through would answer, octet for octet."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dns_server.book import Book
from dns_server.rules.authority import answer
from dns_server.rules.direct import Directly
from dns_server.rules.query import parse
from dns_server.rules.response import PAYLOAD
from dns_server.rules.types import rcode_name
from dns_server.rules.zone import Zones
from tests.support.dns_network import edns, question, respond, zones

APEX = "$TTL 60\n@ IN SOA ns.{0} h 1 1 1 1 30\n@ IN NS ns\nns IN A 192.0.2.1\n"
PARENT = (
    APEX
    + (
        'www IN A 192.0.2.2\nwww IN A 192.0.2.3\nWWW IN TXT "a" "b"\nwww IN MX 5 mail\nmail IN AAAA 2001:db8::1\n'
        "Case IN A 192.0.2.9\n*.wild IN A 192.0.2.4\nbelow.ent IN A 192.0.2.5\nalias IN CNAME www\nloop IN CNAME loop\n"
        "tree IN DNAME other.test.\nunder.wild IN TXT x\n@ IN A 192.0.2.7\n"
        "cut IN NS ns.cut\nns.cut IN A 192.0.2.6\nsub IN NS ns.sub\nns.sub IN A 192.0.2.8\nds IN DS 1 8 1 "
        + "00"
        * 20
        + "\n"
        "ds IN NS ns.ds\nns.ds IN A 192.0.2.8\n"
    )
    + "".join(f"big IN A 192.0.2.{number}\n" for number in range(100))
    + "".join(f'huge IN TXT "{"x" * 250}{number}"\n' for number in range(8))
)
SERVED = zones({"z.test": PARENT, "sub.z.test": APEX + "www IN A 192.0.2.20\n"})
WITH_ROOT = zones({".": APEX.replace("ns.{0}", "ns."), "z.test": PARENT})
DIRECTLY = Directly(PAYLOAD)

NAMES = [
    *("z.test", "www.z.test", "WwW.Z.tEst", "case.z.test", "mail.z.test", "nope.z.test", "a.b.c.nope.z.test"),
    *("below.ent.z.test", "ent.z.test", "x.ent.z.test", "wild.z.test", "x.wild.z.test", "under.wild.z.test"),
    *("a.under.wild.z.test", "*.wild.z.test", "alias.z.test", "x.alias.z.test", "loop.z.test", "tree.z.test"),
    *("x.tree.z.test", "cut.z.test", "ns.cut.z.test", "x.cut.z.test", "sub.z.test", "www.sub.z.test", "ds.z.test"),
    *("nope.sub.z.test", "big.z.test", "huge.z.test", "test", "other.test", ".", "x" * 63 + ".z.test"),
]
TYPES = ["A", "AAAA", "TXT", "MX", "NS", "SOA", "CNAME", "DS", "ANY", "CAA", "TYPE65280", "AXFR", "OPT", "RRSIG"]


@pytest.mark.parametrize("served", [SERVED, WITH_ROOT], ids=["two-zones", "with-the-root"])
@pytest.mark.parametrize("stream", [False, True], ids=["udp", "tcp"])
def test_every_kind_of_question(served: Zones, stream: bool) -> None:
    direct = 0
    for name in NAMES:
        for type in TYPES:
            for flags in (0, 0x0100, 0x0130, 0x0600, 0x8000, 0x2800):
                for opt in (
                    b"",
                    edns(),
                    edns(4096, flags=0x8000),
                    edns(100),
                    edns(version=1),
                    edns(options=b"\0\3\0\0"),
                ):
                    for cls in (1, 3, 255):
                        sent = question(name, type, flags=flags, opt=opt, cls=cls)
                        made = DIRECTLY.answer(sent, served, stream=stream)
                        if made is not None:
                            direct += 1
                            assert sent[:2] + made[0] == respond(served, sent, stream=stream), (name, type)
                            query = parse(sent)
                            assert query is not None
                            whole = answer(served, query.name, query.key, query.type)
                            zone = served.find(query.key, query.type)
                            assert zone is not None
                            assert made[1:5] == (query.type, whole.rcode, whole.word, zone.key)
    assert direct > 500


@pytest.mark.parametrize(
    ("name", "type", "rcode", "word"),
    [
        ("www.z.test", "A", "NOERROR", "answered"),
        ("WwW.Z.tEst", "TXT", "NOERROR", "answered"),
        ("z.test", "A", "NOERROR", "answered"),
        ("www.sub.z.test", "A", "NOERROR", "answered"),
        ("nope.z.test", "A", "NXDOMAIN", "nxdomain"),
        ("a.b.c.nope.z.test", "AAAA", "NXDOMAIN", "nxdomain"),
        ("x.ent.z.test", "A", "NXDOMAIN", "nxdomain"),
        ("ent.z.test", "A", "NOERROR", "nodata"),
        ("www.z.test", "CAA", "NOERROR", "nodata"),
    ],
)
@pytest.mark.parametrize("opt", [b"", edns(), edns(flags=0x8000)], ids=["plain", "edns", "do"])
def test_what_is_answered_directly(name: str, type: str, rcode: str, word: str, opt: bytes) -> None:
    made = DIRECTLY.answer(question(name, type, opt=opt), SERVED, stream=False)
    assert made is not None
    assert (rcode_name(made[2]), made[3]) == (rcode, word)


@pytest.mark.parametrize("name", ["x.wild.z.test", "x.tree.z.test", "x.cut.z.test", "alias.z.test", "elsewhere.test"])
def test_what_has_a_rule_of_its_own_is_left_to_it(name: str) -> None:
    assert DIRECTLY.answer(question(name), SERVED, stream=False) is None


@given(seed=st.integers(min_value=0, max_value=2**32))
def test_bytes_that_are_no_good_query_are_left_alone(seed: int) -> None:
    random = Random(seed)
    for _ in range(20):
        sent = bytearray(
            question(random.choice(NAMES), random.choice(TYPES), opt=random.choice((b"", edns(), edns(flags=0x8000))))
        )
        for _ in range(random.randrange(4)):
            sent[random.randrange(len(sent))] = random.choice((0, 1, 0xC0, 63, 64, random.randrange(256)))
        message = bytes(sent[: random.choice((len(sent), len(sent), random.randrange(len(sent) + 1)))])
        message += random.choice((b"", b"", b"\0"))
        made = DIRECTLY.answer(message, SERVED, stream=False)
        if made is not None:
            assert message[:2] + made[0] == respond(SERVED, message, stream=False)


def test_the_handler_gives_the_same_the_first_the_second_and_the_third_time() -> None:
    from dns_server.handler import Authority, Handler
    from dns_server.query_log import QueryLog
    from stack.clock import VirtualClock
    from stack.telemetry.metrics import Metrics

    clock = VirtualClock()
    log = QueryLog("off", hop="dns", clock=clock, metrics=Metrics())
    handler = Handler(Authority(Book(SERVED)), payload=PAYLOAD, responses=100, now=clock.now, log=log)
    for protocol in ("udp", "tcp"):
        for name in ("www.z.test", "nope.z.test"):
            sent = question(name)
            given = [handler.answer(sent, "192.0.2.9", protocol) for _ in range(3)]
            assert given == [respond(SERVED, sent, stream=protocol == "tcp")] * 3
    look = handler.look()
    assert look is not None
    assert look(question("www.z.test")[2:]) is not None
    assert log.statistics()["words"] == {"answered": 6, "nxdomain": 6}
