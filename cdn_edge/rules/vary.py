"""Which stored response a request selects (RFC 9111 §4.1)."""

from __future__ import annotations

import re
from operator import itemgetter
from typing import Final, Literal

from cdn_edge.rules.codings import offered
from stack.http.fields import split_list, split_params, tokens
from stack.http.forwarding import CLIENT_CERT, VOUCHED
from stack.http.message import Field, Fields, combined

Names = tuple[bytes, ...]
"""The fields that Vary nominates: in lower case, sorted, each once. Empty without Vary.

`cookie:lang`, which is no field's name, is one cookie of the request: see `Keying`.
"""
Selection = tuple[bytes | None, ...]
"""Their values in one request, normalised; None where the request has no such field."""

COOKIE: Final = b"cookie:"
FORWARDED: Final = b"forwarded:"
"""No field's name either: all that proxies say of the request, but not of its client."""
_OF_CLIENTS: Final = frozenset(
    b"cf-connecting-ip client-cert client-cert-chain client-ip fastly-client-ip true-client-ip x-client-ip "
    b"x-cluster-client-ip x-forwarded x-forwarded-by x-forwarded-server x-originating-ip x-real-ip x-remote-addr "
    b"x-remote-ip".split()
)
SAID_BY_PROXIES: Final = (VOUCHED - _OF_CLIENTS) | {b"forwarded", b"x-forwarded-host", b"x-forwarded-proto"}
_PREFERENCES: Final = frozenset({b"accept-encoding", b"accept-language", b"accept-charset"})
_CODINGS: Final = b"accept-encoding"
_LANGUAGES: Final = b"accept-language"
_OWN: Final = frozenset({*CLIENT_CERT, b"forwarded", b"traceparent", b"x-forwarded-for", b"x-request-id"})
"""What this hop writes itself, for each client or request another: no later request matches (as with `*`)."""
_SYNONYMS: Final = {b"x-gzip": b"gzip", b"x-compress": b"compress"}  # RFC 9110 §8.4.1
_REMEMBERED_LENGTH: Final = 256
_BLANKS: Final = re.compile(rb"[ \t]+")
_WEIGHT: Final = re.compile(rb"(.*?)[ \t]*;[ \t]*q=([01](?:\.[0-9]{0,3})?)", re.DOTALL)


def names(fields: list[Field]) -> Names | None:
    """None for `Vary: *`, and for what is another in each request: no later one ever matches."""
    value = combined(fields, b"vary")
    if value is None:
        return ()
    if b"*" in split_list(value):
        return None
    found = set(tokens(value))
    return tuple(sorted(found)) if _OWN.isdisjoint(found) else None


def selection(names: Names, fields: Fields) -> Selection:
    """What `fields` hold of `names`, as a `Selector` of the defaults says it."""
    return Selector()(names, fields)


class Selector:
    """What requests hold of the names that responses vary by. Absent is not the same as empty.

    It remembers what it has normalised: clients send few different values.
    """

    def __init__(
        self, *, encodings: Literal["classes", "exact"] = "classes", language_order: bool = True, remembered: int = 1024
    ) -> None:
        """`encodings`: by class, and the origin is asked for the class; or as they are.

        `language_order`: whether languages of the same weight in another order are another wish. `remembered`: values
        kept in their normal form.
        """
        self._classes = encodings == "classes"
        self._language_order = language_order
        self._most = remembered
        self._known: dict[Field, bytes | None] = {}
        self._offers: dict[bytes, bytes] = {}

    def __call__(self, names: Names, fields: Fields) -> Selection:
        if len(names) == 1:
            return (self._value(names[0], fields),)
        return tuple([self._value(name, fields) for name in names])

    def ask(self, fields: Fields) -> None:
        """Accept-Encoding in what goes to the origin becomes its class, if there is one. Changed in place."""
        if not self._classes:
            return
        at = [at for at, field in enumerate(fields) if field[0] == _CODINGS]
        if not at:
            return
        value = fields[at[0]][1] if len(at) == 1 else b", ".join([fields[one][1] for one in at])
        offer = self._offers.get(value)
        if offer is None:
            offer = offered(value) or b""
            if len(value) <= _REMEMBERED_LENGTH:
                if len(self._offers) >= self._most:
                    self._offers.clear()
                self._offers[value] = offer
        if offer:
            fields[at[0]] = (_CODINGS, offer)
            for other in reversed(at[1:]):
                del fields[other]

    def _value(self, name: bytes, fields: Fields) -> bytes | None:
        value = combined(fields, name) if b":" not in name else _made(name, fields)
        if value is None:
            return None
        line = (name, value)
        found = self._known.get(line)
        if found is None:
            found = self.normalised(name, value)
            if len(value) <= _REMEMBERED_LENGTH:
                if len(self._known) >= self._most:
                    self._known.clear()
                self._known[line] = found
        return found

    def normalised(self, name: bytes, value: bytes) -> bytes:
        """RFC 9111 §4.1 allows: lines combined, blanks out where the syntax lets them be, order and case by meaning."""
        if name in _PREFERENCES:
            if name == _CODINGS and self._classes and (offer := offered(value)) is not None:
                return offer
            members = [_preference(element) for element in split_list(value.lower())]
            if name != _LANGUAGES or not self._language_order:
                members.sort()
            # RFC 9110 §12.5.4: of languages with the same weight, some servers take the first
            members.sort(key=itemgetter(1), reverse=True)
            return b",".join([b"%b;q=%d" % member for member in members])
        if b":" in name:
            return value
        if b'"' in value or b"," not in value:
            return _BLANKS.sub(b" ", value.strip()) if b'"' not in value else b",".join(split_list(value))
        return b",".join([_BLANKS.sub(b" ", element) for element in split_list(value)])


def _preference(element: bytes) -> tuple[bytes, int]:
    """One coding, language or charset with its weight (RFC 9110 §12.4.2) in thousandths."""
    match = _WEIGHT.fullmatch(element)
    name, weight = (match[1], match[2]) if match is not None else (element, b"1")
    thousandths = int(weight[:1]) * 1000 + int(weight[2:].ljust(3, b"0"))
    return _SYNONYMS.get(name, name), min(thousandths, 1000)


def _made(name: bytes, fields: Fields) -> bytes | None:
    """The value of what is no field's name."""
    return _forwarded(fields) if name == FORWARDED else _cookie(name, fields)


def _forwarded(fields: Fields) -> bytes | None:
    """What proxies say of scheme, host, path and method, in one text. None where they say nothing."""
    found = []
    for name, value in fields:
        if name in SAID_BY_PROXIES:
            if name == b"forwarded":  # RFC 7239 §4: without `for` and `by`
                elements = [split_params(element) for element in split_list(value)]
                value = b", ".join(
                    b"%b;%b" % (params.get(b"proto", b""), params.get(b"host", b"")) for params in elements
                )
            found.append(b"%b: %b" % (name, value))
    return b"\n".join(sorted(found)) if found else None


def _cookie(name: bytes, fields: Fields) -> bytes | None:
    """Every value that a cookie may be taken to have, for a sender can repeat it; None without one.

    A comma parts cookies for some (RFC 2109 §4.3.4): what they would find behind it must not hide from the key.
    """
    wanted = name.removeprefix(COOKIE)
    lines = [value for key, value in fields if key == b"cookie" and wanted in value]
    found = [
        value.strip(b" \t")
        for line in lines
        for piece in line.split(b";")
        for cookie in (piece, *piece.split(b",")[1:])
        for key, mark, value in [cookie.partition(b"=")]
        if mark and key.strip(b" \t") == wanted
    ]
    return b"; ".join(found) if found else None
