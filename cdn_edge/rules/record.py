"""The record of a decision: what was looked up, what was found, and why it does or does not answer.

Nothing is decided here. The words come from the rules that decide for the requests themselves (`reuse`, `vary`,
`freshness`); this tells with which numbers they did. It is shown to people as JSON: seconds are rounded to a tenth, and
of what may be a secret in a request field only a fingerprint is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from zlib import crc32

from cdn_edge.rules import vary
from cdn_edge.rules.asking import Asking
from cdn_edge.rules.freshness import Heuristic
from cdn_edge.rules.reuse import Reuse, Terms
from stack import cache_words
from stack.http.message import Fields, combined, get

PAGE: Final = "docs/why-not-cached.md"
_SECRET: Final = frozenset({b"cookie", b"authorization", b"proxy-authorization", b"x-api-key"})
_LONGEST: Final = 16
"""Bytes of a single cookie's value that is shown as it is."""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    key: str
    scheme: str
    host: str
    path: str
    query: str | None
    made: list[str]
    """Where it differs from the URL, and how."""


@dataclass(frozen=True, slots=True)
class Difference:
    header: str
    stored: str | None
    request: str | None


@dataclass(frozen=True, slots=True)
class Variant:
    status: int
    vary: dict[str, str | None]
    """The fields that select it, with their values in one spelling. None: the request had no such field."""
    age: float
    ttl: float
    """Below 0: stale by so much."""
    size: int
    """Bytes of memory."""
    content: int | None
    """Bytes of content, if they are known."""
    held: int | None
    """How many of them, where they are held in pieces."""
    selected: bool
    disk: bool
    """It is on disk, and not in memory. Of what is on disk only the selected one is told."""
    differs: list[Difference]
    """From the request in hand. Empty where it is selected, or an older one of the same selection."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """`ttl = lifetime - age`, in seconds."""

    lifetime: float
    source: str
    age: float
    ttl: float
    always_validate: bool
    said: list[str]
    """The same in sentences, each term with where it comes from."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The last answer that was not stored."""

    word: str
    means: str
    ago: float
    status: int
    header: str
    value: str
    times: int
    remedy: str
    write: list[str]
    see: str


@dataclass(frozen=True, slots=True)
class Record:
    edge: str
    method: str
    url: str
    key: KeyRecord
    lookup: str
    """The word that this request would have come to."""
    answer: int | None
    """The status that the store would answer with; None where the origin would be asked first."""
    means: str
    because: list[str]
    variants: list[Variant]
    nearest: int | None
    """Of `variants`, the one that differs in the fewest fields, where none is selected."""
    freshness: Freshness | None
    """Of the selected one."""
    origin: list[str]
    """What would be asked of the origin, and what if it fails. Empty where it would not be asked."""
    storing: list[str]
    """What in this request stands against storing the answer, whatever the answer says."""
    refused: Refused | None
    hints: list[str] = field(default_factory=list)
    remedy: str = ""
    write: list[str] = field(default_factory=list)
    see: str = ""


def seconds(value: float) -> str:
    """12 s, 0.4 s: a tenth where it is below ten."""
    value = round(value, 1)
    return f"{value:.1f} s" if abs(value) < 10 and value != int(value) else f"{value:.0f} s"


def key_record(key: bytes, authority: bytes, target: bytes) -> KeyRecord:
    """`authority` and `target` are the request's."""
    scheme, _, rest = key.partition(b"://")
    host, slash, own = rest.partition(b"/")
    path, mark, query = (slash + own).partition(b"?")
    made = []
    if host != authority:
        made.append(f"the host {_text(authority)} is {_text(host)} in the key")
    if slash + own != target:
        made.append(f"{_text(target)} is {_text(slash + own)} in the key")
    return KeyRecord(_text(key), _text(scheme), _text(host), _text(path), _text(query) if mark else None, made)


def differences(names: vary.Names, stored: vary.Selection, asked: vary.Selection) -> list[Difference]:
    """The fields of `names` in which a request selects another variant."""
    return [
        Difference(_text(name), shown(name, one), shown(name, other))
        for name, one, other in zip(names, stored, asked, strict=True)
        if one != other
    ]


