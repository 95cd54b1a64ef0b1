"""Large content on disk: each whole slice has a row and a file of its own, below the head that it belongs to.

What ties them is a stamp (`Lying`) that is made when the head is first stored and never used again: a slice answers
only where its stamp, its entity tag, its span and its hash are right. So what was purged, or is of another version,
cannot come back, whatever is left over of it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Final

from cdn_edge.parts import Lying, Parts, Piece, place
from cdn_edge.rules.parts import aligned
from cdn_edge.stored import Stored

if TYPE_CHECKING:
    from cdn_edge.disk_tier import DiskTier

_STAMP: Final = 16
_PAUSE: Final = 10.0
"""Seconds."""
_LATER: Final = 65_536
"""Slices that wait in memory until the disk has time for them."""


class DiskPieces:
    """`size` is that of a slice in bytes; 0: there are none."""

    def __init__(self, tier: DiskTier, size: int) -> None:
        self._tier, self._size = tier, size
        self._later: dict[tuple[Parts, int], None] = {}
        self._moved = asyncio.Event()
        self._impatient_until = float("-inf")

    # On the way out.

    def head(self, stored: Stored, parts: Parts) -> bool:
        """Whether it goes to disk with what belongs to it: then it has its stamp."""
        if parts.tag is None or not self._size or parts.length <= self._size:
            parts.lying = None
            return False
        lying = parts.lying
        if lying is None or (lying.key, lying.names, lying.selection, lying.size) != (*stored.identity, self._size):
            parts.lying = Lying(*stored.identity, os.urandom(_STAMP), self._size)
        return True

    def wanted(self, piece: Piece) -> bool:
        """Whether it goes to disk: a whole slice of what lies there."""
        parts = piece.parts
        if parts is None or parts.head is None or parts.lying is None or not self._is_slice(piece, parts):
            return False
        if parts.lying.size != self._size:
            return False  # until its head comes anew
        if not self._tier.knows(parts.head.key):
            self._tier.put(parts.head)  # it has left the disk meanwhile, or never came there
        return parts.lying is not None

    def _is_slice(self, piece: Piece, parts: Parts) -> bool:
        return piece.span == aligned(piece.span.start, self._size, parts.length)

    def postpone(self, piece: Piece) -> None:
        """There is no room for it among what waits: again, if it is in memory still, when there is."""
        if piece.parts is not None and len(self._later) < _LATER:
            self._later[piece.parts, piece.span.start] = None

    def go_on(self) -> None:
        """With what was postponed."""
        tier = self._tier
        self._moved.set()
        while self._later:
            parts, start = next(iter(self._later))
            piece = parts.at(start)
            if piece is not None and tier.queue.bytes + piece.size > tier.queue.limit:
                return
            del self._later[parts, start]
            if piece is not None:
                tier.put(piece)

    def behind(self) -> Awaitable[None] | None:
        """To be awaited before more comes, if the disk is far behind: else it would have left the memory before it is
        written.
        """
        tier = self._tier
        if len(self._later) * self._size < tier.queue.limit or tier.state not in ("loading", "open"):
            return None
        return None if tier.clock.now() < self._impatient_until else self._catching_up()

    async def _catching_up(self) -> None:
        clock = self._tier.clock
        self._moved.clear()
        self._tier.wake.set()  # what waits need not linger
        try:
            async with clock.timeout(self._tier.patience):
                await self._moved.wait()
        except TimeoutError:  # it hangs: nobody is held up by that again for some time
            self._impatient_until = clock.now() + _PAUSE

    # On the way in.

    def has(self, parts: Parts, start: int) -> bool:
        """Whether the slice that begins here is on disk, as far as that is known without looking."""
        lying = parts.lying
        if lying is None or lying.size != self._size:
            return False
        return self._tier.all_known and self._tier.knows(place(lying.key, start))

    async def bring(self, parts: Parts, at: int) -> tuple[int, bytes] | None:
        """The slice around byte `at`: where it begins, and its content. Never raises."""
        lying, tier = parts.lying, self._tier
        if lying is None or lying.size != self._size or parts.tag is None:
            return None
        span = aligned(at, self._size, parts.length)
        key = place(lying.key, span.start)
        if not tier.knows(key):
            return None
        for waiting in tier.queue.under(key):
            if isinstance(waiting, Piece) and waiting.span == span and _of(waiting) == lying:
                return span.start, waiting.body
        if not tier.may_ask:
            tier.reads.inc("busy")
            return None
        try:
            async with tier.clock.timeout(tier.patience):
                found = await tier.asked(tier.threads.piece(lying, key, span, parts.length, parts.tag))
        except TimeoutError:
            tier.reads.inc("slow")
            return None
        tier.reads.inc(found.word)
        if found.broken is not None:
            tier.threads.discard(*found.broken, then=tier.nothing_left)
        if found.body is None:
            if found.error is not None:
                tier.threads.failed(found.error)
            if found.word == "none" and tier.all_known:
                tier.nothing_left([key])
            return None
        for identity in ((lying.key, lying.names, lying.selection), (key, lying.names, lying.selection)):
            tier.touch(identity)
        return span.start, found.body


def _of(piece: Piece) -> Lying | None:
    return None if piece.parts is None else piece.parts.lying
