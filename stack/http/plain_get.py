"""The commonest request as one pattern: GET of a path, with no field that anybody has a rule for (RFC 9112 §3, §5).

What it takes, `stack.http.h1` takes as well and reads the same; what it does not take may be anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from stack.http.field_lines import FRAMING

_TARGET = rb"/[\x21\x24-\x5b\x5d-\x7e]*+"
"""Of what `request_line` takes neither `\\`, which paths must not hold, nor `"`, which has to be escaped in logs."""
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_VALUE = rb"[\t\x20-\x7e\x80-\xff]*+"

Matcher = Callable[[bytes], re.Match[bytes] | None]


def plain_get(said: Iterable[bytes]) -> Matcher:
    """Matches the beginning of bytes that hold such a head to its end; groups: target, and the value of the one Host.

    `said`: names, in lower case, of fields that make a request another one. Those of framing need not be named.
    """
    other = _any_of(sorted({name + b":" for name in {*said, *FRAMING}}))
    line = rb"(?:[Cc]onnection: [Kk]eep-[Aa]live|(?!%b)%b:%b)\r\n" % (other, _TOKEN, _VALUE)
    lines = rb"(?:%b)*+" % line
    return re.compile(
        rb"GET (%b) HTTP/1\.1\r\n%b[Hh]ost: ([\x21-\x7e]++)\r\n%b\r\n" % (_TARGET, lines, lines), re.DOTALL
    ).match


def _any_of(names: list[bytes]) -> bytes:
    """A pattern of `names` in either case, which looks at each letter once. No name begins with another."""
    if names == [b""]:
        return b""
    found = []
    for first in sorted({name[:1] for name in names}):
        letter = b"[%b%b]" % (first, first.upper()) if first.isalpha() else re.escape(first)
        found.append(letter + _any_of([name[1:] for name in names if name[:1] == first]))
    return found[0] if len(found) == 1 else b"(?:%b)" % b"|".join(found)
