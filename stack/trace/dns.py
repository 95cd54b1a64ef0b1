"""Finding a name's addresses by walking from the root, as a resolver does, and keeping every step.

The door to dnslib for tools: the servers have a codec of their own, where speed is at stake.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import dnslib

from stack.clock import Clock
from stack.net.dns_client import Address, ask_tcp, ask_udp
from stack.trace.model import Span

PATIENCE: Final = (1.0, 2.0)
"""Seconds that a server has to answer, the first time and the second."""
MOST: Final = 24
"""Queries of one walk."""
DEPTH: Final = 4
"""Names of servers that must themselves be looked up, one for another."""
OPT: Final = 11
"""Bytes of the OPT record at the end of a query (RFC 6891 §6.1.2)."""
EXTENDED_ERROR: Final = 15
INJECTED: Final = b"injected: "
PAYLOAD: Final = 1232
"""Bytes of a UDP response (DNS flag day 2020)."""


def warm() -> None:
    """The first message takes the library over a millisecond: not to be seen as the network's."""
    dnslib.DNSRecord.parse(_query("warm", "A", 0).pack())


def _query(name: str, kind: str, id_: int, *, recurse: bool = False) -> Any:
    query = dnslib.DNSRecord(
        dnslib.DNSHeader(id=id_, rd=int(recurse)), q=dnslib.DNSQuestion(name, getattr(dnslib.QTYPE, kind))
    )
    query.add_ar(dnslib.EDNS0(udp_len=PAYLOAD))
    return query


class Unresolved(Exception):
    """Why there is no address, in one line."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came, of a whole message."""

    server: str
    message: Any

    @property
    def injected(self) -> str:
        """The faults that a server of the stack says it injected: the text of an extended error (RFC 8914)."""
        for rr in self.message.ar:
            for option in rr.rdata if rr.rtype == dnslib.QTYPE.OPT else ():
                if option.code == EXTENDED_ERROR and option.data[2:].startswith(INJECTED):
                    return str(option.data[2:].decode("ascii", "replace"))
        return ""

    @property
    def rcode(self) -> str:
        return str(dnslib.RCODE.get(self.message.header.rcode, self.message.header.rcode))


