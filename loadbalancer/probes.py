"""One look at one backend: a connection, or an HTTP request on a connection of its own."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from stack.errors import (
    CertificateRefused,
    ConnectRefused,
    ConnectTimeout,
    DnsFailed,
    HopError,
    ResponseTimeout,
    TlsFailed,
)
from stack.http.message import Request, Response
from stack.http.statuses import Statuses
from stack.telemetry.exchange import Exchange


@dataclass(frozen=True, slots=True)
class Result:
    """`word` is what log, header and metric call it: a status, or how it failed."""

    passed: bool
    word: str
    detail: str = ""


Probe = Callable[[], Awaitable[Result]]
"""Raises a HopError where there was no answer."""


class Sender(Protocol):
    def send(self, request: Request, exchange: Exchange) -> Awaitable[Response]: ...


class Connector(Protocol):
    async def connect(
        self,
        host: str,
        port: int,
        *,
        timeout: float,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        source: str | None = None,
        name: str = "",
    ) -> None: ...


def tcp_probe(
    net: Connector,
    host: str,
    port: int,
    *,
    timeout: float,
    tls: ssl.SSLContext | None,
    server_name: str | None = None,
    source: str | None,
    name: str,
) -> Probe:
    """It accepts, and where it speaks TLS shakes hands: one with a bad certificate can serve nobody."""

    async def probe() -> Result:
        await net.connect(host, port, timeout=timeout, tls=tls, server_name=server_name, source=source, name=name)
        return Result(True, "connected")

    return probe


def http_probe(
    pool: Sender,
    path: str,
    *,
    host: str,
    scheme: str,
    passing: Statuses,
    name: str,
    now: Callable[[], float],
) -> Probe:
    """GET `path` is answered with a status of `passing`.

    The pool should keep no connection: a new one is part of what is checked.
    """

    async def probe() -> Result:
        request = Request(
            b"GET",
            path.encode("ascii"),
            [(b"user-agent", b"hopstack-check"), (b"accept", b"*/*")],
            authority=host.encode("ascii"),
            scheme=scheme.encode("ascii"),
        )
        response = await pool.send(request, Exchange(name, now, request))
        if not isinstance(response.body, bytes):
            await response.body.aclose()
        return Result(response.status in passing, str(response.status))

    return probe


def word(error: HopError) -> str:
    """What a check that got no answer is called."""
    for kind, name in (
        (ConnectRefused, "refused"),
        (ConnectTimeout, "timeout"),
        (ResponseTimeout, "timeout"),
        (DnsFailed, "dns"),
        (CertificateRefused, "certificate"),
        (TlsFailed, "tls"),
    ):
        if isinstance(error, kind):
            return name
    return "failed"
