"""What a process wrote to its log at the end: why it went, in its own words."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

TAIL: Final = 65536
"""Bytes of a log that are looked through."""


def last_words(log: Path, begin: int, lines: int) -> list[str]:
    """The last lines from the offset `begin` on, without those of an access log."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            begin = begin if begin <= size else 0  # it was begun anew meanwhile
            file.seek(max(begin, size - TAIL))
            if size - begin > TAIL:
                file.readline()  # a piece of one
            said = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line for line in said.splitlines() if not _is_of_access_log(line)][-lines:]


def own_last_line(name: str, said: Iterable[str]) -> str:
    """What the process itself said last: not its workers, and not that it was ready."""
    for line in reversed(list(said)):
        words = line.split()
        if (
            words
            and not line.startswith(f"{name} ready on ")
            and not any(one.startswith(f"{name}/") for one in words[:2])
        ):
            return line.strip()
    return ""


def _is_of_access_log(line: str) -> bool:
    """Lines of JSON share the file; a write that was cut short leaves the end of one."""
    return line.startswith("{") or (line.endswith("}") and '":' in line)