def shown(name: bytes, value: bytes | None) -> str | None:
    """A selected value, or of a secret only what tells two of them apart."""
    if value is None:
        return None
    if name in _SECRET or (name.startswith(b"cookie:") and len(value) > _LONGEST):
        return f"({len(value)} bytes, #{crc32(value):08x})"
    return _text(value)


def freshness(terms: Terms, fields: Fields, *, age: float, arrived: float, heuristic: Heuristic) -> Freshness:
    """The arithmetic of RFC 9111 §4.2. `arrived`: the age it came with."""
    said = [f"lifetime {seconds(terms.lifetime)}: {_source(terms, fields, heuristic)}"]
    if terms.always_validate:
        said.append("it says no-cache: whatever its lifetime, the origin is asked before each use")
    if arrived < 0.05:
        said.append(f"age {seconds(age)}: since it came")
    else:
        came = f"{seconds(arrived)} when it came (Age, Date, the time it took)"
        said.append(f"age {seconds(age)} = {came} + {seconds(age - arrived)} here")
    ttl = terms.lifetime - age
    said.append(f"fresh for another {seconds(ttl)}" if ttl > 0 else f"stale for {seconds(-ttl)}")
    return Freshness(_tenth(terms.lifetime), terms.source, _tenth(age), _tenth(ttl), terms.always_validate, said)


def _source(terms: Terms, fields: Fields, heuristic: Heuristic) -> str:
    match terms.source:
        case "expires":
            return f"Expires ({_said(fields, b'expires')}) less Date ({_said(fields, b'date')})"
        case "heuristic":
            modified, date = _said(fields, b"last-modified"), _said(fields, b"date")
            most = f", but at most {seconds(heuristic.most)}" if terms.lifetime >= heuristic.most else ""
            share = f"{heuristic.fraction:.0%} of the time"
            return f"guessed, {share} from Last-Modified ({modified}) to Date ({date}){most}"
        case "negative":
            return "of --cache-negative-ttl, since it says nothing of its own"
        case "none" | "":
            return "it says none, and there is nothing to guess one from"
        case source:
            hidden = terms.surrogate if terms.field == b"surrogate-control" else None
            value = _said(fields, terms.field) if hidden is None else _text(hidden)
            return f"{source} in {spelled(terms.field)} ({value})"


def spelled(name: bytes) -> str:
    """As people write it: `CDN-Cache-Control`."""
    return "-".join(part.upper() if part == "cdn" else part.capitalize() for part in _text(name).split("-"))


def because(reuse: Reuse, terms: Terms, age: float, asked: Asking) -> list[str]:
    """The numbers and directives by which `reuse.decide` came to its word."""
    cc, left = asked.cc, terms.lifetime - age
    match reuse:
        case Reuse.HIT:
            said = [f"its age, {seconds(age)}, is below its lifetime, {seconds(terms.lifetime)}"]
            if terms.immutable and cc.max_age is not None and (age > cc.max_age or cc.max_age == 0):
                said.append(f"it is immutable, so the request's max-age={cc.max_age} asks for news in vain")
            return said
        case Reuse.MAX_STALE:
            return [f"it is stale for {seconds(-left)}, and the request takes {_window(cc.max_stale)} (max-stale)"]
        case Reuse.WHILE_REVALIDATE:
            within = f"it is stale for {seconds(-left)}, within its stale-while-revalidate={terms.while_revalidate:.0f}"
            return [f"{within}: sent at once, and refreshed behind the client's back"]
        case Reuse.REQUEST:
            return _wanted(terms, age, asked)
        case _:
            return _outlived(terms, age, asked)


def _wanted(terms: Terms, age: float, asked: Asking) -> list[str]:
    cc, left, said = asked.cc, terms.lifetime - age, []
    if asked.no_cache:
        said.append("the request says no-cache (in Cache-Control, or Pragma where there is none)")
    if cc.max_age is not None and (age > cc.max_age or cc.max_age == 0):
        said.append(f"the request takes it at most {cc.max_age} s old (max-age), and it is {seconds(age)} old")
    if cc.min_fresh is not None and left < cc.min_fresh:
        said.append(
            f"the request wants it fresh for another {cc.min_fresh} s (min-fresh), and it is for {seconds(left)}"
        )
    if not said:
        said.append("If-Match or If-Unmodified-Since does not hold for what is stored: that is the origin's to judge")
    return said


