"""What log and metrics need of a request that was answered at once, from memory: the short form of an `Exchange`."""

from __future__ import annotations

from typing import Final

FOUND: Final = ("lookup", "hit")
"""The one step of such a request, and what it came to."""


class Who:
    """What the lines of a connection's requests for one host have in common, as they stand in the access log."""

    __slots__ = ("before", "behind")

    def __init__(self, before: str, behind: str) -> None:
        self.before = before
        """From the client to the quote before the path."""
        self.behind = behind
        """What follows the marks."""


Brief = tuple[Who, bytes, bytes, float, float, float, int, int]
"""Who asked; the ids (16 hex digits of the span, 32 of trace and request); target; monotonic seconds when the head had
come, when the answer was found, and when it was written; status; bytes of content. A plain tuple: one is made for each
hit, and nothing is cheaper. The method is GET, the protocol HTTP/1.1."""
