"""UPDATE as it is answered: who may, what is said why not, and that nothing of it breaks the server."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Coroutine
from pathlib import Path

import dns.asyncquery
import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.tsig
import dns.tsigkeyring
import dns.update
import pytest

from dns_server import update as module
from dns_server.book import Book
from dns_server.changes import Changes
from dns_server.grants import read_grants
from dns_server.query_log import QueryLog
from dns_server.rules import types
from dns_server.rules.names import from_text
from dns_server.rules.zone import Zones
from dns_server.tsig import Keyring
from dns_server.tsig_keys import make_key
from dns_server.update import Updates
from dns_server.zonefile import load_text
from stack.clock import SystemClock
from stack.errors import ConfigError
from stack.telemetry.metrics import Metrics
from tests.support.dns_hops import Servers, zone_option

SECRET = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="
TEXT = "$TTL 60\n@ IN SOA ns h 5 1 1 1 30\n@ IN NS ns\nns IN A 192.0.2.1\nwww IN A 192.0.2.2\n"
SITE = from_text("shop.test")
KEYS = dns.tsigkeyring.from_text({"acme": SECRET})


class Server:
    def __init__(self, directory: Path, *grants: str) -> None:
        clock = SystemClock()
        self.book = Book()
        self.changes = Changes(self.book, directory / "changes", clock=clock)
        self.log = QueryLog("off", hop="dns", clock=clock, metrics=Metrics())
        keyring = Keyring([make_key("acme", "hmac-sha256", SECRET)], clock.time)
        self.updates = Updates(
            self.changes, keyring, read_grants(grants or ("acme",), keyring.keys),
            payload=1232, query_log=self.log, now=clock.now,
        )  # fmt: skip

    async def start(self) -> Server:
        await self.changes.load(Zones([load_text(SITE, TEXT)[0]]))
        return self

    async def ask(self, message: bytes, client: str = "127.0.0.1") -> bytes:
        answer = self.updates.operation(message, client, "udp")
        if isinstance(answer, Awaitable):
            answer = await answer
        assert isinstance(answer, bytes)
        return answer

    async def send(self, update: dns.update.UpdateMessage, client: str = "127.0.0.1") -> dns.message.Message:
        wire = update.to_wire()
        return dns.message.from_wire(await self.ask(wire, client), keyring=KEYS, request_mac=update.mac)

    @property
    def serial(self) -> int:
        return self.book.zones.by_key[SITE].serial


def change(zone: str = "shop.test", *, signed: bool = True, edns: int = 0) -> dns.update.UpdateMessage:
    made = dns.update.UpdateMessage(zone)
    made.add("new", 60, "A", "192.0.2.9")
    if edns >= 0:
        made.use_edns(edns)
    if signed:
        made.use_tsig(KEYS, keyname="acme", algorithm="hmac-sha256")
    return made


def why(message: dns.message.Message) -> tuple[int, str]:
    (found,) = [option for option in message.options if isinstance(option, dns.edns.EDEOption)]
    return int(found.code), found.text or ""


async def test_an_update_is_answered_signed_and_short(tmp_path: Path) -> None:
    server = await Server(tmp_path).start()
    asked = change()
    answer = await server.send(asked)
    assert answer.rcode() == dns.rcode.NOERROR
    assert answer.opcode() == dns.opcode.UPDATE
    assert answer.id == asked.id
    assert answer.flags & ~0x7800 == dns.flags.QR
    assert answer.had_tsig
    assert answer.edns == 0
    assert [len(section) for section in answer.sections] == [1, 0, 0, 0]
    assert server.serial == 6
    assert server.log.statistics()["words"] == {"updated": 1}


async def test_a_malformed_one_with_edns_is_answered_with_edns(tmp_path: Path) -> None:
    server = await Server(tmp_path).start()
    asked = dns.message.make_query("shop.test", "A", use_edns=0)  # §3.1.1: the type is SOA
    asked.set_opcode(dns.opcode.UPDATE)
    answer = dns.message.from_wire(await server.ask(asked.to_wire()))
    assert (answer.rcode(), answer.edns) == (dns.rcode.FORMERR, 0)  # RFC 6891 §7


async def test_without_edns_the_answer_has_none(tmp_path: Path) -> None:
    server = await Server(tmp_path).start()
    assert (await server.send(change(edns=-1))).edns == -1
    refused = await server.send(change(edns=-1, signed=False))
    assert (refused.edns, refused.rcode()) == (-1, dns.rcode.REFUSED)


async def test_what_changes_nothing_raises_no_serial(tmp_path: Path) -> None:
    server = await Server(tmp_path).start()
    for _ in range(2):
        assert (await server.send(change())).rcode() == dns.rcode.NOERROR
    assert server.serial == 6


@pytest.mark.parametrize(
    ("asked", "rcode", "said"),
    [
        (change(signed=False), types.REFUSED, (18, "an update has to be signed (TSIG)")),
        (change("other.test"), types.NOTAUTH, (20, "other.test. is no zone of this server")),
        (change("www.shop.test"), types.NOTAUTH, (20, "www.shop.test. is no zone of this server")),
        (change("mirror.test"), types.NOTIMP, (21, "a secondary does not forward updates; send them to the primary")),
    ],
    ids=["unsigned", "no-zone", "below-a-zone", "secondary"],
)
async def test_who_is_refused_is_told_why(
    tmp_path: Path, asked: dns.update.UpdateMessage, rcode: int, said: tuple[int, str]
) -> None:
    server = await Server(tmp_path).start()
    server.book.fetched = frozenset({from_text("mirror.test")})
    answer = await server.send(asked)
    assert (answer.rcode(), why(answer)) == (rcode, said)
    assert server.serial == 5


async def test_a_key_without_a_grant(tmp_path: Path) -> None:
    server = await Server(tmp_path, "acme zone=other.test").start()
    answer = await server.send(change())
    assert (answer.rcode(), why(answer)) == (5, (18, "the key acme. has no grant for shop.test."))
    server = await Server(tmp_path, "acme from=192.0.2.0/24").start()
    assert (await server.send(change())).rcode() == dns.rcode.REFUSED
    assert (await server.send(change(), "192.0.2.7")).rcode() == dns.rcode.NOERROR


async def test_the_log_says_why_and_no_flood_of_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """nsupdate sends no EDNS: what was refused is found here alone."""
    server = await Server(tmp_path, "acme type=TXT").start()
    asked = change()
    asked.absent("www")
    assert (await server.send(asked)).rcode() == dns.rcode.YXDOMAIN
    assert not caplog.messages  # that is an answer, and no refusal
    for _ in range(3):
        await server.send(change(edns=-1))
    await server.send(change(signed=False))
    what = "the key acme. may not change new.shop.test. A"
    assert caplog.messages == [f"update of shop.test. from 127.0.0.1 refused: {what} (1 of this kind)"]


async def test_a_grant_is_for_all_that_is_touched(tmp_path: Path) -> None:
    server = await Server(tmp_path, "acme type=A", "acme name=_acme-challenge.* type=TXT").start()
    asked = change()
    asked.add("www", 60, "TXT", '"x"')
    answer = await server.send(asked)
    assert (answer.rcode(), why(answer)) == (5, (18, "the key acme. may not change www.shop.test. TXT"))
    for wanted in ("NS", "SOA"):
        asked = dns.update.UpdateMessage("shop.test", keyring=KEYS, keyname="acme", keyalgorithm="hmac-sha256")
        asked.delete("@", wanted)
        assert (await server.send(asked)).rcode() == dns.rcode.REFUSED
    assert server.serial == 5


async def test_a_prerequisite_is_told_before_a_missing_grant(tmp_path: Path) -> None:  # RFC 2136 §3.2, §3.3
    server = await Server(tmp_path, "acme type=TXT").start()
    asked = change()
    asked.absent("www")
    assert (await server.send(asked)).rcode() == dns.rcode.YXDOMAIN


async def test_what_would_be_no_zone_is_refused(tmp_path: Path) -> None:
    """An update that is right by §3.4 and leaves what is none: it is refused as a whole, and said why."""
    server = await Server(tmp_path, "acme type=ANY").start()
    before = server.book.zones
    asked = dns.update.UpdateMessage("shop.test", keyring=KEYS, keyname="acme", keyalgorithm="hmac-sha256")
    asked.add("@", 60, "CNAME", "www.shop.test.")
    assert (await server.send(asked)).rcode() == dns.rcode.NOERROR  # §3.4.2.2: passed over
    assert server.book.zones is before


async def test_a_disk_that_does_not_take_it_is_servfail(tmp_path: Path) -> None:
    (tmp_path / "changes").write_text("a file in the directory's place")
    server = await Server(tmp_path).start()
    answer = await server.send(change())
    assert answer.rcode() == dns.rcode.SERVFAIL
    assert "cannot write" in why(answer)[1]
    assert server.serial == 5


async def test_updates_that_wait_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    server = await Server(tmp_path).start()
    answers = await asyncio.gather(*(server.send(change()) for _ in range(6)))
    assert sorted(answer.rcode() for answer in answers) == [0, 0, 0, 2, 2, 2]
    assert (await server.send(change())).rcode() == dns.rcode.NOERROR


async def test_what_is_dropped_before_it_begins_takes_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a listener does that has too many datagrams waiting."""
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    server = await Server(tmp_path).start()
    for _ in range(10):
        answer = server.updates.operation(change().to_wire(), "127.0.0.1", "udp")
        assert isinstance(answer, Coroutine)
        answer.close()
    assert (await server.send(change())).rcode() == dns.rcode.NOERROR


