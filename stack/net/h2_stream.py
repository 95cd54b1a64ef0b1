"""One request of an HTTP/2 connection, while it is answered: on a server's, and on a client's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Final

from stack.http.h2_fields import Length
from stack.http.h2_priority import Priority, parse
from stack.http.message import BodyStream, Fields, Request, Response
from stack.net.expectation import Expectation
from stack.net.h2_outbox import Sending
from stack.net.pace import Pace
from stack.net.stream import Incoming
from stack.telemetry.exchange import Exchange

INFINITY: Final = float("inf")
_SHARED: Final = Priority(incremental=True)
"""Uploads of different clients: each has its turn (RFC 9218 §13)."""

if TYPE_CHECKING:
    from stack.net.h2_server import H2ServerConnection
    from stack.net.h2_tunnel import StreamTunnel


class ServerStream:
    __slots__ = (
        "_connection", "exchange", "gone", "id", "incoming", "length", "owed", "pace", "queued", "request",
        "responded", "response", "sending", "task", "tunnel", "waits_for",
    )  # fmt: skip

    request: Request
    exchange: Exchange

    def __init__(self, connection: H2ServerConnection, stream: int, length: int | None, now: float) -> None:
        self._connection = connection
        self.id = stream
        self.length = Length(length)
        self.incoming: Incoming | None = None
        self.sending = Sending(stream)
        self.task: asyncio.Task[None] | None = None
        self.waits_for: Awaitable[Response] | None = None
        """What the task has not yet an answer from."""
        self.response: Response | None = None
        """Whose content the task has not yet begun to read."""
        self.owed = 0
        """Bytes received and not yet credited to the client."""
        self.pace = Pace(now)
        """Of the request's content."""
        self.responded = False
        """The final head is sent."""
        self.queued = False
        """The whole response is handed over; its end finishes the stream."""
        self.tunnel: StreamTunnel | None = None
        """Once the service has opened one."""
        self.gone = False
        """Nobody is left to answer."""

    def expect_content(self, limit: int, trailers: Fields, *, expects_continue: bool) -> Incoming:
        """The request's content. The windows bound it: `credit` lets as much more come as was consumed."""
        self.incoming = Incoming(
            limit,
            consumed=self.credit,
            wanted=self._continue if expects_continue else None,
            trailers=trailers,
        )
        return self.incoming

    def prioritize(self, value: bytes) -> None:
        """The client says what its response is worth; what it does not say is as by default (RFC 9218 §4)."""
        self.sending.priority = parse(value)

    def credit(self, size: int) -> None:
        size = min(size, self.owed)
        if size:
            self.owed -= size
            self._connection.credit(self, size)

    def _continue(self) -> None:
        """The service reads the content: now it is asked for (RFC 9110 §10.1.1)."""
        if self.length.received == 0 and self.incoming is not None and not self.incoming.ended:
            self.interim(100, [])

    def interim(self, status: int, fields: Fields) -> None:
        self._connection.send_interim(self, status, fields)


class ClientStream:
    """One request, until its response has ended and nothing more is sent."""

    __slots__ = (
        "answer", "ended", "expectation", "head_due", "id", "incoming", "interims", "length", "owed", "received_at",
        "request", "response", "sending", "sent", "tunnel", "upload",
    )  # fmt: skip

    def __init__(self, stream: int, request: Request) -> None:
        self.id = stream
        self.request = request
        self.answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self.sending = Sending(stream, _SHARED)
        self.upload: asyncio.Task[None] | None = None
        self.expectation: Expectation | None = None
        self.response: Response | None = None
        """Received and not yet handed over: what of its content comes in the same batch goes with it."""
        self.incoming: Incoming | None = None
        self.length = Length(None)
        self.owed = 0
        self.interims = 0
        self.received_at = 0.0
        self.head_due = INFINITY
        self.sent = False
        """The whole request is on its way."""
        self.ended = False
        """The whole response is here."""
        self.tunnel = False
        """The peer has opened one: either side may end by itself."""


def forsake(answer: Awaitable[Response]) -> BodyStream | None:
    """Nobody awaits it any more; returns the content that is to be closed, if it came in the same moment."""
    if isinstance(answer, asyncio.Future):
        if answer.cancel() or answer.cancelled() or answer.exception() is not None:
            return None
        body = answer.result().body
        return None if isinstance(body, bytes) else body
    if (close := getattr(answer, "close", None)) is not None:
        close()  # of a coroutine: it may not have begun
    return None
