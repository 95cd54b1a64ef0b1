"""A trace as text: the waterfall, why the caches did what they did, and where the time went."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from stack.trace.model import BudgetRow, Interval, Span, Trace
from stack.trace.waterfall import amount

NARROW: Final = 60
"""Columns below which nothing fits."""
LABEL: Final = 12
"""Width of the labels below the waterfall."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What bars are drawn with."""

    full: str
    half: tuple[str, str]
    """Where the left, or the right half of a cell is taken."""
    least: tuple[str, str]
    waiting: str
    injected: str
    ellipsis: str


UNICODE: Final = Marks("█", ("▌", "▐"), ("▏", "▕"), "·", "▒", "…")
ASCII: Final = Marks("#", ("#", "#"), ("|", "|"), ".", "!", "...")

BOLD, DIM, RED, GREEN, YELLOW, CYAN, MAGENTA, BLUE = "1", "2", "31", "32", "33", "36", "35", "94"
_COLOURS: Final = {"dns": CYAN, "tcp": MAGENTA, "tls": MAGENTA, "http": BLUE, "database": YELLOW}


class Paint:
    """SGR around text, or nothing."""

    def __init__(self, color: bool) -> None:
        self._on = color

    def __call__(self, text: str, *codes: str) -> str:
        if not (self._on and text.strip() and any(codes)):
            return text
        return f"\x1b[{';'.join(code for code in codes if code)}m{text}\x1b[0m"


def render(trace: Trace, *, width: int = 80, color: bool = False, unicode: bool = True) -> str:
    """Lines of at most `width` columns. Without `unicode`, the project's own marks are ASCII.

    Control characters that a server sent are shown, never obeyed.
    """
    width = max(width, NARROW)
    paint, marks = Paint(color), UNICODE if unicode else ASCII
    blocks = [
        _heading(trace, width, paint, marks),
        _waterfall(trace, width, paint, marks),
        _explained(trace, width, paint, marks),
        _budget(trace.budget, width, paint) if trace.status else [],
    ]
    return "\n\n".join("\n".join(line.rstrip() for line in block) for block in blocks if block)


def _heading(trace: Trace, width: int, paint: Paint, marks: Marks) -> list[str]:
    first = paint(_cut(f"{clean(trace.method)} {clean(trace.url)}", width, marks), BOLD)
    if not trace.status:
        return [first, *(paint(line, RED) for line in _wrapped(f"no response: {clean(trace.error)}", width))]
    place = trace.address
    if trace.edge:
        place = f"{clean(trace.edge)} ({trace.address})" if trace.address else clean(trace.edge)
    parts = [f"{trace.status} over {trace.protocol}" if trace.protocol else str(trace.status)]
    if place:
        parts[0] += f" from {place}"
    parts.append(f"{amount(trace.size)}{' ' if trace.coding else ''}{clean(trace.coding)}")
    parts.append(f"{_ms(trace.total_ms)} ms")
    lines = [first, *(paint(line, _tone(trace.status)) for line in _wrapped(", ".join(parts), width))]
    if trace.location:
        lines += _wrapped(f"leads to {clean(trace.location)} (not followed)", width, "  ")
    if trace.error:
        lines += [paint(line, RED) for line in _wrapped(clean(trace.error), width, "  ")]
    return lines


def _tone(status: int) -> str:
    return RED if status >= 500 else YELLOW if status >= 400 else GREEN


# The waterfall.