async def test_an_update_that_comes_again_is_done_once_and_answered_the_same(tmp_path: Path) -> None:
    server = await Server(tmp_path).start()
    asked = change()
    asked.absent("new")
    wire = asked.to_wire()
    first, second = await asyncio.gather(server.ask(wire), server.ask(wire, "127.0.0.2"))
    assert first == second == await server.ask(wire)
    assert dns.message.from_wire(first, keyring=KEYS, request_mac=asked.mac).rcode() == dns.rcode.NOERROR
    assert server.serial == 6
    other = change()
    other.replace("new", 60, "A", "192.0.2.10")
    await server.send(other)
    await server.ask(wire)  # and brings back nothing of what was changed since
    [record] = server.book.zones.by_key[SITE].rrset(from_text("new.shop.test"), types.A).rdatas  # type: ignore[union-attr]
    assert record == bytes((192, 0, 2, 10))
    assert server.log.statistics()["words"] == {"updated": 5}


async def test_an_update_that_failed_is_tried_when_it_comes_again(tmp_path: Path) -> None:
    server = await Server(tmp_path).start()
    asked = change()
    asked.present("later")
    wire = asked.to_wire()
    assert (await server.ask(wire))[3] & 0xF == types.NXDOMAIN
    other = change()
    other.add("later", 60, "A", "192.0.2.9")
    await server.send(other)
    assert (await server.ask(wire))[3] & 0xF == types.NOERROR


