"""What a request says to caches, read once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from operator import itemgetter
from typing import Final

from stack.http.cache_control import CacheControl, parse
from stack.http.message import Fields, combined

CONDITIONS: Final = (b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since")
OVERRIDES: Final = tuple(
    b"".join(letters)
    for name in (b"x-http-method", b"x-http-method-override", b"x-method-override")
    for letters in product(*((b"-", b"_") if letter == 0x2D else (bytes([letter]),) for letter in name))
)
"""What frameworks take for the method in place of the one that is asked with. A `_` is a `-` to some of them."""
_OVERRIDES: Final = frozenset(OVERRIDES)
TOLD: Final = frozenset({*CONDITIONS, *OVERRIDES, b"cache-control", b"pragma", b"range", b"authorization"})
"""A request without these is PLAIN."""
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
    overriding: bool = False
    """It names another method in a field (`OVERRIDES`), which does not go on."""
    respelt: bool = False
    """It writes the host otherwise than the key has it: in capitals, with the scheme's own port."""


PLAIN: Final = Asking()
"""Nothing said: most requests."""
_WITHOUT_DIRECTIVES: Final = {
    kind: Asking(conditional=kind[0], ranged=kind[1], authorized=kind[2], overriding=kind[3])
    for kind in product((False, True), repeat=4)
}


def read(fields: Fields) -> Asking:
    """PLAIN itself, at the price of one look at the names, for a request that says nothing."""
    if TOLD.isdisjoint(map(_name, fields)):
        return PLAIN
    told = {name for name, _ in fields if name in TOLD}
    kind = _kind(told)
    if b"cache-control" in told:
        cc = parse(combined(fields, b"cache-control"))
        no_cache = cc.no_cache
    elif b"pragma" in told:
        # RFC 9111 §5.4: the way of HTTP/1.0, heard only where Cache-Control is silent
        cc, no_cache = PLAIN.cc, parse(combined(fields, b"pragma")).no_cache
    else:
        return _WITHOUT_DIRECTIVES[kind]
    return Asking(cc, no_cache, *kind)


def undirected(fields: Fields) -> Asking:
    """The same for a cache that does not let its clients direct it (§5.2.1 leaves it free to)."""
    kind = _kind({name for name, _ in fields if name in TOLD})
    return _WITHOUT_DIRECTIVES[kind] if True in kind else PLAIN


def _kind(told: set[bytes]) -> tuple[bool, bool, bool, bool]:
    return (
        not told.isdisjoint(CONDITIONS),
        b"range" in told,
        b"authorization" in told,
        not told.isdisjoint(_OVERRIDES),
    )
