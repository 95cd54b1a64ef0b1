"""Which response goes first (RFC 9218): the field Priority, and the value of PRIORITY_UPDATE."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

MAX_LENGTH: Final = 256
"""Bytes of a value; a longer one says nothing."""

_BARE = (  # RFC 9651 §3.3
    rb"-?[0-9]{1,12}\.[0-9]{1,3}|-?[0-9]{1,15}|@-?[0-9]{1,15}|\?[01]"
    rb'|%?"(?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"|:[A-Za-z0-9+/=]*:|[A-Za-z*][!#$%&\'*+\-.^_`|~0-9A-Za-z:/]*'
)
_KEY = rb"[a-z*][a-z0-9_\-.*]*"
_PARAMS = rb"(?:; *" + _KEY + rb"(?:=(?:" + _BARE + rb"))?)*"
_ITEMS = rb"\( *(?:(?:" + _BARE + rb")" + _PARAMS + rb"(?: +|(?=\))))*\)"
_MEMBER = re.compile(  # RFC 9651 §3.2
    rb"(?P<key>" + _KEY + rb")(?:=(?P<value>" + _BARE + rb"|" + _ITEMS + rb"))?" + _PARAMS
)
_COMMA = re.compile(rb"[ \t]*,[ \t]*")


class Priority(NamedTuple):
    """`urgency` from 0, the first, to 7; `incremental`: of use in pieces, so it shares its turn with others (§4)."""

    urgency: int = 3
    incremental: bool = False


DEFAULT: Final = Priority()


def parse(value: bytes, base: Priority = DEFAULT) -> Priority:
    """What `value` says, the rest as in `base`. A value that is no dictionary, or out of range, says nothing (§4)."""
    urgency, incremental = base
    value = value.strip(b" ")
    if len(value) > MAX_LENGTH:
        return base
    at = 0
    while at < len(value):
        member = _MEMBER.match(value, at)
        if member is None:
            return base
        key, said = member["key"], member["value"]
        if key == b"u" and said is not None and len(said) == 1 and b"0" <= said <= b"7":
            urgency = said[0] - 0x30
        elif key == b"i" and said in (None, b"?0", b"?1"):
            incremental = said != b"?0"
        at = member.end()
        if at == len(value):
            break
        comma = _COMMA.match(value, at)
        if comma is None or comma.end() == len(value):
            return base
        at = comma.end()
    return Priority(urgency, incremental)
