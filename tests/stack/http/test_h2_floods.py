"""Budgets of what costs its sender nothing."""

from __future__ import annotations

import pytest

from stack.http.h2_floods import BUDGETS, Flood, Floods


@pytest.mark.parametrize("kind", list(Flood))
def test_a_burst_and_no_more(kind: Flood) -> None:
    floods = Floods()
    burst, _ = BUDGETS[kind]
    assert all(floods.spend(kind, 5.0) for _ in range(burst))
    assert not floods.spend(kind, 5.0)


@pytest.mark.parametrize("kind", [kind for kind in Flood if BUDGETS[kind][1]])
def test_the_steady_rate_may_go_on_for_ever(kind: Flood) -> None:
    floods = Floods()
    _, rate = BUDGETS[kind]
    assert all(floods.spend(kind, 100.0 + i / rate) for i in range(BUDGETS[kind][0] * 3))


def test_kinds_have_budgets_of_their_own() -> None:
    floods = Floods()
    while floods.spend(Flood.PING, 0.0):
        pass
    assert floods.spend(Flood.SETTINGS, 0.0)


def test_resets_never_come_back_by_waiting_but_by_requests_that_are_answered() -> None:
    floods = Floods()
    while floods.spend(Flood.RESET, 0.0):
        pass
    assert not floods.spend(Flood.RESET, 1e9)
    for _ in range(5):
        floods.answered()
    assert [floods.spend(Flood.RESET, 1e9) for _ in range(4)] == [True, True, True, False]


def test_windows_are_earned_by_content() -> None:
    floods = Floods()
    for _ in range(10_000):
        floods.sent()
        assert floods.spend(Flood.WINDOW, 0.0)
        assert floods.spend(Flood.WINDOW, 0.0)
