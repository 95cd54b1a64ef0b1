"""What `hopstack explain` prints of one edge's record."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any, Final

from stack.trace.render import clean

WIDTH: Final = 80
_LEFT: Final = 13
_PASSED: Final = frozenset({"method", "bypass"})
_KIB: Final = 1024


def told(name: str, record: dict[str, Any], question: dict[str, Any]) -> str:
    """Lines of 80 columns at most, but for URLs and values that are longer."""
    blocks = [
        f"{name}: {_verdict(record)}",
        *textwrap.wrap(_sentence(record["means"]), WIDTH, initial_indent="  ", subsequent_indent="  "),
        "",
        *_paragraph("Workers", *_workers(record.get("workers", []))),
        *_paragraph("Request", f"{record['method']} {record['url']}", *_fields(question)),
        *_paragraph("Key", record["key"]["key"], *record["key"]["made"]),
        *_stored(record),
        *_paragraph("Because", *record["because"]),
        *_paragraph("Freshness", *(record["freshness"] or {"said": []})["said"]),
        *_paragraph("Origin", *record["origin"]),
        *_paragraph("Storing", *record["storing"]),
        *_refused(record["refused"]),
        *_paragraph("Perhaps", *record["hints"]),
    ]
    if record["remedy"]:
        blocks += ["", *_paragraph("Remedy", record["remedy"], *(f"    {line}" for line in record["write"]))]
        blocks += _paragraph("See", record["see"])
    return "\n".join(clean(line).rstrip() for line in blocks)


def _workers(records: list[dict[str, Any]]) -> Iterator[str]:
    """Of an edge with several: each has a store of its own."""
    for record in records:
        yield f"{record['name']}: {_verdict(record)}"
    if len({(record["lookup"], record["answer"]) for record in records}) > 1:
        yield "They differ, as each stores what it has fetched itself; what follows is the first's that has most."


def _verdict(record: dict[str, Any]) -> str:
    word, answer = record["lookup"], record["answer"]
    if word == "hit":
        status = "" if answer == 200 else f", answered {answer}"
        return f"HIT{status}, fresh for another {span(record['freshness']['ttl'])}"
    if word == "only-if-cached":
        return "504, only-if-cached"
    if answer is not None:
        return f"STALE, sent from the store: {word}"
    return f"{'PASS' if word in _PASSED else 'MISS'}, {word}"


def _fields(question: dict[str, Any]) -> Iterator[str]:
    for name, value in question["headers"]:
        yield f"{name.lower()}: {value}"


def _stored(record: dict[str, Any]) -> Iterator[str]:
    variants = record["variants"]
    if not variants:
        yield from _paragraph("Stored", "nothing under this key")
        return
    count = "1 response" if len(variants) == 1 else f"{len(variants)} variants"
    chosen = next((number for number, one in enumerate(variants) if one["selected"]), None)
    unfit = "none is looked at" if record["lookup"] in _PASSED else "none fits"
    which = "" if len(variants) == 1 and chosen == 0 else f"; {unfit}" if chosen is None else "; * is selected"
    yield from _paragraph("Stored", f"{count}{which}")
    rows = [("", "STATUS", "AGE", "TTL", "SIZE", "SELECTED BY")]
    for one in variants:
        where = " (on disk)" if one["disk"] else ""
        content = size(one["size"] if one["content"] is None else one["content"])
        if one["held"] is not None and one["held"] != one["content"]:
            content = f"{size(one['held'])} of {content}"
        by = "; ".join(f"{name}: {'none' if value is None else value}" for name, value in one["vary"].items())
        mark = "*" if one["selected"] else ""
        rows.append(
            (mark, str(one["status"]), span(one["age"]), span(one["ttl"]), content, (by or "any request") + where)
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"{'':{_LEFT}}{line}"
    near = record["nearest"]
    if near is None:
        return
    differs = variants[near]["differs"]
    names = ", ".join(one["header"] for one in differs)
    yield from _paragraph("Nearest", f"the {'first' if near == 0 else f'number {near + 1}'}; differs in {names}")
    for one in differs:
        yield f"{'':{_LEFT}}- {one['header']}: {'none' if one['stored'] is None else one['stored']}   (stored)"
        yield f"{'':{_LEFT}}+ {one['header']}: {'none' if one['request'] is None else one['request']}   (asked)"


def _refused(refused: dict[str, Any] | None) -> Iterator[str]:
    if refused is None:
        return
    times = f", {refused['times']} times in a row" if refused["times"] > 1 else ""
    status = f" with {refused['status']}" if refused["status"] else ""
    lines = [f"{span(refused['ago'])} ago{status}{times}: {refused['word']}: {refused['means']}"]
    if refused["header"]:
        lines.append(f"{refused['header']}: {refused['value']}")
    yield from _paragraph("Not stored", *lines)


def _paragraph(title: str, *lines: str) -> list[str]:
    """Each line wrapped, the title before the first."""
    out: list[str] = []
    for line in lines:
        line = clean(line)
        inner = line[: len(line) - len(line.lstrip())]
        out += textwrap.wrap(
            line.lstrip(),
            WIDTH,
            initial_indent=" " * _LEFT + inner,
            subsequent_indent=" " * _LEFT + inner,
            break_long_words=False,
            break_on_hyphens=False,
        )
    if out:
        out[0] = f"  {title:{_LEFT - 2}}" + out[0][_LEFT:]
    return out


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def span(seconds: float) -> str:
    """9.5 s, 12 s, 3 min 20 s, 2 h, 3 d 4 h: two units at most, below 0 too."""
    sign, value = ("-", -seconds) if seconds < 0 else ("", seconds)
    for unit, name, part, below in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if value >= 2 * unit:
            rest = int(value % unit // part)
            return f"{sign}{int(value // unit)} {name}" + (f" {rest} {below}" if rest else "")
    return f"{sign}{value:.0f} s" if value >= 10 or value == int(value) else f"{sign}{value:.1f} s"


def size(number: int) -> str:
    if number < _KIB:
        return f"{number} B"
    return f"{number / _KIB:.1f} KiB" if number < _KIB * _KIB else f"{number / _KIB / _KIB:.1f} MiB"
