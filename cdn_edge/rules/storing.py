"""Whether a response is stored, and what of it (RFC 9111 §3)."""

from __future__ import annotations

import enum
from typing import Final, Literal

from cdn_edge.rules.asking import Asking
from cdn_edge.rules.directives import Said
from cdn_edge.rules.freshness import HEURISTIC_STATUS, Lifetime
from cdn_edge.rules.vary import Names
from stack.http.cache_control import CacheControl
from stack.http.message import Fields, get

SetCookie = Literal["explicit", "store", "pass", "strip"]
"""What becomes of a response that sets a cookie: stored where shared storing is explicit, stored like any other, never
stored, or stored and sent without it."""
RequestErrors = Literal["never", "explicit"]
"""Whether what finds fault with the request is stored where its lifetime is explicit."""


class NotStored(enum.Enum):
    """Why not. The value is the word in log, header and metric."""

    METHOD = "method"  # §3: no method that this cache stores the response of
    TUNNEL = "tunnel"  # a request to change protocols has no response that could be stored
    CONTENT = "content"  # a GET with content: the key does not hold what it may depend on (RFC 9110 §9.3.1)
    REQUEST_NO_STORE = "request-no-store"  # §5.2.1.5
    HOST_SPELLING = "host-spelling"  # RFC 9110 §4.2.3: the same to the key, and not to every origin
    RANGE = "range"  # §3.3: a part of which it cannot be told what it is a part of
    STATUS = "status"  # §3: not cacheable by default and without explicit freshness, or not understood
    REQUEST_ERROR = "request-error"  # it finds fault with this request, not with the URL
    NO_STORE = "no-store"  # §5.2.2.5
    PRIVATE = "private"  # §5.2.2.7
    AUTHORIZATION = "authorization"  # §3.5
    SET_COOKIE = "set-cookie"  # somebody's own cookie; see `set_cookie`
    VARY_STAR = "vary-star"  # §4.1: it would never match
    NO_FRESHNESS = "no-freshness"  # stale at once, and nothing to validate it with
    COOKIE = "cookie"  # asked for with a cookie, and nothing but a guess says that others may have it (§4.2.2)
    TOO_LARGE = "too-large"
    ASKED_ONCE = "asked-once"  # large, and much that is small would have to go for it
    NO_ROOM = "no-room"  # too much is coming in just now
    FILLING = "filling"  # nobody reads this content, and the same is being read for the store already
    INCOMPLETE = "incomplete"  # §3.3: the content broke off
    INVALIDATED = "invalidated"  # §4.4, or purged, while it was on its way


FOR_THIS_CLIENT: Final = frozenset(
    {
        NotStored.REQUEST_NO_STORE,
        NotStored.HOST_SPELLING,
        NotStored.REQUEST_ERROR,
        NotStored.AUTHORIZATION,
        NotStored.COOKIE,
    }
)
"""They lie in the request. What is stored for the others is not the worse for it."""
CROWDED: Final = "crowded"
"""The word where a response is stored in place of another one of the same URL, of which there are too many."""
STRIPPED: Final = "stripped"
"""The word where a response is stored without the cookies it sets."""
COOKIES: Final = frozenset({b"set-cookie", b"set-cookie2"})
_ABOUT_THE_REQUEST: Final = frozenset({304, 412, 416})
"""They answer a condition or a range, not the URL."""
_NEVER: Final = frozenset({428, 429, 431, 511})
"""RFC 6585 §3 to §6: they must not be stored."""
_FINDS_FAULT: Final = frozenset({400, 408, 411, 413, 414, 415, 417, 421, 426})
"""With how a request is written, how long it is or how it came: fields that are not in the key can bring them about."""
_UNDERSTOOD: Final = HEURISTIC_STATUS | {
    302,
    303,
    307,
    400,
    401,
    403,
    406,
    409,
    415,
    421,
    429,
    500,
    502,
    503,
    504,
}
"""Status codes whose requirements on caches are met here (§5.2.2.3)."""
_NOT_KEPT: Final = frozenset(
    {
        b"age",  # computed for each reuse
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",  # §3.1: a proxy's own
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"server-timing",  # of the request that fetched it
        b"te",
        b"trailer",  # §3.1: trailers are discarded
        b"transfer-encoding",
        b"upgrade",
        b"x-cache",
        b"x-request-id",
    }
)


