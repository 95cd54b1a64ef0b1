"""The bound in bytes is held against a process's own memory: whatever is stored, and however long."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from cdn_edge.memory import ProcessMemory
from cdn_edge.room import Room

LONG: Final = bool(os.environ.get("HOPSTACK_LONG"))
MIB: Final = 1024 * 1024
linux = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")


def filled(kind: str, times: float) -> dict[str, float]:
    args = [sys.executable, "-m", "tests.support.store_filling", kind, "256" if LONG else "48", str(times)]
    done = subprocess.run(args, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


@linux
@pytest.mark.parametrize("kind", ["tiny", "1k", "16k", "large", "odd", "web", "turns", "variants"])
def test_a_process_takes_at_most_a_quarter_more(kind: str) -> None:
    """The store is filled several times over, while as much is coming in as may."""
    result = filled(kind, 5 if LONG else 1.5 if kind == "tiny" else 3)
    assert result["pending"] > result["limit"] * 0.1
    assert result["most"] <= result["limit"] * 1.25
    if kind != "turns":  # nor less than was given
        assert result["counted"] > result["limit"] * 0.9
        assert result["end"] > result["limit"] * 0.85


@linux
def test_a_stored_kibibyte_takes_less_than_two_and_a_half() -> None:
    result = filled("1k", 1.2)
    assert (result["end"] - result["pending"]) / result["objects"] < 2560


class Scripted:
    """A process that takes what a test says."""

    def __init__(self) -> None:
        self.takes: int | None = 0
        self.trimmed = 0

    def grown(self) -> int | None:
        return self.takes

    def trim(self) -> None:
        self.trimmed += 1


def test_what_the_allocator_keeps_is_taken_off_and_comes_back() -> None:
    memory = Scripted()
    room = Room(100 * MIB, memory)
    memory.takes = 101 * MIB
    room.look(100 * MIB, 100 * MIB, 90 * MIB)
    assert room.bytes == 100 * MIB
    memory.takes = 160 * MIB  # few large ones have taken the place of the small ones, whose arenas stay
    room.look(2 * MIB, 100 * MIB, 5 * MIB)
    assert room.bytes == pytest.approx(47 * MIB, abs=1)
    memory.takes = 48 * MIB
    room.look(2 * MIB, 46 * MIB, 5 * MIB)
    assert room.bytes == 100 * MIB


def test_connections_are_not_taken_for_waste() -> None:
    """What no freed block can explain is somebody else's, and the cache keeps its room."""
    memory = Scripted()
    room = Room(100 * MIB, memory)
    memory.takes = 300 * MIB
    for _ in range(20):
        room.look(2 * MIB, 100 * MIB, 50 * MIB)
    assert room.bytes == 100 * MIB
    assert 0 < memory.trimmed < 20


def test_never_all_of_it_is_taken_off() -> None:
    memory = Scripted()
    room = Room(100 * MIB, memory)
    room.look(2 * MIB, 100 * MIB, 100 * MIB)
    memory.takes = 1000 * MIB
    room.look(2 * MIB, 10 * MIB, 0)
    assert room.bytes == 25 * MIB


def test_where_nothing_can_be_known_nothing_is_done() -> None:
    memory = Scripted()
    memory.takes = None
    room = Room(100 * MIB, memory)
    for _ in range(20):
        room.look(2 * MIB, 100 * MIB, 5 * MIB)
    assert (room.bytes, memory.trimmed) == (100 * MIB, 0)


@linux
def test_what_grows_is_seen() -> None:
    memory = ProcessMemory()
    before = memory.grown()
    assert before is not None
    held = b"x" * (20 * MIB)
    after = memory.grown()
    assert after is not None
    assert after - before > 19 * MIB
    del held
    memory.trim()
    assert (memory.grown() or 0) < before + 5 * MIB
