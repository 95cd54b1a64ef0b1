"""What the origin answered last that was not stored, and why: remembered by key, bounded in bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

from cdn_edge.rules.storing import NotStored
from stack.http.message import Fields, get

_LIMIT: Final = 1024 * 1024
_COST: Final = 360
"""Bytes of one note besides its texts: a node and a slot of an OrderedDict, a tuple and its numbers."""
_LONGEST: Final = 200
_name = itemgetter(0)
_CACHE_CONTROL: Final = b"cache-control"
_AT_FAULT: Final[dict[NotStored, bytes | None]] = {
    **dict.fromkeys(NotStored, b""),
    NotStored.NO_STORE: _CACHE_CONTROL,
    NotStored.PRIVATE: _CACHE_CONTROL,
    NotStored.AUTHORIZATION: _CACHE_CONTROL,
    NotStored.NO_FRESHNESS: _CACHE_CONTROL,
    NotStored.COOKIE: b"last-modified",
    NotStored.SET_COOKIE: b"set-cookie",
    NotStored.VARY_STAR: b"vary",
    NotStored.TOO_LARGE: b"content-length",
    NotStored.RANGE: b"content-range",
    # these say nothing of what another GET of the URL would come to
    **dict.fromkeys((NotStored.METHOD, NotStored.CONTENT, NotStored.TUNNEL, NotStored.FILLING)),
}
"""The response's field to look at. None is not noted."""

_Note = tuple[float, NotStored, int, bytes, bytes, int]


@dataclass(frozen=True, slots=True)
class Refusal:
    at: float
    """Monotonic seconds."""
    why: NotStored
    status: int
    name: bytes
    """The response's field to look at; empty where none is at fault."""
    value: bytes
    """What it said, shortened: of Set-Cookie the cookie's name only. Empty where there was no such field."""
    times: int
    """How often in a row, for whatever reason."""


class Refusals:
    """Written on the way of a miss, so a note costs less than a microsecond."""

    def __init__(self, limit: int = _LIMIT, *, targets: Sequence[bytes] = ()) -> None:
        """`targets`: names of fields that are obeyed in place of Cache-Control, the first that is there."""
        self._limit = limit
        self._order = targets
        self._targets = frozenset(targets)
        self._notes: OrderedDict[bytes, _Note] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._notes)

    def note(self, key: bytes, why: NotStored, *, at: float, status: int = 0, fields: Fields | None = None) -> None:
        """`status` and `fields`: of the response that was not stored, where that is more than broken off."""
        wanted = _AT_FAULT[why]
        if wanted is None:
            return
        value = b""
        if wanted and fields is not None:
            if wanted is _CACHE_CONTROL:
                if not self._targets.isdisjoint(map(_name, fields)):
                    given = set(map(_name, fields))
                    wanted = next(name for name in self._order if name in given)
                value = (get(fields, wanted) or b"")[:_LONGEST]
            else:
                value = get(fields, wanted) or b""
                value = (value.partition(b"=")[0] if wanted == b"set-cookie" else value)[:_LONGEST]
        notes = self._notes
        before = notes.get(key)
        if before is None:
            notes[key] = (at, why, status, wanted, value, 1)
            self.bytes += len(key) + len(value) + _COST
        else:
            notes[key] = (at, why, status, wanted, value, before[5] + 1)
            notes.move_to_end(key)
            self.bytes += len(value) - len(before[4])
        while self.bytes > self._limit:
            gone, note = notes.popitem(last=False)
            self.bytes -= len(gone) + len(note[4]) + _COST

    def forget(self, key: bytes) -> None:
        """It has been stored."""
        note = self._notes.pop(key, None)
        if note is not None:
            self.bytes -= len(key) + len(note[4]) + _COST

    def get(self, key: bytes) -> Refusal | None:
        note = self._notes.get(key)
        if note is None:
            return None
        return Refusal(*note)
