from __future__ import annotations

from typing import Any

from cdn_edge.worker_pages import explained, summed


def test_numbers_are_added_up_and_of_the_rest_it_is_the_first() -> None:
    one = {"name": "edge", "cache": {"hits": 1, "lookups": {"hit": 1}, "why": ""}, "is": True, "listen": ["a"]}
    two = {"name": "edge", "cache": {"hits": 2, "lookups": {"uri-miss": 3}, "why": "x"}, "is": True, "listen": ["b"]}
    assert summed([one, two]) == {
        "name": "edge",
        "cache": {"hits": 3, "lookups": {"hit": 1, "uri-miss": 3}, "why": ""},
        "is": True,
        "listen": ["a"],
    }
    assert one["cache"] == {"hits": 1, "lookups": {"hit": 1}, "why": ""}
    assert summed([]) == {}


def record(lookup: str, *, answer: int | None = None, variants: int = 0, refused: bool = False) -> dict[str, Any]:
    return {"lookup": lookup, "answer": answer, "variants": ["one"] * variants, "refused": "why" if refused else None}


def test_the_most_telling_record_comes_first() -> None:
    order = [
        record("hit", answer=200, variants=1),
        record("stale-while-revalidate", answer=200, variants=1),
        record("vary-miss", variants=1),
        record("uri-miss", refused=True),
        record("uri-miss"),
    ]
    for at, most in enumerate(order):
        told = explained({str(number): one for number, one in enumerate(reversed(order[at:]))})
        assert {key: told[key] for key in most} == most
        assert [one["name"] for one in told["workers"]] == [str(number) for number in range(len(order) - at)]
