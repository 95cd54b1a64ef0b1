"""Primary and secondary as hops in one loop, over sockets: who may, and who is told."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import dns.message
import dns.query
import dns.rrset
import dns.tsigkeyring
import dns.zone
import pytest

from dns_server.access import Access
from dns_server.build import build
from dns_server.config import Config, TransferOptions
from dns_server.handler import Authority
from dns_server.places import source, zone_places
from dns_server.rules import types
from dns_server.rules.names import from_text
from dns_server.tsig_keys import make_key
from dns_server.zonefile import load_text
from stack.clock import eventually
from stack.errors import ConfigError, NotFound
from stack.net import Net
from stack.net.dns_client import ask_tcp, ask_udp
from stack.telemetry.metrics import Metrics
from tests.support.dns_hops import CLOCK, MORE, ORIGIN, SECRET, Servers, text, zone_option


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[Servers]:
    made = Servers(tmp_path)
    made.zone.write_text(text(1, "www IN A 192.0.2.1"))
    yield made
    for name in list(made.hops):
        await made.stop(name)


async def ask(port: int, message: bytes, *, tcp: bool = True) -> dns.message.Message:
    send = ask_tcp if tcp else ask_udp
    return dns.message.from_wire(
        await send(("127.0.0.1", port), message, accept=lambda data: data[:2] == message[:2], clock=CLOCK, timeout=10),
        xfr=True, one_rr_per_rrset=True,
    )  # fmt: skip


def query(name: str, type: str, **options: Any) -> bytes:
    return dns.message.make_query(name, type, **options).to_wire()


def soa_at(serial: int) -> dns.rrset.RRset:
    return dns.rrset.from_text("shop.test.", 60, "IN", "SOA", f"ns1.shop.test. host.shop.test. {serial} 1 1 1 1")


# From one of ours to another.


@pytest.mark.parametrize("key", ["", "#xfr"], ids=["plain", "signed"])
async def test_a_change_arrives_by_notify_and_ixfr(servers: Servers, key: str) -> None:
    spare = socket.create_server(("127.0.0.1", 0))
    port = spare.getsockname()[1]
    spare.close()
    servers.zone.write_text(text(1, "www IN A 192.0.2.1", *MORE))
    allow = TransferOptions(allow=(f"127.0.0.0/8{key}",))
    primary = await servers.start("ns1", **zone_option(servers), notify=(f"127.0.0.1:{port}{key}",), transfer=allow)
    await servers.start("ns2", port, secondary=(f"shop.test=127.0.0.1:{primary}{key}",))
    await servers.reach("ns2", 1)
    servers.zone.write_text(text(2, "www IN A 192.0.2.2", "*.w IN TXT hello", *MORE))
    await servers.hops["ns1"].reload()
    await servers.reach("ns2", 2)
    assert {str(rrset) for rrset in servers.served("ns2").rrsets()} == {  # type: ignore[union-attr]
        str(rrset)
        for rrset in servers.served("ns1").rrsets()  # type: ignore[union-attr]
    }
    samples = servers.metrics["ns2"].samples()
    assert samples['hopstack_dns_transfers_total{direction="in",form="ixfr",result="done"}'] == 1
    assert samples['hopstack_dns_zone_serial{zone="shop.test."}'] == 2
    (row,) = (await servers.admin("ns2", "GET", "/-/zones"))["zones"]
    assert (row["kind"], row["serial"], row["state"], row["error"]) == ("secondary", 2, "current", "")
    stats = servers.hops["ns1"].stats()
    assert stats["notify"]["unanswered"] == 0
    assert (stats["transfers"]["axfr"], stats["transfers"]["ixfr"]) == (1, 1)


async def test_a_key_that_is_replaced_signs_what_is_asked_and_told_from_the_next_reload_on(servers: Servers) -> None:
    spare = socket.create_server(("127.0.0.1", 0))
    port = spare.getsockname()[1]
    spare.close()
    allow = TransferOptions(allow=("127.0.0.0/8#xfr",))
    primary = await servers.start("ns1", **zone_option(servers), notify=(f"127.0.0.1:{port}#xfr",), transfer=allow)
    await servers.start("ns2", port, secondary=(f"shop.test=127.0.0.1:{primary}#xfr",))
    await servers.reach("ns2", 1)
    servers.key.write_text(make_key("xfr", "hmac-sha256", SECRET.replace("MTIz", "MTI0")).text())
    servers.zone.write_text(text(2))
    for name in ("ns2", "ns1"):
        await servers.hops[name].reload()
    await servers.reach("ns2", 2)
    notifier = servers.hops["ns1"].replication.notifier  # type: ignore[union-attr]
    await eventually(lambda: notifier.answered > 0)
    servers.key.write_text(make_key("other", "hmac-sha256", SECRET).text())
    for name, option in (("ns1", "--notify"), ("ns2", "--secondary")):
        with pytest.raises(ConfigError, match=f"{option}: no key is called xfr; give its file with --tsig-key FILE"):
            await servers.hops[name].reload()
    await servers.admin("ns2", "POST", "/-/refresh?whole=1")
    (secondary,) = servers.hops["ns2"].replication.secondaries.values()  # type: ignore[union-attr]
    await eventually(lambda: secondary.row()["state"] == "current")
    assert not secondary.error


async def test_what_is_changed_while_it_runs_arrives_too(servers: Servers) -> None:
    servers.zone.write_text(text(1, "www IN A 192.0.2.1", *MORE))
    primary = await servers.start("ns1", **zone_option(servers))
    await servers.start("ns2", secondary=(f"shop.test=127.0.0.1:{primary}",))
    await servers.reach("ns2", 1)
    changes = servers.hops["ns1"].changes
    assert changes is not None
    owner = from_text("new.shop.test")
    await changes.change(ORIGIN, lambda draft: draft.put(owner, types.A, 60, [b"\xc0\0\2\7"]), by="a test")
    await servers.admin("ns2", "POST", "/-/refresh")
    await servers.reach("ns2", servers.serial("ns1") or 0)
    assert servers.served("ns2").rrset(owner, types.A) is not None  # type: ignore[union-attr]
    assert servers.hops["ns1"].stats()["transfers"]["ixfr"] == 1


async def test_a_reload_leaves_secondary_zones_alone(servers: Servers) -> None:
    primary = await servers.start("ns1", **zone_option(servers))
    await servers.start("ns2", secondary=(f"shop.test=127.0.0.1:{primary}",))
    await servers.reach("ns2", 1)
    await servers.hops["ns2"].reload()
    assert servers.serial("ns2") == 1


async def test_a_primary_that_is_away_is_asked_again_when_told_to(servers: Servers) -> None:
    primary = await servers.start("ns1", **zone_option(servers))
    await servers.stop("ns1")
    port = await servers.start("ns2", secondary=(f"shop.test=127.0.0.1:{primary}",))
    assert (await ask(port, query("www.shop.test", "A"))).rcode() == types.SERVFAIL
    assert (await ask(port, query("example", "A"))).rcode() == types.REFUSED
    (row,) = (await servers.admin("ns2", "GET", "/-/zones"))["zones"]
    assert row["state"] == "absent: it was not fetched yet"
    assert "nobody listens there" in row["error"]
    await servers.start("ns1", primary, **zone_option(servers))
    assert await servers.admin("ns2", "POST", "/-/refresh?zone=shop.test.") == {"refreshing": ["shop.test."]}
    await servers.reach("ns2", 1)
    assert (await ask(port, query("www.shop.test", "A"))).rcode() == 0


async def test_a_secondary_of_a_secondary(servers: Servers) -> None:
    primary = await servers.start("ns1", **zone_option(servers))
    middle = await servers.start("ns2", secondary=(f"shop.test=127.0.0.1:{primary}",))
    await servers.start("ns3", secondary=(f"shop.test=127.0.0.1:{middle}",))
    await servers.reach("ns3", 1)
    servers.zone.write_text(text(2, "www IN A 192.0.2.2"))
    await servers.hops["ns1"].reload()
    for name in ("ns2", "ns3"):
        await servers.admin(name, "POST", "/-/refresh")
        await servers.reach(name, 2)


async def test_admin_routes_name_what_is_wrong(servers: Servers) -> None:
    await servers.start("ns1", **zone_option(servers))
    with pytest.raises(NotFound, match=r"shop\.test\. is no secondary zone here"):
        await servers.admin("ns1", "POST", "/-/refresh?zone=shop.test")
    with pytest.raises(NotFound, match=r"example\. is not served here"):
        await servers.admin("ns1", "POST", "/-/notify?zone=example")
    assert await servers.admin("ns1", "POST", "/-/notify") == {"notified": {"shop.test.": []}}


# Who may.


async def test_dnspython_gets_the_whole_zone(servers: Servers) -> None:
    port = await servers.start("ns1", **zone_option(servers))
    got = dns.zone.Zone("shop.test.")
    await asyncio.to_thread(dns.query.inbound_xfr, "127.0.0.1", got, port=port, lifetime=10)
    assert got == dns.zone.from_text(servers.zone.read_text(), "shop.test.")


@pytest.mark.parametrize(
    ("allow", "signed", "rcode"),
    [
        (("127.0.0.0/8",), False, 0),
        (("127.0.0.1",), True, 0),
        (("192.0.2.0/24",), False, types.REFUSED),
        (("#xfr",), True, 0),
        (("#xfr",), False, types.REFUSED),
        (("192.0.2.0/24#xfr",), True, types.REFUSED),
        (("192.0.2.0/24#xfr", "127.0.0.1#xfr"), True, 0),
        ((), False, types.REFUSED),
    ],
)
@pytest.mark.parametrize("type", ["AXFR", "IXFR"])
async def test_who_may_have_a_zone(
    servers: Servers, allow: tuple[str, ...], signed: bool, rcode: int, type: str
) -> None:
    port = await servers.start("ns1", **zone_option(servers), transfer=TransferOptions(allow=allow))
    message = dns.message.make_query("shop.test", type)
    if type == "IXFR":
        message.authority.append(soa_at(0))
    if signed:
        message.use_tsig(dns.tsigkeyring.from_text({"xfr": SECRET}), "xfr", algorithm="hmac-sha256")
    wire = message.to_wire()
    response = await ask_tcp(
        ("127.0.0.1", port), wire, accept=lambda data: data[:2] == wire[:2], clock=CLOCK, timeout=10
    )
    got = dns.message.from_wire(
        response, keyring=message.keyring, request_mac=message.mac, xfr=True, one_rr_per_rrset=True
    )
    assert got.rcode() == rcode
    assert len(got.answer) == (0 if rcode else 5)
    assert got.had_tsig is signed


@pytest.mark.parametrize(
    ("name", "type", "tcp", "rcode"),
    [
        ("shop.test", "AXFR", False, types.NOTIMP),
        ("example", "AXFR", True, types.NOTAUTH),
        ("www.shop.test", "AXFR", True, types.NOTAUTH),
        ("example", "AXFR", False, types.NOTIMP),
        ("shop.test", "IXFR", True, types.FORMERR),  # no SOA says where to begin
    ],
)
async def test_what_is_no_transfer(servers: Servers, name: str, type: str, tcp: bool, rcode: int) -> None:
    port = await servers.start("ns1", **zone_option(servers))
    got = await ask(port, query(name, type), tcp=tcp)
    assert got.rcode() == rcode
    assert not got.answer


@pytest.mark.parametrize("key", [("other", SECRET), ("xfr", SECRET.replace("M", "N"))], ids=["unknown", "wrong"])
async def test_a_wrong_signature_is_not_believed(servers: Servers, key: tuple[str, str]) -> None:
    port = await servers.start("ns1", **zone_option(servers))
    message = dns.message.make_query("shop.test", "AXFR")
    message.use_tsig(dns.tsigkeyring.from_text(dict([key])), key[0], algorithm="hmac-sha256")
    wire = message.to_wire()
    response = await ask_tcp(
        ("127.0.0.1", port), wire, accept=lambda data: data[:2] == wire[:2], clock=CLOCK, timeout=10
    )
    assert response[3] & 0xF == types.NOTAUTH
    assert response[6:8] == b"\0\0"


@pytest.mark.parametrize(
    ("held", "tcp", "serials"),
    [
        (2, False, [2]),  # up to date
        (9, False, [2]),  # from the future
        (1, False, [2, 1, 2, 2]),
        (1, True, [2, 1, 2, 2]),
        (0, True, [2, 2]),  # unknown: the whole zone
        (0, False, [2]),  # which is for TCP
    ],
)
async def test_ixfr_by_what_is_held(servers: Servers, held: int, tcp: bool, serials: list[int]) -> None:
    servers.zone.write_text(text(1, "www IN A 192.0.2.1", *MORE))
    port = await servers.start("ns1", **zone_option(servers))
    servers.zone.write_text(text(2, "www IN A 192.0.2.2", *MORE))
    await servers.hops["ns1"].reload()
    message = dns.message.make_query("shop.test", "IXFR")
    message.authority.append(soa_at(held))
    got = await ask(port, message.to_wire(), tcp=tcp)
    assert [rrset[0].serial for rrset in got.answer if rrset.rdtype == types.SOA] == serials  # type: ignore[attr-defined]


async def test_steps_too_many_for_udp_are_one_soa(servers: Servers) -> None:
    more = [f"host{number} IN A 192.0.2.{number % 250}" for number in range(200)]
    servers.zone.write_text(text(1, *more))
    port = await servers.start("ns1", **zone_option(servers))
    servers.zone.write_text(text(2, *more, *(f"new{number} IN A 192.0.2.1" for number in range(90))))
    await servers.hops["ns1"].reload()
    message = dns.message.make_query("shop.test", "IXFR")
    message.authority.append(soa_at(1))
    assert len((await ask(port, message.to_wire(), tcp=False)).answer) == 1
    assert len((await ask(port, message.to_wire())).answer) == 94


async def test_transfers_at_one_time_are_bounded(servers: Servers) -> None:
    servers.zone.write_text(text(1, *(f"host{number} IN TXT {'x' * 200}" for number in range(20_000))))
    port = await servers.start("ns1", **zone_option(servers), transfer=TransferOptions(concurrent=1))
    _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    wire = query("shop.test", "AXFR")
    writer.write(len(wire).to_bytes(2, "big") + wire)
    await eventually(lambda: servers.hops["ns1"].stats()["transfers"]["under_way"] == 1)
    assert (await ask(port, wire)).rcode() == types.SERVFAIL
    assert (await ask(port, query("host7.shop.test", "TXT"), tcp=False)).rcode() == 0, (
        "questions are answered meanwhile"
    )
    writer.transport.abort()
    await eventually(lambda: servers.hops["ns1"].stats()["transfers"]["under_way"] == 0)
    assert servers.hops["ns1"].stats()["transfers"]["cut"] == 1


# NOTIFY.


@pytest.mark.parametrize(
    ("name", "options", "rcode"),
    [
        ("shop.test", {}, 0),
        ("example", {}, types.NOTAUTH),
        ("shop.test", {"primary": "192.0.2.9"}, types.REFUSED),
        ("shop.test", {"primary": "192.0.2.9", "notify_from": ("127.0.0.0/8",)}, 0),
    ],
)
async def test_who_may_notify(servers: Servers, name: str, options: dict[str, Any], rcode: int) -> None:
    transfer = TransferOptions(notify_from=options.get("notify_from", ()), attempt=0.1)
    port = await servers.start(
        "ns2", secondary=(f"shop.test={options.get('primary', '127.0.0.1')}:9",), transfer=transfer
    )
    notice = dns.message.make_query(name, "SOA")
    notice.set_opcode(4)
    got = await ask(port, notice.to_wire(), tcp=False)
    assert (got.opcode(), got.rcode(), got.question) == (4, rcode, notice.question)
    assert bool(got.flags & 0x0400) is (rcode == 0)


async def test_notify_is_sent_until_it_is_answered(servers: Servers) -> None:
    heard: list[bytes] = []

    class Deaf(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            heard.append(data)
            if len(heard) > 1:
                answer = dns.message.make_response(dns.message.from_wire(data)).to_wire()
                self.transport.sendto(answer, addr)  # type: ignore[attr-defined]

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Deaf, local_addr=("127.0.0.1", 0))
    target = f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"
    await servers.start("ns1", **zone_option(servers), notify=(f"shop.test={target}", f"example={target}"))
    notifier = servers.hops["ns1"].replication.notifier  # type: ignore[union-attr]
    await eventually(lambda: notifier.answered == 1 and not notifier.statistics()["under_way"])
    transport.close()
    first = dns.message.from_wire(heard[0])
    assert (first.opcode(), first.question[0].to_text()) == (4, "shop.test. IN SOA")
    assert first.answer[0][0].serial == 1  # type: ignore[attr-defined]
    assert len(heard) == 2


async def test_a_burst_of_changes_is_one_notify(servers: Servers) -> None:
    await servers.start("ns1", **zone_option(servers), notify=("127.0.0.1:9",))
    hop = servers.hops["ns1"]
    told: list[bytes] = []
    hop.replication.notifier.notify = told.append  # type: ignore[union-attr, method-assign, assignment]
    assert isinstance(hop.role, Authority)
    for serial in range(2, 7):  # in one step of the loop: on a slow machine reloads are no burst
        hop.role.book.put(load_text(ORIGIN, text(serial))[0])
    await eventually(lambda: bool(told))
    await CLOCK.sleep(0.3)  # that no further one comes cannot be polled for
    assert told == [ORIGIN]


# Options.


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"secondary": ("127.0.0.1",)}, "--secondary 127.0.0.1: wanted NAME=ADDRESS"),
        ({"secondary": ("shop.test=ns1.example",)}, "wanted ADDRESS"),
        ({"secondary": ("shop.test=127.0.0.1:x",)}, "wanted ADDRESS"),
        ({"secondary": ("a..b=127.0.0.1",)}, "empty label"),
        ({"secondary": ("shop.test=127.0.0.1", "Shop.test.=127.0.0.2")}, "given twice"),
        ({"secondary": ("shop.test=127.0.0.1#nokey",)}, "--secondary: no key is called nokey"),
        ({"notify": ("127.0.0.1#nokey",), "secondary": ("a=127.0.0.1",)}, "--notify: no key is called nokey"),
        ({"secondary": ("a=127.0.0.1",), "transfer": TransferOptions(allow=("#nokey",))}, "--transfer-allow: no key"),
        ({"secondary": ("a=127.0.0.1",), "transfer": TransferOptions(allow=("10.0.0.1/8",))}, "has host bits set"),
        ({"secondary": ("a=127.0.0.1",), "notify": ("tls://127.0.0.1",)}, "leave tls:// out"),
        ({"secondary": ("shop.test=127.0.0.1",), "zone": ("SHOP.test=x",)}, "with --zone and with --secondary"),
    ],
)
def test_faults_of_options(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    net = Net(CLOCK, Random(1))
    with pytest.raises(ConfigError, match=said):
        build(Config(**options), clock=CLOCK, random=net.random, net=net, metrics=Metrics(), state_dir=tmp_path)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("shop.test=192.0.2.1", "192.0.2.1:53"),
        ("shop.test.=192.0.2.1:5053#Key.Name.", "192.0.2.1:5053#key.name"),
        (".=2001:db8::1", "[2001:db8::1]:53"),
        (".=[2001:db8::1]:5053,192.0.2.1", "[2001:db8::1]:5053 192.0.2.1:53"),
        (".=tls://192.0.2.1#k,tls://[2001:db8::1]:8853", "tls://192.0.2.1:853#k tls://[2001:db8::1]:8853"),
    ],
)
def test_how_a_primary_is_written(written: str, meant: str) -> None:
    assert " ".join(map(str, zone_places(written, "--secondary", may_tls=True)[1])) == meant


def test_addresses_of_ipv4_over_ipv6_sockets() -> None:
    assert Access(["127.0.0.0/8"], "--x").allows("::ffff:127.0.0.1", None)
    assert not Access(["127.0.0.0/8"], "--x").allows("::1", None)
    assert not Access(["0.0.0.0/0"], "--x").allows("no address", None)


@pytest.mark.parametrize(
    ("own", "other", "used"),
    [
        ("127.0.53.4", "127.0.53.3", True),
        ("127.0.53.4", "192.0.2.1", False),
        ("192.0.2.9", "127.0.0.1", False),
        ("192.0.2.9", "192.0.2.1", True),
        ("0.0.0.0", "192.0.2.1", False),
        ("::", "2001:db8::1", False),
        ("2001:db8::2", "192.0.2.1", False),
        ("", "192.0.2.1", False),
    ],
)
def test_it_speaks_from_where_it_listens(own: str, other: str, used: bool) -> None:
    assert source(own, (other, 53)) == (own if used else None)