def _waterfall(trace: Trace, width: int, paint: Paint, marks: Marks) -> list[str]:
    if not trace.spans:
        return []
    names = [f"{'  ' * span.depth}{clean(span.name)}" for span in trace.spans]
    name_width = min(max(map(len, names)), 16)
    texts = [clean(span.decision) for span in trace.spans]
    rest = width - name_width - 7 - 3
    text_width = min(max(max(map(len, texts)), len("what happened")), max(24, rest * 29 // 50))
    bar_width = min(rest - text_width, 100)
    ends = (span.end_ms for span in trace.spans if span.kind != "said")
    scale = _Scale(max(trace.total_ms, *ends, 0.001), bar_width)
    end = f"{_ms(trace.total_ms)} ms"
    axis = "0" + end.rjust(bar_width - 1)
    lines = [paint(f"{'':{name_width}} {'what happened':{text_width}} {'own ms':>7} {axis}", DIM)]
    for span, name, text in zip(trace.spans, names, texts, strict=True):
        tone = RED if span.error else YELLOW if span.injected else ""
        wrapped = _wrapped(text, text_width)
        bar = _painted(scale.bar(span, marks), span, paint, marks)
        lines.append(
            f"{_cut(name, name_width, marks):{name_width}} {paint(f'{wrapped[0]:{text_width}}', tone)} "
            f"{'-' if span.kind == 'said' and not span.own_ms else _ms(span.own_ms):>7} {bar}"
        )
        lines += [f"{'':{name_width}} {paint(more, tone)}" for more in wrapped[1:]]
    return lines


@dataclass(frozen=True, slots=True)
class _Scale:
    total: float
    width: int

    def bar(self, span: Span, marks: Marks) -> str:
        """Own time as bars, waiting as dots, each cell showing what it mostly is; own time is never invisible."""
        if span.kind == "said":
            return ""  # how long it took is known, not when
        cell = self.total / self.width
        last = min(self.width, max(int(span.start_ms / cell) + 1, _ceil(span.end_ms / cell)))
        cells = []
        for index in range(last):
            left, right = index * cell, (index + 1) * cell
            middle = (left + right) / 2
            first = sum(_overlap(interval, left, middle) for interval in span.busy) / cell
            second = sum(_overlap(interval, middle, right) for interval in span.busy) / cell
            share, side = first + second, int(second > first)
            ordered = sum(_overlap(interval, left, right) for interval in span.faults) / cell
            if ordered > 0 and ordered >= share / 2:
                cells.append(marks.injected)
            elif share >= 0.7:
                cells.append(marks.full)
            elif share >= 0.3:
                cells.append(marks.half[side])
            elif share > 0.001:
                cells.append(marks.least[side])
            elif right > span.start_ms and span.total_ms > 0:
                cells.append(marks.waiting)
            else:
                cells.append(" ")
        if span.total_ms <= 0 and cells:  # less than what can be measured, but it took place
            cells[-1] = marks.least[0]
        return "".join(cells)


def _overlap(interval: Interval, left: float, right: float) -> float:
    return max(0.0, min(interval[0] + interval[1], right) - max(interval[0], left))


def _ceil(value: float) -> int:
    return int(value) + (value > int(value))


def _painted(bar: str, span: Span, paint: Paint, marks: Marks) -> str:
    own = RED if span.error else _COLOURS.get(span.kind, GREEN)
    tones = {marks.waiting: DIM, marks.injected: YELLOW, " ": ""}
    runs = groupby(bar, lambda cell: tones.get(cell, own))
    return "".join(paint("".join(cells), tone) for tone, cells in runs)


# What it means.


def _explained(trace: Trace, width: int, paint: Paint, marks: Marks) -> list[str]:
    lines = []
    for said in trace.cache:
        word = {"hit": GREEN, "stale": YELLOW, "miss": YELLOW}.get(said.result, "")
        name = {"none": "-", "pass": "PASS"}.get(said.result, said.result.upper())
        head = f"{clean(said.cache)}: {name}: {clean(said.why)}"
        lines += _labelled("cache", head, width, paint, word)
    for error in trace.proxy_status:
        lines += _labelled("error", f"{clean(error.hop)}: {clean(error.error)}: {clean(error.why)}", width, paint, RED)
    if trace.request_id:
        lines += _labelled("request id", clean(trace.request_id), width, paint)
    for note in trace.notes:
        lines += _labelled("note", clean(note), width, paint)
    legend = f"{marks.full} own time and the way to the next hop; {marks.waiting} waiting"
    if any(span.faults for span in trace.spans):
        legend += f"; {marks.injected} injected fault"
    return [*lines, *_labelled("bars", legend, width, paint)] if trace.status else lines


def _labelled(label: str, text: str, width: int, paint: Paint, tone: str = "") -> list[str]:
    first, *more = _wrapped(text, width - LABEL)
    return [f"{paint(f'{label:{LABEL}}', DIM)}{paint(first, tone)}", *(" " * LABEL + paint(one, tone) for one in more)]


def _budget(rows: Sequence[BudgetRow], width: int, paint: Paint) -> list[str]:
    lines = [paint(f"{'budget':16}{'this request':>14}   typical on the internet", DIM)]
    notes = width >= 78
    for row in rows:
        figure = "-" if row.ms is None else f"{_ms(row.ms)} ms"
        low, high = row.typical
        typical = f"{low:g} to {high:g} ms"
        lines.append(f"{row.name:16}{figure:>14}   {typical:16} {paint(row.note if notes else '', DIM)}")
    return lines


def _ms(value: float) -> str:
    return f"{max(0.0, value):.1f}" if value < 99_999 else f"{value:.0f}"


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """At blanks only: a word of the vocabulary, such as no-store, stays whole."""
    lines = textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
    return lines or [""]


def _cut(text: str, width: int, marks: Marks) -> str:
    return text if len(text) <= width else text[: width - len(marks.ellipsis)] + marks.ellipsis


def clean(text: str) -> str:
    """What a server sent, with controls and anything beyond ASCII written out."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(one if one.isascii() and one.isprintable() else ascii(one)[1:-1] for one in text)
