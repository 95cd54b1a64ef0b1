"""Content on its way into pieces: as it passes to the client, each as soon as it is whole (RFC 9111 §3.3)."""

from __future__ import annotations

from collections.abc import Callable

from cdn_edge.parts import Parts, piece_of
from cdn_edge.recording import Recording
from cdn_edge.rules.parts import aligned
from cdn_edge.rules.storing import NotStored
from cdn_edge.store import Store
from cdn_edge.stored import whole
from stack.http.message import BodyStream
from stack.http.ranges import Range


def take(store: Store, parts: Parts, start: int, body: bytes, *, size: int) -> bool:
    """Keep what of `body`, the bytes from `start` on, is not held yet, in pieces that reach over no slice of `size`.

    Neighbours within one slice become one piece; all of what is no longer than a slice becomes a response like any
    other. False when there is no room, or nothing in the store that it belongs to.
    """
    at, stop = start, start + len(body)
    while at < stop:
        limit = aligned(at, size, parts.length)
        for gap in parts.gaps(Range(at, min(stop, limit.stop))):
            if not _put(store, parts, gap, body[gap.start - start : gap.stop - start], limit):
                return False
        at = limit.stop
    if not size or parts.length <= size:
        _make_whole(store, parts)
    return True


def _put(store: Store, parts: Parts, gap: Range, body: bytes, limit: Range) -> bool:
    start = gap.start
    before = parts.at(start - 1) if start > limit.start else None
    behind = parts.at(gap.stop) if gap.stop < limit.stop else None
    if parts.head is None:
        return False
    if before is not None or behind is not None:
        pieces = [b"" if before is None else before.body, body, b"" if behind is None else behind.body]
        start = start if before is None else before.span.start
        body = b"".join(pieces)
        for piece in (before, behind):
            if piece is not None:
                store.drop(piece)
    return store.put_piece(piece_of(parts.head, parts, start, body))


def _make_whole(store: Store, parts: Parts) -> None:
    head = parts.head
    if head is None or len(parts.pieces) != 1 or len(parts.pieces[0].span) != parts.length:
        return
    parts.whole = parts.pieces[0].body
    store.put(
        whole(
            head.key,
            head.names,
            head.selection,
            status=head.status,
            fields=head.fields,
            body=parts.whole,
            terms=head.terms,
            date=head.date,
            born=head.born,
            arrived=head.arrived,
        )
    )


class Slicing:
    """A `BodyStream` that passes through to the client and into pieces of `parts`. At most one slice waits here.

    What has come is kept also when the rest does not come: it is a part, and is answered as one (§3.3).
    """

    __slots__ = ("_at", "_body", "_chunks", "_parts", "_recording", "_refused", "_reserved", "_size", "_stop", "_store")

    def __init__(
        self,
        body: BodyStream,
        recording: Recording,
        store: Store,
        parts: Parts,
        span: Range,
        *,
        size: int,
        refused: Callable[[NotStored], object],
    ) -> None:
        """`span` is what the body brings; `refused` is told when the rest of it is not kept."""
        self._body, self._recording, self._store, self._parts = body, recording, store, parts
        self._size, self._refused = size, refused
        self._at, self._stop = span.start, span.stop
        self._chunks: list[bytes] = []
        self._reserved = 0

    def __aiter__(self) -> Slicing:
        return self

    async def __anext__(self) -> bytes:
        disk = self._store.disk
        if disk is not None and not self._recording.ended and (behind := disk.behind()) is not None:
            await behind
        try:
            chunk = await self._body.__anext__()
        except BaseException:
            self._end()
            raise
        self._feed(chunk)
        return chunk

    async def aclose(self) -> None:
        self._end()
        await self._body.aclose()

    def _feed(self, chunk: bytes) -> None:
        while chunk and not self._recording.ended:
            came = self._at + self._reserved
            if came >= self._stop:  # more than it said: none of this can be told apart
                self._give_up(NotStored.INCOMPLETE)
                return
            limit = min(aligned(came, self._size, self._parts.length).stop, self._stop)
            now, chunk = (chunk[: limit - came], chunk[limit - came :]) if len(chunk) > limit - came else (chunk, b"")
            if not self._store.reserve(len(now)):
                self._give_up(NotStored.NO_ROOM)
                return
            self._chunks.append(now)
            self._reserved += len(now)
            if came + len(now) == limit:
                self._put()
                if limit == self._stop:
                    self._recording.abandon()  # before the client can have seen the end, and asked again

    def _put(self) -> None:
        body, at = b"".join(self._chunks), self._at
        self._at += len(body)
        self._forget()
        if self._recording.invalid:
            self._give_up(NotStored.INVALIDATED)
        elif body and not take(self._store, self._parts, at, body, size=self._size):
            self._give_up(NotStored.NO_ROOM)

    def _forget(self) -> None:
        self._store.release(self._reserved)
        self._chunks, self._reserved = [], 0

    def _give_up(self, why: NotStored) -> None:
        self._forget()
        if not self._recording.ended:
            self._recording.abandon()
            self._refused(why)

    def _end(self) -> None:
        """No more comes. What did is right as far as it goes."""
        if not self._recording.ended:
            self._put()
            self._give_up(NotStored.INCOMPLETE)