def outright(status: int, cc: CacheControl, asked: Asking) -> NotStored | None:
    """A reason that needs no look at lifetimes, variants and cookies: most of what is not stored is refused so."""
    if asked.cc.no_store:
        return NotStored.REQUEST_NO_STORE
    if asked.respelt:
        return NotStored.HOST_SPELLING
    if status < 200 or status in _ABOUT_THE_REQUEST:
        return NotStored.STATUS
    if status in _NEVER:
        return NotStored.REQUEST_ERROR
    if cc.must_understand:
        # §5.2.2.3: overrides no-store for who understands the status, and forbids storing to who does not
        if status not in _UNDERSTOOD:
            return NotStored.STATUS
    elif cc.no_store:
        return NotStored.NO_STORE
    if cc.private:
        return NotStored.PRIVATE
    return None


def refusal(
    status: int,
    fields: Fields,
    said: Said,
    lifetime: Lifetime,
    names: Names | None,
    asked: Asking,
    *,
    max_object: int,
    cookie: bool = False,
    set_cookie: SetCookie = "explicit",
    request_errors: RequestErrors = "never",
) -> NotStored | None:
    """None for a response to GET that is stored, else the first reason that applies.

    `cookie`: the request carried one. Then a lifetime is not guessed, for the page may be the client's own.
    """
    cc = said.cc
    if (why := outright(status, cc, asked)) is not None:
        return why
    if request_errors == "never" and (status in _FINDS_FAULT or (status == 406 and not names)):
        return NotStored.REQUEST_ERROR
    if asked.authorized and not (cc.public or cc.must_revalidate or cc.s_maxage is not None):
        return NotStored.AUTHORIZATION
    # §7.3 leaves it to the cache
    if (set_cookie == "pass" or (set_cookie == "explicit" and not said.shared)) and sets_cookie(fields, cc):
        return NotStored.SET_COOKIE
    if names is None:
        return NotStored.VARY_STAR
    if not (lifetime.explicit or cc.public or status in HEURISTIC_STATUS):
        return NotStored.STATUS
    if not (lifetime.seconds > 0 or has_validator(fields) or _served_stale(cc)):
        return NotStored.NO_FRESHNESS
    if cookie and lifetime.guessed and not cc.public and b"cookie" not in names:
        return NotStored.COOKIE
    length = get(fields, b"content-length")
    if length is not None and length.isdigit() and int(length[:20]) > max_object:
        return NotStored.TOO_LARGE
    return None


def kept(fields: Fields, cc: CacheControl, *, hidden: frozenset[bytes] = frozenset(), strip: bool = False) -> Fields:
    """What of a response is stored: not the fields of one connection or one request, nor those it names itself.

    §5.2.2.4, §5.2.2.7: fields in `no-cache="..."` are not sent without validation, those in `private="..."` not stored
    by a shared cache; both are left out, the rest is stored. `hidden` is for this cache alone; `strip` takes cookies
    off.
    """
    named = cc.no_cache_fields | cc.private_fields | hidden
    if strip:
        named |= COOKIES
    return [field for field in fields if field[0] not in _NOT_KEPT and field[0] not in named]


def has_validator(fields: Fields) -> bool:
    return any(name in (b"etag", b"last-modified") for name, _ in fields)


def sets_cookie(fields: Fields, cc: CacheControl) -> bool:
    """Whether it would set a cookie for whoever gets it from the store."""
    setting = COOKIES - cc.no_cache_fields - cc.private_fields
    return any(name in setting for name, _ in fields)


def _served_stale(cc: CacheControl) -> bool:
    if cc.no_cache or cc.must_revalidate or cc.proxy_revalidate or cc.s_maxage is not None:
        return False
    return bool(cc.stale_if_error or cc.stale_while_revalidate)