class Walk:
    """Asks root, TLD and zone for one name. `spans` has a line for each query, also of a walk that failed.

    `names` are the processes behind addresses, for the lines. `port`: of every server, since a referral carries none.
    `recurse`: the roots are resolvers, which walk themselves.
    """

    def __init__(
        self,
        roots: Sequence[Address],
        *,
        port: int,
        clock: Clock,
        random: Random,
        began: float,
        names: Mapping[Address, str],
        recurse: bool = False,
    ) -> None:
        self._roots = list(roots)
        self._port = port
        self._clock, self._random, self._began = clock, random, began
        self._names = names
        self._recurse = recurse
        self._asked = 0
        self.spans: list[Span] = []

    async def addresses(self, name: str, *, depth: int = 0) -> list[str]:
        """IPv4, or IPv6 where there is no IPv4. Raises Unresolved."""
        seen = [name]
        while True:
            found, alias = await self._descend(name, depth)
            if alias is None:
                if found:
                    return found
                raise Unresolved(f"{name} has no address")
            if alias in seen or len(seen) > 8:
                raise Unresolved(f"{' -> '.join([*seen, alias])}: aliases without end")
            seen.append(alias)
            name = alias

    async def _descend(self, name: str, depth: int) -> tuple[list[str], str | None]:
        """From the root to whoever answers for `name`: its addresses, or whose alias it is."""
        servers, zone = self._roots, ""
        while True:
            reply = await self._ask_one_of(servers, name, "A", zone)
            if reply.rcode == "NXDOMAIN":
                raise Unresolved(f"{name} does not exist, says {reply.server} (NXDOMAIN)")
            found, alias = _answer(reply.message, name)
            if found or alias is not None:
                return found, alias
            below = _referral(reply.message, name, zone)
            if below is None:
                if not reply.message.header.aa and not self._recurse:
                    raise Unresolved(f"{reply.server} answers for {zone or 'the root'} and knows nothing of {name}")
                return _answer((await self._ask_one_of(servers, name, "AAAA", zone)).message, name)
            zone = below
            servers = await self._servers(reply, zone, depth)

    async def _servers(self, reply: Reply, zone: str, depth: int) -> list[Address]:
        """Where the referral leads: by its glue, else by looking its servers up."""
        hosts = [_text(rr.rdata.label) for rr in reply.message.auth if rr.rtype == dnslib.QTYPE.NS]
        glue = [
            str(rr.rdata)
            for rr in reply.message.ar
            if rr.rtype in (dnslib.QTYPE.A, dnslib.QTYPE.AAAA) and _text(rr.rname) in hosts
        ]
        if not glue and depth < DEPTH:
            for host in hosts:
                if not _within(host, zone):  # its own address is known to nobody else
                    glue = await self.addresses(host, depth=depth + 1)
                    break
        if not glue:
            raise Unresolved(f"{reply.server} refers to {zone}, and gives no address of its servers")
        return [(address, self._port) for address in glue]

    async def _ask_one_of(self, servers: Sequence[Address], name: str, kind: str, zone: str) -> Reply:
        """The first usable reply; each server is asked twice at most."""
        failed = ""
        for patience in PATIENCE:
            for server in servers:
                self._asked += 1
                if self._asked > MOST:
                    raise Unresolved(f"{name}: no answer after {MOST} queries")
                reply, failed = await self._ask(server, name, kind, zone, patience)
                if reply is not None:
                    return reply
        raise Unresolved(f"{name}: {failed}")

    async def _ask(self, server: Address, name: str, kind: str, zone: str, patience: float) -> tuple[Reply | None, str]:
        """One query, one span. Without a usable reply: what to say if no other server has one."""
        message = _query(name, kind, self._random.getrandbits(16), recurse=self._recurse).pack()

        asked = message[12:-OPT]

        def accept(data: bytes) -> bool:
            """RFC 5452 §4: a response to this question; a refusal may leave the question out."""
            if len(data) < 12 or data[:2] != message[:2] or not data[2] & 0x80:
                return False
            return data[4:6] == b"\0\0" or data[12 : 12 + len(asked)].lower() == asked.lower()

        called = self._names.get(server, server[0])
        start = self._clock.now()
        over, injected, error = "", "", True
        reply: Reply | None = None
        try:
            data = await ask_udp(server, message, accept=accept, clock=self._clock, timeout=patience)
            if data[2] & 0x02:  # TC (RFC 2181 §9)
                over = ", over TCP"
                data = await ask_tcp(server, message, accept=accept, clock=self._clock, timeout=patience)
            reply = Reply(called, dnslib.DNSRecord.parse(data))
            came, error = _came(reply, name, zone)
            injected = f" ({reply.injected})" if reply.injected else ""
            if reply.rcode not in ("NOERROR", "NXDOMAIN"):
                reply = None
            failed = f"{called} says {came}{injected}"
        except TimeoutError:
            came = f"no answer in {patience:g} s"
            failed = f"{called} ({server[0]}:{server[1]}) gave {came}"
        except (OSError, EOFError) as problem:
            came = getattr(problem, "strerror", None) or "connection closed"
            failed = f"{called} ({server[0]}:{server[1]}): {came}"
        except (dnslib.DNSError, ValueError, IndexError, KeyError, TypeError, RecursionError):
            # the last: pointers to pointers to pointers (RFC 1035 §4.1.4)
            came = "a response that cannot be read"
            failed = f"{called} gave {came}"
        took = (self._clock.now() - start) * 1000
        at = (start - self._began) * 1000
        said = f"{kind} {name}: {came}{over}{injected}"
        self.spans.append(
            Span(
                called, "dns", at, took, took, said, busy=((at, took),), error=error,
                injected=bool(injected), faults=((at, took),) if injected else (),
            )
        )  # fmt: skip
        return reply, failed


def _came(reply: Reply, name: str, zone: str) -> tuple[str, bool]:
    """A reply in words, and whether it ends the walk badly."""
    if reply.rcode != "NOERROR":
        return reply.rcode, True
    found, alias = _answer(reply.message, name)
    if found:
        more = f" +{len(found) - 1}" if len(found) > 1 else ""
        ttl = min(rr.ttl for rr in reply.message.rr)
        return f"{found[0]}{more}, ttl {ttl}", False
    if alias is not None:
        return f"alias of {alias}", False
    below = _referral(reply.message, name, zone)
    return ("no address", False) if below is None else (f"referral to {below}", False)


def _answer(message: Any, name: str) -> tuple[list[str], str | None]:
    """Addresses of `name`, following aliases as far as the message goes; else the name at their end.

    Each record is read once: a message over TCP has room for thousands of aliases, one after the other.
    """
    addresses: dict[str, list[str]] = {}
    aliases: dict[str, str] = {}
    for rr in message.rr:
        if rr.rtype in (dnslib.QTYPE.A, dnslib.QTYPE.AAAA):
            addresses.setdefault(_text(rr.rname), []).append(str(rr.rdata))
        elif rr.rtype == dnslib.QTYPE.CNAME:
            aliases.setdefault(_text(rr.rname), _text(rr.rdata.label))
    end = name
    for _ in range(len(aliases) + 1):
        if end in addresses:
            return addresses[end], None
        if end not in aliases:
            break
        end = aliases[end]
    return [], None if end == name else end


def _referral(message: Any, name: str, zone: str) -> str | None:
    """The zone that the message refers to: further down than `zone`, on the way to `name` (RFC 1034 §4.3.2)."""
    for rr in message.auth:
        if rr.rtype == dnslib.QTYPE.NS:
            below = _text(rr.rname)
            if below != zone and _within(below, zone) and _within(name, below):
                return below
    return None


def _within(name: str, zone: str) -> bool:
    return not zone or name == zone or name.endswith(f".{zone}")


def _text(label: object) -> str:
    return str(label).rstrip(".").lower()
