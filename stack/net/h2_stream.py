"""One request of a downstream HTTP/2 connection, while it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from stack.http.h2_fields import Length
from stack.http.h2_priority import parse
from stack.http.message import Fields, Request, Response
from stack.net.h2_outbox import Sending
from stack.net.pace import Pace
from stack.net.stream import Incoming
from stack.telemetry.exchange import Exchange

if TYPE_CHECKING:
    from stack.net.h2_server import H2ServerConnection


class ServerStream:
    __slots__ = (
        "_connection", "exchange", "gone", "id", "incoming", "length", "owed", "pace", "queued", "request",
        "responded", "response", "sending", "task", "waits_for",
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
        """What the task has not yet begun to await."""
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
