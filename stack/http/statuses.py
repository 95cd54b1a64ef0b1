"""Sets of status codes as a user writes them: `200-299`, `404` (RFC 9110 §15: three digits)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

PATTERN: Final = r"\A[1-5][0-9]{2}(-[1-5][0-9]{2})?\Z"
"""What one range looks like."""
WANTED: Final = "a status or a range of them, as 200 or 200-399"

_RANGE: Final = re.compile(PATTERN)


class Statuses:
    """Which statuses count. ValueError, naming the text, for what is no range."""

    __slots__ = ("_ranges",)

    def __init__(self, texts: Iterable[str]) -> None:
        ranges = []
        for text in texts:
            if _RANGE.fullmatch(text) is None:
                raise ValueError(f"{text!r}: wanted {WANTED}")
            first, _, last = text.partition("-")
            if last and last < first:
                raise ValueError(f"{text!r}: no status is in it; write the lower one first, as {last}-{first}")
            ranges.append(range(int(first), int(last or first) + 1))
        self._ranges = tuple(ranges)

    def __contains__(self, status: int) -> bool:
        return any(status in one for one in self._ranges)
