"""A response as a test looks at it: what came, what the cache said, who answered, and the way it took."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from stack.cache_words import FETCH, LOOKUP, STORE
from stack.http.message import combined
from stack.testing.codings import uncoded
from stack.testing.fields import Fields
from stack.trace import caches
from stack.trace.model import CacheDecision, Span, Trace
from stack.trace.waterfall import from_response

if TYPE_CHECKING:
    from stack.testing.journal import Logs, Received

_ENTRY = re.compile(rb"([\w.-]+)\.([a-z]+);dur=[0-9.]+")
_CHARSET = re.compile(r"charset=\"?([\w.:-]+)", re.IGNORECASE)


class Cache:
    """What the edge's cache did (RFC 9211), read from Cache-Status.

    `hit`, `miss`, `stale`, `revalidated` say which it was; `result` is the word for it. `reason` is why it was passed
    on (`uri-miss`, `vary-miss`, `stale`, `method` ...); `kept` why it was not stored (`private`, `set-cookie` ...).
    """

    def __init__(self, said: CacheDecision | None) -> None:
        self._said = said

    @property
    def result(self) -> str:
        """`hit`, `stale`, `revalidated`, `miss`, `pass` or `none`."""
        return self._said.result if self._said is not None else "none"

    @property
    def hit(self) -> bool:
        """Answered from the store, fresh."""
        return self.result == "hit"

    @property
    def stale(self) -> bool:
        """Answered from the store, past its freshness."""
        return self.result == "stale"

    @property
    def revalidated(self) -> bool:
        return self.result == "revalidated"

    @property
    def miss(self) -> bool:
        """The origin was asked for the whole response."""
        return self.result in ("miss", "pass")

    @property
    def reason(self) -> str:
        """Why it was passed on, a word of RFC 9211 §2.2; empty for a hit."""
        return self._said.fwd if self._said is not None else ""

    fwd = reason

    @property
    def stored(self) -> bool:
        return self._said is not None and self._said.stored

    @property
    def kept(self) -> str:
        """The edge's word for why it did not store it, or served it stale: `private`, `no-store`, `set-cookie` ..."""
        return self._said.detail if self._said is not None else ""

    @property
    def word(self) -> str:
        """The one that says most, of docs/why-not-cached.md: why it was not stored, else what the lookup came to."""
        said = self._said
        if said is None:
            return ""
        return said.detail or said.fwd or ("hit" if self.hit else "")

    @property
    def remedy(self) -> str:
        """What makes it a hit: sentences, and header lines for the app to send. Empty where nothing is amiss."""
        steps = (STORE, LOOKUP) if not (self.hit or self.stale) else (LOOKUP, FETCH)
        found = next((step[self.word] for step in steps if self.word in step), None)
        if found is None or not found.remedy:
            return ""
        return " ".join([found.remedy, *(f"[{line}]" for line in found.write)])

    @property
    def ttl(self) -> int | None:
        """Seconds of freshness left; below 0 when stale."""
        return self._said.ttl if self._said is not None else None

    @property
    def edge(self) -> str:
        return self._said.cache if self._said is not None else ""

    @property
    def why(self) -> str:
        """In a sentence."""
        return self._said.why if self._said is not None else "no cache said anything: there is no Cache-Status"

    def __repr__(self) -> str:
        return f"<{self.edge or 'no cache'} {self.result.upper()}: {self.why}>"


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds since the call: the machine's, and on top those of the stack's clock, for injected waits."""

    before: tuple[Span, ...]
    sent: float
    first: float
    last: float
    address: str
    reused: bool


class Response:
    """What came. Nothing of it changes any more."""

    def __init__(
        self,
        *,
        method: str,
        url: str,
        status: int,
        headers: Fields,
        raw: bytes,
        version: str,
        timing: Timing,
        logs: Logs,
        kinds: dict[str, str],
        sent: Fields,
        history: Sequence[Response] = (),
    ) -> None:
        self.method, self.url, self.status = method, url, status
        self.headers = headers
        self.sent = sent
        """The head of the request, as the client sent it; `request_at` has it as a hop received it."""
        self.raw = raw
        """Content as received: coded, if it is."""
        self.version = version
        """`HTTP/2` or `HTTP/1.1`, of the client's connection."""
        self.history = tuple(history)
        """Redirects that were followed on the way here."""
        self.elapsed = timing.last / 1000
        """Seconds, injected waits among them."""
        self._timing = timing
        self._logs = logs
        self._kinds = kinds

    # Content.

    @cached_property
    def body(self) -> bytes:
        """Content without its codings: gzip, deflate, br and zstd are undone."""
        return uncoded(self.raw, self.headers.get("content-encoding", ""))

    @property
    def charset(self) -> str:
        """Of Content-Type; utf-8 where it names none, or one that nobody knows."""
        named = _CHARSET.search(self.headers.get("content-type", ""))
        try:
            return codecs.lookup(named[1]).name if named else "utf-8"
        except LookupError:
            return "utf-8"

    @property
    def text(self) -> str:
        return self.body.decode(self.charset, "replace")

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def ok(self) -> bool:
        return self.status < 400

    # Who did what.

    @cached_property
    def cache(self) -> Cache:
        said = caches.decisions(list(self.headers.raw))
        return Cache(said[-1] if said else None)  # the nearest to the client is the last (RFC 9211 §2)

    @property
    def trace_id(self) -> str:
        """What every hop's log has: `web.logs.of(r)`."""
        return self.headers.get("x-request-id", "")

    @property
    def edge(self) -> str:
        return self._hop_of("cdn_edge")

    @property
    def backend(self) -> str:
        """The app instance that answered, such as app-2; empty for a hit. Of an origin: its proxy."""
        return self._hop_of("appserver") or self._hop_of("proxy")

    def request_at(self, hop: str) -> Received:
        """The head of this request as `hop` received it: a name such as app-1, or a kind: app, proxy, lb, edge.

        LookupError when it never came there: answered before, or not on this way.
        """
        kind = {"app": "appserver", "lb": "loadbalancer", "edge": "cdn_edge", "cdn": "cdn_edge"}.get(hop, hop)
        entries = self._logs.entries(self.trace_id)
        for entry in entries:
            if entry.hop == hop or self._kinds.get(entry.hop) == kind:
                return entry.received
        came = ", ".join(entry.hop for entry in entries) or "nowhere that was logged"
        raise LookupError(f"{self.method} {self.url} did not come to {hop!r}; it came to {came}")

    @property
    def decisions(self) -> list[str]:
        """`edge-fra lookup uri-miss`, ...: every step of every hop, the hop nearest to the client first."""
        return [
            f"{line['hop']} {step} {word}" for line in self._logs.of(self) for step, word, *_ in line.get("marks", ())
        ]

    @cached_property
    def trace(self) -> Trace:
        """The waterfall: `print(r.trace)`. Times are the machine's; waits that were injected are as long as ordered."""
        timing = self._timing
        fields = [(name, self._really(value) if name == b"server-timing" else value) for name, value in self._raw()]
        return from_response(
            method=self.method,
            url=self.url,
            status=self.status,
            fields=fields,
            sent_ms=timing.sent,
            first_ms=timing.first,
            last_ms=timing.last,
            before=timing.before,
            protocol=self.version,
            address=timing.address,
            size=len(self.raw),
            reused=timing.reused,
        )

    def _raw(self) -> list[tuple[bytes, bytes]]:
        """The lines of Server-Timing as one: a hop's turn is told by their order."""
        timing = combined(self.headers.raw, b"server-timing")
        rest = [field for field in self.headers.raw if field[0] != b"server-timing"]
        return rest if timing is None else [*rest, (b"server-timing", timing)]

    def _really(self, value: bytes) -> bytes:
        """With what each step really took: by the stack's clock, which stands still, nothing takes time."""
        known: dict[str, list[float]] = {}
        for entry in self._logs.entries(self.trace_id):
            known.setdefault(entry.hop, list(entry.took))

        def replaced(match: re.Match[bytes]) -> bytes:
            took = known.get(match[1].decode())
            return match[0] if not took else b"%b.%b;dur=%.3f" % (match[1], match[2], took.pop(0))

        return _ENTRY.sub(replaced, value)

    def _hop_of(self, kind: str) -> str:
        timing = combined(self.headers.raw, b"server-timing") or b""
        for match in _ENTRY.finditer(timing):
            name = match[1].decode()
            if self._kinds.get(name) == kind:
                return name
        for entry in self._logs.entries(self.trace_id):
            if self._kinds.get(entry.hop) == kind:
                return entry.hop
        return ""

    def __repr__(self) -> str:
        return f"<Response {self.status} {self.method} {self.url} {self.cache.result.upper()} of {self.edge or '?'}>"

    def explained(self) -> str:
        """The waterfall, the decisions and the head, as text: what a failing test prints."""
        lines = [str(self.trace).rstrip()]
        if steps := self.decisions:
            lines += ["", "decisions"]
            lines += [f"    {step}" for step in steps]
        lines += ["", f"response: {self.status}"]
        lines += [f"    {line}" for line in repr(self.headers).splitlines() if not line.startswith("server-timing")]
        return "\n".join(lines)
