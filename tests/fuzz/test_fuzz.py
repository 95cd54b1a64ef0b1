"""100,000 inputs, from the well-formed on: nothing crashes, nothing hangs. `make test-long` takes a million."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.fuzz.corpus import TOKENS, seeds
from tests.fuzz.mutator import inputs
from tests.fuzz.targets import TARGETS

INPUTS = 100_000


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_crashes_and_nothing_hangs(target: str) -> None:
    """Each in a process of its own: the fuzzer instruments what it imports."""
    command = [sys.executable, "-m", "tests.fuzz", f"--target={target}", f"--inputs={-(-INPUTS // len(TARGETS))}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


@pytest.mark.parametrize("target", TARGETS)
def test_a_corpus_is_taken_without_mutation(target: str) -> None:
    for data in seeds(target):
        TARGETS[target](data)


def test_the_mutator_without_feedback_is_the_same_for_the_same_seed() -> None:
    first, again, other = (list(inputs(seeds("chunked"), TOKENS, 200, seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert len(first) == 200
    assert len(set(first)) > 150
