"""The record of one request on one hop: marks appended while it runs, formatted only when asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stack.http.message import Request

Mark = tuple[str, str, float]
"""(step, word, monotonic seconds at its end). Steps and words: `stack.path.STEPS`."""


class Exchange:
    """The only mutable object of a request. Made by the engine, marked by the handler, read by log and metrics."""

    __slots__ = (
        "attempts", "began", "bytes_in", "bytes_out", "client", "detail", "ended", "faults", "hop", "marks", "now",
        "parent_span", "proxy_status", "request", "request_id", "sampled", "span_id", "status", "termination",
        "trace_id", "tried", "upstream",
    )  # fmt: skip

    def __init__(self, hop: str, now: Callable[[], float], request: Request | None = None) -> None:
        self.hop = hop
        self.now = now
        self.began = now()
        self.ended = 0.0
        """When the last byte was written; 0 until then."""
        self.request = request
        self.marks: list[Mark] = []
        self.request_id = b""
        self.trace_id = b""
        """32 hex digits (W3C Trace Context)."""
        self.span_id = b""
        """16 hex digits: this hop's own."""
        self.parent_span = b""
        self.sampled = False
        self.client = ""
        """The client's address as far as trusted peers vouch for it."""
        self.upstream = ""
        """Name of the backend that answered, or the last one tried."""
        self.attempts = 0
        self.tried: tuple[str, ...] = ()
        """Names of the backends, one for each mark of the step `attempt`."""
        self.proxy_status = ""
        """RFC 9209 error type, when this hop made the error."""
        self.detail = ""
        self.faults: tuple[str, ...] = ()
        """Names of the faults that were injected into it."""
        self.termination = ""
        """How it ended if not well: `refused`, `client-gone`, `upstream-cut`, `failed`, `timeout`, `drained`, and
        `injected` for a fault that was ordered."""
        self.status = 0
        self.bytes_in = 0
        self.bytes_out = 0
        """Content bytes sent to the client."""

    def mark(self, step: str, word: str) -> None:
        self.marks.append((step, word, self.now()))

    def server_timing(self) -> bytes:
        """This hop's entries: `edge-fra.lookup;dur=0.1;desc="hit"`. Durations in milliseconds, step after step."""
        if self.tried:
            return self._naming_who_was_tried()
        out, last, hop = "", self.began, self.hop
        for step, word, at in self.marks:
            out += f', {hop}.{step};dur={(at - last) * 1000:.1f};desc="{word}"'
            last = at
        return out[2:].encode("ascii")

    def _naming_who_was_tried(self) -> bytes:
        """The same, with `to` for attempts: `lb-a.attempt;dur=3.1;desc="answered";to="proxy-2"`."""
        out, last, hop, tried = "", self.began, self.hop, iter(self.tried)
        for step, word, at in self.marks:
            out += f', {hop}.{step};dur={(at - last) * 1000:.1f};desc="{word}"'
            if step == "attempt" and (name := next(tried, None)) is not None:
                out += f';to="{name}"'
            last = at
        return out[2:].encode("ascii")
