"""Structured field values, written (RFC 9651 §4.1): what Cache-Status and Proxy-Status need."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

_TOKEN: Final = re.compile(r"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*")
_KEY: Final = re.compile(r"[a-z*][a-z0-9_\-.*]*")
_NOT_IN_STRING: Final = re.compile(r"[^\x20-\x7e]")
_MOST: Final = 999_999_999_999_999


class Token(str):
    """Text to be written as a token, where it can be one."""

    __slots__ = ()


Bare = bool | int | str | Token
Params = Mapping[str, Bare]


def token(value: str) -> str:
    """§4.1.7; what cannot be a token is written as a string."""
    return value if _TOKEN.fullmatch(value) is not None else string(value)


def string(value: str) -> str:
    """§4.1.6. What is outside printable ASCII becomes `?`: a string cannot hold it."""
    return '"' + _NOT_IN_STRING.sub("?", value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def integer(value: int) -> str:
    """§4.1.4, moved to the nearest end of the range of 15 digits."""
    return str(min(max(value, -_MOST), _MOST))


def bare(value: Bare) -> str:
    """§4.1.3.1: the type of the value chooses the form."""
    if isinstance(value, bool):
        return "?1" if value else "?0"
    if isinstance(value, int):
        return integer(value)
    return token(value) if isinstance(value, Token) else string(value)


def params(values: Params) -> str:
    """§4.1.1.2: `;key=value`, and `;key` for true. ValueError for a key that is none: the caller's mistake."""
    out = []
    for key, value in values.items():
        if _KEY.fullmatch(key) is None:
            raise ValueError(f"{key!r} is no key of a structured field (RFC 9651 section 3.1.2)")
        out.append(f";{key}" if value is True else f";{key}={bare(value)}")
    return "".join(out)


def item(value: Bare, parameters: Params | None = None) -> str:
    """§4.1.3."""
    return bare(value) + (params(parameters) if parameters else "")


def items(values: Iterable[tuple[Bare, Params]]) -> bytes:
    """§4.1.1: a list of items with their parameters, as a field value."""
    return ", ".join(item(value, parameters) for value, parameters in values).encode("ascii")
