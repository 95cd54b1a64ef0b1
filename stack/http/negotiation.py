"""What the client would rather have (RFC 9110 §12.5): content codings, and a page or JSON for an error."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from stack.http.fields import split_list

IDENTITY: Final = b"identity"
_QVALUE: Final = re.compile(rb"0(?:\.\d{0,3})?|1(?:\.0{0,3})?")
_ALIASES: Final = {b"x-gzip": b"gzip", b"x-compress": b"compress"}  # RFC 9110 §8.4.1.1, §8.4.1.3


def weighted(value: bytes) -> dict[bytes, int]:
    """A list of names with weights, as name in lower case -> thousandths (RFC 9110 §12.4.2).

    An element whose weight is malformed is left out; of a name that is listed twice the last stands.
    Media type parameters other than `q` are not looked at.
    """
    found: dict[bytes, int] = {}
    for element in split_list(value.lower()):
        name, *params = element.split(b";")
        weight = 1000
        for param in params:
            key, _, argument = param.partition(b"=")
            if key.strip(b" \t") == b"q":
                weight = _thousandths(argument.strip(b" \t"))
                break
        if weight >= 0 and (name := name.strip(b" \t")):
            found[name] = weight
    return found


def _thousandths(qvalue: bytes) -> int:
    if _QVALUE.fullmatch(qvalue) is None:
        return -1
    whole, _, rest = qvalue.partition(b".")
    return int(whole) * 1000 + int((rest + b"000")[:3])


def coding(accept_encoding: bytes | None, offered: Sequence[bytes]) -> bytes | None:
    """The best of `offered` (the server's order of preference, settling ties), `identity`, or None for nothing.

    Without the field any coding would do, but none is what every client can read (RFC 9110 §12.5.3).
    """
    if not accept_encoding:
        # an absent field allows anything, an empty one nothing but identity
        return IDENTITY
    if b";" not in accept_encoding:  # as browsers send it: no weights
        named = {part.strip(b" \t") for part in accept_encoding.lower().split(b",")}
        for name in offered:
            if name in named or b"*" in named or (name == b"gzip" and b"x-gzip" in named):
                return name
        return IDENTITY
    weights = weighted(accept_encoding)
    for alias, name in _ALIASES.items():
        if alias in weights:
            weights.setdefault(name, weights[alias])
    rest = weights.get(b"*", 0)
    best, best_weight = None, 0
    for name in offered:
        weight = weights.get(name, rest)
        if weight > best_weight:
            best, best_weight = name, weight
    # RFC 9110 §12.5.3: identity is acceptable unless it, or `*` without it, has weight 0. Unlisted, it is the last
    # resort: a listed coding, even one of little weight, was asked for.
    identity = weights.get(IDENTITY, weights.get(b"*", 1))
    if identity > best_weight or (best is None and identity > 0):
        return IDENTITY
    return best


def prefers_html(accept: bytes | None) -> bool:
    """Whether an error is better answered as a page than as JSON. JSON where the client does not mind."""
    if accept is None or b"html" not in accept.lower():
        return False
    weights = weighted(accept)
    html = max(weights.get(b"text/html", 0), weights.get(b"application/xhtml+xml", 0))
    json = max(weights.get(b"application/problem+json", 0), weights.get(b"application/json", 0))
    return html > json
