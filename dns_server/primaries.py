"""Asking a primary: what its serial is, and for the zone (RFC 1995, RFC 5936), with TSIG where that is agreed."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from dns_server.book import differing
from dns_server.config import TransferOptions
from dns_server.places import Place, source
from dns_server.rules import types
from dns_server.rules.draft import Draft
from dns_server.rules.incoming import Incoming, TransferFault, apply, serial_of
from dns_server.rules.rdata import RdataFault
from dns_server.rules.reply import answers, parse
from dns_server.rules.transfer import newer
from dns_server.rules.zone import Fault, Zone, finish
from dns_server.tsig import Conversation
from dns_server.tsig_keys import Key
from stack.clock import Clock
from stack.errors import ConfigError
from stack.net.dns_client import ask_tcp, ask_udp, stream_tcp
from stack.net.tls import client_context

PAUSE: Final = 500
"""Records read at a time; then others have their turn."""
LARGE: Final = 2_000
"""Records from which on a zone is compiled in a thread: questions are answered meanwhile."""
SHOWN: Final = 3
"""Faults that are named when a zone is not taken."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a primary has that is newer."""

    zone: Zone
    form: str
    """`axfr` or `ixfr`."""
    touched: Collection[tuple[bytes, int]] | None
    """Where alone it may differ from what is held: owner and type; None: nothing is held, or nearly all differs."""


