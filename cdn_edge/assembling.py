"""Content that is held in pieces on its way out: piece by piece, and what is missing from the origin (RFC 9111 §3.4).

A slice that is missing is fetched whole, once for all who wait for it, with If-Match on the strong validator; what
comes back is taken only if it is of the same representation. So no answer is ever put together from two versions: where
the origin has another by now, an answer that has begun breaks off.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Final

from cdn_edge.asked import Asked
from cdn_edge.holding import Holding
from cdn_edge.origin import Fetched, Origin
from cdn_edge.parts import Parts, piece_of
from cdn_edge.rules import parts as rules
from cdn_edge.rules.answering import Selected
from cdn_edge.rules.storing import FOR_THIS_CLIENT
from cdn_edge.slicing import take
from cdn_edge.store import Store
from stack.errors import HopError, ResponseIncomplete
from stack.http.message import Body, Response
from stack.http.ranges import Range
from stack.net.tasks import Tasks

if TYPE_CHECKING:
    from cdn_edge.disk_pieces import DiskPieces
    from cdn_edge.keeping import Keeper

_AT_ONCE: Final = 65_536
"""An answer of so many bytes is put together in memory rather than streamed."""
_STEP: Final = 131_072
"""Bytes that are handed to a connection at a time."""
_TRIES: Final = 3
"""For one slice, where what has come is evicted before it could be sent."""
_ANOTHER_NOW: Final = frozenset({200, 206, 404, 410, 412, 416})
"""Answers to a range of a known representation that mean: it is not there any more."""


class Assembly:
    """Answers from pieces."""

    def __init__(
        self,
        *,
        origin: Origin,
        store: Store,
        keeper: Keeper,
        size: int,
        tasks: Tasks,
        name: str,
        disk: DiskPieces | None = None,
    ) -> None:
        """`size` is that of a slice in bytes; 0: there are none, what is missing is fetched in one."""
        self._disk = disk
        self._origin = origin
        self._store = store
        self._keeper = keeper
        self._size = size
        self._holding = Holding(store.pending_limit)
        self._tasks = tasks
        self._name = name

    def content(self, asked: Asked, parts: Parts, selected: Selected, *, lacking: bool) -> Body | None:
        """The selected bytes, as a stream if they are many. None where some are missing, but for `lacking`."""
        missing = any(parts.gaps(span) for span in selected.spans)
        if missing and not lacking and self.lacking(parts, selected) is not None:
            return None
        if missing or sum(map(len, selected.spans)) > _AT_ONCE:
            return self._read(asked, parts, selected)
        return self._joined(parts, selected)

    async def begin(self, asked: Asked, parts: Parts, selected: Selected) -> bool:
        """Fetch the first that is missing. False where that cannot be had: ask for everything then."""
        at = self.lacking(parts, selected)
        if at is not None:
            try:
                await self._slice(asked, parts, at)
            except HopError:
                return False
        return True

    def lacking(self, parts: Parts, selected: Selected) -> int | None:
        """The first byte that is neither in memory nor on disk."""
        for span in selected.spans:
            for gap in parts.gaps(span):
                at = gap.start
                while at < gap.stop:
                    piece = rules.aligned(at, self._size, parts.length)
                    if self._disk is None or not self._disk.has(parts, piece.start):
                        return at
                    at = piece.stop
        return None

    def _joined(self, parts: Parts, selected: Selected) -> bytes:
        found: list[bytes] = []
        for index, span in enumerate(selected.spans):
            if selected.heads:
                found.append(selected.heads[index])
            at = span.start
            while at < span.stop:
                held = self._held(parts, at)
                assert held is not None
                start, body = held
                found.append(body[at - start : span.stop - start])
                at = min(span.stop, start + len(body))
        found.append(selected.tail)
        return b"".join(found)

    async def _read(self, asked: Asked, parts: Parts, selected: Selected) -> AsyncGenerator[bytes]:
        for index, span in enumerate(selected.spans):
            if selected.heads:
                yield selected.heads[index]
            at = span.start
            while at < span.stop:
                start, body = await self._slice(asked, parts, at)
                stop = min(span.stop, start + len(body))
                self._look_ahead(asked, parts, Range(stop, span.stop))
                held = self._holding.hold(body)
                del body
                try:
                    # in steps: what waits in the socket for a slow client is a step; the slice it may have to look up
                    # again
                    while at < stop and held.body:
                        self._holding.used(held)
                        begin, at = at, min(stop, at + _STEP)
                        yield held.body[begin - start : at - start]
                finally:
                    self._holding.release(held)
        if selected.tail:
            yield selected.tail

    async def _slice(self, asked: Asked, parts: Parts, at: int) -> tuple[int, bytes]:
        """Bytes among which that at `at` is, and where they start. HopError where they are not to be had."""
        for _ in range(_TRIES):
            held = self._held(parts, at)
            if held is not None:
                return held
            start, body = found = await self._fetched(asked, parts, at)
            if start <= at < start + len(body):
                return found
        raise ResponseIncomplete(private=f"{self._name}: what was fetched of {asked.key!r} was evicted at once")

    def _held(self, parts: Parts, at: int) -> tuple[int, bytes] | None:
        if (piece := parts.at(at)) is not None:
            self._store.used(piece)
        return parts.bytes_at(at)

    async def _fetched(self, asked: Asked, parts: Parts, at: int) -> tuple[int, bytes]:
        if _alone(asked):
            got = await self._fetch(asked, parts, self._wanted(parts, at))
        else:
            got = await asyncio.shield(self._coming(asked, parts, at))
        if isinstance(got, HopError):
            raise got
        return got

    def _coming(self, asked: Asked, parts: Parts, at: int) -> asyncio.Task[tuple[int, bytes] | HopError]:
        place = rules.aligned(at, self._size, parts.length).start
        task = parts.coming.get(place)
        if task is None:
            # a task of its own: the client that asked first may leave, and others wait
            task = parts.coming[place] = self._tasks.spawn(
                self._fetch(asked, parts, self._wanted(parts, at)), name=f"{self._name}.slice"
            )
            task.add_done_callback(lambda _: parts.coming.pop(place, None))
        return task

    def _wanted(self, parts: Parts, at: int) -> Range:
        """What is missing of the slice around `at`, in one range."""
        gaps = parts.gaps(rules.aligned(at, self._size, parts.length))
        return Range(gaps[0].start, gaps[-1].stop)

    def _look_ahead(self, asked: Asked, parts: Parts, rest: Range) -> None:
        """The next slice is fetched while this one is sent, one at most, and only where it follows."""
        if rest.start < rest.stop and not _alone(asked) and parts.bytes_at(rest.start) is None:
            self._coming(asked, parts, rest.start)

    async def _fetch(self, asked: Asked, parts: Parts, span: Range) -> tuple[int, bytes] | HopError:
        """From the origin, and kept if it may be. A task's exception would be nobody's, so errors are returned."""
        if parts.tag is None:
            return ResponseIncomplete(private=f"{self._name}: {asked.key!r} has no strong validator to add to it by")
        if self._disk is not None and (found := await self._from_disk(self._disk, parts, span)) is not None:
            return found
        own = Asked.behind_parts(asked)
        recording = self._store.record(asked.key)
        room = self._store.reserve(len(span))
        try:
            conditions = [(b"range", b"bytes=%d-%d" % (span.start, span.stop - 1)), (b"if-match", parts.tag)]
            fetched = await self._origin.fetch(own.request, own.exchange, drop=own.dropped, add=conditions)
            body = await self._body(fetched, parts, span)
            if body is None:
                status = fetched.response.status
                if status in _ANOTHER_NOW and parts.head is not None:
                    self._store.drop(parts.head)
                return ResponseIncomplete(private=f"{self._name}: asked for a part of {asked.key!r}, got {status}")
            if parts.head is not None and not recording.invalid:
                refused = self._keeper.combine(own, parts, fetched)
                if refused is None and room:
                    take(self._store, parts, span.start, body, size=self._size)
                if refused is not None and refused not in FOR_THIS_CLIENT:
                    return ResponseIncomplete(private=f"{self._name}: a part of {asked.key!r} is {refused.value}")
            return span.start, body
        except HopError as error:
            return error
        finally:
            if room:
                self._store.release(len(span))
            recording.abandon()

    async def _from_disk(self, disk: DiskPieces, parts: Parts, span: Range) -> tuple[int, bytes] | None:
        """The slice that `span` lies in, back in memory if there is room for it."""
        found = await disk.bring(parts, span.start)
        if found is not None and parts.head is not None:
            start, body = found
            whole = Range(start, start + len(body))
            if parts.gaps(whole) == [whole]:
                self._store.put_piece(piece_of(parts.head, parts, start, body), on_disk=True)
            else:
                take(self._store, parts, start, body, size=self._size)
        return found

    async def _body(self, fetched: Fetched, parts: Parts, span: Range) -> bytes | None:
        """What was asked for, and nothing else."""
        response = fetched.response
        part = rules.part(response.fields) if response.status == 206 else None
        if part is None or (part.span, part.length) != (span, parts.length):
            await _close(response)
            return None
        if rules.strong_tag(response.fields) != parts.tag:
            await _close(response)
            return None
        if isinstance(response.body, bytes):
            return response.body if len(response.body) == len(span) else None
        chunks, size = [], 0
        try:
            async for chunk in response.body:
                chunks.append(chunk)
                size += len(chunk)
                if size > len(span):
                    return None
        finally:
            await response.body.aclose()
        return b"".join(chunks) if size == len(span) else None


def _alone(asked: Asked) -> bool:
    """Nobody else waits for what may be refused to this client, or must not be kept (RFC 9111 §3.5, §5.2.1.5)."""
    return asked.asking.authorized or asked.asking.cc.no_store or asked.certified


async def _close(response: Response) -> None:
    if not isinstance(response.body, bytes):
        await response.body.aclose()
