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


WEIGHT: Final = 1600
"""Octets of a finished response with its query, its answer and its line in the log, beside those of its records."""


def weight(key: bytes, finished: Finished) -> int:
    """Octets of memory that it takes, rather more than less: records stand in it as response, as rdata and packed."""
    return WEIGHT + 8 * len(key) + 5 * len(finished.tail)


class Responses:
    """At most `limit` responses and `memory` octets, in two generations: when the young one is full it becomes the old
    one, and what is asked again moves back. That costs a repeated query one look in a dict and never a list."""

    __slots__ = ("_asked", "_half", "_half_bytes", "_old", "_old_bytes", "_young", "_young_bytes", "epoch")

    def __init__(self, limit: int, memory: int) -> None:
        self._half = limit // 2
        self._half_bytes = memory // 2
        self._young_bytes = self._old_bytes = 0
        self._young: dict[bytes, Finished] = {}
        self._old: dict[bytes, Finished] = {}
        self._asked = bytearray(_ASKED if limit else 0)
        """A trace of what was asked lately, one octet in the place of its hash."""
        self.epoch: object = None

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    @property
    def octets(self) -> int:
        return self._young_bytes + self._old_bytes

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
        size = weight(key, finished)
        if len(self._young) >= self._half or self._young_bytes + size > self._half_bytes:
            if size > self._half_bytes:
                return
            self._old, self._young = self._young, {}
            self._old_bytes, self._young_bytes = self._young_bytes, 0
        elif (known := self._young.get(key)) is not None:
            self._young_bytes -= weight(key, known)
        self._young[key] = finished
        self._young_bytes += size

    def flush(self, epoch: object) -> None:
        self.epoch = epoch
        if self._young or self._old:
            self._young, self._old = {}, {}
            self._young_bytes = self._old_bytes = 0
