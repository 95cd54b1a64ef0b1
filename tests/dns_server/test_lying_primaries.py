"""Primaries that lie, or stop in the middle: the secondary keeps what it has, and says why."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from dns_server.config import TransferOptions
from dns_server.rules import types
from dns_server.rules.names import from_text
from dns_server.rules.query import parse
from dns_server.rules.rrset import RRset
from dns_server.rules.transfer import messages, whole
from dns_server.rules.zone import Zone
from dns_server.server import DnsServer
from dns_server.tsig import Keyring, Signer
from dns_server.tsig_keys import make_key
from dns_server.zonefile import load_text
from stack.clock import eventually
from tests.support.dns_hops import CLOCK, ORIGIN, SECRET, Servers, bound, text, zone_option


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[Servers]:
    made = Servers(tmp_path)
    made.zone.write_text(text(1, "www IN A 192.0.2.1"))
    yield made
    for name in list(made.hops):
        await made.stop(name)


RING = Keyring([make_key("xfr", "hmac-sha256", SECRET)], CLOCK.time)

Reply = Callable[[bytes, Zone], Sequence[bytes | None]]


async def lying(servers: Servers, reply: Reply, *, transfer: TransferOptions | None = None, key: str = "") -> DnsServer:
    """A secondary with version 1 whose primary then has version 2, and answers AXFR and IXFR by `reply`. With `key` all
    is to be signed, and the answer to the query for the SOA is."""
    port = await servers.start("ns1", **zone_option(servers))
    await servers.start("ns2", secondary=(f"shop.test=127.0.0.1:{port}{key}",), transfer=transfer or TransferOptions())
    await servers.reach("ns2", 1)
    await servers.stop("ns1")
    zone, _ = load_text(ORIGIN, text(2, "www IN A 192.0.2.2"))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                message = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
                for part in reply(message, zone):
                    if part is None:
                        await reader.read()
                    else:
                        writer.write(len(part).to_bytes(2, "big") + part)
                if parse(message).type != types.SOA:  # type: ignore[union-attr]
                    break
        except EOFError:
            pass
        finally:
            writer.close()

    class Serial(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            asked = parse(data)
            assert asked is not None
            response = next(messages(asked, [zone.soa]))
            signed = RING.judge(data)
            self.transport.sendto(signed.sign(response) if signed else response, addr)  # type: ignore[attr-defined]

    stream, datagrams = await bound(port)
    server = await asyncio.start_server(serve, sock=stream)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Serial, sock=datagrams)
    hop = servers.hops["ns2"]
    try:
        await servers.admin("ns2", "POST", "/-/refresh")
        (secondary,) = hop.replication.secondaries.values()  # type: ignore[union-attr]
        await eventually(lambda: bool(secondary.error) or servers.serial("ns2") == 2)
    finally:
        transport.close()
        server.close()
    return hop


def asked(message: bytes) -> Any:
    query = parse(message)
    assert query is not None
    return query


def foreign(message: bytes, zone: Zone) -> list[bytes]:
    other = RRset(from_text("www.example"), types.A, 60, [b"\1\2\3\4"])
    return list(messages(asked(message), [zone.soa, other, zone.soa]))


def other_zone(message: bytes, zone: Zone) -> list[bytes]:
    zone, _ = load_text(from_text("example.test"), text(2))
    return list(messages(asked(message), whole(zone)))


def faulty(message: bytes, zone: Zone) -> list[bytes]:
    alias = RRset(from_text("ns1.shop.test"), types.CNAME, 60, [from_text("www.shop.test")])
    return list(messages(asked(message), [*list(whole(zone))[:-1], alias, zone.soa]))


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (lambda m, z: [], "ended before its last SOA"),
        (lambda m, z: list(messages(asked(m), list(whole(z))[:-1])), "ended before its last SOA"),
        (foreign, "www.example. is not in the zone"),
        (other_zone, "SOA record of example.test."),
        (faulty, "has a CNAME and other data"),
        (lambda m, z: [b"\xff" * 40], "no response to this query"),
        (lambda m, z: [next(messages(asked(m), whole(z)))[:-3]], "malformed"),
        (lambda m, z: [b"\0" * 11], "malformed"),
    ],
    ids=["closed", "no-final-soa", "foreign", "other-zone", "faulty", "garbage", "cut", "short"],
)
async def test_a_lie_leaves_the_old_version(servers: Servers, reply: Reply, said: str) -> None:
    hop = await lying(servers, reply)
    assert servers.serial("ns2") == 1
    (row,) = (await servers.admin("ns2", "GET", "/-/zones"))["zones"]
    assert said in row["error"]
    assert servers.metrics["ns2"].samples()['hopstack_dns_secondary_fault{zone="shop.test."}'] == 1
    assert hop.stats()["zones"] == 1


def only_first(message: bytes, zone: Zone) -> list[bytes]:
    signed = RING.judge(message)
    assert signed is not None
    first, *rest = (m for rrset in whole(zone) for m in messages(asked(message), [rrset]))
    return [signed.sign(first), *rest]


def by_another(message: bytes, zone: Zone) -> list[bytes]:
    other = Keyring([make_key("xfr", "hmac-sha256", SECRET.replace("M", "N"))], CLOCK.time)
    signed = Signer(other.keys[from_text("xfr")], b"", CLOCK.time)
    return [signed.sign(part) for part in messages(asked(message), whole(zone))]


def signed_well(message: bytes, zone: Zone) -> list[bytes]:
    signed = RING.judge(message)
    assert signed is not None
    return [signed.sign(part) for part in messages(asked(message), whole(zone))]


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (lambda m, z: list(messages(asked(m), whole(z))), "not signed with xfr."),
        (only_first, "the last message of the response is not signed"),
        (by_another, "BADSIG"),
        (signed_well, ""),
    ],
    ids=["unsigned", "first-only", "other-secret", "well"],
)
async def test_what_is_not_signed_as_agreed_is_not_taken(servers: Servers, reply: Reply, said: str) -> None:
    await lying(servers, reply, key="#xfr")
    (row,) = (await servers.admin("ns2", "GET", "/-/zones"))["zones"]
    assert said in row["error"]
    assert row["serial"] == (1 if said else 2)


async def test_a_zone_that_is_too_large_is_not_taken(servers: Servers) -> None:
    large = RRset(ORIGIN, types.TXT, 60, [b"\xff" + b"x" * 255])

    def reply(message: bytes, zone: Zone) -> list[bytes]:
        return list(messages(asked(message), [zone.soa, large, zone.soa]))

    await lying(servers, reply, transfer=TransferOptions(bytes=300))
    (row,) = (await servers.admin("ns2", "GET", "/-/zones"))["zones"]
    assert "larger than 300 bytes" in row["error"]


async def test_a_primary_that_stops_in_the_middle_is_given_up(servers: Servers) -> None:
    def stuck(message: bytes, zone: Zone) -> list[bytes | None]:
        return [next(messages(asked(message), [zone.soa])), None]

    await lying(servers, stuck, transfer=TransferOptions(idle=0.3))
    assert servers.serial("ns2") == 1


async def test_an_honest_one_is_believed(servers: Servers) -> None:
    await lying(servers, lambda m, z: list(messages(asked(m), whole(z))))
    assert servers.serial("ns2") == 2
