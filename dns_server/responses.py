"""Finished responses, by everything in the query behind its id."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from dns_server.query_log import Cell
from dns_server.rules.query import Query
from dns_server.rules.rrset import Answer


class Finished:
    """A response that is given again."""

    __slots__ = ("answer", "cell", "line", "query", "tail")

    def __init__(self, tail: bytes, query: Query, answer: Answer, cell: Cell) -> None:
        self.tail = tail
        """All of it behind the id."""
        self.query = query
        """Without the options of who asked first: what a cookie vouched for is its client's alone."""
        self.answer = answer
        self.cell = cell
        """Where it is counted."""
        self.line = ""
        """What the query log says each time, once it has."""


LONGEST_KEY = 300
"""A question and a bare OPT: longer queries carry what will not come again."""
LONGEST_RESPONSE = 4096
"""Longer ones are rare, and so many of them would be gigabytes."""

_ASKED: Final = 1 << 16
"""Octets of traces: twice that many names asked in turn leave none behind."""


class Responses:
    """At most `limit` responses, in two generations: when the young one is full it becomes the old one, and what is
    asked again moves back. That costs a repeated query one look in a dict and never a list."""

    __slots__ = ("_asked", "_half", "_old", "_young", "epoch")

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._young: dict[bytes, Finished] = {}
        self._old: dict[bytes, Finished] = {}
        self._asked = bytearray(_ASKED if limit else 0)
        """A trace of what was asked lately, one octet in the place of its hash."""
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

    def again(self, key: bytes) -> bool:
        """Whether it was asked lately, as far as a trace of one octet tells. What is asked once, as in a walk through
        all names of a zone, is not worth a place if it is made in the time of finding one."""
        asked = self._asked
        if not asked:
            return False
        mark = hash(key)
        place, trace = mark & _ASKED - 1, mark >> 20 & 0xFF | 1
        if asked[place] == trace:
            return True
        asked[place] = trace
        return False

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
