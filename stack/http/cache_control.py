"""Cache-Control (RFC 9111 §5.2) and the directives of RFC 5861 and RFC 8246, as one frozen value.

What is malformed or contradicts itself is read as the stricter of its meanings (RFC 9111 §4.2.1, §5.2).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from stack.http.fields import split_list, tokens, unquote

FOREVER: Final = 2**31
"""RFC 9111 §1.2.2: a larger number of seconds means this one."""
_DIGITS: Final = re.compile(rb"[0-9]+")


@dataclass(frozen=True, slots=True)
class CacheControl:
    """Directives of a request or a response. Seconds throughout; None where a directive is absent.

    `no-cache="field"` and `private="field"` (§5.2.2.4, §5.2.2.7) name response fields and leave `no_cache` and
    `private` unset.
    """

    max_age: int | None = None
    s_maxage: int | None = None
    no_store: bool = False
    no_cache: bool = False
    no_cache_fields: frozenset[bytes] = frozenset()
    private: bool = False
    private_fields: frozenset[bytes] = frozenset()
    public: bool = False
    must_revalidate: bool = False
    proxy_revalidate: bool = False
    must_understand: bool = False
    no_transform: bool = False
    immutable: bool = False
    only_if_cached: bool = False
    max_stale: int | None = None
    """§5.2.1.2; without an argument FOREVER."""
    min_fresh: int | None = None
    stale_while_revalidate: int | None = None
    stale_if_error: int | None = None
    extensions: tuple[tuple[bytes, bytes | None], ...] = ()
    """What is not known here, in order: (name in lower case, argument)."""


_EMPTY: Final = CacheControl()
_REMEMBERED_LENGTH: Final = 128
FLAGS: Final = {
    b"no-store": "no_store",
    b"public": "public",
    b"must-revalidate": "must_revalidate",
    b"proxy-revalidate": "proxy_revalidate",
    b"must-understand": "must_understand",
    b"no-transform": "no_transform",
    b"immutable": "immutable",
    b"only-if-cached": "only_if_cached",
}
_FRESH: Final = {b"max-age": "max_age", b"s-maxage": "s_maxage"}
_GRACE: Final = {
    b"stale-while-revalidate": "stale_while_revalidate",
    b"stale-if-error": "stale_if_error",
    b"max-stale": "max_stale",
}
_NAMING: Final = {b"no-cache": "no_cache", b"private": "private"}


def parse(values: bytes | None) -> CacheControl:
    """The combined value of all Cache-Control lines (`message.combined`). Never raises; None is no directive at all."""
    if not values:
        return _EMPTY
    return _remembered(values) if len(values) <= _REMEMBERED_LENGTH else _parsed(values)


def _parsed(values: bytes) -> CacheControl:
    flags: dict[str, bool] = {}
    seconds: dict[str, int] = {}
    named: dict[str, frozenset[bytes]] = {}
    extensions: list[tuple[bytes, bytes | None]] = []
    for directive in split_list(values):
        name, equals, argument = directive.partition(b"=")
        name = name.lower()
        if name in _FRESH:
            attribute, given = _FRESH[name], delta_seconds(argument) or 0
            # RFC 9111 §4.2.1: two values that differ make the response stale, as a malformed one does
            seconds[attribute] = given if seconds.get(attribute, given) == given else 0
        elif name in _GRACE:
            attribute = _GRACE[name]
            given = FOREVER if name == b"max-stale" and not equals else delta_seconds(argument) or 0
            seconds[attribute] = min(seconds.get(attribute, given), given)
        elif name == b"min-fresh":
            wanted = delta_seconds(argument)
            seconds["min_fresh"] = max(seconds.get("min_fresh", 0), FOREVER if wanted is None else wanted)
        elif (bare := name.rstrip(b" \t")) in FLAGS:
            flags[FLAGS[bare]] = True  # an argument means nothing here and does not undo it
        elif bare in _NAMING:
            attribute = _NAMING[bare]
            fields = frozenset(tokens(unquote(argument.strip(b" \t"))))
            if fields:
                named[f"{attribute}_fields"] = named.get(f"{attribute}_fields", frozenset()) | fields
            else:  # bare, or with an argument that names nothing: the whole response
                flags[attribute] = True
        elif bare in _FRESH:
            seconds[_FRESH[bare]] = 0  # `max-age =60`: malformed, and so stale
        elif bare:
            extensions.append((bare, unquote(argument.strip(b" \t")) if equals else None))
    if flags.get("private"):
        flags.pop("public", None)
    return CacheControl(**flags, **seconds, **named, extensions=tuple(extensions))  # type: ignore[arg-type]


_remembered = lru_cache(256)(_parsed)
"""An origin sends few different values, and browsers fewer."""


def delta_seconds(argument: bytes) -> int | None:
    """RFC 9111 §1.2.2, quoted or not (§5.2): at most FOREVER; None for what is no such number."""
    argument = unquote(argument)
    if _DIGITS.fullmatch(argument) is None:
        return None
    digits = argument.lstrip(b"0")
    return FOREVER if len(digits) > 10 else min(int(digits or b"0"), FOREVER)
