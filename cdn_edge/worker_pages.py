"""What several workers' admin pages say, as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def summed(pages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Numbers are added up, tables by their names; of anything else it is the first one's."""
    found: dict[str, Any] = {}
    for page in pages:
        for key, value in page.items():
            if key not in found:
                found[key] = summed([value]) if isinstance(value, Mapping) else value
            elif isinstance(value, Mapping) and isinstance(found[key], Mapping):
                found[key] = summed([found[key], value])
            elif _is_number(value) and _is_number(found[key]):
                found[key] = found[key] + value
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def explained(records: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The most telling record, with all of them as `workers`: what would be answered before what would not, and what
    has something stored before what has nothing."""

    def telling(record: Mapping[str, Any]) -> tuple[bool, bool, bool, bool]:
        stored = record["variants"]
        return record["lookup"] != "hit", record["answer"] is None, not stored, record["refused"] is None

    most = min(records.values(), key=telling)
    return {**most, "workers": [{"name": name, **record} for name, record in records.items()]}
