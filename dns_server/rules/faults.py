"""What is wrong with a zone, and where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

MOST: Final = 20
"""Faults that are told; whoever has more has made one mistake many times."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a zone, and where. One that is not fatal is legal and unwise."""

    place: str
    message: str
    fatal: bool = True

    @property
    def line(self) -> tuple[str, int]:
        """What faults are told in the order of."""
        file, _, line = self.place.rpartition(":")
        return (file, int(line)) if line.isdigit() else (self.place, 0)

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


def told(faults: Iterable[Fault]) -> list[str]:
    """At most MOST of them as text, and how many there are besides."""
    lines = [str(fault) for fault in faults]
    return lines if len(lines) <= MOST else [*lines[:MOST], f"and {len(lines) - MOST} more"]


def fatal(faults: Sequence[Fault]) -> list[Fault]:
    return [fault for fault in faults if fault.fatal]
