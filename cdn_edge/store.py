"""The shared store in memory: found by key and selection, bounded in bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from sys import maxsize
from typing import final

from cdn_edge.departures import Departures
from cdn_edge.eviction import Eviction, S3Fifo
from cdn_edge.heads import Heads
from cdn_edge.parts import Piece
from cdn_edge.recording import Recording
from cdn_edge.room import Memory, Room
from cdn_edge.rules.key import origin, page
from cdn_edge.rules.vary import Names, Selection, Selector
from cdn_edge.sharing import Shared
from cdn_edge.stored import NEVER, NO_HEAD, Stored
from cdn_edge.tier import Tier
from stack.http.message import Fields

_VARIES: int = 8
"""Different sets of Vary names kept under one key; an origin that changes its mind more often loses the oldest."""
_LOOKED_AT: int = 20_000
_HEADS_SHARE: int = 32
"""Of the bytes: one part in so many is for heads of hits at most."""
_VARIANTS: int = 560
"""Bytes of the object and the dicts by which several responses are found under one key."""
_AT_ONCE: int = 1000
"""Responses that leave in one go for one that comes: two milliseconds."""
_PENDING_SHARE: int = 8
"""Of the bytes: one part in so many is for what is coming in, besides. With what an allocator keeps for itself the
process stays below a quarter more than the limit."""
_SMALL_BLOCK: int = 479
"""Content of more bytes than this has a place of its own; the rest shares arenas (pymalloc: objects of 512 bytes)."""


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    objects: int
    keys: int
    bytes: int
    """Of what is stored: content, heads and bookkeeping."""
    pending: int
    """Bytes of responses that are still coming in."""
    limit: int
    stored: int
    evicted: int
    invalidated: int


@final
class Variants:
    """The stored responses of one key, where there is more than one."""

    __slots__ = ("by_names", "plain")

    def __init__(self) -> None:
        self.plain: Stored | None = None
        """The one without Vary."""
        self.by_names: dict[Names, dict[Selection, Stored]] = {}
        """By the fields that Vary names, then by their values in the request."""

    def find(self, fields: Fields, select: Selector) -> Stored | None:
        """Of those that match the most recent by Date (RFC 9111 §4.1); of one second, what came last."""
        found = self.plain
        for names, variants in self.by_names.items():
            stored = variants.get(select(names, fields))
            if stored is not None and (found is None or (stored.date, stored.born) > (found.date, found.born)):
                found = stored
        return found

    def at(self, names: Names, selection: Selection) -> Stored | None:
        if not names:
            return self.plain
        variants = self.by_names.get(names)
        return None if variants is None else variants.get(selection)

    def put(self, stored: Stored) -> None:
        if stored.names:
            self.by_names.setdefault(stored.names, {})[stored.selection] = stored
        else:
            self.plain = stored

    def forget(self, stored: Stored) -> None:
        if not stored.names:
            self.plain = None
            return
        variants = self.by_names[stored.names]
        del variants[stored.selection]
        if not variants:
            del self.by_names[stored.names]

    def only(self) -> Stored | None:
        """If one is left."""
        if not self.by_names:
            return self.plain
        if self.plain is not None or len(self.by_names) > 1:
            return None
        (variants,) = self.by_names.values()
        return next(iter(variants.values())) if len(variants) == 1 else None

    def __len__(self) -> int:
        return (self.plain is not None) + sum(map(len, self.by_names.values()))

    def least(self, but: Stored) -> Stored:
        """What goes first where there are too many: what nobody has asked for again, else the oldest; not `but`."""
        others = [one for one in self.all() if one is not but]
        return next((one for one in others if not one.uses), others[0])

    def all(self) -> list[Stored]:
        found = [] if self.plain is None else [self.plain]
        for variants in self.by_names.values():
            found += variants.values()
        return found


class Store:
    """Stored responses, and what is being recorded. No I/O, nothing awaited: a change is whole or has not happened.

    `limit` bounds the bytes of all that is stored: content, heads and bookkeeping. What is still coming in has a bound
    of its own, an eighth of that, and takes nothing's place before it is whole: clients that start much and read
    nothing cannot empty the store. So an eighth is also the most that one object may have.
    """

    def __init__(
        self,
        limit: int,
        *,
        max_object: int,
        eviction: Eviction[Stored] | None = None,
        select: Selector | None = None,
        memory: Memory | None = None,
        most_variants: int = 200,
    ) -> None:
        """Bytes. `memory`, if given, is looked at now and then, so that the process takes no more than it may.

        `most_variants`: responses under one key, 2 at least.
        """
        self._most_variants = most_variants
        self.limit = limit
        self._eviction: Eviction[Stored] = S3Fifo(limit) if eviction is None else eviction
        self._room = Room(limit - self._eviction.memory, memory)
        self.pending_limit = largest(limit)
        self.max_object = min(max_object, self.pending_limit)
        self._heads = Heads(limit // _HEADS_SHARE, self._at)
        self._entries: dict[bytes, Stored | Variants] = {}
        """By key: the only response under it, as most are, or all of them."""
        self._recordings: dict[bytes, set[Recording]] = {}
        self._select = Selector() if select is None else select
        self._shared = Shared()
        self.disk: Tier | None = None
        self.departures: Departures | None = None
        self.beside = 0
        """Bytes of memory that the tier below takes to know what it has."""
        self._pending = 0
        self._small = 0
        """Bytes of what is stored that are in small blocks."""
        self._dicts = 0
        """Bytes of the dicts of keys with several responses."""
        self._objects = 0
        self._stored = self._evicted = self._invalidated = 0
        self.used = self._eviction.used
        self.renewed = self._heads.add

    @property
    def size(self) -> int:
        """Bytes in use: stored, and coming in."""
        return self._bytes + self._pending

    @property
    def room(self) -> int:
        """Bytes that may be stored now: less than the limit while the process takes more than is counted."""
        return self._room.bytes

    @property
    def _bytes(self) -> int:
        return self._eviction.bytes + self._heads.bytes + self._dicts + self.beside

    def find(self, key: bytes, fields: Fields) -> tuple[Stored | None, bool]:
        """What these request fields select, and whether the key is known at all."""
        found = self._entries.get(key)
        if found is None:
            return None, False
        if type(found) is Variants:
            return found.find(fields, self._select), True
        if found.names and found.selection != self._select(found.names, fields):
            return None, True
        return found, True

    def find_plain(self, key: bytes, fields: Callable[[], Fields]) -> Stored | None:
        """The same, where request fields are read only for what depends on them."""
        found = self._entries.get(key)
        if found is None or (type(found) is Stored and not found.names):
            return found
        return self.find(key, fields())[0]

    def put(self, stored: Stored, *, on_disk: bool = False) -> bool:
        """Keep it in place of what had the same key and selection. False when it is too large to be kept, or too large
        for once.

        `on_disk`: it comes from there.
        """
        old = self._same_place(stored)
        if stored.parts is not None:
            stored.parts.head = stored  # before the old head goes, so that the pieces stay
        if stored.size > self._room.bytes:
            if old is not None:
                self.drop(old)
            elif self.disk is not None and not on_disk:
                self.disk.drop(stored)  # what lies there in its place is older
            self._forget_parts(stored)
            return False
        if old is None and self._bytes + stored.size > self._room.bytes and not self._eviction.admits(stored):
            if self.disk is None or on_disk or stored.parts is not None:
                self._forget_parts(stored)
                return False
            self.disk.put(stored)  # where there is more room
            return True
        shared = self._shared
        stored.terms, stored.names = shared(stored.terms), shared(stored.names)
        if old is not None:
            stored.key = old.key  # the one that the dict has
        entry = self._entries.get(stored.key)
        if isinstance(entry, Variants):
            entry.put(stored)
        elif entry is None or entry is old:
            self._entries[stored.key] = stored
        else:
            variants = self._entries[stored.key] = Variants()
            self._dicts += _VARIANTS
            variants.put(entry)
            variants.put(stored)
        self._stored += 1
        self._small += _in_small_blocks(stored)
        if old is None:
            self._objects += 1
            self._make_room(stored.size)
            self._eviction.add(stored)
        else:
            self._forget_parts(old)
            self._small -= _in_small_blocks(old)
            self._eviction.replace(old, stored)
            self._make_room(0)
        if isinstance(entry, Variants) and len(entry.by_names) > _VARIES:
            for outdated in list(next(iter(entry.by_names.values())).values()):
                self.drop(outdated)
        if isinstance(entry, Variants) and len(entry) > self._most_variants:
            self.drop(entry.least(stored))
        if self.disk is not None and not on_disk:
            self.disk.put(stored)
        self._look(stored)
        return True

    def put_piece(self, piece: Piece, *, on_disk: bool = False) -> bool:
        """Keep a piece that overlaps none. False when there is no head for it in the store, or no room.

        `on_disk`: it comes from there.
        """
        parts = piece.parts
        if parts is None or parts.head is None or not self._make_room(piece.size) or parts.head is None:
            return False  # the second look: to make room the head may have gone
        parts.add(piece)
        self._objects += 1
        self._stored += 1
        self._small += _in_small_blocks(piece)
        self._eviction.add(piece)
        if self.disk is not None and not on_disk:
            self.disk.put(piece)
        self.used(parts.head)  # while pieces come and are used, it does not go before them
        self._look(piece)
        return parts.head is not None

    def holds(self, stored: Stored) -> bool:
        if isinstance(stored, Piece):
            return stored.parts is not None and stored.parts.has(stored)
        return self._same_place(stored) is stored

    def has(self, key: bytes) -> bool:
        """Whether anything is in memory under the key."""
        return key in self._entries

    def at(self, stored: Stored) -> Stored | None:
        """What is in memory in its place."""
        return self._same_place(stored)

    def is_overtaken(self, stored: Stored, old: Stored | None) -> bool:
        """Whether something later by Date than `stored` came into its place while it was on its way (RFC 9111 §4).

        `old` is what was there before.
        """
        here = self._same_place(stored)
        return here is not None and here is not old and here.date > stored.date

    def _same_place(self, stored: Stored) -> Stored | None:
        return self._at(stored.key, stored.names, stored.selection)

    def _at(self, key: bytes, names: Names, selection: Selection) -> Stored | None:
        entry = self._entries.get(key)
        if isinstance(entry, Variants):
            return entry.at(names, selection)
        if entry is None or entry.names != names or entry.selection != selection:
            return None
        return entry

    def drop(self, stored: Stored) -> None:
        """Take it out, if it is still in. On disk it may be still when it is not in memory any more."""
        if self.holds(stored):
            self._eviction.remove(stored)
            self._forget(stored)
        elif self._same_place(stored) is not None:
            return
        if self.disk is not None:
            self.disk.drop(stored)

    def _forget(self, stored: Stored) -> None:
        self._objects -= 1
        self._small -= _in_small_blocks(stored)
        if stored.parts is not None:
            if isinstance(stored, Piece):
                stored.parts.remove(stored)
                return
            self._forget_parts(stored)
        stored.hit, stored.hit_until = NO_HEAD, NEVER
        entry = self._entries[stored.key]
        if isinstance(entry, Variants):
            entry.forget(stored)
            left = entry.only()
            if left is not None:  # two at least were under it
                self._dicts -= _VARIANTS
                self._entries[stored.key] = left
            return
        del self._entries[stored.key]

    def _forget_parts(self, head: Stored) -> None:
        """Its pieces go with it, unless another head has taken its place."""
        parts = head.parts
        if parts is None or parts.head is not head:
            return
        parts.head = None
        for piece in parts.pieces:
            self._eviction.remove(piece)
            self._small -= _in_small_blocks(piece)
        self._objects -= len(parts.pieces)
        parts.pieces.clear()

    def invalidate(self, key: bytes, by: bytes = b"") -> int:
        """Everything under a key goes, all variants; what is on its way for it will not be kept. How many went.

        `by`: the method of the request that changed it; none for a purge.
        """
        for recording in self._recordings.get(key, ()):
            recording.invalidate()
        gone = self.variants(key)
        if gone and self.departures is not None:
            self.departures.note(key, by, len(gone))
        for stored in gone:
            self.drop(stored)
        if self.disk is not None:
            self.disk.invalidate(key)
        self._invalidated += len(gone)
        return len(gone)

    def elsewhere(self, key: bytes, *, most: int = 3) -> list[bytes]:
        """Keys of the same host and target with another scheme or port: what somebody may have meant who asks for `key`
        in vain. For operators, not for requests: it looks at the latest `_LOOKED_AT` keys.
        """
        wanted, end = page(key), key[len(origin(key)) :]
        latest = islice(reversed(self._entries), _LOOKED_AT)
        return list(islice((one for one in latest if one.endswith(end) and page(one) == wanted), most))

    # For who wants to know why: nothing is counted, nothing changed.

    def variants(self, key: bytes) -> list[Stored]:
        """All that is stored under a key."""
        entry = self._entries.get(key)
        if entry is None:
            return []
        return entry.all() if isinstance(entry, Variants) else [entry]

    def crowded(self, key: bytes) -> bool:
        """Whether what comes under this key takes the place of another response."""
        entry = self._entries.get(key)
        return type(entry) is Variants and len(entry) >= self._most_variants

    def selection(self, names: Names, fields: Fields) -> Selection:
        """What these request fields are looked up by where Vary names `names`."""
        return self._select(names, fields)

    def coming(self, key: bytes) -> int:
        """How many requests for it are on their way to the origin just now, or their responses back."""
        return len(self._recordings.get(key, ()))

    def queries(self, key: bytes, *, most: int = 3) -> list[bytes]:
        """Keys that differ from `key` in the query only; looked for as by `elsewhere`."""
        path = key.partition(b"?")[0]
        begin = path + b"?"
        latest = islice(reversed(self._entries), _LOOKED_AT)
        return list(islice((one for one in latest if one != key and (one == path or one.startswith(begin))), most))

    # Responses on their way in.

    def record(self, key: bytes, since: int = 0) -> Recording:
        """To be opened before the origin is asked, so that what becomes invalid meanwhile is not kept."""
        if self._bytes > self._room.bytes:
            self._make_room(0)
        recording = Recording(self, key, since)
        self._recordings.setdefault(key, set()).add(recording)
        return recording

    def close(self, recording: Recording) -> None:
        under_key = self._recordings.get(recording.key)
        if under_key is not None:
            under_key.discard(recording)
            if not under_key:
                del self._recordings[recording.key]

    def move(self, recording: Recording, key: bytes) -> None:
        """What comes is to be kept under another key than it was asked for by."""
        self.close(recording)
        recording.key = key
        self._recordings.setdefault(key, set()).add(recording)

    def reserve(self, size: int) -> bool:
        """Count bytes that came in. False when there is no room for them among the others that are coming in."""
        if self._pending + size + max(0, self._bytes - self._room.bytes) > self.pending_limit:
            return False
        self._pending += size
        return True

    def release(self, size: int) -> None:
        self._pending -= size

    def _look(self, stored: Stored) -> None:
        room = self._room
        room.look(stored.size, self.size, self._small + self._heads.bytes)
        if room.batch:
            self._make_room(room.batch, maxsize)
            room.batch = 0

    def _make_room(self, size: int, at_once: int = _AT_ONCE) -> bool:
        """False when there can be none. Of many that have to go the rest goes with the next requests (`record`), as
        long as it is within what may be coming in: nobody waits while thousands leave.
        """
        room = self._room.bytes
        if size > room:
            return False
        gone = 0
        while (above := self._bytes + size - room) > 0:
            if gone >= at_once and above + self._pending <= self.pending_limit:
                break
            victim = self._eviction.evict()
            if victim is None:
                return False
            self._forget(victim)
            self._evicted += 1
            gone += 1
            if self.disk is not None:
                self.disk.left(victim)
        return True

    def statistics(self) -> StoreStatistics:
        return StoreStatistics(
            objects=self._objects,
            keys=len(self._entries),
            bytes=self._bytes,
            pending=self._pending,
            limit=self.limit,
            stored=self._stored,
            evicted=self._evicted,
            invalidated=self._invalidated,
        )


def largest(limit: int) -> int:
    """Bytes of content that one object may have in a store of `limit` bytes."""
    return limit // _PENDING_SHARE


def _in_small_blocks(stored: Stored) -> int:
    content = len(stored.body)
    return stored.size - content if content > _SMALL_BLOCK else stored.size