def _outlived(terms: Terms, age: float, asked: Asking) -> list[str]:
    left = terms.lifetime - age
    if terms.always_validate:
        return ["it says no-cache: it is stored, and validated before each use"]
    said = [f"its age, {seconds(age)}, is not below its lifetime, {seconds(terms.lifetime)}"]
    if terms.never_stale:
        forbids = "must-revalidate, proxy-revalidate or s-maxage forbids to send it stale"
        own = ", or it may be one client's own: it was asked for with a cookie and has no lifetime"
        said.append(forbids if terms.lifetime > 0 else forbids + own)
    elif asked.cc.min_fresh is not None:
        said.append("the request wants it fresh (min-fresh)")
    else:
        if terms.while_revalidate and -left >= terms.while_revalidate:
            said.append(f"its stale-while-revalidate={terms.while_revalidate:.0f} is over")
        if asked.cc.max_stale is not None:
            said.append(f"the request takes {_window(asked.cc.max_stale)} (max-stale), which is less")
    return said


def against_storing(method: bytes, asked: Asking, fields: Fields) -> list[str]:
    """What lies in the request. The words are those of `storing.NotStored`."""
    said = []
    if method == b"HEAD":
        said.append("method: an answer to HEAD has no content that could be stored")
    if asked.cc.no_store:
        said.append("request-no-store: the request forbids it")
    if asked.ranged and get(fields, b"if-range") is not None:
        said.append("range: a part that answers If-Range need not have the whole head")
    if asked.authorized:
        said.append("authorization: it is stored only if it says public, s-maxage or must-revalidate")
    if get(fields, b"cookie") is not None:
        said.append("cookie: it is not stored on a guessed lifetime, since the request has a cookie")
    return said


def nearest(variants: Sequence[Variant]) -> int | None:
    """The one with the fewest differences; of several, the youngest. None where one does not differ at all."""
    if not variants or not all(one.differs for one in variants):
        return None
    return min(range(len(variants)), key=lambda at: (len(variants[at].differs), variants[at].age))


def see(step: str, word: str) -> str:
    return f"{PAGE}#{step}-{word}"


def by_options(word: cache_words.Word, names: Sequence[str]) -> cache_words.Word:
    """`vary-miss` where it is the edge's own options that tell responses apart by `names`."""
    said = []
    for name in names:
        if name.encode("latin-1") == vary.FORWARDED:
            said.append("what proxies of --trusted say of scheme, host and path")
        elif name.encode("latin-1").startswith(vary.COOKIE):
            said.append(f"the cookie {name[len(vary.COOKIE) :]} (--cache-key-cookies)")
        else:
            said.append(f"{name} (--cache-key-headers)")
    listed = " and ".join(said)
    remedy = (
        f"This edge tells all responses apart by {listed}. Leave it so where pages depend on it, and on few values."
    )
    return cache_words.Word(word.means, remedy, clause=word.clause)


def by_coding(word: cache_words.Word) -> cache_words.Word:
    """`vary-miss` where nothing but the codings differ: no Vary could be better."""
    remedy = "Nothing is amiss: clients that take other codings have a response of their own, which the next one finds."
    return cache_words.Word(word.means, remedy, clause=word.clause)


def told(step: str, word: str) -> cache_words.Word:
    table = {"lookup": cache_words.LOOKUP, "fetch": cache_words.FETCH, "store": cache_words.STORE}[step]
    return table.get(word) or cache_words.Word(word)


def _window(most: int | None) -> str:
    return "any" if most is None or most >= 2**31 else f"up to {most} s"


def _said(fields: Fields, name: bytes) -> str:
    value = combined(fields, name)
    return "none" if value is None else _text(value)


def _tenth(value: float) -> float:
    return round(value, 1)


def _text(value: bytes) -> str:
    return value.decode("latin-1")
