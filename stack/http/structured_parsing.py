"""Structured field values, read (RFC 9651 §4.2): the door to http-sf. `stack.http.structured` writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Member = object
"""int, Decimal, str (a string, or http-sf's Token), bytes, bool or datetime; a list of such for an inner list."""


def dictionary(value: bytes) -> Mapping[str, Member] | None:
    """The members of a Dictionary without their parameters; of a repeated key the last. None for what is none."""
    import http_sf  # 4 ms, and only for who is sent such fields

    try:
        members: Any = http_sf.parse(value, tltype="dictionary")
    except ValueError:
        return None
    return {key: _bare(member[0]) for key, member in members.items()}


def is_list(value: bytes) -> bool:
    """Whether it can be read as a List."""
    import http_sf

    try:
        http_sf.parse(value, tltype="list")
    except ValueError:
        return False
    return True


def _bare(member: object) -> Member:
    return [item[0] for item in member] if isinstance(member, list) else member
