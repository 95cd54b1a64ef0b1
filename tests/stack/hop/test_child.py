from __future__ import annotations

import pytest

from stack.hop.child import BACKOFF_LAST, CRASHES, SETTLED, STEADY, Crashes, ended


def test_the_wait_doubles_until_it_is_a_crash_loop() -> None:
    crashes, now = Crashes(), 0.0
    waits = []
    for _ in range(CRASHES):
        waits.append(crashes.ended(began=now, now=now + 0.1))
        now += 1
    assert waits == [0.1, 0.2, 0.4, 0.8, None]


def test_the_wait_has_an_end() -> None:
    crashes, now = Crashes(), 0.0
    for _ in range(50):
        wait = crashes.ended(began=now, now=now + 10, ready_at=now)
        now += 10
    assert wait == BACKOFF_LAST


def test_a_process_that_was_settled_does_not_count_towards_a_crash_loop() -> None:
    crashes, now = Crashes(), 0.0
    for _ in range(CRASHES * 2):
        assert crashes.ended(began=now, now=now + SETTLED + 1, ready_at=now + 1) is not None
        now += SETTLED + 1
    for _ in range(CRASHES - 1):
        assert crashes.ended(began=now, now=now, ready_at=now) is not None
    assert crashes.ended(began=now, now=now, ready_at=None) is None


def test_exits_far_apart_are_no_crash_loop() -> None:
    crashes = Crashes()
    for n in range(CRASHES * 3):
        assert crashes.ended(began=n * 10, now=n * 10 + 1) is not None


def test_a_long_run_forgives() -> None:
    crashes = Crashes()
    for _ in range(CRASHES - 1):
        crashes.ended(began=0, now=0)
    assert crashes.ended(began=0, now=STEADY) == 0.1


@pytest.mark.parametrize(
    ("status", "words"), [(0, "exit 0"), (3, "exit 3"), (-9, "killed by SIGKILL"), (-200, "killed by signal 200")]
)
def test_how_it_ended(status: int, words: str) -> None:
    assert ended(status) == words
