"""Everything that is decided about a response as it comes in, in one value."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import itemgetter
from typing import Final

from cdn_edge.rules import reuse, vary
from cdn_edge.rules.asking import Asking, read, undirected
from cdn_edge.rules.directives import DEFAULT, SURROGATE_CONTROL, Said, Targets
from cdn_edge.rules.freshness import Heuristic, Lifetime, date_value, initial_age, lifetime
from cdn_edge.rules.key import Keying
from cdn_edge.rules.storing import NotStored, RequestErrors, SetCookie, kept, refusal, sets_cookie
from cdn_edge.rules.vary import Selector
from stack.http.message import Fields, combined, get

_TELLING: Final = frozenset(
    b"hx-request rsc next-router-prefetch next-router-state-tree turbo-frame x-inertia x-middleware-prefetch "
    b"x-nextjs-data x-pjax x-requested-with x-up-target".split()
)
"""Fields by which scripts of well-known frameworks ask for something else than the page at a URL."""
_name = itemgetter(0)


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator decides. Bytes and seconds."""

    max_object: int = 16 * 1024 * 1024
    slice: int = 1024 * 1024
    """What is large is kept in slices of so many bytes. 0: it is not kept."""
    slice_from: int = 4 * 1024 * 1024
    """Longer content than this is large."""
    heuristic: Heuristic = Heuristic()  # noqa: RUF009  # frozen
    set_cookie: SetCookie = "explicit"
    guess_for_cookies: bool = False
    """Whether a lifetime is guessed for what was asked for with Cookie, too."""
    stale_if_unreachable: float = 86_400.0
    request_errors: RequestErrors = "never"
    keying: Keying = field(default_factory=Keying)
    select: Selector = field(default_factory=Selector)
    targets: Targets = DEFAULT
    directed: bool = True
    """Whether clients may direct this cache by the Cache-Control of their requests (§5.2.1)."""
    stale_with_s_maxage: bool = False
    """Whether stale-while-revalidate and stale-if-error count beside s-maxage, against §5.2.2.10."""

    def read(self, request: Fields) -> Asking:
        """What a request with these fields asks of this cache."""
        return read(request) if self.directed else undirected(request)


@dataclass(slots=True)  # not frozen: one is made for every response that may be stored
class Judgement:
    """`refused` is None when the response may be stored. The rest holds either way."""

    refused: NotStored | None
    lifetime: Lifetime
    terms: reuse.Terms
    names: vary.Names
    selection: vary.Selection
    fields: Fields
    """What of the head is kept."""
    date: float
    age: float
    """At the time it was received."""
    stripped: bool
    """It sets a cookie that is neither stored nor sent."""

    @property
    def ttl(self) -> int:
        """Seconds it may be reused for from the time it was received; below 0 if it came stale."""
        return 0 if self.terms.always_validate else int(self.lifetime.seconds - self.age)


def judge(
    status: int,
    fields: Fields,
    asked: Asking,
    request: Fields,
    policy: Policy,
    *,
    received: float,
    delay: float,
    age: int,
    said: Said | None = None,
) -> Judgement:
    """`fields` are those of a response to GET, `request` those of the client; times as in `initial_age`.

    `said`: what `fields` tell this cache, for who has read it already.
    """
    said = policy.targets.said(fields) if said is None else said
    fresh_for = lifetime(status, fields, said, received=received, heuristic=policy.heuristic)
    names = _names(fields, request, policy.keying)
    date = date_value(fields, received)
    cookie = not policy.guess_for_cookies and get(request, b"cookie") is not None
    refused = refusal(
        status,
        fields,
        said,
        fresh_for,
        names,
        asked,
        max_object=policy.max_object,
        cookie=cookie,
        set_cookie=policy.set_cookie,
        request_errors=policy.request_errors,
    )
    hidden = policy.targets.hidden
    stripped = policy.set_cookie == "strip" and sets_cookie(fields, said.cc)
    return Judgement(
        refused,
        fresh_for,
        reuse.terms(
            said.cc,
            fresh_for.seconds,
            fresh_for.source,
            fresh_for.field,
            combined(fields, SURROGATE_CONTROL) if hidden else None,
            stale_with_s_maxage=policy.stale_with_s_maxage,
            perhaps_private=cookie and b"cookie" not in (names or ()),
        ),
        names or (),
        policy.select(names or (), request),
        kept(fields, said.cc, hidden=hidden, strip=stripped),
        date,
        initial_age(date, age, received=received, delay=delay),
        stripped,
    )


def _names(fields: Fields, request: Fields, keying: Keying) -> vary.Names | None:
    """What the response varies by: what it says, what the operator adds, and what is often forgotten.

    A request by script for a fragment of a page, with a field that says so, is nobody's page: if the response does not
    vary by the field it is kept apart all the same, for those that send the like.

    A response that allows one origin to read it (Access-Control-Allow-Origin) is for that one alone, also where it
    forgets to say so as the Fetch standard asks (3.2.5): others would be refused what they may read.
    """
    names = vary.names(fields)
    if names is None:
        return None
    implied = keying.names
    if not _TELLING.isdisjoint(map(_name, request)):
        implied = (*implied, *{name for name, _ in request if name in _TELLING})
    allowed = get(fields, b"access-control-allow-origin")
    if allowed is not None and allowed != b"*" and allowed == get(request, b"origin"):
        implied = (*implied, b"origin")
    return tuple(sorted({*names, *implied})) if implied else names
