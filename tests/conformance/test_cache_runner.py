"""The runner of the cache cases sees what a cache does wrong: without one, and with one that keeps everything for ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.cache_cases import Case, Outcome, Runner, cases, verdicts
from tests.support.cache_client import Client
from tests.support.cache_origin import CacheOrigin
from tests.support.strict_origin import Answerer, Line, Received, strict_origin

ALL = cases()


def nothing(origin: CacheOrigin) -> Answerer:
    """No cache at all."""
    return origin.answer


class Written:
    """In place of a connection's writer."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data


def everything(origin: CacheOrigin) -> Answerer:
    """The first response of a URL answers all that is asked of it, whoever asks, and however."""
    kept: dict[bytes, bytes] = {}

    async def answer(request: Received, line: Line) -> bool:
        if request.target not in kept:
            written: Any = Written()
            await origin.answer(request, Line(line.number, line.reader, written))
            kept[request.target] = written.data
        line.writer.write(kept[request.target])
        return bool(kept[request.target])

    return answer


async def run(cache: Callable[[CacheOrigin], Answerer]) -> dict[str, str]:
    origin = CacheOrigin()
    async with strict_origin(cache(origin)) as behind, Client("127.0.0.1", behind.port) as client:
        return verdicts(ALL, await Runner(client, origin, pause=0.0).run(ALL))


def expecting(kind: str) -> list[Case]:
    return [case for case in ALL if any(one.get("expected_type") == kind for one in case["requests"])]


async def test_without_a_cache_nothing_comes_from_one() -> None:
    found = await run(nothing)
    assert {case["id"] for case in expecting("cached") if found[case["id"]] in ("pass", "yes")} == set()
    assert {found[name] for name in ("cc-resp-no-store", "freshness-none", "vary-star")} <= {"pass", "yes"}


async def test_a_cache_that_keeps_everything_fails_what_must_not_be_reused() -> None:
    found = await run(everything)
    assert {case["id"] for case in expecting("not_cached") if found[case["id"]] in ("pass", "yes")} == set()
    validated = [*expecting("etag_validated"), *expecting("lm_validated")]
    assert {case["id"] for case in validated if found[case["id"]] in ("pass", "yes")} == set()
    assert found["freshness-max-age"] in ("pass", "dependency_fail")


@pytest.mark.parametrize(
    ("words", "kind", "wanted"),
    [
        ({"a": "pass"}, "required", "pass"),
        ({"a": "fail"}, "required", "fail"),
        ({"a": "fail"}, "optimal", "optional_fail"),
        ({"a": "fail"}, "check", "no"),
        ({"a": "pass"}, "check", "yes"),
        ({"a": "setup"}, "check", "setup_fail"),
        ({"a": "retry"}, "required", "retry"),
        ({"a": "harness"}, "required", "harness_fail"),
        ({"a": "pass", "b": "fail"}, "required", "dependency_fail"),
        ({"a": "pass", "b": "pass", "c": "fail"}, "optimal", "dependency_fail"),
    ],
)
def test_verdicts(words: dict[str, str], kind: str, wanted: str) -> None:
    """`a` depends on `b`, and that on `c`."""
    names = list(words)
    made = [{"id": name, "kind": kind, "depends_on": names[at + 1 : at + 2]} for at, name in enumerate(names)]
    assert verdicts(made, {name: Outcome(word) for name, word in words.items()})["a"] == wanted
