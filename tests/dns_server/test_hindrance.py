"""Faults on what a DNS server answers: each kind's response, which queries meet it, and where it is seen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import pytest

from dns_server.rules import types
from dns_server.tsig import Conversation
from dns_server.tsig_keys import make_key
from dns_server.ways import UNHINDERED
from stack.errors import CutOff
from stack.faults import spec
from stack.net.dns_streams import ConnectionCut, Trickle
from stack.path import DNS_FAULTS, STEPS
from stack.telemetry.exchange import Exchange
from tests.support.dns_faults import Server
from tests.support.dns_network import question


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    started = await Server(tmp_path).start()
    yield started
    await started.hop.drain()
    await started.hop.stop()
    await started.net.close()


def addresses(message: dns.message.Message) -> list[str]:
    return [rdata.to_text() for rrset in message.answer for rdata in rrset]


async def test_an_rcode_in_place_of_the_answer(server: Server) -> None:
    server.add("dns-shop rcode=servfail name=broken")
    found = await server.ask()
    assert (found.rcode(), found.answer, found.authority) == (dns.rcode.SERVFAIL, [], [])
    assert (found.id, found.question[0].name.to_text()) == (7, "www.shop.test.")
    [line] = server.lines()
    assert (line["rcode"], line["fault"]) == ("SERVFAIL", ["broken"])
    assert line["marks"] == [["fault", "rcode"], ["answer", "servfail"]]
    assert server.injected() == {"rcode": 1}
    assert server.net.faults.remove("broken")
    assert addresses(await server.ask()) == ["192.0.2.1", "192.0.2.2"]
    assert "fault" not in server.lines()[-1]
    assert server.hop.handler.hindered is None


async def test_who_is_refused_anyway_meets_no_fault(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.hop.role, "allows", lambda client: client != "192.0.2.9", raising=False)
    server.add("dns-shop rcode=servfail name=broken")
    hindered = server.hop.handler.hindered
    assert hindered is not None
    assert hindered(question("www.shop.test"), "192.0.2.9", "udp", None) is UNHINDERED
    assert server.injected() == {}
    assert isinstance(hindered(question("www.shop.test"), "127.0.0.1", "udp", None), bytes)


@pytest.mark.parametrize("rcode", spec.RCODES)
async def test_every_rcode(server: Server, rcode: str) -> None:
    server.add(f"dns-shop rcode={rcode}")
    found = await server.ask()
    assert dns.rcode.to_text(found.rcode()) == rcode
    assert bool(found.flags & dns.flags.AA) is (rcode in ("NOERROR", "NXDOMAIN", "YXDOMAIN"))


async def test_dropped_over_udp_and_silent_over_tcp(server: Server) -> None:
    server.add("dns-shop drop")
    assert await server.reply() is None
    assert await server.reply(proto="tcp") is None
    assert [(line["rcode"], line["bytes"], line["proto"]) for line in server.lines()] == [
        ("", 0, "udp"),
        ("", 0, "tcp"),
    ]
    assert server.lines()[0]["marks"] == [["fault", "drop"], ["answer", "dropped"]]
    assert server.injected() == {"drop": 2}


async def test_a_drop_over_tcp_leaves_the_connection_open(server: Server) -> None:
    """None at once would close it: an awaitable of None does not."""
    server.add("dns-shop drop")
    found = server.hop.handler.answer(b"\0\1\0\0\0\1\0\0\0\0\0\0\3www\4shop\4test\0\0\1\0\1", "127.0.0.1", "tcp")
    assert found is not None
    assert not isinstance(found, bytes)
    assert await found is None


async def test_refused_resets_a_connection_and_loses_a_datagram(server: Server) -> None:
    server.add("dns-shop refused")
    assert await server.reply() is None
    with pytest.raises(ConnectionCut):
        await server.reply(proto="tcp")
    assert server.injected() == {"drop": 1, "refused": 1}


async def test_over_https_silence_is_a_request_that_is_cut_off(server: Server) -> None:
    server.add("dns-shop drop for=3s name=gone")
    exchange = Exchange("dns-shop", server.clock.now)
    with pytest.raises(CutOff, match="injected: gone"):
        await server.reply(proto="https", exchange=exchange)
    assert server.clock.now() >= 3
    assert exchange.faults == ("gone",)


async def test_a_delay_and_its_jitter(server: Server) -> None:
    server.add("client>dns-shop delay=2s jitter=500ms")
    began = server.clock.now()
    assert addresses(await server.ask()) == ["192.0.2.1", "192.0.2.2"]
    assert 1.4 < server.clock.now() - began < 2.6
    [line] = server.lines()
    assert line["marks"] == [["fault", "latency"], ["answer", "answered"]]
    assert 1400 < line["ms"] < 2600


async def test_truncated_over_udp_and_whole_over_tcp(server: Server) -> None:
    server.add("dns-shop truncate")
    found = await server.ask()
    assert found.flags & dns.flags.TC
    assert (found.rcode(), found.answer) == (0, [])
    whole = await server.ask(proto="tcp")
    assert not whole.flags & dns.flags.TC
    assert addresses(whole) == ["192.0.2.1", "192.0.2.2"]
    assert server.injected() == {"truncate": 1}


async def test_a_wrong_address_in_place_of_each_of_its_kind(server: Server) -> None:
    server.add("dns-shop wrong_address=192.0.2.66")
    assert addresses(await server.ask()) == ["192.0.2.66"]
    assert addresses(await server.ask("alias.shop.test")) == ["www.shop.test.", "192.0.2.66"]
    assert addresses(await server.ask(type="AAAA")) == ["2001:db8::1"]
    assert addresses(await server.ask("shop.test", "SOA"))[0].startswith("ns.shop.test.")
    assert server.injected() == {"wrong-address": 2}
    assert (await server.ask()).answer[0].ttl == 60
    server.net.faults.clear()
    server.add("dns-shop wrong_address=192.0.2.66,2001:db8::66")
    assert addresses(await server.ask(type="AAAA")) == ["2001:db8::66"]
    server.net.faults.clear()
    assert addresses(await server.ask()) == ["192.0.2.1", "192.0.2.2"]


async def test_lame_is_a_referral_up_without_authority(server: Server) -> None:
    server.add("dns-shop lame")
    found = await server.ask()
    assert (found.rcode(), found.answer, bool(found.flags & dns.flags.AA)) == (0, [], False)
    assert [rrset.name.to_text() for rrset in found.authority] == ["."]


async def test_a_slow_stream_is_told_to_the_listener(server: Server) -> None:
    server.add("dns-shop down=100")
    assert addresses(await server.ask()) == ["192.0.2.1", "192.0.2.2"]  # a datagram comes as a whole
    found = await server.reply(proto="tcp")
    assert isinstance(found, Trickle)
    assert found.rate == 100
    assert server.injected() == {"bandwidth": 1}


@pytest.mark.parametrize(
    ("words", "meets", "passes"),
    [
        ("qname=www.*", {"name": "WWW.shop.test"}, {"name": "ns.shop.test"}),
        ("qname=www.shop.test.", {"name": "www.shop.test"}, {"name": "x.www.shop.test"}),
        ("qtype=AAAA,TYPE65280", {"type": "TYPE65280"}, {"type": "A"}),
        ("source=192.0.2.0/24,2001:db8::/32", {"client": "192.0.2.9"}, {"client": "192.0.3.9"}),
        ("source=192.0.2.7", {"client": "::ffff:192.0.2.7"}, {"client": "::1"}),
        ("source=fe80::/10", {"client": "fe80::1%lo"}, {"client": ""}),
        ("proto=tcp,tls", {"proto": "tls"}, {"proto": "udp"}),
    ],
)
async def test_which_queries_meet_it(server: Server, words: str, meets: dict[str, str], passes: dict[str, str]) -> None:
    server.add(f"dns-shop rcode=REFUSED {words}")
    assert (await server.ask(**meets)).rcode() == dns.rcode.REFUSED  # type: ignore[arg-type]
    assert (await server.ask(**passes)).rcode() != dns.rcode.REFUSED  # type: ignore[arg-type]


async def test_first_count_share_and_time(server: Server) -> None:
    server.add("dns-shop rcode=SERVFAIL first=2 name=some")
    assert [(await server.ask()).rcode() for _ in range(3)] == [2, 2, 0]
    server.net.faults.clear()
    server.add("dns-shop rcode=SERVFAIL share=0.3 seed=1")
    drawn = [(await server.ask()).rcode() for _ in range(200)]
    assert 40 < drawn.count(2) < 80
    server.net.faults.clear()
    server.add("dns-shop rcode=SERVFAIL share=0.3 seed=1 name=again")
    assert [(await server.ask()).rcode() for _ in range(200)] == drawn
    server.net.faults.clear()
    server.add("dns-shop rcode=SERVFAIL for=1s")
    assert (await server.ask()).rcode() == 2
    await server.clock.advance(1.1)
    assert (await server.ask()).rcode() == 0


async def test_several_act_together(server: Server) -> None:
    server.add("dns-shop delay=100ms name=late")
    server.add("dns-shop rcode=NXDOMAIN name=none")
    assert (await server.ask()).rcode() == 3
    [line] = server.lines()
    assert line["fault"] == ["late", "none"]
    assert line["marks"] == [["fault", "latency"], ["fault", "rcode"], ["answer", "nxdomain"]]


async def test_what_is_no_query_is_not_touched(server: Server) -> None:
    server.add("dns-shop rcode=SERVFAIL")
    answer = server.hop.handler.answer
    assert answer(b"short", "127.0.0.1", "udp") is None
    response = answer(b"\0\7\x28\0" + bytes(8), "127.0.0.1", "udp")  # an UPDATE without a zone
    assert isinstance(response, bytes)
    assert response[3] & 0xF != types.SERVFAIL
    assert server.injected() == {}


async def test_server_timing_of_dns_over_https_says_so(server: Server) -> None:
    server.add("dns-shop rcode=SERVFAIL name=broken")
    exchange = Exchange("dns-shop", server.clock.now)
    await server.ask(proto="https", exchange=exchange)
    assert [(step, word) for step, word, _ in exchange.marks] == [("fault", "rcode"), ("answer", "servfail")]
    assert exchange.faults == ("broken",)


async def test_nothing_that_was_injected_is_kept_for_later(server: Server) -> None:
    server.add("dns-shop wrong_address=192.0.2.66 count=1")
    assert addresses(await server.ask()) == ["192.0.2.66"]
    for _ in range(3):
        assert addresses(await server.ask()) == ["192.0.2.1", "192.0.2.2"]


def test_the_names_of_types_are_those_of_the_server() -> None:
    assert set(spec.QTYPES) == set(types.NUMBERS) - {"OPT", "TSIG"}
    assert set(spec.RCODES) <= set(types.RCODE_NUMBERS)
    assert STEPS["dns_server"]["fault"] == DNS_FAULTS


async def test_a_transfer_is_late_whole_or_not_at_all(server: Server) -> None:
    messages = [b"first", b"second"]

    async def several() -> AsyncIterator[bytes]:
        for message in messages:
            yield message

    server.hop.handler.transfer = lambda *_: several()
    server.add("dns-shop delay=1s qtype=AXFR")
    asked = b"\0\1\0\0\0\1\0\0\0\0\0\0\4shop\4test\0\0\xfc\0\1"
    found = server.hop.handler.answer(asked, "127.0.0.1", "tcp")
    assert isinstance(found, AsyncIterator)

    async def whole() -> list[bytes]:
        return [message async for message in found]

    began = server.clock.now()
    assert await server.passing(whole()) == messages
    assert server.clock.now() - began >= 1
    server.net.faults.clear()
    server.add("dns-shop rcode=REFUSED")
    signed = Conversation(make_key("xfr", "hmac-sha256", "c2VjcmV0"), server.clock.time).request(asked)
    for message in (asked, signed):
        refused = server.hop.handler.answer(message, "127.0.0.1", "tcp")
        assert isinstance(refused, bytes)
        assert refused[3] & 0xF == 5
