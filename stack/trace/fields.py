"""Lists of items with parameters, read: Server-Timing, Cache-Status, Proxy-Status.

Lenient, as a reader of what any server on the internet says must be: what cannot be read is left out, never an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

_PART: Final = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,;="]+))\s*')
_ESCAPE: Final = re.compile(r"\\(.)")
MOST: Final = 1000
"""Members of one field that are read."""


@dataclass(frozen=True, slots=True)
class Item:
    """`name;key=value;flag`: a flag's value is `"?1"` (RFC 9651 §3.1.2)."""

    name: str
    params: dict[str, str] = field(default_factory=dict)

    def number(self, key: str) -> float | None:
        try:
            value = float(self.params[key])
        except (KeyError, ValueError):
            return None
        return value if abs(value) < 1e12 else None  # also says no to nan and inf


def items(value: str) -> list[Item]:
    """The members of a list, in order."""
    return [item for item, _ in zip(_items(value), range(MOST), strict=False)]


def _items(value: str) -> Iterator[Item]:
    at = 0
    while at < len(value):
        name, at = _bare(value, at)
        item = Item(name)
        while at < len(value) and value[at] == ";":
            key, at = _bare(value, at + 1)
            said = "?1"
            if at < len(value) and value[at] == "=":
                said, at = _bare(value, at + 1)
            if key:
                item.params.setdefault(key.lower(), said)
        if name:
            yield item
        end = value.find(",", at)  # whatever stands before it could not be read
        at = len(value) if end < 0 else end + 1


def _bare(value: str, at: int) -> tuple[str, int]:
    """A token or a string from `at`, and the place behind it."""
    match = _PART.match(value, at)
    if match is None:
        while at < len(value) and value[at] in " \t":
            at += 1
        return "", at
    if match[2] is not None:
        return match[2], match.end()
    return _ESCAPE.sub(r"\1", match[1]), match.end()
