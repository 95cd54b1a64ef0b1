"""Which stored response a request selects (RFC 9111 §4.1)."""

from __future__ import annotations

import re
from typing import Final

from stack.http.fields import split_list, tokens
from stack.http.message import Field, Fields, combined

Names = tuple[bytes, ...]
"""The fields that Vary nominates: in lower case, sorted, each once. Empty without Vary."""
Selection = tuple[bytes | None, ...]
"""Their values in one request, normalised; None where the request has no such field."""

_PREFERENCES: Final = frozenset({b"accept-encoding", b"accept-language", b"accept-charset"})
_IN_ORDER: Final = b"accept-language"
"""RFC 9110 §12.5.4: of languages with the same weight, some servers take the first."""
_SYNONYMS: Final = {b"x-gzip": b"gzip", b"x-compress": b"compress"}  # RFC 9110 §8.4.1
_REMEMBERED_LENGTH: Final = 256
_BLANKS: Final = re.compile(rb"[ \t]+")
_WEIGHT: Final = re.compile(rb"(.*?)[ \t]*;[ \t]*q=([01](?:\.[0-9]{0,3})?)", re.DOTALL)


def names(fields: list[Field]) -> Names | None:
    """None for `Vary: *`, which no later request ever matches."""
    value = combined(fields, b"vary")
    if value is None:
        return ()
    if b"*" in split_list(value):
        return None
    return tuple(sorted(set(tokens(value))))


def selection(names: Names, fields: Fields) -> Selection:
    """What `fields` hold of `names`. Absent is not the same as empty."""
    return tuple([normalised(name, combined(fields, name)) for name in names])


class Selector:
    """`selection` with a memory: clients send few different values."""

    def __init__(self, remembered: int = 4096) -> None:
        self._most = remembered
        self._known: dict[Field, bytes | None] = {}

    def __call__(self, names: Names, fields: Fields) -> Selection:
        if len(names) == 1:
            return (self._value(names[0], fields),)
        return tuple([self._value(name, fields) for name in names])

    def _value(self, name: bytes, fields: Fields) -> bytes | None:
        value = combined(fields, name)
        if value is None:
            return None
        line = (name, value)
        found = self._known.get(line)
        if found is None:
            found = normalised(name, value)
            if len(value) <= _REMEMBERED_LENGTH:
                if len(self._known) >= self._most:
                    self._known.clear()
                self._known[line] = found
        return found


def normalised(name: bytes, value: bytes | None) -> bytes | None:
    """§4.1 allows: lines combined, blanks out where the syntax lets them be, order and case by the field's meaning."""
    if value is None:
        return None
    if name in _PREFERENCES:
        members = [_preference(element) for element in split_list(value.lower())]
        return b",".join(members if name == _IN_ORDER else sorted(members))
    if b'"' in value or b"," not in value:
        return _BLANKS.sub(b" ", value.strip()) if b'"' not in value else b",".join(split_list(value))
    return b",".join([_BLANKS.sub(b" ", element) for element in split_list(value)])


def _preference(element: bytes) -> bytes:
    """One coding, language or charset with its weight (RFC 9110 §12.4.2) in one spelling."""
    match = _WEIGHT.fullmatch(element)
    name, weight = (match[1], match[2]) if match is not None else (element, b"1")
    thousandths = int(weight[:1]) * 1000 + int(weight[2:].ljust(3, b"0"))
    return b"%b;q=%d" % (_SYNONYMS.get(name, name), min(thousandths, 1000))
