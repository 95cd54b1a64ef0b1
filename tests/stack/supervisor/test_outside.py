"""Next hops that are the user's own servers."""

from __future__ import annotations

import socket
from pathlib import Path

from stack.hop import registry
from stack.plan.make import make_plan
from stack.plan.model import StackPlan
from stack.supervisor.outside import absent, excused, outside


def plan(**given: object) -> StackPlan:
    return make_plan(None, kinds=registry, state_dir=Path("/s"), environ={}, given=given)


def test_the_default_stack_needs_nobody() -> None:
    assert outside(plan()) == {}
    assert excused(plan()) == frozenset()
    assert absent(plan()) == []


def test_an_origin_is_outside_and_those_before_it_may_wait() -> None:
    with socket.socket() as there:
        there.bind(("127.0.0.1", 0))
        there.listen()
        here, gone = f"http://127.0.0.1:{there.getsockname()[1]}", "http://127.0.0.1:1"
        found = plan(origin=[here, gone])
        assert outside(found) == {"proxy-1": (here,), "proxy-2": (gone,)}
        assert excused(found) == {"proxy-1", "proxy-2", "lb-a"}
        assert absent(found) == [gone]
