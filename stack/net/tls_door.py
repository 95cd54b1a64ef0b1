"""A connection to a TLS listener, from its first byte to the end of its handshake.

It is accepted in the clear. The ClientHello says which certificate is wanted; HTTP in its place is answered in words.
Then asyncio's own TLS (or uvloop's) takes the bytes, and this object is gone when the handshake is done.
"""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import contextlib
import logging
import os
import re
import ssl
import sys
from collections.abc import Callable
from typing import Any, Final, cast

from stack.errors import BadRequest
from stack.http.authorities import Authorities
from stack.http.client_hello import HANDSHAKE, UNRECOGNIZED_NAME, missing, server_name
from stack.http.message import ClientCertificate, Peer, TlsInfo
from stack.net.certificates import distinguished
from stack.net.context import Context
from stack.net.h1_server import H1ServerConnection
from stack.net.termination import Chosen, Termination
from stack.net.tls import ServerObject
from stack.net.tls_failure import Failure, of_error

log = logging.getLogger("hopstack.tls")

NOBODY: Final = Peer("", 0)
NEVER: Final = 86400.0
"""Seconds that asyncio would give a handshake: the door itself looks after the time."""
_REQUEST: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32} ")
_METHOD: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}")


Open = Callable[[Context, asyncio.Transport, Peer], object]
"""Gives a connection whose handshake is done its protocol."""


class TlsDoor(asyncio.Protocol):
    """See `stack.net.context.Connection`: it is one until its handshake has ended, well or not."""

    __slots__ = (
        "__weakref__",
        "_ctx",
        "_data",
        "_done",
        "_enough",
        "_http",
        "_open",
        "_tls",
        "_transport",
        "deadline",
        "peer",
    )

    def __init__(self, context: Context, tls: Termination, open: Open, *, http: bool = True) -> None:
        """`http`: what comes in the clear is answered in words, if it is HTTP."""
        self._ctx, self._tls, self._open, self._http = context, tls, open, http
        self._data = bytearray()
        self._enough = 0
        """Bytes below which it is not worth another look: who sends one at a time does not make us read all again."""
        self._done = False
        self.deadline = context.now() + context.timeouts.handshake
        self.peer = NOBODY

    # Bytes in the clear.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by class
        self.peer = peer_of(self._ctx, self._transport)
        self._ctx.connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._done:
            return
        self._data += data
        if len(self._data) < self._enough:
            return
        if self._data[0] != HANDSHAKE:
            self._not_tls()
            return
        try:
            name = server_name(self._data)
        except ValueError as error:
            # OpenSSL has the last word, and says it in an alert
            log.debug("ClientHello of %s: %s", self.peer.address, error)
            name = ""
        if name is None:
            self._enough = len(self._data) + missing(self._data)
            return
        chosen = self._tls.selection.choose(name)
        if chosen is None:
            self._refuse(Failure("unknown-name", f"no certificate is for {name}"), UNRECOGNIZED_NAME)
            return
        self._shake_hands(name, chosen)

    def eof_received(self) -> None:
        self._failed(Failure("closed", "closed before its ClientHello"))

    def connection_lost(self, exc: BaseException | None) -> None:
        self._failed(Failure("closed", "closed before its ClientHello"))

    def _not_tls(self) -> None:
        if not self._http:
            self._refuse(Failure("not-tls", "something else than TLS"), b"")
        elif _REQUEST.match(self._data):
            # as a browser asks that was given http:// with the port of https://
            self._say(Failure("plain-http", "HTTP in the clear"))
            connection = H1ServerConnection(self._ctx, self.peer, b"http", None)
            self._transport.set_protocol(connection)
            connection.connection_made(self._transport)
            self._end()
            connection.refuse(BadRequest("A plain HTTP request was sent to an HTTPS port."))
        elif _METHOD.fullmatch(self._data) is None:
            self._refuse(Failure("not-tls", "neither TLS nor HTTP"), b"")

    # The handshake.

    def _shake_hands(self, name: str, chosen: Chosen) -> None:
        transport = self._transport
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        waiter.add_done_callback(self._ended)
        context = _Context(chosen.context, transport)
        protocol = _sslproto(loop)(
            loop, _Inner(self, name, chosen), context, waiter, server_side=True, ssl_handshake_timeout=NEVER
        )
        data, self._data = self._data, bytearray()
        # a transport chooses how to read when it starts to
        transport.pause_reading()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        transport.resume_reading()
        while data:
            room = protocol.get_buffer(len(data))
            size = min(len(room), len(data))
            room[:size] = data[:size]
            protocol.buffer_updated(size)
            del data[:size]

    def shaken(self, transport: asyncio.Transport, name: str, chosen: Chosen) -> None:
        """The handshake is done, and `transport` is its encrypted one."""
        peer, tls = self.peer, transport.get_extra_info("ssl_object")
        peer.tls = _info(tls, name)
        # a trusted peer is a gateway: it connects to a hop by one name, and asks for its clients' hosts
        if self._tls.misdirected and name and not peer.trusted:
            peer.authorities = Authorities(name, chosen.names)
        self._tls.count("resumed" if tls.session_reused else "full")
        self._open(self._ctx, transport, peer)
        self._end()

    def _ended(self, waiter: asyncio.Future[None]) -> None:
        error = None if waiter.cancelled() else waiter.exception()
        if not self._done:
            self._failed(of_error(error))

    # Ends.

    def expire(self) -> None:
        self.deadline = float("inf")
        self._refuse(Failure("timeout", "not done in time"), b"")

    def drain(self) -> None:
        """Whoever has connected may still ask."""

    def abort(self) -> None:
        self._refuse(Failure("closed", "the server stops"), b"")

    def _refuse(self, failure: Failure, alert: bytes) -> None:
        if self._done:
            return
        self._failed(failure)
        if alert:
            self._transport.write(alert)
            self._transport.close()
        else:
            self._transport.abort()

    def _failed(self, failure: Failure) -> None:
        if not self._done:
            self._say(failure)
            self._end()

    def _say(self, failure: Failure) -> None:
        self._tls.count(failure.word)
        # who connects and says nothing is a health check, or a browser that thinks ahead
        count = 0 if failure.word == "closed" else self._tls.told(failure.word, self._ctx.now())
        more = f"; {count} such since the last line" if count > 1 else ""
        level = logging.INFO if count else logging.DEBUG
        log.log(level, "TLS handshake with %s failed: %s (%s)%s", self.peer.address, failure.reason, failure.word, more)

    def _end(self) -> None:
        self._done = True
        self._ctx.connections.discard(self)


