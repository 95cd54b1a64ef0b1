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
from typing import Any, Final, Protocol, cast

from stack.http.client_hello import HANDSHAKE, UNRECOGNIZED_NAME, server_name
from stack.net.termination import Chosen, Termination
from stack.net.tls import ServerObject
from stack.net.tls_failure import Failure, of_error

log = logging.getLogger("hopstack.tls")

NEVER: Final = 86400.0
"""Seconds that asyncio would give a handshake: the door itself looks after the time."""
_REQUEST: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32} ")
_METHOD: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}")


class Owner(Protocol):
    """The server behind the door."""

    def arrived(self, door: TlsDoor) -> None:
        """It was accepted, and shakes hands from now on."""

    def left(self, door: TlsDoor) -> None:
        """Its handshake has ended, well or not."""

    def opened(self, transport: asyncio.Transport, name: str, chosen: Chosen) -> None:
        """The handshake is done; `transport` wants its protocol."""

    def in_the_clear(self, transport: asyncio.Transport, data: bytes) -> None:
        """It is HTTP without TLS: answer that, and close."""


class TlsDoor(asyncio.Protocol):
    """See `stack.net.context.Connection`: at the deadline, or when the server stops, it is cut off."""

    __slots__ = ("__weakref__", "_data", "_done", "_owner", "_tls", "_transport", "deadline")

    def __init__(self, owner: Owner, tls: Termination, deadline: float) -> None:
        self._owner, self._tls = owner, tls
        self._data = bytearray()
        self._transport: asyncio.Transport | None = None
        self._done = False
        self.deadline = deadline

    # Bytes in the clear.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by class
        self._owner.arrived(self)

    def data_received(self, data: bytes) -> None:
        if self._done:
            return
        self._data += data
        if self._data[0] != HANDSHAKE:
            self._not_tls()
            return
        try:
            name = server_name(self._data)
        except ValueError as error:
            # OpenSSL has the last word, and says it in an alert
            log.debug("ClientHello of %s: %s", self._peer(), error)
            name = ""
        if name is None:
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
        if _REQUEST.match(self._data):
            self._say(Failure("plain-http", "HTTP in the clear"))
            transport, data = self._end(), bytes(self._data)
            if transport is not None:
                self._owner.in_the_clear(transport, data)
        elif _METHOD.fullmatch(self._data) is None:
            self._refuse(Failure("not-tls", "neither TLS nor HTTP"), b"")

    # The handshake.

    def _shake_hands(self, name: str, chosen: Chosen) -> None:
        transport = self._transport
        assert transport is not None
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
        self._end()
        self._tls.count("resumed" if transport.get_extra_info("ssl_object").session_reused else "full")
        self._owner.opened(transport, name, chosen)

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
        transport = self._transport
        self._failed(failure)
        if transport is None:
            return
        if alert:
            transport.write(alert)
            transport.close()
        else:
            transport.abort()

    def _failed(self, failure: Failure) -> None:
        if not self._done:
            self._say(failure)
            self._end()

    def _say(self, failure: Failure) -> None:
        self._tls.count(failure.word)
        # who connects and says nothing is a health check or a browser that thinks ahead
        level = logging.DEBUG if failure.word == "closed" else logging.INFO
        log.log(level, "TLS handshake with %s failed: %s (%s)", self._peer(), failure.reason, failure.word)

    def _end(self) -> asyncio.Transport | None:
        transport, self._transport = self._transport, None
        if not self._done:
            self._done = True
            self._owner.left(self)
        return transport

    def _peer(self) -> str:
        peer = self._transport.get_extra_info("peername") if self._transport is not None else None
        return str(peer[0]) if isinstance(peer, tuple) else "somebody"


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
