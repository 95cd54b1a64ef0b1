from __future__ import annotations

from functools import reduce

import pytest

from loadbalancer.rules.health import HEALTH, TAKES, CheckPolicy, Health, Sign, counted, pause, verdict

POLICY = CheckPolicy(interval=2.0, fast=0.25, rise=2, fall=3, grace=30.0)
UNKNOWN, UP, DOWN, DRAINING = Health


def test_the_table_is_whole() -> None:
    assert {state: set(row) for state, row in HEALTH.items()} == {state: set(Sign) for state in Health}


@pytest.mark.parametrize(
    ("signs", "expected"),
    [
        ([], UNKNOWN),
        ([Sign.ROSE], UP),
        ([Sign.FELL], DOWN),
        ([Sign.ROSE, Sign.FELL], DOWN),
        ([Sign.FELL, Sign.ROSE], UP),
        ([Sign.FELL, Sign.HELD], UNKNOWN),
        ([Sign.ROSE, Sign.HELD], UP),
        ([Sign.ROSE, Sign.DRAIN], DRAINING),
        ([Sign.ROSE, Sign.DRAIN, Sign.ROSE], DRAINING),
        ([Sign.ROSE, Sign.DRAIN, Sign.FELL, Sign.HELD], DRAINING),
        ([Sign.ROSE, Sign.DRAIN, Sign.READY], UNKNOWN),
        ([Sign.FELL, Sign.READY], DOWN),
    ],
    ids=lambda value: "-".join(sign.value for sign in value) or "start" if isinstance(value, list) else value.value,
)
def test_transitions(signs: list[Sign], expected: Health) -> None:
    assert reduce(lambda state, sign: HEALTH[state][sign], signs, UNKNOWN) is expected


def test_unknown_counts_as_up() -> None:
    assert {UNKNOWN, UP} == TAKES


@pytest.mark.parametrize(
    ("results", "streak"),
    [("+", 1), ("-", -1), ("++", 2), ("--", -2), ("++-", -1), ("--+", 1), ("+-+--", -2)],
)
def test_streaks(results: str, streak: int) -> None:
    assert reduce(lambda so_far, result: counted(so_far, result == "+"), results, 0) == streak


@pytest.mark.parametrize(
    ("health", "streak", "seen_up", "expected"),
    [
        pytest.param(UNKNOWN, 1, False, Sign.ROSE, id="first-result-decides-up"),
        pytest.param(UNKNOWN, -1, False, Sign.FELL, id="first-result-decides-down"),
        pytest.param(UNKNOWN, 1, True, Sign.ROSE, id="after-draining-too"),
        pytest.param(UP, -2, True, None, id="not-yet-fallen"),
        pytest.param(UP, -3, True, Sign.FELL, id="fallen"),
        pytest.param(DOWN, 1, True, None, id="not-yet-risen"),
        pytest.param(DOWN, 2, True, Sign.ROSE, id="risen"),
        pytest.param(DOWN, 1, False, Sign.ROSE, id="first-pass-ever-needs-no-rise"),
        pytest.param(DOWN, -1, True, None, id="down-stays-quiet"),
        pytest.param(UP, 1, True, None, id="up-stays-quiet"),
    ],
)
def test_verdict(health: Health, streak: int, seen_up: bool, expected: Sign | None) -> None:
    assert verdict(health, streak, POLICY, seen_up=seen_up) is expected


@pytest.mark.parametrize(
    ("health", "streak", "seen_up", "age", "expected"),
    [
        pytest.param(UP, 9, True, 99, 2.0, id="steady-up"),
        pytest.param(DOWN, -9, True, 99, 2.0, id="steady-down"),
        pytest.param(DRAINING, -9, True, 99, 2.0, id="draining"),
        pytest.param(UNKNOWN, 0, True, 99, 0.25, id="unknown"),
        pytest.param(UP, -1, True, 99, 0.25, id="falling"),
        pytest.param(DOWN, 1, True, 99, 0.25, id="rising"),
        pytest.param(DOWN, -9, False, 29, 0.25, id="starting-together"),
        pytest.param(DOWN, -9, False, 31, 2.0, id="never-came"),
    ],
)
def test_pause(health: Health, streak: int, seen_up: bool, age: float, expected: float) -> None:
    assert pause(health, streak, POLICY, seen_up=seen_up, age=age) == expected


def test_fast_is_never_slower_than_the_interval() -> None:
    assert pause(UP, -1, CheckPolicy(interval=0.1, fast=0.25), seen_up=True, age=99) == 0.1
