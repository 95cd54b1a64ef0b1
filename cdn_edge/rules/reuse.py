"""Whether a stored response answers a request as it is (RFC 9111 §4, §5.2.1; RFC 5861)."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from cdn_edge.rules.asking import PLAIN, Asking
from stack.http.cache_control import CacheControl


class Reuse(enum.Enum):
    """What looking at a stored response came to. The value is the word in log, header and metric."""

    HIT = "hit"
    MAX_STALE = "max-stale"  # §5.2.1.2: stale, and the client takes it
    WHILE_REVALIDATE = "stale-while-revalidate"  # RFC 5861 §3: stale, and refreshed behind the client's back
    STALE = "stale"  # to be validated first
    REQUEST = "request"  # the request wants it newer than it is

    @property
    def answers(self) -> bool:
        return self in _ANSWERS


_ANSWERS = frozenset({Reuse.HIT, Reuse.MAX_STALE, Reuse.WHILE_REVALIDATE})


@dataclass(frozen=True, slots=True)
class Terms:
    """What a stored response says of its own reuse. Seconds."""

    lifetime: float
    always_validate: bool = False
    """`no-cache` (§5.2.2.4)."""
    never_stale: bool = False
    """§4.2.4: must-revalidate, proxy-revalidate, or s-maxage, which implies it in a shared cache (§5.2.2.10); or it may
    be one client's own: see `terms`."""
    while_revalidate: float = 0.0
    if_error: float | None = None
    source: str = ""
    """What `lifetime` was read from: `freshness.Lifetime.source`."""
    field: bytes = b""
    """The field that says so: `freshness.Lifetime.field`."""
    immutable: bool = False
    """RFC 8246: while it is fresh, asking for news of it is in vain."""
    surrogate: bytes | None = None
    """Its Surrogate-Control, where that is obeyed: no client gets it, but a 304 that leaves it out does not end it."""


def terms(
    cc: CacheControl,
    lifetime: float,
    source: str = "",
    field: bytes = b"",
    surrogate: bytes | None = None,
    *,
    stale_with_s_maxage: bool = False,
    perhaps_private: bool = False,
) -> Terms:
    """`stale_with_s_maxage`: what a response says itself of being sent stale counts beside s-maxage, but no more.

    `perhaps_private`: asked for with a cookie that it does not vary by. With no lifetime either, nobody gets it before
    the origin has said that it is for them, too.
    """
    shared, if_error = cc.s_maxage is not None, cc.stale_if_error
    if shared and stale_with_s_maxage and (cc.stale_while_revalidate or if_error):
        shared, if_error = False, if_error or 0
    asked_for = cc.public or cc.stale_while_revalidate or cc.stale_if_error
    own = perhaps_private and lifetime <= 0 and not asked_for
    return Terms(
        lifetime,
        always_validate=cc.no_cache,
        never_stale=cc.must_revalidate or cc.proxy_revalidate or shared or own,
        while_revalidate=cc.stale_while_revalidate or 0.0,
        if_error=if_error,
        source=source,
        field=field,
        immutable=cc.immutable,
        surrogate=surrogate,
    )


def decide(terms: Terms, age: float, asked: Asking = PLAIN) -> Reuse:
    if asked.no_cache:
        return Reuse.REQUEST  # §5.2.1.4
    if terms.always_validate:
        return Reuse.STALE
    cc = asked.cc
    left = terms.lifetime - age
    # §5.2.1.1; an age of 0 is within max-age=0 only for an instant that no client can mean
    if cc.max_age is not None and (age > cc.max_age or cc.max_age == 0) and not (terms.immutable and left > 0):
        return Reuse.REQUEST  # RFC 8246 §2: what a plain reload asks for, an immutable response need not be asked
    if left > 0:
        # §5.2.1.3
        return Reuse.REQUEST if cc.min_fresh is not None and left < cc.min_fresh else Reuse.HIT
    if terms.never_stale or cc.min_fresh is not None:
        return Reuse.STALE
    if cc.max_stale is not None and -left <= cc.max_stale:
        return Reuse.MAX_STALE
    if cc.max_age is None and -left < terms.while_revalidate:
        return Reuse.WHILE_REVALIDATE
    return Reuse.STALE


class Failure(enum.Enum):
    """How the origin let a validation down. The value is the word for what is then served stale."""

    ANSWERED = "stale-if-error"  # with 500, 502, 503 or 504 (RFC 5861 §4)
    UNREACHABLE = "stale-if-unreachable"  # or silent: this cache is disconnected (§4.2.4)


def on_error(terms: Terms, age: float, asked: Asking, failure: Failure, unreachable: float) -> bool:
    """Whether a response that should be validated may be sent because the origin fails.

    RFC 5861 §4: where response or request permits it. §4.2.4: besides, a disconnected cache may, here for at most
    `unreachable` seconds of staleness where nothing is said; never against an explicit no.
    """
    if terms.always_validate or terms.never_stale or asked.no_cache or asked.cc.max_age == 0:
        return False
    window = terms.if_error if terms.if_error is not None else asked.cc.stale_if_error
    if window is None:
        window = unreachable if failure is Failure.UNREACHABLE else 0
    return age - terms.lifetime < window
