"""`$GENERATE RANGE LHS [TTL] [CLASS] TYPE RHS` of BIND's master files: the lines that it stands for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

WIDEST: Final = 255
"""Characters of a number: no name and no string is longer."""
_RANGE: Final = re.compile(r"(\d{1,10})-(\d{1,10})(?:/(\d{1,10}))?")
_QUOTED: Final = re.compile(r'([^"]*[ \t])"((?:[^"\\]|\\.)*)"[ \t]*(?:;.*)?')
_PLACE: Final = re.compile(r"\\.|\$\$|\$(?:\{([^}]*)\}?)?")
_FORM: Final = re.compile(r"([+-]?\d+)(?:,(\d+)(?:,([doxXnN]))?)?")


def numbers(text: str, most: int) -> range:
    """Of `1-20` or `0-100/2`. Raises ValueError for another text, and for more than `most`."""
    found = _RANGE.fullmatch(text)
    start, stop, step = (int(word or 1) for word in found.groups()) if found is not None else (1, 0, 1)
    if start > stop or not step:
        raise ValueError("$GENERATE needs a range, as 1-20 or 0-100/2")
    if (stop - start) // step >= most:
        raise ValueError(f"$GENERATE makes more than {most} records")
    return range(start, stop + 1, step)


def generated(template: str, numbers: Iterable[int]) -> Iterator[str]:
    """The line for each number. Raises ValueError for a form that is none.

    `$` is the number, `${OFFSET,WIDTH,BASE}` the number another way, `\\$` and `$$` are a dollar sign. Rdata of
    several words may stand in quotes, which are not part of it.
    """
    template = template.strip()
    if quoted := _QUOTED.fullmatch(template):
        template = quoted[1] + quoted[2].replace('\\"', '"')
    for number in numbers:
        yield _PLACE.sub(lambda place, number=number: _filled(place, number), template)  # type: ignore[misc]


def _filled(place: re.Match[str], number: int) -> str:
    if place[0][0] == "\\":
        return place[0]
    if place[0] == "$$":
        return "\\$"
    if place[1] is None:
        return str(number)
    form = _FORM.fullmatch(place[1]) if place[0][-1] == "}" else None
    if form is None or int(form[2] or 0) > WIDEST:
        raise ValueError(f"{place[0]} is no form of a number, as ${{0,3,d}}: offset, width and one of d, o, x, X, n, N")
    value, width, base = number + int(form[1]), int(form[2] or 0), form[3] or "d"
    if value < 0:
        raise ValueError(f"{place[0]} is below 0 for {number}")
    if base in "nN":
        return _nibbles(value, width, "x" if base == "n" else "X")
    return format(value, f"0{width}{base}")


def _nibbles(value: int, width: int, base: str) -> str:
    """Hexadecimal digits as labels, the lowest first; `width` counts the dots too, and one may be the last of it."""
    out = ""
    while value or len(out) < width or not out:
        out += format(value & 15, base)
        value >>= 4
        if value or len(out) < width:
            out += "."
    return out
