"""Whatever stands in a file: a plan, or faults in lines. Never anything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from stack.config import flags
from stack.errors import ConfigErrors, Problem
from stack.hop import registry
from stack.plan.document import Document
from stack.plan.layout import ALL, NAMED, SECTIONS, Site
from stack.plan.make import make_plan

ENTRIES = {"dns": "resolver", "edges": "fra", "balancers": "a", "proxies": "1", "apps": "1"}
PATHS = [
    *((title, ENTRIES[title], *option.path) for title, item in SECTIONS.items() for option in flags.options(registry.config(item.kind))),
    *((title, ENTRIES[title], name) for title, item in SECTIONS.items() for name in item.extra.__struct_fields__),
    *((name,) for name in Site.__struct_fields__),
    *((title, entry, name) for title, item in NAMED.items() for entry in ("hosts", "shop.test", ".", "a b", "é") for name in item.__struct_fields__),
    *((title,) for title in ALL),
    *((title, "1") for title in ALL),
    *((title, "1", "x") for title in ALL),
    *((("faults", "slow", key)) for key in ("on", "latency", "status", "share", "method", "path")),
]  # fmt: skip
ODD: list[Any] = [
    "", "x", "lb-a", "app-1", "edge-fra", "10s", "64K", "yes", "http://127.0.0.1:1", "https://[::1]:0", "http://", "x=http://h",
    "dns://0.0.0.0:53", "http+fd://3", "0.0.0.0/0", "10.0.0.1/8", "/x", "=", "a=1", "proxy-1=0", ".", "\x00", "\n", "é", "*", "[",
    "http://a b", "a" * 300, 0, -1, 1, 99_999, 1.5, float("nan"), float("-inf"), 10**30, True, [], [1], ["x"], [["x"]], {},
    {"a": 1}, [{}], ["a=1", "a=1"],
]  # fmt: skip


def document(settings: list[tuple[tuple[str, ...], Any]]) -> dict[str, Any]:
    """A document with these keys; one that is in the way of another gives way."""
    whole: dict[str, Any] = {}
    for path, value in settings:
        table = whole
        for key in path[:-1]:
            if not isinstance(table.get(key), dict):
                table[key] = {}
            table = table[key]
        table[path[-1]] = value
    return whole


@settings(max_examples=250, deadline=None)
@given(
    said=st.lists(st.tuples(st.sampled_from(PATHS), st.sampled_from(ODD)), min_size=1, max_size=3),
    many=st.booleans(),
    environ=st.dictionaries(
        st.sampled_from(["HOPSTACK_REPLICAS", "HOPSTACK_LIMITS_BODY", "HOPSTACK_TRUSTED", "HOPSTACK_ORIGIN"]),
        st.sampled_from([value for value in ODD if isinstance(value, str)]),
        max_size=1,
    ),
)
@example(said=[(("dns", "resolver", "cert"), "a" * 300)], many=True, environ={})
@example(said=[(("edges", "fra", "listen"), "http+fd://3")], many=True, environ={})
@example(said=[(("balancers", "a", "pool"), "")], many=True, environ={})
@example(said=[(("balancers", "a", "pool"), "\n")], many=True, environ={})
@example(said=[(("edges", "fra", "otlp"), "/x")], many=True, environ={})
@example(said=[(("zones", "shop.test", "records"), "x")], many=True, environ={})
def test_a_plan_or_faults_in_lines(
    said: list[tuple[tuple[str, ...], Any]], many: bool, environ: dict[str, str]
) -> None:
    problems: tuple[Problem, ...] = ()
    try:
        plan = make_plan(
            Document.of(document(said)), kinds=registry, state_dir=Path("/s"), environ=environ, many_addresses=many
        )
        assert len({hop.name for hop in plan.hops}) == len(plan.hops)
    except ConfigErrors as errors:
        problems = errors.problems
    assert not any("\n" in str(problem) for problem in problems)
