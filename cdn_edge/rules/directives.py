"""Which of a response's fields this cache obeys: a targeted field, or Cache-Control and Expires (RFC 9213 §2.2)."""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import Final

from stack.http.cache_control import CacheControl, parse
from stack.http.message import Fields, combined
from stack.http.targeted import parse_surrogate, parse_targeted

CACHE_CONTROL: Final = b"cache-control"
SURROGATE_CONTROL: Final = b"surrogate-control"
_name = itemgetter(0)


@dataclass(slots=True)
class Said:
    """What a response tells this cache, and by which field."""

    cc: CacheControl
    field: bytes = CACHE_CONTROL

    @property
    def targeted(self) -> bool:
        """Expires then counts for nothing either."""
        return self.field != CACHE_CONTROL

    @property
    def shared(self) -> bool:
        """Whether it is said outright that a shared cache may store the response."""
        cc = self.cc
        return cc.public or cc.s_maxage is not None or (self.targeted and cc.max_age is not None)


class Targets:
    """The target list of RFC 9213 §2.2: names of fields, of which the first that is valid and not empty is obeyed."""

    __slots__ = ("_names", "hidden", "names")

    def __init__(
        self, names: tuple[bytes, ...] = (b"hopstack-cdn-cache-control", b"cdn-cache-control", SURROGATE_CONTROL)
    ) -> None:
        self.names = names
        self._names = frozenset(names)
        self.hidden = self._names & {SURROGATE_CONTROL}
        """Stored, for a 304 may leave it out, but sent to no client: it is for the surrogate that obeys it."""

    def said(self, fields: Fields) -> Said:
        """What the response with these fields tells this cache. A field that is not on the list changes nothing."""
        own = parse(combined(fields, CACHE_CONTROL))
        if not self._names.isdisjoint(map(_name, fields)):
            for name in self.names:
                value = combined(fields, name)
                if value is not None:
                    cc = parse_surrogate(value, own) if name == SURROGATE_CONTROL else parse_targeted(value)
                    if cc is not None:
                        return Said(cc, name)
        return Said(own)


DEFAULT: Final = Targets()
