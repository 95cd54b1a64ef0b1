"""Which requests a fault hits: by match, limit, time and seed."""

from __future__ import annotations

import pytest

from stack.faults.active import Active
from stack.faults.spec import parse
from stack.http.message import Request


def request(path: bytes = b"/x", method: bytes = b"GET") -> Request:
    return Request(method, path, [], authority=b"a.test")


def hits(text: str, times: int = 200, **kwargs: bytes) -> list[bool]:
    active = Active(parse(text), now=0.0)
    return [active.hit(request(**kwargs), 0.0) for _ in range(times)]


def test_the_same_seed_makes_the_same_decisions() -> None:
    first = hits("a>b refused share=0.3 name=x")
    assert hits("a>b refused share=0.3 name=x") == first
    assert hits("a>b refused share=0.3 name=y") != first
    assert hits("a>b refused share=0.3 name=y seed=5") == hits("c>d status=500 share=0.3 seed=5")
    assert 30 <= sum(first) <= 90


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("a>b refused first=2", [True, True, False, False, False]),
        ("a>b refused count=3", [True, True, True, False, False]),
        ("a>b refused", [True] * 5),
    ],
)
def test_limits(text: str, want: list[bool]) -> None:
    assert hits(text, 5) == want


def test_count_counts_what_is_hit_and_first_what_comes() -> None:
    assert sum(hits("a>b refused share=0.5 count=10 seed=1")) == 10
    assert sum(hits("a>b refused share=0.5 first=10 seed=1")) < 10


@pytest.mark.parametrize(
    ("text", "path", "method", "want"),
    [
        ("a>b refused path=/api/*", b"/api/x?y", b"GET", True),
        ("a>b refused path=/api/*", b"/x", b"GET", False),
        ("a>b refused path=/x", b"/x?q=1", b"GET", True),
        ("a>b refused method=POST,PUT", b"/x", b"PUT", True),
        ("a>b refused method=POST", b"/x", b"GET", False),
    ],
)
def test_matches(text: str, path: bytes, method: bytes, want: bool) -> None:
    assert hits(text, 1, path=path, method=method) == [want]


def test_what_does_not_match_uses_nothing_up() -> None:
    active = Active(parse("a>b refused first=1 path=/api/*"), now=0.0)
    assert not active.hit(request(), 0.0)
    assert active.hit(request(b"/api/"), 0.0)
    assert not active.hit(request(b"/api/"), 0.0)
    assert (active.seen, active.hits, active.state(0.0)) == (2, 1, "spent")


def test_a_check_uses_nothing_up_unless_it_meets_it() -> None:
    active = Active(parse("a>b refused first=1"), now=0.0)
    assert not active.hit(None, 0.0, check=True)
    assert active.hit(request(), 0.0)


def test_time() -> None:
    active = Active(parse("a>b refused for=30s"), now=100.0)
    assert active.hit(request(), 129.9)
    assert active.described(129.5)["left_s"] == 0.5
    assert not active.hit(request(), 130.0)
    assert active.state(130.0) == "over"


def test_jitter_is_within_its_bounds_and_by_seed() -> None:
    def delays(text: str) -> list[float]:
        active = Active(parse(text), now=0.0)
        return [active.delay() for _ in range(100)]

    some = delays("a>b latency=100ms jitter=30ms")
    assert all(0.07 <= delay <= 0.13 for delay in some)
    assert max(some) - min(some) > 0.03
    assert delays("a>b latency=100ms jitter=30ms") == some
    assert set(delays("a>b latency=100ms")) == {0.1}
    assert min(delays("a>b latency=10ms jitter=1s")) == 0.0
