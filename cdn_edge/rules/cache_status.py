"""Cache-Status (RFC 9211): what this cache did with one request, in one list member."""

from __future__ import annotations

from functools import lru_cache

from stack.http.structured import string, token


def member(name: str) -> bytes:
    """This cache's name as it stands in the field: a token, or a string where it can be none."""
    return token(name).encode("ascii")


def hit(name: bytes, ttl: int, detail: str) -> bytes:
    """Answered from the store, stale, without asking anybody. §2.4: `ttl` is below 0 then."""
    return b"%b; hit; ttl=%d; detail=%b" % (name, ttl, token(detail).encode("ascii"))


def fresh_hit(name: bytes) -> bytes:
    """The same for a fresh response, as a format that wants the ttl: it is made for every hit."""
    return name.replace(b"%", b"%%") + b"; hit; ttl=%d"


def forwarded(
    name: bytes, why: str, *, status: int | None = None, stored: bool = False, ttl: int | None = None, detail: str = ""
) -> bytes:
    """Sent on towards the origin. `why` is a word of §2.2, `status` what the next hop answered (§2.3)."""
    parts = [name, b"fwd=" + why.encode("ascii")]
    if status is not None:
        parts.append(b"fwd-status=%d" % status)
    if stored:
        parts.append(b"stored")  # §2.5
    if ttl is not None:
        parts.append(b"ttl=%d" % ttl)
    if detail:
        parts.append(_detail(detail))  # §2.8
    return b"; ".join(parts)


@lru_cache(64)
def _detail(word: str) -> bytes:
    """The words are few, and one of them stands in every response that is not stored."""
    return b"detail=" + token(word).encode("ascii")


def unanswered(name: bytes, detail: str) -> bytes:
    """Neither a hit nor forwarded: answered or refused here."""
    return b"%b; detail=%b" % (name, token(detail).encode("ascii")) if detail else name


def with_key(member: bytes, key: bytes) -> bytes:
    """§2.7: for who wants to know what a response is stored under."""
    return b"%b; key=%b" % (member, string(key.decode("latin-1")).encode("ascii"))
