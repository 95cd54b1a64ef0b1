"""Equal values as one object: terms and names of Vary repeat from response to response."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, TypeVar

T = TypeVar("T", bound=Hashable)
_MOST: Final = 1024


class Shared:
    """The one that came first, of equal values; forgets all when it knows too many."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[Hashable, Hashable] = {}

    def __call__(self, value: T) -> T:
        known = self._known
        if len(known) >= _MOST:
            known.clear()
        return known.setdefault(value, value)  # type: ignore[return-value]  # equal values are of one type
