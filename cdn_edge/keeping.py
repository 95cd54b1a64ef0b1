"""Putting into the store what the origin answered: as it passes, at once, or as news of what is there already."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from sys import maxsize

from cdn_edge.asked import Asked
from cdn_edge.origin import Fetched
from cdn_edge.parts import Parts
from cdn_edge.recording import Recording, Tee
from cdn_edge.refusals import Refusals
from cdn_edge.rules import validation
from cdn_edge.rules.directives import SURROGATE_CONTROL, Said
from cdn_edge.rules.judging import Judgement, Policy, judge
from cdn_edge.rules.parts import Part, strong_tag, whole_head
from cdn_edge.rules.parts import part as part_of
from cdn_edge.rules.parts import sliced as sliced_length
from cdn_edge.rules.search import FIELD as NO_VARY_SEARCH
from cdn_edge.rules.storing import COOKIES, CROWDED, FOR_THIS_CLIENT, STRIPPED, NotStored, outright
from cdn_edge.slicing import Slicing, take
from cdn_edge.store import Store
from cdn_edge.stored import Stored, whole
from stack.errors import HopError
from stack.http.message import Fields, Response, get, without
from stack.http.ranges import Range
from stack.telemetry.metrics import Metrics

_SAYS_NOTHING_OF_IT = frozenset({304, 412, 416})
"""Status codes after which what is stored is as good as before."""


class Keeper:
    """Decides by the rules, and does it."""

    def __init__(self, store: Store, policy: Policy, metrics: Metrics, refusals: Refusals) -> None:
        self._store = store
        self._policy = policy
        self._unbounded = replace(policy, max_object=maxsize)
        self._refusals = refusals
        self._filling: set[bytes] = set()
        """Keys whose content is being read for the store alone."""
        self._decisions = metrics.counter(
            "hopstack_cache_stores_total", "Responses of the origin by what storing came to.", ("result",)
        )

    def keep(
        self, asked: Asked, fetched: Fetched, recording: Recording, *, unread: bool = False
    ) -> tuple[NotStored | None, int | None]:
        """Record the response if it may be stored; its body then passes through the recording.

        `unread`: the client does not get the content, so that it would be read for the store alone, by `fill`: once
        at a time for one key. Returns why not, and the seconds it is fresh for if it is stored.
        """
        response = fetched.response
        is_head = asked.request.method == b"HEAD"
        if response.status == 206:
            return self._keep_part(asked, fetched, recording)
        said = self._policy.targets.said(response.fields)
        if asked.stored is None and (why := outright(response.status, said.cc, asked.asking)) is not None:
            why = NotStored.METHOD if is_head else why
            recording.abandon()
            self._decided(asked, why, response)
            return why, None
        sliced = self._sliced(response)
        judgement = self._judge(asked, response.status, response.fields, fetched, said, bounded=sliced is None)
        refused = NotStored.METHOD if is_head else judgement.refused
        if refused is None and unread and asked.key in self._filling and not isinstance(response.body, bytes):
            refused = NotStored.FILLING
        if asked.stored is not None:
            if refused is NotStored.FILLING or judgement.refused in FOR_THIS_CLIENT:
                pass  # else a client could take out what others are answered from, by asking for it so
            elif is_head:
                self._compare(asked, asked.stored, fetched, recording)
            elif self._is_outdated(asked.stored, response, judgement, refused):
                self._store.drop(asked.stored)
        if refused is None:
            refused = self._place(asked, response.fields, recording)
        if refused is None and judgement.names and asked.stored is None and self._store.crowded(asked.key):
            fetched.note = CROWDED
        if refused is None and sliced is not None:
            head = _stored(asked, 200, judgement, fetched, b"")
            parts = Parts(sliced, strong_tag(response.fields))
            # of what is large nothing is read for the store alone: slices come when they are asked for
            span = None if unread or not asked.heard else Range(0, sliced)
            refused = self._record_parts(asked, head, parts, response, span, recording)
        elif refused is None:
            refused = self._record(asked, fetched, judgement, recording)
            if unread and isinstance(response.body, Tee):
                self._filling.add(asked.key)
        else:
            recording.abandon()
        if refused is None and judgement.stripped:
            _strip(fetched)
        self._decided(asked, refused, response, fetched.note)
        return refused, judgement.ttl if refused is None else None

    async def fill(self, key: bytes, response: Response) -> None:
        """Read for the store what `keep` took with `unread`."""
        try:
            await recorded(response)
        finally:
            self._filling.discard(key)

    def freshen(self, asked: Asked, fetched: Fetched, recording: Recording) -> tuple[Stored, int]:
        """After a 304: the stored response with its head brought up to date, which is kept if it still may be.

        Returns it, and the seconds it is fresh for.
        """
        old = asked.stored
        assert old is not None
        fields = validation.freshened(_all_fields(old), fetched.response.fields)
        judgement, fresh = self._anew(asked, old, fields, fetched)
        refused = judgement.refused
        if refused in FOR_THIS_CLIENT:
            pass  # what is stored for the others stays as it was
        elif refused is not None or fresh.names != old.names:
            self._store.drop(old)  # what holds for other values of the same names stays beside it
        if refused is None and not recording.invalid and not self._is_another(fresh, old):
            self._store.put(fresh)
        recording.abandon()
        self._decided(asked, refused, fetched.response)
        return fresh, judgement.ttl

    def _is_another(self, fresh: Stored, old: Stored) -> bool:
        """Whether a response came into the place of `old` while it was validated: `fresh` is of no use there."""
        here = self._store.at(fresh)
        return here is not None and here is not old and here.date >= fresh.date

    def combine(self, asked: Asked, parts: Parts, fetched: Fetched) -> NotStored | None:
        """RFC 9111 §3.4: the fields of a part that was fetched take the place of those in the head of the whole.

        None where the part may be kept with it.
        """
        head = parts.head
        if head is None:
            return NotStored.INVALIDATED
        judgement, fresh = self._anew(
            asked, head, validation.freshened(_all_fields(head), fetched.response.fields), fetched
        )
        refused = judgement.refused
        if refused in FOR_THIS_CLIENT:
            pass
        elif refused is not None or fresh.identity != head.identity:
            self._store.drop(head)
        elif fresh.date >= head.date:
            self._store.put(fresh)
        self._decided(asked, refused, fetched.response)
        return refused

    def _anew(self, asked: Asked, old: Stored, fields: Fields, fetched: Fetched) -> tuple[Judgement, Stored]:
        """What is stored, with another head."""
        judgement = self._judge(asked, old.status, fields, fetched, bounded=old.parts is None)
        if judgement.refused is None and self._key(asked, fields) != asked.key:
            judgement.refused = NotStored.INVALIDATED  # it speaks otherwise of its query than when it was asked for
        fresh = _stored(asked, old.status, judgement, fetched, old.body)
        return judgement, fresh if old.parts is None else fresh.held_in(old.parts)

    def _key(self, asked: Asked, fields: Fields) -> bytes:
        """The key that a response with these fields is to be stored under."""
        request, keying = asked.request, self._policy.keying
        if not keying.learned and (keying.learned is None or get(fields, NO_VARY_SEARCH) is None):
            return asked.key
        return keying.learn(keying.exact(request.scheme, request.authority, request.target), fields)

    def _place(self, asked: Asked, fields: Fields, recording: Recording) -> NotStored | None:
        """Where it belongs by what it says of its query. None when it may be stored there."""
        key = self._key(asked, fields)
        if key == asked.key:
            return None
        learned = self._policy.keying.learned
        if learned is not None and learned.touched(asked.key, recording.since):
            return NotStored.INVALIDATED
        if asked.stored is not None:
            self._store.drop(asked.stored)
        self._store.move(recording, key)
        asked.key = key
        return None

    def _sliced(self, response: Response) -> int | None:
        return sliced_length(response.status, response.fields, size=self._policy.slice, beyond=self._policy.slice_from)

    def _keep_part(self, asked: Asked, fetched: Fetched, recording: Recording) -> tuple[NotStored | None, int | None]:
        """RFC 9111 §3.3, §3.4: a 206 is kept as a part of what is stored, or as the first that is known of it."""
        response, old = fetched.response, asked.stored
        part, tag = part_of(response.fields), strong_tag(response.fields)
        refused, ttl = NotStored.RANGE, 0
        if part is not None and asked.asking.ranged and asked.request.method == b"GET":
            if old is not None and _same_whole(old, tag, part.length):
                judgement, head = self._anew(
                    asked, old, validation.freshened(_all_fields(old), response.fields), fetched
                )
                parts = old.parts
                found, ttl = judgement.refused, judgement.ttl
            else:
                judgement = self._judge(asked, 206, whole_head(response.fields, part.length), fetched, bounded=False)
                head, parts = _stored(asked, 200, judgement, fetched, b""), Parts(part.length, tag)
                found, ttl = judgement.refused or self._no_part(asked, part, tag, response), judgement.ttl
            if found is None:
                found = self._place(asked, head.fields, recording)
                head.key = asked.key
            if found is None:
                found = self._record_parts(asked, head, parts, response, part.span, recording)
            if found is None:
                if judgement.stripped:
                    _strip(fetched)
                self._decided(asked, None, response, fetched.note)
                return None, ttl
            refused = found
        recording.abandon()
        if (
            old is not None
            and refused not in FOR_THIS_CLIENT
            and not validation.same_representation(old.fields, response.fields)
        ):
            self._store.drop(old)
        self._decided(asked, refused, response)
        return refused, None

    def _no_part(self, asked: Asked, part: Part, tag: bytes | None, response: Response) -> NotStored | None:
        """Why nothing is begun with a 206 for which no head is stored."""
        old = asked.stored
        if asked.request.get(b"if-range") is not None:
            return NotStored.RANGE  # RFC 9110 §15.3.7: it need not have the fields that the client knows already
        whole = old if old is not None and old.parts is None else None
        if tag is None and whole is not None and validation.same_representation(whole.fields, response.fields):
            return NotStored.RANGE  # what is stored is more
        longest = part.length if tag is not None else len(part.span)
        if longest > self._policy.max_object and (tag is None or not self._policy.slice):
            return NotStored.TOO_LARGE
        return None

    def _record_parts(
        self,
        asked: Asked,
        head: Stored,
        parts: Parts | None,
        response: Response,
        span: Range | None,
        recording: Recording,
    ) -> NotStored | None:
        """The head at once, and `span` of the content as it passes. `parts` None: the whole is stored already."""
        old = asked.stored
        if recording.invalid or self._store.is_overtaken(head, old):
            recording.abandon()
            return NotStored.INVALIDATED
        if old is not None and head.identity != old.identity and self._store.holds(old):
            self._store.drop(old)
        if not self._store.put(head if parts is None else head.held_in(parts)):
            recording.abandon()
            return NotStored.TOO_LARGE
        size = self._policy.slice
        if parts is None or span is None:
            recording.abandon()
        elif isinstance(response.body, bytes):
            recording.abandon()
            take(self._store, parts, span.start, response.body[: len(span)], size=size)
        else:
            refused = partial(self._decided, asked)
            response.body = Slicing(response.body, recording, self._store, parts, span, size=size, refused=refused)
        return None

    def keep_post(
        self, asked: Asked, fetched: Fetched, refused: NotStored, *, overtaken: bool = False
    ) -> tuple[bool, int | None]:
        """RFC 9110 §9.3.3: a POST's response answers later GETs, if it is its URL's own and its lifetime explicit.

        `refused` is why nothing else is kept that passes through here. `overtaken`: what is stored under the key became
        invalid while it was on its way, by another request or a purge.
        """
        may_be = asked.request.method == b"POST" and not overtaken
        stored, ttl = self._keep_post(asked, fetched) if may_be else (False, None)
        if not stored:
            self._decided(asked, refused)
        return stored, ttl

    def _keep_post(self, asked: Asked, fetched: Fetched) -> tuple[bool, int | None]:
        response = fetched.response
        place = get(response.fields, b"content-location")
        request, keying = asked.request, self._policy.keying
        if response.status != 200 or place is None:
            return False, None
        exact = keying.exact(request.scheme, request.authority, request.target)
        if keying.same_origin(exact, place) != exact:
            return False, None
        asked.asking = self._policy.read(request.fields)
        if asked.asking.overriding:
            return False, None  # it was no POST to the origin
        judgement = self._judge(asked, response.status, response.fields, fetched)
        if judgement.refused is not None or not judgement.lifetime.explicit:
            return False, None
        recording = self._store.record(asked.key, keying.changes)
        refused = self._place(asked, response.fields, recording)
        if refused is not None:
            recording.abandon()
            return False, None
        refused = self._record(asked, fetched, judgement, recording)
        if refused is None:
            if judgement.stripped:
                _strip(fetched)
            self._decided(asked, None, note=fetched.note)
        return refused is None, judgement.ttl if refused is None else None

    def _decided(
        self, asked: Asked, refused: NotStored | None, response: Response | None = None, note: str = ""
    ) -> None:
        """`response`: what is not stored, where it is there to be looked at."""
        word = note or "stored" if refused is None else refused.value
        asked.exchange.mark("store", word)
        self._decisions.inc(word)
        if refused is None:
            self._refusals.forget(asked.key)
        else:
            at = asked.exchange.marks[-1][2]
            if response is None:
                self._refusals.note(asked.key, refused, at=at)
            else:
                self._refusals.note(asked.key, refused, at=at, status=response.status, fields=response.fields)

    def _judge(
        self,
        asked: Asked,
        status: int,
        fields: Fields,
        fetched: Fetched,
        said: Said | None = None,
        *,
        bounded: bool = True,
    ) -> Judgement:
        """Not `bounded`: it is kept in pieces, so that its whole length does not matter."""
        asking = asked.asking
        if asked.certified or asked.respelt:
            asking = replace(asking, authorized=asking.authorized or asked.certified, respelt=asked.respelt)
        return judge(
            status,
            fields,
            asking,
            asked.request.fields,
            self._policy if bounded else self._unbounded,
            received=fetched.at,
            delay=fetched.received - fetched.requested,
            age=fetched.age,
            said=said,
        )

    def _record(self, asked: Asked, fetched: Fetched, judgement: Judgement, recording: Recording) -> NotStored | None:
        response = fetched.response
        recording.before = asked.stored
        make: Callable[[bytes], Stored] = partial(_stored, asked, response.status, judgement, fetched)
        if isinstance(response.body, bytes):
            return recording.whole(response.body, make)
        told = get(response.fields, b"content-length")
        length = int(told) if told is not None and told.isdigit() else None
        whole_of = sliced_length(response.status, response.fields, size=1, beyond=0)
        response.body = Tee(
            response.body,
            recording,
            make,
            length=length,
            refused=partial(self._decided, asked),
            partly=None if whole_of is None else partial(self._keep_rest, asked, fetched, judgement, whole_of),
        )
        return None

    def _keep_rest(self, asked: Asked, fetched: Fetched, judgement: Judgement, length: int, came: bytes) -> None:
        """RFC 9111 §3.3: of a response that broke off, what came is a part, where the origin can send the rest of it.

        Not in the place of what is stored, which is whole, or more.
        """
        tag = strong_tag(fetched.response.fields)
        head = _stored(asked, 200, judgement, fetched, b"")
        if tag is None or any(stored.identity == head.identity for stored in self._store.variants(asked.key)):
            return
        parts = Parts(length, tag)
        if self._store.put(head.held_in(parts)):
            take(self._store, parts, 0, came, size=self._policy.slice)

    def _is_outdated(self, stored: Stored, response: Response, judgement: Judgement, refused: NotStored | None) -> bool:
        """Whether what is stored must go: the origin has answered otherwise, and that does not take its place."""
        if refused is None:
            return (judgement.names, judgement.selection) != (stored.names, stored.selection)
        return response.status < 500 and response.status not in _SAYS_NOTHING_OF_IT

    def _compare(self, asked: Asked, stored: Stored, fetched: Fetched, recording: Recording) -> None:
        """RFC 9111 §4.3.5: a response to HEAD freshens the stored one to GET, or says that it is outdated."""
        response = fetched.response
        if response.status != 200 or stored.status != 200:
            return
        if not validation.same_as_head(stored.fields, response.fields):
            self._store.drop(stored)
            return
        fields = validation.freshened(_all_fields(stored), response.fields)
        judgement, fresh = self._anew(asked, stored, fields, fetched)
        if judgement.refused in FOR_THIS_CLIENT or recording.invalid or self._is_another(fresh, stored):
            return
        if judgement.refused is not None or fresh.identity != stored.identity:
            self._store.drop(stored)
        if judgement.refused is None:
            self._store.put(fresh)


def _same_whole(stored: Stored, tag: bytes | None, length: int) -> bool:
    """RFC 9111 §3.4: whether a part with this strong validator is of what is stored."""
    if tag is None or stored.status != 200 or strong_tag(stored.fields) != tag:
        return False
    return length == (len(stored.body) if stored.parts is None else stored.parts.length)


async def close(response: Response) -> None:
    """Its content is not wanted."""
    if not isinstance(response.body, bytes):
        await response.body.aclose()


async def recorded(response: Response) -> None:
    """Read on behalf of the store alone: to the end, or until it is not to be kept any more, and not a byte further.

    What goes wrong on the way has gone wrong for the recording, and nobody else listens.
    """
    body = response.body
    if not isinstance(body, Tee):
        await close(response)
        return
    try:
        async for _ in body:
            if not body.wanted:
                break
    except HopError:
        return
    finally:
        await body.aclose()


def _strip(fetched: Fetched) -> None:
    """What is stored without its cookies is sent without them, to the first client too: all get the same."""
    fetched.response.fields = without(fetched.response.fields, *COOKIES)
    fetched.note = STRIPPED


def _all_fields(stored: Stored) -> Fields:
    """With the one that is kept for this cache alone."""
    own = stored.terms.surrogate
    return stored.fields if own is None else [*stored.fields, (SURROGATE_CONTROL, own)]


def _stored(asked: Asked, status: int, judgement: Judgement, fetched: Fetched, body: bytes) -> Stored:
    return whole(
        asked.key,
        judgement.names,
        judgement.selection,
        status=status,
        fields=judgement.fields,
        body=body,
        terms=judgement.terms,
        date=judgement.date,
        born=fetched.received - judgement.age,
        arrived=judgement.age,
    )
