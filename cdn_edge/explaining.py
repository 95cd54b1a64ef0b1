"""What a request would come to, and why: asked of the rules that decide, with nothing counted, fetched or changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final

from cdn_edge.answers import Answers
from cdn_edge.assembling import Assembly
from cdn_edge.rules import record as records
from cdn_edge.rules import validation
from cdn_edge.rules.asking import PLAIN, Asking
from cdn_edge.rules.record import Freshness, Record, Refused, Variant
from cdn_edge.rules.reuse import Failure, Reuse, decide, on_error
from cdn_edge.validating import offers
from stack.http.message import Request, get

if TYPE_CHECKING:
    from cdn_edge.disk_tier import DiskTier
    from cdn_edge.refusals import Refusals
    from cdn_edge.rules.judging import Policy
    from cdn_edge.store import Store
    from cdn_edge.stored import Stored
    from stack.clock import Clock

_MOST_VARIANTS: Final = 50
"""Of one URL in one record: the nearest ones."""


@dataclass(slots=True)
class _Look:
    """What looking into the store came to."""

    word: str
    asked: Asking = PLAIN
    stored: Stored | None = None
    reuse: Reuse | None = None
    answer: int | None = None
    """The status that the store would answer with."""
    silent: bool = False
    """Stale as it is, for the origin has just been waited for in vain."""


class Explaining:
    """See the module. Takes the way of `Edge.handle`; tests hold the two against each other."""

    def __init__(
        self,
        name: str,
        *,
        store: Store,
        refusals: Refusals,
        policy: Policy,
        clock: Clock,
        disk: DiskTier | None = None,
        assembly: Assembly | None = None,
    ) -> None:
        self._name = name
        self._store = store
        self._refusals = refusals
        self._policy = policy
        self._clock = clock
        self._disk = disk
        self.silent: Callable[[Stored], bool] = lambda _: False
        """Whether asking the origin for news of it would be in vain: `Refreshing.silent`."""
        self._answers = Answers(name, clock, Random(0), assembly=assembly)  # noqa: S311  # so that boundaries of others stay as they are

    async def ask(self, request: Request) -> Record:
        """The record, with what is on disk. It stays there."""
        brought = None
        if self._disk is not None and request.method in (b"GET", b"HEAD") and not request.body:
            key = self._key(request)
            if self._store.find(key, request.fields)[0] is None and self._disk.knows(key):
                brought = await self._disk.look(key, request.fields)
        return self.record(request, brought)

    def record(self, request: Request, brought: Stored | None = None) -> Record:
        """`brought`: what is on disk, where the memory has nothing for the request."""
        now = self._clock.now()
        key = self._key(request)
        look = self._look(request, key, brought, now)
        word, stored, answer = look.word, look.stored, look.answer
        variants = self._variants(key, request, stored, now, brought)
        near = records.nearest(variants) if stored is None else None
        told = records.told("lookup", word)
        if near is not None and (own := self._own(variants[near])):
            told = records.by_options(told, own)
        elif near is not None and [one.header for one in variants[near].differs] == ["accept-encoding"]:
            told = records.by_coding(told)
        refused = self._refused(key, now)
        first = refused if refused is not None and stored is None else None
        return Record(
            edge=self._name,
            method=request.method.decode("latin-1"),
            url=(request.scheme + b"://" + request.authority + request.target).decode("latin-1"),
            key=records.key_record(key, request.authority, request.target),
            lookup=word,
            answer=504 if word == "only-if-cached" else answer,
            means=told.means,
            because=self._because(look, None if near is None else variants[near], now) + self._unheard(request),
            variants=variants,
            nearest=near,
            freshness=None if stored is None else self._freshness(stored, now),
            origin=[] if answer is not None or word == "only-if-cached" else self._to_origin(request, key, look, now),
            storing=self._storing(request, key, look) if answer is None else [],
            refused=refused,
            hints=self._hints(key, now) if stored is None and word in ("uri-miss", "only-if-cached") else [],
            remedy=told.remedy if first is None else first.remedy,
            write=list(told.write) if first is None else first.write,
            see=records.see("lookup", word) if first is None else first.see,
        )

    def _key(self, request: Request) -> bytes:
        return self._policy.keying.of(request.scheme, request.authority, request.target)

    def _look(self, request: Request, key: bytes, brought: Stored | None, now: float) -> _Look:
        if request.method not in (b"GET", b"HEAD"):
            return _Look("method")
        if request.body:
            return _Look("bypass")
        asked = self._policy.read(request.fields)
        stored, known = self._store.find(key, request.fields)
        stored = brought if stored is None else stored
        if stored is None:
            look = _Look("vary-miss" if known else "uri-miss", asked)
        else:
            reuse = decide(stored.terms, now - stored.born, asked)
            look = _Look(reuse.value, asked, stored, reuse)
            if reuse.answers:
                look.answer = self._answers.status(stored, request, asked)
                if look.answer is None and stored.parts is not None:
                    look.word = "partial"
                elif look.answer is None:
                    look.word, look.reuse = Reuse.REQUEST.value, Reuse.REQUEST
            elif reuse is Reuse.STALE and self.silent(stored):
                window = self._policy.stale_if_unreachable
                if on_error(stored.terms, now - stored.born, asked, Failure.UNREACHABLE, window):
                    look.answer = self._answers.status(stored, request, asked)
                    look.silent = look.answer is not None
        if look.answer is None and asked.cc.only_if_cached:
            look.word = "only-if-cached"
        return look

    def _own(self, variant: Variant) -> list[str]:
        """What alone keeps it from being selected, if that is this edge's own: named by options, not by Vary."""
        names = [one.header for one in variant.differs]
        return names if {name.encode("latin-1") for name in names} <= set(self._policy.keying.names) else []

    def _because(self, look: _Look, nearest: Variant | None, now: float) -> list[str]:
        stored, said = look.stored, []
        if stored is not None and look.reuse is not None:
            said = records.because(look.reuse, stored.terms, now - stored.born, look.asked)
        elif nearest is not None:
            said = [
                f"it varies by {one.header}: the nearest is stored for {one.stored or 'none'}, "
                f"the request has {one.request or 'none'}"
                for one in nearest.differs
            ]
        if look.silent:
            said.append("the origin was silent just now: what is stored answers at once, and is asked about behind it")
        if look.word == "partial" and stored is not None and stored.parts is not None:
            said.append("only parts of it are held, and not all that the request wants")
        return said

    def _variants(
        self, key: bytes, request: Request, selected: Stored | None, now: float, brought: Stored | None
    ) -> list[Variant]:
        found = []
        for stored in (*self._store.variants(key), *([] if brought is None else [brought])):
            asked = self._store.selection(stored.names, request.fields) if stored.names else ()
            length = get(stored.block.fields, b"content-length")
            found.append(
                Variant(
                    status=stored.status,
                    vary={
                        name.decode("latin-1"): records.shown(name, value)
                        for name, value in zip(stored.names, stored.selection, strict=True)
                    },
                    age=round(now - stored.born, 1),
                    ttl=round(stored.terms.lifetime - (now - stored.born), 1),
                    size=stored.size,
                    content=int(length) if length is not None and length.isdigit() else len(stored.body) or None,
                    held=None if stored.parts is None else sum(len(piece.span) for piece in stored.parts.pieces),
                    selected=stored is selected,
                    disk=stored is brought,
                    differs=records.differences(stored.names, stored.selection, asked),
                )
            )
        found.sort(key=lambda one: (not one.selected, len(one.differs), one.age))
        return found[:_MOST_VARIANTS]

    def _unheard(self, request: Request) -> list[str]:
        """RFC 9111 §5.2.1 lets clients direct a cache, an operator may not."""
        if self._policy.directed or (get(request.fields, b"cache-control") or get(request.fields, b"pragma")) is None:
            return []
        return ["this edge ignores what requests say in Cache-Control and Pragma (--cache-request-directives ignore)"]

    def _freshness(self, stored: Stored, now: float) -> Freshness:
        return records.freshness(
            stored.terms,
            stored.block.fields,
            age=now - stored.born,
            arrived=stored.arrived,
            heuristic=self._policy.heuristic,
        )

    def _to_origin(self, request: Request, key: bytes, look: _Look, now: float) -> list[str]:
        stored = look.stored
        if look.word == "partial" and stored is not None and stored.parts is not None:
            if stored.parts.tag is None:
                return ["the origin is asked for all of it: what is stored has no strong ETag to complete it by"]
            tag = stored.parts.tag.decode("latin-1")
            return [f"the origin is asked for what is missing, in slices (If-Match: {tag}), and for all if that fails"]
        if look.word == "vary-miss" and (tags := offers(self._store, key, request, look.asked)):
            named = b", ".join(tags).decode("latin-1")
            return [f"the origin is asked for the whole, unless another variant does as well (If-None-Match: {named})"]
        return self._origin(stored, look.asked, now)

    def _origin(self, stored: Stored | None, asked: Asking, now: float) -> list[str]:
        """What it would be asked, and what if it fails."""
        if stored is None:
            return ["the origin is asked for the whole"]
        conditions = validation.conditions(stored.fields, self._clock.time())
        if not conditions:
            said = ["the origin is asked for the whole: what is stored has neither ETag nor Last-Modified"]
        else:
            lines = ", ".join(f"{name.decode()}: {value.decode('latin-1')}" for name, value in conditions)
            said = [f"the origin is asked whether what is stored still holds ({lines})"]
        for failure, told in ((Failure.ANSWERED, "answers 5xx"), (Failure.UNREACHABLE, "cannot be reached")):
            age = now - stored.born
            if on_error(stored.terms, age, asked, failure, self._policy.stale_if_unreachable):
                said.append(f"if it {told}, what is stored answers ({failure.value})")
            else:
                said.append(f"if it {told}, what is stored does not answer")
        return said

    def _storing(self, request: Request, key: bytes, look: _Look) -> list[str]:
        said = records.against_storing(request.method, look.asked, request.fields)
        if look.word == "vary-miss" and self._store.crowded(key):
            said.append("crowded: the URL has all the variants that it may (--cache-vary-most): one makes room")
        return said

    def _refused(self, key: bytes, now: float) -> Refused | None:
        last = self._refusals.get(key)
        if last is None:
            return None
        told = records.told("store", last.why.value)
        return Refused(
            word=last.why.value,
            means=told.means,
            ago=round(now - last.at, 1),
            status=last.status,
            header=last.name.decode("latin-1") if last.value else "",
            value=last.value.decode("latin-1"),
            times=last.times,
            remedy=told.remedy,
            write=list(told.write),
            see=records.see("store", last.why.value),
        )

    def _hints(self, key: bytes, now: float) -> list[str]:
        """What became of it, and of what else is stored, what may have been meant."""
        found = []
        gone = None if self._store.departures is None else self._store.departures.get(key)
        if gone is not None:
            by = f"a {gone.by.decode('latin-1')} that named this URL" if gone.by else "a purge"
            found.append(f"it was stored until {by} took it out, {records.seconds(now - gone.at)} ago")
        elif evicted := self._store.statistics().evicted:
            found.append(f"the memory is full, {evicted} responses have made room for others so far: see --cache-size")
        if coming := self._store.coming(key):
            found.append(f"it is on its way from the origin just now ({coming})")
        if self._disk is not None and self._disk.why:
            found.append(f"the disk: {self._disk.why}")
        if self._disk is not None and self._disk.knows(key):
            found.append("something is on disk under this key, or was, but nothing for this request")
        if others := self._store.elsewhere(key):
            found.append(f"stored under another scheme or port: {_listed(others)}")
        if others := self._store.queries(key):
            found.append(f"stored with another query: {_listed(others)}; each query is a URL of its own")
        return found


def _listed(keys: list[bytes]) -> str:
    return ", ".join(key.decode("latin-1") for key in keys)
