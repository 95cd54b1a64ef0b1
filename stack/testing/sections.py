"""Sections of a document as a test adds to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stack.plan.layout import SECTIONS
from stack.plan.model import StackPlan
from stack.testing.sockets import Sockets


def listens(plan: StackPlan, sockets: Sockets) -> dict[str, dict[str, dict[str, list[str]]]]:
    """The addresses, as tables of a document."""
    tables: dict[str, dict[str, dict[str, list[str]]]] = {}
    for title, section in SECTIONS.items():
        for hop in plan.of(section.kind):
            key = hop.name.removeprefix(section.prefix)
            tables.setdefault(title, {})[key] = {"listen": [str(place) for place in sockets.addresses[hop.name]]}
    return tables


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Tables are merged, everything else gives way."""
    both = dict(below)
    for key, value in above.items():
        known = both.get(key)
        if isinstance(value, Mapping):
            both[key] = merged(known if isinstance(known, Mapping) else {}, value)
        else:
            both[key] = value
    return both
