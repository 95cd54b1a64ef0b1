from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from loadbalancer.backends import Backend
from loadbalancer.rules.blame import Blame
from loadbalancer.rules.health import Health
from tests.loadbalancer.scripted import Bench, ScriptedPool


def bench(count: int = 3, **options: object) -> Bench:
    return Bench(*(ScriptedPool() for _ in range(count)), **options)  # type: ignore[arg-type]


def order(bench: Bench) -> str:
    return "".join(backend.name for backend in bench.backends.preference())


def test_each_order_is_whole_and_each_turn_begins_with_another() -> None:
    backends = bench()
    assert [order(backends) for _ in range(6)] == ["abc", "bac", "cab", "acb", "bca", "cba"]


def test_one_that_goes_down_meanwhile_is_passed_over_until_nothing_else_is_left() -> None:
    backends = bench()
    preference = backends.backends.preference()
    assert next(preference).name == "a"
    backends.check("b", "-")
    assert [backend.name for backend in preference] == ["c", "b"]


def test_one_that_comes_up_meanwhile_is_found() -> None:
    backends = bench(panic=False)
    backends.check("c", "-")
    preference = backends.backends.preference()
    assert next(preference).name == "a"
    backends.check("c", "+")
    assert [backend.name for backend in preference] == ["b", "c"]


def test_checks_take_out_and_bring_back() -> None:
    backends = bench()
    states = []
    for result in "+---+-++":
        backends.check("a", result)
        states.append(backends["a"].health.value)
    assert states == ["up", "up", "up", "down", "down", "down", "down", "up"]
    assert backends["a"].reason == "check: 200"
    assert backends.metric('hopstack_lb_checks_total{backend="a",result="failed"}') == 4
    assert backends.metric('hopstack_lb_state_changes_total{backend="a",state="down"}') == 1


def test_a_state_has_its_reason_and_its_time() -> None:
    backends = bench()
    backends.check("a", "+")
    backends.clock._now += 5
    backends.check("a", "---")
    backends.clock._now += 7
    state = backends.backends.state_of(backends["a"])
    assert (state["state"], state["reason"], state["since_seconds"]) == ("down", "check: refused", 7)
    assert state["last_check"] == {"result": "refused", "ago_seconds": 7}
    assert backends.metric('hopstack_lb_backend_up{backend="a"}') == 0
    assert backends.metric('hopstack_lb_backend_up{backend="b"}') == 1


def test_what_traffic_took_out_checks_bring_back_by_rise() -> None:
    backends = bench()
    backends.check("a", "+++++")
    backends.backends.failed(backends["a"], Blame.DEAD, "refused")
    assert not backends["a"].takes
    backends.check("a", "+")
    assert not backends["a"].takes
    backends.check("a", "+")
    assert backends["a"].takes


async def test_without_checks_it_comes_back_on_trial() -> None:
    backends = bench(checked=False, passive_hold=10)
    one = backends["a"]
    backends.backends.failed(one, Blame.DEAD, "refused")
    await backends.clock.advance(9.9)
    assert not one.takes
    await backends.clock.advance(0.2)
    assert one.takes
    backends.backends.failed(one, Blame.SUSPECT, "failed")
    assert not one.takes, "on trial the first failure counts in full"
    await backends.clock.advance(10)
    backends.backends.answered(one)
    assert (one.health, one.failures) == (Health.UP, 0)
    backends.backends.failed(one, Blame.SUSPECT, "failed")
    assert one.takes


async def test_without_checks_an_answer_in_panic_brings_it_back() -> None:
    backends = bench(1, checked=False)
    one = backends["a"]
    backends.backends.failed(one, Blame.DEAD, "refused")
    await backends.send()
    assert one.takes
    await backends.clock.advance(60)
    assert one.health is Health.UP


