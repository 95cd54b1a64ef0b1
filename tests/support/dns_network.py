"""A network of authoritative servers in memory, for a resolver to walk through on a virtual clock."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping
from random import Random

from dns_server.book import Book
from dns_server.cache import Cache
from dns_server.config import CacheOptions, WalkOptions
from dns_server.handler import Authority
from dns_server.resolver import Resolver
from dns_server.rules.direct import Directly
from dns_server.rules.names import from_text, labels, to_text
from dns_server.rules.query import parse
from dns_server.rules.reply import Reply
from dns_server.rules.reply import parse as parse_reply
from dns_server.rules.response import PAYLOAD, limit, write
from dns_server.rules.rrset import Answer
from dns_server.rules.types import NUMBERS, type_name
from dns_server.rules.zone import Zones
from dns_server.upstreams import NoReply
from dns_server.zonefile import load_text
from stack.clock import VirtualClock, settle
from stack.net.dns_client import Address
from stack.net.tasks import Tasks

DEFAULTS = (WalkOptions(), CacheOptions())


def question(name: str, type: str = "A", *, id: int = 1, flags: int = 0, opt: bytes = b"", cls: int = 1) -> bytes:
    """A query's bytes; `opt` is a whole OPT record."""
    number = NUMBERS.get(type) or int(type.removeprefix("TYPE"))
    head = id.to_bytes(2, "big") + flags.to_bytes(2, "big") + b"\0\x01\0\0\0\0\0" + bytes((1 if opt else 0,))
    return head + from_text(name) + number.to_bytes(2, "big") + cls.to_bytes(2, "big") + opt


def edns(payload: int = 1232, *, version: int = 0, flags: int = 0, options: bytes = b"") -> bytes:
    return (
        b"\0\0\x29" + payload.to_bytes(2, "big") + bytes((0, version)) + flags.to_bytes(2, "big")
        + len(options).to_bytes(2, "big") + options
    )  # fmt: skip


def zones(texts: Mapping[str, str]) -> Zones:
    return Zones(load_text(from_text(name), text, name)[0] for name, text in texts.items())


def respond(served: Zones, message: bytes, *, stream: bool, payload: int = PAYLOAD) -> bytes | None:
    """What an authoritative server with these zones answers to `message`: all of it but keeping and counting.

    Where there is a short way, it must come to the same, octet for octet.
    """
    query = parse(message)
    short = Directly(payload).answer(message, served, stream=stream)
    if query is None:
        assert short is None
        return None
    answer = Answer("refused", query.rcode) if query.rcode else Authority(Book(served)).answer(query)
    response = write(query, answer, size=limit(query, stream=stream, payload=payload), payload=payload)
    if short is not None:
        tail, type, rcode, word, zone, count = short
        assert message[:2] + tail == response
        found = served.find(query.key, query.type)
        assert found is not None
        assert (type, rcode, word, zone) == (query.type, answer.rcode, answer.word, found.key)
        assert count == len([*labels(query.name)])
    return response


class Network:
    """Servers by address, each with its zones. `asked` is what was sent, in order: (address, name, type)."""

    def __init__(self, servers: Mapping[str, Mapping[str, str]]) -> None:
        self.servers = {address: zones(texts) for address, texts in servers.items()}
        self.clock = VirtualClock()
        self.asked: list[tuple[str, str, str]] = []
        self.silent: set[str] = set()
        self.replies: dict[str, bytes] = {}
        """Responses, behind their ids, that a server gives to everything."""
        self.delay = 0.0

    async def __call__(
        self, address: Address, name: bytes, type: int, *, timeout: float, stream: bool = False
    ) -> Reply:
        host = address[0]
        self.asked.append((host, to_text(name), type_name(type)))
        if host in self.silent or (host not in self.servers and host not in self.replies):
            await self.clock.sleep(timeout)
            raise NoReply("timeout")
        if self.delay:
            await self.clock.sleep(self.delay)
        message = b"\0\x01\0\0\0\x01\0\0\0\0\0\0" + name + type.to_bytes(2, "big") + b"\0\x01"
        if host in self.replies:
            return parse_reply(message[:2] + self.replies[host])
        response = respond(self.servers[host], message, stream=True)
        assert response is not None
        return parse_reply(response)

    def resolver(
        self,
        *,
        roots: Iterable[str] = ("10.0.0.1",),
        walk: WalkOptions = DEFAULTS[0],
        cache: CacheOptions = DEFAULTS[1],
    ) -> Resolver:
        self.tasks = Tasks()
        return Resolver(
            roots=[(address, 53) for address in roots],
            port=53,
            allow=lambda client: True,
            options=walk,
            cache=Cache(cache, now=self.clock.now),
            ask=self,
            clock=self.clock,
            random=Random(1),
            tasks=self.tasks,
        )

    async def resolve(self, resolver: Resolver, name: str, type: str = "A", *, recurse: bool = True) -> Answer:
        query = parse(question(name, type, flags=0x0100 if recurse else 0))
        assert query is not None
        found = resolver.answer(query)
        if isinstance(found, Answer):
            return found
        task = self.tasks.spawn(whole(found), name="client")
        for _ in range(200):
            await settle(100)
            if task.done():
                break
            await self.clock.advance(0.05)
        return await task


async def whole(found: Answer | Awaitable[Answer]) -> Answer:
    return found if isinstance(found, Answer) else await found


def lines(answer: Answer) -> list[str]:
    """The answer section, one line a record: `name ttl type count`."""
    return [
        f"{to_text(owner)} {rrset.ttl} {type_name(rrset.type)} {len(rrset.rdatas)}" for owner, rrset in answer.answer
    ]