class _Inner(asyncio.Protocol):
    """Hears of the end of the handshake; the connection's own protocol is set then."""

    def __init__(self, door: TlsDoor, name: str, chosen: Chosen) -> None:
        self._door, self._name, self._chosen = door, name, chosen

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._door.shaken(cast(asyncio.Transport, transport), self._name, self._chosen)


class _Context:
    """A context as asyncio's TLS uses it, for one connection: a handshake that fails is told to the client."""

    __slots__ = ("_context", "_transport")

    def __init__(self, context: ssl.SSLContext, transport: asyncio.Transport) -> None:
        self._context, self._transport = context, transport

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = True,
        server_hostname: str | None = None,
    ) -> ssl.SSLObject:
        made = self._context.wrap_bio(incoming, outgoing, server_side=server_side)
        if isinstance(made, ServerObject):
            made.incoming = incoming
            made.last_words = lambda: _send(self._transport, outgoing.read())
        return made


def _send(transport: asyncio.Transport, data: bytes) -> None:
    """At once: the transport is about to be closed, with all that it holds."""
    raw = transport.get_extra_info("socket")
    if raw is not None and data and not transport.get_write_buffer_size():
        with contextlib.suppress(OSError):
            os.write(raw.fileno(), data)


def _sslproto(loop: asyncio.AbstractEventLoop) -> Any:
    """The loop's own implementation of TLS: uvloop's transports go with uvloop's alone."""
    for kind in type(loop).__mro__:
        found = getattr(sys.modules.get(kind.__module__), "SSLProtocol", None)
        if found is not None:
            return found
    return asyncio.sslproto.SSLProtocol


def peer_of(context: Context, transport: asyncio.Transport) -> Peer:
    address, port = (transport.get_extra_info("peername") or ("", 0))[:2]
    local = (transport.get_extra_info("sockname") or ("", 0))[:2]
    return context.peer(address, port, local=local)


def _info(tls: ssl.SSLObject, name: str) -> TlsInfo:
    cipher = tls.cipher()
    shown = tls.getpeercert() or {}
    client: ClientCertificate | None = None
    if shown and (der := tls.getpeercert(True)):
        names = cast("tuple[tuple[str, str], ...]", shown.get("subjectAltName", ()))
        client = ClientCertificate(
            der, distinguished(cast(Any, shown.get("subject", ()))), tuple(name for _, name in names)
        )
    return TlsInfo(
        version=tls.version() or "",
        cipher=cipher[0] if cipher else "",
        server_name=name,
        alpn=tls.selected_alpn_protocol() or "",
        client=client,
    )
