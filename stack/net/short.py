"""The short way of a request: found in memory by scheme, host and target alone, and answered before it is an object.

Whatever is not the plainest of requests takes the way of all others, and so does every request while anybody wants to
see whole exchanges. Nothing can be told from outside but the time that it takes.
"""

from __future__ import annotations

from binascii import hexlify
from collections.abc import Callable, Collection
from random import Random
from typing import TYPE_CHECKING, Final, Protocol, TypeGuard

from stack.http.plain_get import plain_get
from stack.net.service import Service
from stack.telemetry.brief import FOUND

if TYPE_CHECKING:
    from stack.config.base import Limits
    from stack.http.message import Fields
    from stack.telemetry.ended import Ended

_TENTHS: Final = 50
_TOGETHER: Final = 64
_DIGITS: Final = 48
_FIELD: Final = 4
"""Bytes of the shortest field line."""


Found = tuple[bytes, bytes, bytes]
"""A response with the status 200: stored field lines, among them Date and the Content-Length; those that are made for
this request; content."""


class FromMemory(Service, Protocol):
    """What a `Service` offers besides, where it has answers in memory."""

    @property
    def said(self) -> Collection[bytes]:
        """Names of request fields, in lower case, that have a bearing on which answer is right."""

    def at_once(
        self, scheme: bytes, authority: bytes, target: bytes, now: float, fields: Callable[[], Fields]
    ) -> Found | None:
        """The answer to a GET with none of these fields, counted as given; None: `handle` has to be asked.

        `fields` reads the request's, for who wants them after all.
        """


def offers_short(service: object) -> TypeGuard[FromMemory]:
    return hasattr(service, "at_once")


class Short:
    """What all connections of a server need for the short way."""

    __slots__ = ("_digits", "_hop", "_random", "_timings", "brief", "find", "plain", "service", "small")

    def __init__(self, service: FromMemory, ended: Ended, hop: str, random: Random, limits: Limits) -> None:
        self.service = service
        """Who offers it: while another one stands in its place, nothing takes the short way."""
        self.find = service.at_once
        self.plain = plain_get(service.said)
        self.brief = ended.brief
        self.small = min(limits.head, limits.target, _FIELD * limits.fields)
        """Bytes of a head that cannot exceed any of the limits."""
        self._hop = hop
        self._timings = [self._timing(tenths) for tenths in range(_TENTHS)]
        self._random = random
        self._digits: list[bytes] = []

    def timing(self, seconds: float) -> bytes:
        """The end of a head: Server-Timing, of which all but the time is the same."""
        tenths = int(seconds * 10_000 + 0.5)
        return self._timings[tenths] if tenths < _TENTHS else self._timing(tenths)

    def _timing(self, tenths: int) -> bytes:
        step, word = FOUND
        return f'\r\nserver-timing: {self._hop}.{step};dur={tenths / 10:.1f};desc="{word}"\r\n\r\n'.encode("ascii")

    def ids(self) -> bytes:
        """16 hex digits for a span, and 32 for its trace and request (see `stack.telemetry.identity`)."""
        if not self._digits:
            digits = hexlify(self._random.randbytes(_TOGETHER * _DIGITS // 2))
            self._digits = [digits[start : start + _DIGITS] for start in range(0, len(digits), _DIGITS)]
        return self._digits.pop()
