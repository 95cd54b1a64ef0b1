"""Finished responses, by everything in the query behind its id."""

from __future__ import annotations

from collections.abc import Callable

from dns_server.query_log import Cell
from dns_server.rules.query import Query
from dns_server.rules.rrset import Answer


class Finished:
    """A response that is given again."""

    __slots__ = ("answer", "cell", "query", "tail")

    def __init__(self, tail: bytes, query: Query, answer: Answer, cell: Cell) -> None:
        self.tail = tail
        """All of it behind the id."""
        self.query = query
        self.answer = answer
        self.cell = cell
        """Where it is counted."""


LONGEST_KEY = 300
"""A question and a bare OPT: longer queries carry what will not come again."""
LONGEST_RESPONSE = 4096
"""Longer ones are rare, and so many of them would be gigabytes."""


class Responses:
    """At most `limit` responses, in two generations: when the young one is full it becomes the old one, and what is
    asked again moves back. That costs a repeated query one look in a dict and never a list."""

    __slots__ = ("_half", "_old", "_young", "epoch")

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._young: dict[bytes, Finished] = {}
        self._old: dict[bytes, Finished] = {}
        self.epoch: object = None

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    @property
    def look(self) -> Callable[[bytes], Finished | None]:
        """`get` of the young alone, as one call of the dict's; good until something is kept or flushed."""
        return self._young.get

    def get(self, key: bytes) -> Finished | None:
        found = self._young.get(key)
        if found is None and (found := self._old.get(key)) is not None:
            self.keep(key, found)
        return found

    def keep(self, key: bytes, finished: Finished) -> None:
        if len(key) > LONGEST_KEY or len(finished.tail) > LONGEST_RESPONSE or not self._half:
            return
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}
        self._young[key] = finished

    def flush(self, epoch: object) -> None:
        self.epoch = epoch
        if self._young or self._old:
            self._young, self._old = {}, {}
