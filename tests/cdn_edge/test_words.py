"""One vocabulary: the words of the rules are those of `stack.path`."""

from __future__ import annotations

from cdn_edge.rules.reuse import Failure, Reuse
from cdn_edge.rules.storing import CROWDED, STRIPPED, NotStored
from stack.path import STEPS

WORDS = STEPS["cdn_edge"]


def test_lookup() -> None:
    named = {reuse.value for reuse in Reuse}
    assert named | {"uri-miss", "vary-miss", "partial", "method", "bypass", "only-if-cached"} == set(WORDS["lookup"])


def test_fetch() -> None:
    assert {failure.value for failure in Failure} | {"fetched", "revalidated", "failed"} == set(WORDS["fetch"])


def test_store() -> None:
    assert {refused.value for refused in NotStored} | {"stored", CROWDED, STRIPPED} == set(WORDS["store"])
