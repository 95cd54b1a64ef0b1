"""Renewing behind the client's back what was sent stale (RFC 5861 §3), and what is known of origins that are silent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from cdn_edge.asked import Asked
from cdn_edge.keeping import recorded
from cdn_edge.rules import vary
from cdn_edge.rules.storing import FOR_THIS_CLIENT, NotStored
from cdn_edge.store import Store
from cdn_edge.stored import Stored
from stack.clock import Clock
from stack.http.message import Request, Response
from stack.net.tasks import Tasks
from stack.telemetry.exchange import Exchange
from stack.telemetry.metrics import Metrics

_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 10.0
"""Seconds between two tries that fail: the first, doubled each time, and the most."""
_SLOW: Final = 1.0
"""Seconds that a failure takes from which on nobody else is made to wait for the next."""
_SILENT: Final = 30.0
"""Seconds for which an origin that was silent counts as unreachable without being asked by whoever comes."""
_MOST: Final = 4096
_OWN: Final = (b"cache-control", b"pragma")
"""What the client asked of caches is answered. The refresh is this cache's own request, and for all."""

Identity = tuple[bytes, vary.Names, vary.Selection]


_PERSONAL: Final = frozenset(refused.value for refused in FOR_THIS_CLIENT)
_IN_VAIN: Final = _PERSONAL | {NotStored.INCOMPLETE.value}
_CREDENTIALS: Final = frozenset({b"authorization", b"cookie"})


def _is_plain(request: Request) -> bool:
    return _CREDENTIALS.isdisjoint([name for name, _ in request.fields])


class _Note:
    """What is known of one stored response whose renewal failed. Monotonic seconds."""

    __slots__ = ("not_before", "pause", "personal", "silent_until")

    def __init__(self) -> None:
        self.pause = 0.0
        self.personal = False
        """It was refused for what lay in the client's request: others may try at once."""
        self.not_before = self.silent_until = float("-inf")


class Refreshing:
    """One refresh of a stored response at a time. One that fails is tried again after a pause, by whoever comes then.

    It does not end with the client that caused it. A process that stops ends it; nothing is lost, since what is stored
    stays as it was.
    """

    def __init__(
        self,
        send: Callable[[Asked], Awaitable[Response]],
        *,
        store: Store,
        clock: Clock,
        tasks: Tasks,
        metrics: Metrics,
        name: str,
    ) -> None:
        self._send = send
        self._store = store
        self._clock = clock
        self._tasks = tasks
        self._name = name
        self._notes: dict[Identity, _Note] = {}
        self._under_way: set[Identity] = set()
        """By place: what comes from disk for each request is another object each time."""
        self._results = metrics.counter(
            "hopstack_cache_refreshes_total", "Refreshes of stale responses in the background.", ("result",)
        )

    def start(self, stored: Stored, request: Request, exchange: Exchange) -> None:
        """Unless it is under way, or has failed just now."""
        identity = stored.identity
        if identity in self._under_way:
            return
        note = self._notes.get(identity)
        if note is not None and self._clock.now() < note.not_before and not (note.personal and _is_plain(request)):
            return
        self._under_way.add(identity)
        asked = Asked.behind(stored, request, exchange, drop=_OWN)
        self._tasks.spawn(self._refresh(stored, asked), name=f"{self._name}.refresh")

    async def _refresh(self, stored: Stored, asked: Asked) -> None:
        try:
            await recorded(await self._send(asked))
        finally:
            self._under_way.discard(stored.identity)
            step, word = asked.exchange.marks[-1][:2] if asked.exchange.marks else ("", "")
            if step != "store" or word in _IN_VAIN or self._store.holds(stored):
                self._pause(stored, personal=word in _PERSONAL)
                self._results.inc("failed")
            else:
                self._notes.pop(stored.identity, None)
                self._results.inc("renewed")

    def _pause(self, stored: Stored, *, personal: bool) -> None:
        note = self._note(stored)
        note.personal = personal
        note.pause = min(note.pause * 2 or _FIRST_PAUSE, _LONGEST_PAUSE)
        note.not_before = self._clock.now() + note.pause

    def _note(self, stored: Stored) -> _Note:
        note = self._notes.get(stored.identity)
        if note is None:
            if len(self._notes) >= _MOST:
                del self._notes[next(iter(self._notes))]
            note = self._notes[stored.identity] = _Note()
        return note

    def unreachable(self, stored: Stored, took: float) -> None:
        """The origin could not be reached for news of it, and that took so many seconds to find out."""
        if took >= _SLOW:
            self._note(stored).silent_until = self._clock.now() + _SILENT

    def answered(self, stored: Stored) -> None:
        """The origin did answer."""
        if self._notes:
            self._notes.pop(stored.identity, None)

    def silent(self, stored: Stored) -> bool:
        """Whether asking the origin for news of it would only make one more client wait."""
        if not self._notes:
            return False
        note = self._notes.get(stored.identity)
        if note is None or note.silent_until == float("-inf"):
            return False
        return stored.identity in self._under_way or self._clock.now() < note.silent_until
