"""Asking other servers: one question to one address, with what RFC 5452 wants of it."""

from __future__ import annotations

from random import Random
from typing import Protocol

from dns_server.rules import types
from dns_server.rules.query import PLAIN_UDP
from dns_server.rules.rdata import RdataFault
from dns_server.rules.reply import Reply, answers, parse
from stack.clock import Clock
from stack.net.dns_client import Address, ask_tcp, ask_udp


class NoReply(Exception):
    """Nothing of use came back; the message is the word for the log."""

    injected: tuple[tuple[str, str], ...] = ()
    """Faults that were injected, as (name, what it did)."""


class Ask(Protocol):
    """Sends a question to a server. Raises NoReply. `stream`: as though the response over UDP had been truncated."""

    async def __call__(
        self, address: Address, name: bytes, type: int, *, timeout: float, stream: bool = False
    ) -> Reply: ...


class Upstreams:
    """Asks over UDP, over TCP when the response was truncated, without EDNS where EDNS is not understood."""

    def __init__(self, *, clock: Clock, random: Random, payload: int) -> None:
        self._clock = clock
        self._random = random
        self._payload = payload
        self.sent = {"udp": 0, "tcp": 0}

    async def __call__(
        self, address: Address, name: bytes, type: int, *, timeout: float, stream: bool = False
    ) -> Reply:
        try:
            reply = await self._ask(address, name, type, timeout=timeout, edns=True, stream=stream)
            if reply.rcode in (types.FORMERR, types.NOTIMP):  # RFC 6891 §7: perhaps it was the OPT
                reply = await self._ask(address, name, type, timeout=timeout, edns=False, stream=stream)
        except TimeoutError:
            raise NoReply("timeout") from None
        except (OSError, EOFError):
            raise NoReply("unreachable") from None
        except RdataFault:
            raise NoReply("malformed") from None
        return reply

    async def _ask(
        self, address: Address, name: bytes, type: int, *, timeout: float, edns: bool, stream: bool
    ) -> Reply:
        id = self._random.getrandbits(16)
        question = name + type.to_bytes(2, "big") + b"\0\x01"
        # RD is clear: the server is asked for what it knows (RFC 1034 §5.3.3)
        head = id.to_bytes(2, "big") + b"\0\0\0\x01\0\0\0\0\0" + (b"\x01" if edns else b"\0")
        opt = b"\0\0\x29" + max(self._payload, PLAIN_UDP).to_bytes(2, "big") + bytes(6) if edns else b""
        message = head + question + opt
        clock = self._clock

        def accept(response: bytes) -> bool:
            return answers(response, id, question) or _is_bare_refusal(response, id)

        self.sent["udp"] += 1
        response = await ask_udp(address, message, accept=accept, clock=clock, timeout=timeout)
        if _is_bare_refusal(response, id):
            reply = Reply(id, response[3] & 0xF, name, type)
        else:
            reply = parse(response)
        if reply.truncated or stream:  # RFC 2181 §9: what did come is not to be used
            self.sent["tcp"] += 1
            reply = parse(await ask_tcp(address, message, accept=accept, clock=clock, timeout=timeout))
        return reply


def _is_bare_refusal(response: bytes, id: int) -> bool:
    """A header alone with FORMERR or NOTIMP: from a server that could not read our question."""
    return len(response) == 12 and int.from_bytes(response[:2], "big") == id and response[3] & 0xF in (1, 4)
