"""Accept-Encoding as one of a few classes, so that clients that can be answered alike are (RFC 9110 §12.5.3)."""

from __future__ import annotations

from typing import Final

from stack.http.negotiation import weighted

_USED: Final = (b"dcz", b"dcb", b"zstd", b"br", b"gzip")
"""What origins choose from, best first: the order in which the class names them."""
_ALIASES: Final = {b"x-gzip": b"gzip", b"x-compress": b"compress"}  # RFC 9110 §8.4.1


def offered(value: bytes) -> bytes | None:
    """What the origin is asked with in place of `value`: it names no coding that `value` refuses or does not name.

    None where a class would lose something the client wants: it prefers gzip to br, or none to any, or knows only what
    is rarely used. Because the origin sees the class alone, its choice cannot differ within one: `gzip, deflate, br`,
    `br, gzip` and `br;q=1.0, gzip;q=0.8, *;q=0.1` are all asked as `br, gzip`.
    """
    weights = weighted(value)
    for alias, name in _ALIASES.items():
        if alias in weights:
            weights.setdefault(name, weights.pop(alias))
    rest = weights.get(b"*", 0)
    identity = weights.get(b"identity", weights.get(b"*", 1))
    accepted = [name for name in _USED if weights.get(name, 0)]
    if not accepted:
        known = any(weight for name, weight in weights.items() if name != b"identity")
        return b"identity" if identity and not known else None
    chosen = [weights[name] for name in accepted]
    if chosen != sorted(chosen, reverse=True) or max(identity, rest) > chosen[-1]:
        return None
    return b", ".join(accepted) + (b"" if identity else b", identity;q=0")
