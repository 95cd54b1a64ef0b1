"""What a request says to caches, read once."""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import Final

from stack.http.cache_control import CacheControl, parse
from stack.http.message import Fields, combined

CONDITIONS: Final = (b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since")
_TOLD: Final = frozenset({*CONDITIONS, b"cache-control", b"pragma", b"range", b"authorization"})
_SILENT: Final = CacheControl()
_name = itemgetter(0)


@dataclass(frozen=True, slots=True)
class Asking:
    """The part of a request that bears on storing and reuse."""

    cc: CacheControl = _SILENT
    no_cache: bool = False
    conditional: bool = False
    ranged: bool = False
    authorized: bool = False


PLAIN: Final = Asking()
"""Nothing said: most requests."""


def read(fields: Fields) -> Asking:
    """PLAIN itself, at the price of one look at the names, for a request that says nothing."""
    if _TOLD.isdisjoint(map(_name, fields)):
        return PLAIN
    told = {name for name, _ in fields if name in _TOLD}
    cc = PLAIN.cc
    no_cache = False
    if b"cache-control" in told:
        cc = parse(combined(fields, b"cache-control"))
        no_cache = cc.no_cache
    elif b"pragma" in told:
        # RFC 9111 §5.4: the way of HTTP/1.0, heard only where Cache-Control is silent
        no_cache = parse(combined(fields, b"pragma")).no_cache
    return Asking(
        cc=cc,
        no_cache=no_cache,
        conditional=not told.isdisjoint(CONDITIONS),
        ranged=b"range" in told,
        authorized=b"authorization" in told,
    )
