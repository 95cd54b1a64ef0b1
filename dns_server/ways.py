"""What may be put in a handler's way, or be handed what it does not answer itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from dns_server.rules.query import Query
from stack.telemetry.exchange import Exchange

Operation = Callable[[bytes, str, str], bytes | Awaitable[bytes | None] | None]
"""Answers a message of another opcode than QUERY: (message, client, protocol). Never raises."""

Transfer = Callable[[Query, bytes, str, str], bytes | AsyncIterator[bytes]]
"""Answers AXFR and IXFR: (query, message, client, protocol). Never raises."""


class Unhindered:
    """No fault is met: the query goes its usual way."""


UNHINDERED: Final = Unhindered()
Response = bytes | Awaitable[bytes | None] | AsyncIterator[bytes] | None
Hindered = Callable[[bytes, str, str, Exchange | None], "Response | Unhindered"]
"""Gives what `answer` gives, or UNHINDERED."""
