"""Structured field values, written (RFC 9651 §4.1): what Cache-Status and Proxy-Status need."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Union

_TOKEN: Final = re.compile(r"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*", re.ASCII)
_KEY: Final = re.compile(r"[a-z*][a-z0-9_\-.*]*", re.ASCII)
_NOT_IN_STRING: Final = re.compile(r"[^\x20-\x7e]")


class Token(str):
    """Text that is to be written as a token where it can be one."""

    __slots__ = ()


Bare = Union[bool, int, str, bytes, Token]
Params = Mapping[str, Bare]


def token(value: str) -> str:
    """§4.1.7; what cannot be a token is written as a string."""
    return value if _TOKEN.fullmatch(value) else string(value)


def string(value: str) -> str:
    """§4.1.6. Bytes outside printable ASCII become `?`: a string cannot hold them."""
    return '"' + _NOT_IN_STRING.sub("?", value).replace("\\", "\\\\").replace('"', '\\"') + '"'
