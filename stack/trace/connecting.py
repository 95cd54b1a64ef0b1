"""A connection of the tracer's own: TCP and TLS timed apart, then one of the engine's client connections on it."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from typing import cast

from stack.clock import Clock
from stack.config.base import UpstreamTimeouts
from stack.config.listen import address
from stack.net.h1_client import H1ClientConnection
from stack.net.pool import UpstreamConnection
from stack.net.tasks import Tasks
from stack.trace.model import Span

BUFFER = 1 << 20
"""Content held before the server is paused: the tracer measures the server, not itself."""


def warm() -> None:
    """Loads HTTP/2's library, which takes 17 ms: not to be seen as the network's."""
    import stack.trace.h2_client  # noqa: F401


class Unreachable(Exception):
    """TCP or TLS did not come about; one line. The spans so far are with the `Opener`."""


class Opener:
    """Opens connections and keeps a span for each step. `began`: monotonic seconds at which the trace began."""

    def __init__(self, *, clock: Clock, tasks: Tasks, began: float) -> None:
        self._clock, self._tasks, self._began = clock, tasks, began
        self.spans: list[Span] = []

    async def open(
        self,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None,
        server_name: str,
        h2: bool = False,
    ) -> UpstreamConnection:
        """`h2`: that and nothing else, in the clear by prior knowledge (RFC 9113 §3.3).

        Raises Unreachable; TimeoutError is the caller's.
        """
        sock = await self._tcp(host, port)
        door = _Door(lambda transport: self._protocol(transport, address(host, port), h2))
        start = self._clock.now()
        loop = asyncio.get_running_loop()
        try:
            transport, _ = await loop.create_connection(
                lambda: door, sock=sock, ssl=tls, server_hostname=server_name if tls is not None else None
            )
        except asyncio.CancelledError:
            sock.close()
            self._span("tls", start, f"no handshake with {server_name}", error=True)
            raise
        except OSError as error:
            sock.close()
            why = _tls_fault(error, server_name)
            self._span("tls", start, why, error=True)
            raise Unreachable(f"TLS with {server_name} at {address(host, port)}: {why}") from None
        if tls is not None:
            agreed = transport.get_extra_info("ssl_object")
            self._span("tls", start, _settled(agreed, server_name))
            if h2 and agreed.selected_alpn_protocol() != "h2":
                transport.abort()
                raise Unreachable(f"{address(host, port)} does not speak HTTP/2 (ALPN: {_alpn(agreed)})")
        if door.connection is None or door.connection.closed:
            raise Unreachable(f"{address(host, port)} accepted the connection and closed it")
        return door.connection

    async def _tcp(self, host: str, port: int) -> socket.socket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        start = self._clock.now()
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(sock, (host, port))
        except asyncio.CancelledError:
            sock.close()
            self._span("tcp", start, f"{address(host, port)}: no answer", error=True)
            raise
        except OSError as error:
            sock.close()
            why = "connection refused" if error.errno == errno.ECONNREFUSED else (error.strerror or str(error)).lower()
            self._span("tcp", start, f"{address(host, port)}: {why}", error=True)
            hint = ": nothing listens there" if error.errno == errno.ECONNREFUSED else ""
            raise Unreachable(f"{address(host, port)}: {why}{hint}") from None
        self._span("tcp", start, f"connected to {address(host, port)}")
        return sock

    def _protocol(self, transport: asyncio.Transport, name: str, h2: bool) -> UpstreamConnection:
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            h2 = tls.selected_alpn_protocol() == "h2"
        if not h2:
            return H1ClientConnection(
                name=name,
                timeouts=UpstreamTimeouts(),
                clock=self._clock,
                tasks=self._tasks,
                max_buffer=BUFFER,
                on_idle=_nothing,
                on_closed=_nothing,
            )
        from stack.trace.h2_client import H2TraceConnection

        return H2TraceConnection(
            name=name,
            scheme=b"https" if tls is not None else b"http",
            clock=self._clock,
            tasks=self._tasks,
            max_buffer=BUFFER,
        )

    def _span(self, kind: str, start: float, decision: str, *, error: bool = False) -> None:
        took, at = (self._clock.now() - start) * 1000, (start - self._began) * 1000
        self.spans.append(Span(kind, kind, at, took, took, decision, busy=((at, took),), error=error))


class _Door(asyncio.Protocol):
    """Gives a new connection its protocol before anything can happen on it."""

    def __init__(self, choose: Callable[[asyncio.Transport], UpstreamConnection]) -> None:
        self._choose = choose
        self.connection: UpstreamConnection | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)
        self.connection = connection = self._choose(transport)
        protocol = cast(asyncio.Protocol, connection)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)


def _nothing(connection: object) -> None:
    """Nobody waits for the connection to become free: requests go out one after the other."""


def _settled(tls: ssl.SSLObject, name: str) -> str:
    version = (tls.version() or "TLS").replace("TLSv", "TLS ")
    return f"{version}, {_alpn(tls)}, {name} verified"


def _alpn(tls: ssl.SSLObject) -> str:
    return tls.selected_alpn_protocol() or "no ALPN"


def _tls_fault(error: OSError, name: str) -> str:
    """Why the handshake failed, and what to do about it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in (18, 19, 20, 21):  # X509_V_ERR_*: self-signed, or issued by nobody that is known
            return f"certificate not trusted: {error.verify_message}; name its authority with --cacert"
        return f"certificate refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
            return "the server does not speak TLS there; is it an http:// URL?"
        return f"handshake failed: {(error.reason or str(error)).replace('_', ' ').lower()}"
    if isinstance(error, ConnectionResetError):
        return "the server closed the connection in the handshake"
    return (error.strerror or str(error)).lower()
