"""Ordinary queries that carry TSIG: answered signed, or told what is wrong with their signature (RFC 8945 §5.3)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from typing import Protocol

from dns_server.rules import types
from dns_server.rules.query import Query
from dns_server.rules.response import limit
from dns_server.rules.rrset import Answer
from dns_server.tsig import Keyring, Signed
from stack.telemetry.exchange import Exchange

_UDP = "udp"


class Answers(Protocol):
    """As much of a handler as is needed here."""

    def answer(
        self, message: bytes, client: str, protocol: str, exchange: Exchange | None = None
    ) -> bytes | Awaitable[bytes | None] | AsyncIterator[bytes] | None: ...

    def write(self, query: Query, answer: Answer, protocol: str, without: int = 0) -> bytes: ...

    def tell(
        self, query: Query, answer: Answer, client: str, protocol: str, began: float, size: int,
        exchange: Exchange | None,
    ) -> None: ...  # fmt: skip


class SignedQueries:
    """Called by a handler for a query with TSIG; the query without it goes through the same handler."""

    def __init__(self, handler: Answers, keyring: Keyring, *, payload: int) -> None:
        self._handler = handler
        self._keyring = keyring
        self._payload = payload

    def __call__(
        self, query: Query, message: bytes, client: str, protocol: str, began: float, exchange: Exchange | None
    ) -> bytes | Awaitable[bytes | None] | None:
        signed = self._keyring.judge(message)
        assert signed is not None  # the query says that it has one
        if signed.rcode:
            answer = Answer(types.rcode_name(signed.rcode).lower(), signed.rcode)
            response = signed.sign(self._handler.write(query, answer, protocol, signed.room))
            self._handler.tell(query, answer, client, protocol, began, len(response), exchange)
            return response
        found = self._handler.answer(signed.message, client, protocol, exchange)
        if found is None or isinstance(found, bytes):
            return self._signed(query, signed, found, protocol)
        assert not isinstance(found, AsyncIterator)  # transfers sign for themselves
        return self._later(query, signed, found, protocol)

    async def _later(self, query: Query, signed: Signed, found: Awaitable[bytes | None], protocol: str) -> bytes | None:
        return self._signed(query, signed, await found, protocol)

    def _signed(self, query: Query, signed: Signed, response: bytes | None, protocol: str) -> bytes | None:
        if response is None:
            return None
        if protocol == _UDP and len(response) + signed.room > limit(query, stream=False, payload=self._payload):
            # RFC 8945 §5.3: only the question and TSIG, with TC: the client comes by TCP
            truncated = Answer("truncated")
            truncated.truncated = True
            response = self._handler.write(query, truncated, protocol, signed.room)
        return signed.sign(response)
