"""The names of what left the store lately, in eight bytes each."""

from __future__ import annotations

from array import array
from typing import Final

BYTES_EACH: Final = 8
_WAYS: Final = 4
"""Places that a name may be in; the oldest gives way."""
_HALF: Final = 0xFFFF_FFFF
_WHOLE: Final = 0xFFFF_FFFF_FFFF_FFFF
_MIX: Final = 0x9E37_79B9_7F4A_7C15


class Ghost:
    """A table of fixed size: 32 bits of a hash, and 32 of when it was put in. A hash that is taken for another's, one
    in a billion, costs a wrong guess of the eviction policy and no more.

    A dict of the same names takes twenty times the memory, and the collector's time.
    """

    __slots__ = ("_at", "_mask", "_table", "bytes")

    def __init__(self, names: int) -> None:
        """For about so many names; a power of two of them."""
        buckets = 1 << max(0, (names // _WAYS).bit_length() - 1)
        self._mask = buckets - 1
        self._table = array("Q", bytes(buckets * _WAYS * BYTES_EACH))
        self._at = 0
        self.bytes: Final = buckets * _WAYS * BYTES_EACH

    def _place(self, name: int) -> tuple[int, int]:
        mixed = name * _MIX & _WHOLE  # hashes of small numbers are small numbers
        return (mixed & self._mask) * _WAYS, mixed >> 32

    def add(self, name: int) -> None:
        table, (first, print_) = self._table, self._place(name)
        self._at = at = (self._at + 1) & _HALF
        oldest, since = first, -1
        for place in range(first, first + _WAYS):
            held = table[place]
            if not held or held >> 32 == print_:
                oldest = place
                break
            passed = (at - held) & _HALF
            if passed > since:
                oldest, since = place, passed
        table[oldest] = print_ << 32 | at

    def take(self, name: int, latest: int) -> bool:
        """Whether it was among the `latest` names put in; it is no longer."""
        table, (first, print_) = self._table, self._place(name)
        for place in range(first, first + _WAYS):
            held = table[place]
            if held and held >> 32 == print_:
                table[place] = 0
                return (self._at - held) & _HALF < latest
        return False
