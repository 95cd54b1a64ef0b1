from __future__ import annotations

from collections import Counter
from itertools import chain, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadbalancer.rules.balance import Wheel, least_connections, ring


def letters(indexes: tuple[int, ...]) -> str:
    return "".join("abcdefgh"[i] for i in indexes)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        pytest.param((5, 1, 1), "aabacaa", id="nginx-5-1-1"),
        pytest.param((1, 1, 1), "abc", id="equal-is-plain-round-robin"),
        pytest.param((7, 7), "ab", id="equal-in-lowest-terms"),
        pytest.param((2, 1), "aba", id="nginx-2-1"),
        pytest.param((4, 2), "aba", id="lowest-terms"),
        pytest.param((1, 2, 3), "cbacbc", id="nginx-1-2-3"),
        pytest.param((1,), "a", id="one"),
        pytest.param((), "", id="none"),
    ],
)
def test_ring_is_nginx_smooth_weighted_round_robin(weights: tuple[int, ...], expected: str) -> None:
    assert letters(ring(weights)) == expected


weightings = st.lists(st.integers(1, 12), min_size=1, max_size=6)


@given(weightings, st.integers(0, 10_000))
def test_any_full_round_is_exactly_fair(weights: list[int], start: int) -> None:
    wheel = Wheel(weights)
    picks = Counter(wheel.order(turn)[0] for turn in range(start, start + wheel.places))
    assert {i: picks[i] * sum(weights) for i in range(len(weights))} == {
        i: weight * wheel.places for i, weight in enumerate(weights)
    }


@given(weightings, st.integers(0, 10_000), st.integers(1, 60))
def test_no_window_strays_from_the_weights(weights: list[int], start: int, length: int) -> None:
    """Smooth: never a burst of the heavy one, never a long wait for a light one."""
    wheel = Wheel(weights)
    picks = Counter(wheel.order(turn)[0] for turn in range(start, start + length))
    for index, weight in enumerate(weights):
        assert abs(picks[index] - length * weight / sum(weights)) < len(weights)


@given(weightings, st.integers(0, 10_000))
def test_an_order_names_every_backend_once(weights: list[int], turn: int) -> None:
    assert sorted(Wheel(weights).order(turn)) == list(range(len(weights)))


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_failover_of_a_dead_backend_is_shared_out_evenly(count: int) -> None:
    """Not all to the neighbour: whoever is first and fails, each other one is second equally often."""
    wheel = Wheel([1] * count)
    seconds = Counter(wheel.order(turn)[:2] for turn in range(count * (count - 1)))
    assert seconds == Counter(permutations(range(count), 2))


def test_failover_is_shared_out_by_weight() -> None:
    wheel = Wheel((2, 4, 2))
    seconds = Counter(order[1] for order in map(wheel.order, range(4 * 300)) if order[0] == 0)
    assert seconds[1] == 2 * seconds[2]


def test_no_backends_no_order() -> None:
    assert Wheel(()).order(7) == ()


@pytest.mark.parametrize(
    ("order", "loads", "weights", "expected"),
    [
        pytest.param((0, 1, 2), (3, 1, 2), (1, 1, 1), "bca", id="fewest-first"),
        pytest.param((2, 0, 1), (1, 1, 1), (1, 1, 1), "cab", id="ties-stay-in-turn"),
        pytest.param((1, 2, 0), (0, 5, 0), (1, 1, 1), "cab", id="tie-among-some"),
        pytest.param((0, 1), (4, 3), (2, 1), "ab", id="by-weight"),
        pytest.param((1, 0), (2, 1), (6, 3), "ba", id="equal-ratios-are-a-tie"),
        pytest.param((), (), (), "", id="none"),
    ],
)
def test_least_connections(
    order: tuple[int, ...], loads: tuple[int, ...], weights: tuple[int, ...], expected: str
) -> None:
    assert letters(least_connections(order, loads, weights)) == expected


def test_ties_beside_a_busy_backend_are_shared_evenly() -> None:
    """a is busy: b and c tie for its turns too, and neither gets all of them."""
    wheel = Wheel((1, 1, 1))
    picks = Counter(least_connections(wheel.order(turn), (9, 0, 0), wheel.weights)[0] for turn in range(600))
    assert picks == {1: 300, 2: 300}


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=6), st.integers(0, 99))
def test_least_connections_is_sorted_by_load_for_its_weight(backends: list[tuple[int, int]], turn: int) -> None:
    loads, weights = zip(*backends, strict=True)
    order = least_connections(Wheel(weights).order(turn), loads, weights)
    ratios = [loads[i] / weights[i] for i in order]
    assert ratios == sorted(ratios)
    assert sorted(chain(order)) == list(range(len(backends)))