class Primaries:
    """Speaks with primaries. What does not lead to a zone raises TransferFault, TsigFault, OSError, EOFError or
    TimeoutError."""

    def __init__(
        self,
        keys: Mapping[bytes, Key],
        options: TransferOptions,
        *,
        authority: Path,
        clock: Clock,
        random: Random,
    ) -> None:
        """`authority`: the certificate of the local CA."""
        self._keys = keys
        self._options = options
        self._authority = authority
        self._clock = clock
        self._random = random
        self.own = ""
        """The address that this server listens on."""

    async def serial(self, place: Place, origin: bytes) -> int:
        """That of the primary's zone: by UDP, twice, then by TCP (RFC 1034 §4.3.5); at `tls://` by that alone."""
        id, message, conversation = self._question(place, origin, types.SOA, None)
        question = origin + b"\0\x06\0\x01"
        clock, attempt, own = self._clock, self._options.attempt, source(self.own, place.address)

        def accept(response: bytes) -> bool:
            return answers(response, id, question)

        response = b""
        for _ in range(0 if place.tls else 2):
            try:
                response = await ask_udp(
                    place.address, message, accept=accept, clock=clock, timeout=attempt, source=own
                )
                break
            except TimeoutError:
                continue
        if not response or response[2] & 0x02:  # nothing, or truncated
            response = await ask_tcp(
                place.address, message,
                accept=accept, clock=clock, timeout=attempt, tls=self._context(place), source=own,
            )  # fmt: skip
        if conversation is not None:
            response = conversation.check(response)
        try:
            reply = parse(response)
        except RdataFault as fault:
            raise TransferFault(f"its answer is malformed: {fault}") from None
        if reply.rcode:
            raise TransferFault(f"answered {types.rcode_name(reply.rcode)} to the query for its SOA", reply.rcode)
        for rrset in reply.answer:
            if rrset.type == types.SOA and rrset.owner.lower() == origin.lower() and len(rrset.rdatas[0]) >= 22:
                if not reply.authoritative:
                    raise TransferFault("is not authoritative for the zone")
                return serial_of(rrset.rdatas[0])
        raise TransferFault("answered the query for its SOA without one")

    async def fetch(self, place: Place, origin: bytes, held: Zone | None) -> Fetched:
        """The primary's version; by IXFR where there is a version to begin from."""
        async with self._clock.timeout(self._options.total):
            if held is not None:
                try:
                    return await self._differences(place, origin, held)
                except TransferFault:
                    pass  # not known to it, or not what we hold: the whole zone then
            incoming = await self._receive(place, origin, types.AXFR, None)
            assert incoming.whole is not None
            return await self._whole(incoming.whole, incoming.records, held)

    async def _differences(self, place: Place, origin: bytes, held: Zone) -> Fetched:
        incoming = await self._receive(place, origin, types.IXFR, held)
        if incoming.current:
            raise TransferFault("had a newer serial and now has not")
        if incoming.whole is not None:
            return await self._whole(incoming.whole, incoming.records, held)
        removed, added = apply(held, incoming.deltas)
        if sum(len(delta.removed) + len(delta.added) for delta in incoming.deltas) > LARGE:
            zone, faults = await asyncio.to_thread(held.changed, removed, added)
        else:
            zone, faults = held.changed(removed, added)
        touched = {(rrset.owner.lower(), rrset.type) for rrset in (*removed, *added)}
        return Fetched(_accepted(zone, faults, held), "ixfr", touched)

    async def _whole(self, draft: Draft, records: int, held: Zone | None) -> Fetched:
        def compile() -> Fetched:
            zone = _accepted(*finish(draft), held)
            return Fetched(zone, "axfr", differing(held, zone) if held is not None else None)

        return await asyncio.to_thread(compile) if records > LARGE else compile()

    async def _receive(self, place: Place, origin: bytes, type: int, held: Zone | None) -> Incoming:
        id, message, conversation = self._question(place, origin, type, held)
        options = self._options
        incoming = Incoming(origin, type, id, held.serial if held is not None else None)
        messages = stream_tcp(
            place.address, message, clock=self._clock, connect=options.attempt, idle=options.idle,
            tls=self._context(place), source=source(self.own, place.address),
        )  # fmt: skip
        async with aclosing(messages):  # type: ignore[type-var]
            try:
                async for response in messages:
                    if conversation is not None:
                        response = conversation.check(response)
                    for count, _ in enumerate(incoming.read(response), 1):
                        if count % PAUSE == 0:
                            await self._clock.sleep(0)
                    if incoming.octets > options.bytes:
                        raise TransferFault(f"larger than {options.bytes} bytes (--transfer-bytes)")
                    if incoming.done:
                        break
            except EOFError:
                raise EOFError("the transfer ended before its last SOA") from None
        if conversation is not None:
            conversation.finish()
        return incoming

    def _context(self, place: Place) -> ssl.SSLContext | None:
        """Made for each connection: a new authority is believed at once."""
        if not place.tls:
            return None
        ca = self._options.ca
        try:
            context = client_context(None if ca == "system" else ca or self._authority, alpn=("dot",))
        except ConfigError as fault:
            raise TransferFault(str(fault)) from None
        context.minimum_version = ssl.TLSVersion.TLSv1_3  # RFC 9103 §6.1
        return context

    def _question(
        self, place: Place, origin: bytes, type: int, held: Zone | None
    ) -> tuple[int, bytes, Conversation | None]:
        id = self._random.getrandbits(16)
        message = id.to_bytes(2, "big") + b"\0\0\0\x01\0\0" + (b"\0\x01" if held is not None else b"\0\0") + b"\0\0"
        message += origin + type.to_bytes(2, "big") + b"\0\x01"
        if held is not None:  # RFC 1995 §3: what is held stands in the authority section
            rdata = held.soa.rdatas[0]
            message += b"\xc0\x0c" + held.soa.head + len(rdata).to_bytes(2, "big") + rdata
        if place.key is None:
            return id, message, None
        conversation = Conversation(self._keys[place.key], self._clock.time)
        return id, conversation.request(message), conversation


def _accepted(zone: Zone | None, faults: list[Fault], held: Zone | None) -> Zone:
    if zone is None:
        fatal = [str(fault) for fault in faults if fault.fatal]
        more = f" and {len(fatal) - SHOWN} more" if len(fatal) > SHOWN else ""
        raise TransferFault(f"the zone is not taken: {'; '.join(fatal[:SHOWN])}{more}")
    if held is not None and not newer(zone.serial, held.serial):
        raise TransferFault(f"serial {zone.serial} is not newer than {held.serial}")
    return zone
