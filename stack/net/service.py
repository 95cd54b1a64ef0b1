"""The one interface between wire and hop."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from stack.http.message import Request, Response
from stack.telemetry.exchange import Exchange


class Service(Protocol):
    """What a hop, an admin endpoint or a test double is to the engine.

    Answer at once where nothing must be waited for: no task is made then. An awaitable gets one task.
    A HopError raised here becomes a problem document; any other exception is logged and becomes a 500.
    The awaiting task is cancelled when the client goes away.
    """

    def handle(self, request: Request, exchange: Exchange) -> Response | Awaitable[Response]: ...
