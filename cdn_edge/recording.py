"""A response on its way to the client, written down as it passes, and kept only when it came whole (RFC 9111 §3.3)."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING

from cdn_edge.rules.storing import NotStored
from cdn_edge.stored import Stored
from stack.http.message import BodyStream

if TYPE_CHECKING:
    from cdn_edge.store import Store


class Recording:
    """One fetch for one key, from before the origin is asked until its response is kept or given up."""

    __slots__ = ("_content", "_size", "_store", "before", "ended", "invalid", "key", "since")

    def __init__(self, store: Store, key: bytes, since: int = 0) -> None:
        self._store = store
        self.key = key
        self.since = since
        """How many invalidations there had been (`Learned.now`)."""
        self.invalid = False
        """The key was invalidated since the origin was asked: the answer may be older than that."""
        self.before: Stored | None = None
        """What is to be replaced."""
        self.ended = False
        self._content: bytes | BytesIO = b""
        """More than one piece goes into one buffer, which becomes the content: it is never held twice."""
        self._size = 0

    def invalidate(self) -> None:
        self.invalid = True

    def feed(self, chunk: bytes) -> NotStored | None:
        """None while it goes on; else why it was given up."""
        if self.ended:
            return None
        size = len(chunk)
        if self.invalid:
            refused = NotStored.INVALIDATED
        elif self._size + size > self._store.max_object:
            refused = NotStored.TOO_LARGE
        elif not self._store.reserve(size):
            refused = NotStored.NO_ROOM
        else:
            if not self._size:
                self._content = chunk
            else:
                if isinstance(self._content, bytes):
                    first, self._content = self._content, BytesIO()
                    self._content.write(first)
                self._content.write(chunk)
            self._size += size
            return None
        self.abandon()
        return refused

    def keep(self, make: Callable[[bytes], Stored]) -> NotStored | None:
        """All has come. None when it is stored."""
        if self.ended:
            return None
        return self._put(make(self.came()))

    def came(self) -> bytes:
        """What there is of it."""
        content = self._content
        return content if isinstance(content, bytes) else content.getvalue()

    def whole(self, body: bytes, make: Callable[[bytes], Stored]) -> NotStored | None:
        """It has come in one piece, so it need not wait for room among what is coming in. None when it is stored."""
        if len(body) > self._store.max_object:
            self.abandon()
            return NotStored.TOO_LARGE
        return self._put(make(body))

    def _put(self, stored: Stored) -> NotStored | None:
        self.abandon()
        if self.invalid or self._store.is_overtaken(stored, self.before):
            return NotStored.INVALIDATED
        if self._store.put(stored):
            return None
        return NotStored.TOO_LARGE if stored.size > self._store.room else NotStored.ASKED_ONCE

    def abandon(self) -> None:
        """Give up; safe to call again, and after `keep`."""
        if not self.ended:
            self.ended = True
            self._content = b""
            self._store.release(self._size)
            self._store.close(self)


class Tee:
    """A `BodyStream` that passes through to the client and into a recording. Backpressure is the client's."""

    __slots__ = ("_body", "_left", "_make", "_partly", "_recording", "_refused")

    def __init__(
        self,
        body: BodyStream,
        recording: Recording,
        make: Callable[[bytes], Stored],
        *,
        length: int | None,
        refused: Callable[[NotStored], object],
        partly: Callable[[bytes], object] | None = None,
    ) -> None:
        """`length` is Content-Length, if there is one; `refused` is told when the response is not kept after all.

        `partly` is given what had come when the rest did not.
        """
        self._partly = partly
        self._body, self._recording, self._make, self._refused = body, recording, make, refused
        self._left = length

    def __aiter__(self) -> Tee:
        return self

    @property
    def wanted(self) -> bool:
        """Whether reading on is of use to the store: what is left may be kept, or there is only the end left."""
        return not self._recording.ended or self._left == 0

    async def __anext__(self) -> bytes:
        try:
            chunk = await self._body.__anext__()
        except StopAsyncIteration:
            if self._left:
                self._give_up()  # shorter than it said
            else:
                self._end()
            raise
        except BaseException:
            self._give_up()
            raise
        if (why := self._recording.feed(chunk)) is not None:
            self._refused(why)
        if self._left is not None:
            self._left -= len(chunk)
            if self._left == 0:
                self._end()  # before the client can have seen the end, and asked again
            elif self._left < 0:
                self._partly = None  # longer than it said: nothing of it can be relied on
                self._give_up()
        return chunk

    def _end(self) -> None:
        if not self._recording.ended and (why := self._recording.keep(self._make)) is not None:
            self._refused(why)

    def _give_up(self) -> None:
        if not self._recording.ended:
            came = b"" if self._partly is None or self._recording.invalid else self._recording.came()
            self._recording.abandon()
            self._refused(NotStored.INCOMPLETE)
            if came and self._partly is not None:
                self._partly(came)

    async def aclose(self) -> None:
        """The reader leaves; what has not come whole by then is not kept."""
        self._give_up()
        await self._body.aclose()