async def test_what_nobody_signed_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of records with the longest names are work for whom we know alone."""
    server = await Server(tmp_path).start()
    monkeypatch.setattr(module.update, "read", lambda message: pytest.fail("it was read"))
    for asked in (change(signed=False), change("other.test")):
        assert (await server.send(asked)).rcode() in (dns.rcode.REFUSED, dns.rcode.NOTAUTH)
    forged = bytearray(change().to_wire())
    forged[-20] ^= 1
    assert (await server.ask(bytes(forged)))[3] & 0xF == types.NOTAUTH


async def test_any_octets_are_answered(tmp_path: Path) -> None:
    server = await Server(tmp_path).start()
    draw = random.Random(3)
    whole = change().to_wire()
    for _ in range(3000):
        message = bytearray(whole[: draw.choice((len(whole), draw.randrange(12, len(whole))))])
        for _ in range(draw.randrange(4)):
            message[draw.randrange(4, len(message))] = draw.randrange(256)
        answer = await server.ask(bytes(message))
        assert answer[:2] == message[:2]
        assert answer[2] & 0x80
        dns.message.from_wire(answer, keyring=False, continue_on_error=True)


async def test_a_key_that_is_replaced_holds_from_the_next_reload_on(tmp_path: Path) -> None:
    servers = Servers(tmp_path)
    servers.zone.write_text(TEXT)
    port = await servers.start("ns1", update=("xfr",), **zone_option(servers))

    async def send(secret: str) -> int:
        asked = change(signed=False)
        asked.use_tsig(dns.tsigkeyring.from_text({"xfr": secret}), keyname="xfr", algorithm="hmac-sha256")
        try:
            return int((await dns.asyncquery.tcp(asked, "127.0.0.1", port=port, timeout=5)).rcode())
        except dns.tsig.PeerBadSignature:
            return int(dns.rcode.NOTAUTH)

    other = SECRET.replace("MTIz", "MTI0")
    try:
        assert [await send(SECRET), await send(other)] == [0, 9]
        servers.key.write_text(make_key("xfr", "hmac-sha256", other).text())
        await servers.hops["ns1"].reload()
        assert [await send(SECRET), await send(other)] == [9, 0]
        servers.key.write_text("nothing")
        with pytest.raises(ConfigError, match=r"xfr\.key:1: wanted key"):
            await servers.hops["ns1"].reload()
        assert await send(other) == 0
    finally:
        await servers.stop("ns1")
