"""Walks under way: everybody who asks the same question shares one, and there are only so many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from dns_server.rules.names import to_text
from dns_server.rules.rrset import Answer
from stack.clock import Clock
from stack.net.tasks import Tasks

PATIENCE: Final = 0.2
"""Seconds that a walk has before it may have to make room: servers that are well answer sooner."""

Question = tuple[bytes, int]


class Flights:
    """Each walk holds at most one socket, so `limit` bounds the sockets too."""

    def __init__(self, limit: int, *, clock: Clock, tasks: Tasks) -> None:
        self._limit = limit
        self._clock = clock
        self._tasks = tasks
        self._under_way: dict[Question, tuple[float, asyncio.Task[Answer]]] = {}
        self.displaced = 0
        self.refused = 0

    def __len__(self) -> int:
        return len(self._under_way)

    def board(self, question: Question, walk: Callable[[], Coroutine[Any, Any, Answer]]) -> asyncio.Task[Answer] | None:
        """The walk for the question, begun if nobody has; None when there is no room for it.

        The walk that began first makes room if it has had its time: whoever floods us with questions that servers do
        not answer keeps nobody from being answered.
        """
        found = self._under_way.get(question)
        if found is not None:
            return found[1]
        now = self._clock.now()
        if len(self._under_way) >= self._limit and not self._make_room(now):
            self.refused += 1
            return None
        flight = self._tasks.spawn(walk(), name=f"walk {to_text(question[0])}")
        self._under_way[question] = (now, flight)
        flight.add_done_callback(lambda flight: self._land(question, flight))
        return flight

    def _make_room(self, now: float) -> bool:
        question = next(iter(self._under_way), None)
        if question is None or self._under_way[question][0] + PATIENCE > now:
            return False
        self._under_way.pop(question)[1].cancel()
        self.displaced += 1
        return True

    def _land(self, question: Question, flight: asyncio.Task[Answer]) -> None:
        found = self._under_way.get(question)
        if found is not None and found[1] is flight:
            del self._under_way[question]