def test_draining_and_ready() -> None:
    backends = bench(2)
    one = backends["a"]
    backends.check("a", "+")
    backends.backends.drain(one)
    assert [order(backends) for _ in range(2)] == ["b", "b"]
    backends.check("a", "---")
    assert one.health is Health.DRAINING
    backends.backends.ready(one)
    assert (one.health, one.takes) == (Health.UNKNOWN, True)
    assert backends.hurried == ["a"]
    backends.check("a", "-")
    assert one.health is Health.DOWN, "the first check after it decides alone"


def test_settled_says_that_an_answer_changes_nothing() -> None:
    backends = bench(1)
    one = backends["a"]
    assert not one.settled
    backends.check("a", "+")
    assert one.settled
    backends.backends.failed(one, Blame.SUSPECT, "failed")
    assert not one.settled
    backends.backends.answered(one)
    assert one.settled


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_requests_of_a_dead_backend_are_shared_evenly(count: int) -> None:
    """It is still thought to be up: each of its requests fails over, and no neighbour gets them all."""
    backends = bench(count)
    served: Counter[str] = Counter()
    for _ in range(count * (count - 1) * 10):
        first, second = order(backends)[:2]
        served[second if first == "a" else first] += 1
    assert len(set(served.values())) == 1


class Fairness(RuleBasedStateMachine):
    """Backends go up and down; between two changes every one that takes requests gets its share."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = bench(4, weights=(3, 1, 2, 1), passive_fall=1, panic=False)
        self.since: Counter[str] = Counter()

    def _takers(self) -> list[Backend]:
        return [backend for backend in self.bench.backends.members if backend.takes]

    @rule(name=st.sampled_from("abcd"), results=st.sampled_from(["+", "++", "---"]))
    def check(self, name: str, results: str) -> None:
        before = self._takers()
        self.bench.check(name, results)
        if self._takers() != before:
            self.since.clear()

    @rule(name=st.sampled_from("abcd"))
    def refuse(self, name: str) -> None:
        before = self._takers()
        self.bench.backends.failed(self.bench[name], Blame.DEAD, "refused")
        if self._takers() != before:
            self.since.clear()

    @rule(name=st.sampled_from("abcd"), wish=st.sampled_from(["drain", "ready"]))
    def operate(self, name: str, wish: str) -> None:
        before = self._takers()
        getattr(self.bench.backends, wish)(self.bench[name])
        if self._takers() != before:
            self.since.clear()

    @precondition(lambda self: self._takers())
    @rule(requests=st.integers(1, 25))
    def send(self, requests: int) -> None:
        for _ in range(requests):
            self.since[next(self.bench.backends.preference()).name] += 1

    @rule()
    def look(self) -> None:
        names = order(self.bench)
        assert sorted(names) == sorted(backend.name for backend in self._takers())
        if names:
            self.since[names[0]] += 1

    @invariant()
    def shares_follow_the_weights(self) -> None:
        takers = self._takers()
        total, weights = sum(self.since.values()), sum(backend.weight for backend in takers)
        assert set(self.since) <= {backend.name for backend in takers}
        for backend in takers:
            assert abs(self.since[backend.name] - total * backend.weight / weights) < len(takers)


TestFairness = Fairness.TestCase
TestFairness.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.lists(st.sampled_from(["+", "-", "refused", "lost", "answered", "drain", "ready"]), max_size=60))
@settings(deadline=None)
def test_state_and_what_follows_from_it_never_part(events: list[str]) -> None:
    backends = bench(2)
    one = backends["a"]
    for event in events:
        match event:
            case "+" | "-":
                backends.check("a", event)
            case "refused":
                backends.backends.failed(one, Blame.DEAD, "refused")
            case "lost":
                backends.backends.failed(one, Blame.SUSPECT, "failed")
            case "answered":
                backends.backends.answered(one)
            case _:
                getattr(backends.backends, event)(one)
        assert one.takes == (one.health in (Health.UNKNOWN, Health.UP))
        assert not one.settled or (one.health is Health.UP and not one.failures)
        assert ("a" in {order(backends)[0] for _ in range(4)}) == one.takes
