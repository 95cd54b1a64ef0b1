"""100,000 inputs for HTTP and as many for DNS, from the well-formed on: nothing crashes, nothing hangs. `make test-long` takes a million."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.fuzz import dns_targets, targets
from tests.fuzz.corpus import TOKENS, seeds
from tests.fuzz.groups import DNS, HTTP, NAMES, corpus_of, shares, target_of
from tests.fuzz.mutator import inputs

INPUTS = 100_000


@pytest.mark.parametrize("target", NAMES)
def test_nothing_crashes_and_nothing_hangs(target: str) -> None:
    """Each in a process of its own: the fuzzer instruments what it imports."""
    command = [sys.executable, "-m", "tests.fuzz", f"--target={target}", f"--inputs={shares(INPUTS)[target]}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


@pytest.mark.parametrize("target", NAMES)
def test_a_corpus_is_taken_without_mutation(target: str) -> None:
    for data in corpus_of(target)[0]:
        target_of(target)(data)


def test_the_mutator_without_feedback_is_the_same_for_the_same_seed() -> None:
    first, again, other = (list(inputs(seeds("chunked"), TOKENS, 200, seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert len(first) == 200
    assert len(set(first)) > 150


def test_no_target_is_left_out() -> None:
    assert set(targets.TARGETS) == set(HTTP)
    assert set(dns_targets.TARGETS) == set(DNS)
