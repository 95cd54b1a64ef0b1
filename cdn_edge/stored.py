"""One stored response, and what it weighs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from cdn_edge.rules import reuse, vary
from stack.http.message import FieldBlock, Fields, get

if TYPE_CHECKING:
    from cdn_edge.eviction import Item, Queue
    from cdn_edge.parts import Parts

NEVER: Final = float("-inf")
"""Before all time, where seconds are asked for."""
NO_HEAD: Final = FieldBlock(())
_RECORD: Final = 672
"""Bytes of the record itself with its numbers, its terms, the heads of its three texts, its places in dict and queue,
and what the allocator keeps between them."""
_SELECTION: Final = 100
"""Bytes of the tuple of selected values, where there is one."""
_VALUE: Final = 64
"""Bytes of one selected value besides its text."""


class Stored(Struct, gc=False, eq=False):
    """A response under one key, for one selection of request fields. Replaced as a whole, never changed.

    It is complete, or the head of one whose content is held in `parts`.

    Made by `whole`. The garbage collector does not know it, so that a million of them cost a collection nothing: what
    refers back to it (`older`, `newer`, `parts.head`) must be undone by who set it, as queues and store do.
    """

    key: bytes
    names: vary.Names
    selection: vary.Selection
    status: int
    head: bytes
    """Its fields as HTTP/1.1 field lines: nothing else of them is kept."""
    dated: bool
    """It has Date."""
    length: bytes | None
    """Its Content-Length."""
    body: bytes
    terms: reuse.Terms
    date: float
    """Unix seconds: of several that match, the latest is used (RFC 9111 §4.1)."""
    born: float
    """Monotonic seconds at which its age was 0: its age is `now - born` (§4.2.3)."""
    fresh_until: float
    """Monotonic seconds."""
    at_once_until: float
    """Monotonic seconds; before it a plain request gets `hit` and `body`: for what is whole and in memory."""
    size: int
    """Bytes of memory it is counted with."""
    arrived: float = 0.0
    """Its age, in seconds, when it came."""
    hit: FieldBlock = NO_HEAD
    """Its head as a fresh hit is answered with: Age and Cache-Status hold for a second at most."""
    hit_until: float = NEVER
    """Monotonic seconds. From then on they say something else."""
    # The eviction policy's.
    uses: int = 0
    queue: Queue | None = None
    older: Item | None = None
    newer: Item | None = None
    parts: Parts | None = None
    """Where the content is if not in `body`: what has come of it, in pieces. Of a piece, what it belongs to."""

    @property
    def block(self) -> FieldBlock:
        """Its head, ready to be sent; pairs are read from it when they are asked for."""
        return FieldBlock.of_wire(self.head, dated=self.dated, length=self.length)

    @property
    def fields(self) -> Fields:
        """Read from the head anew each time."""
        return self.block.fields

    def held_in(self, parts: Parts) -> Stored:
        """Itself, as the head of content that is held in pieces: nothing of it is answered without a look at them."""
        self.parts = parts
        self.at_once_until = NEVER
        return self

    @property
    def identity(self) -> tuple[bytes, vary.Names, vary.Selection]:
        """Its place in the store: what has the same one replaces it."""
        return self.key, self.names, self.selection

    def get(self, name: bytes) -> bytes | None:
        return get(self.fields, name)

    def __repr__(self) -> str:
        return f"<Stored {self.status} {self.key.decode('latin-1')} {self.size} bytes>"


def whole(
    key: bytes,
    names: vary.Names,
    selection: vary.Selection,
    *,
    status: int,
    fields: Fields,
    body: bytes,
    terms: reuse.Terms,
    date: float,
    born: float,
    arrived: float = 0.0,
) -> Stored:
    """Of a response that is whole and in memory. For the times see `Stored`."""
    block = FieldBlock(fields)
    return of_wire(
        key,
        names,
        selection,
        status=status,
        head=block.wire,
        dated=block.dated,
        length=block.length,
        body=body,
        terms=terms,
        date=date,
        born=born,
        arrived=arrived,
    )


def of_wire(
    key: bytes,
    names: vary.Names,
    selection: vary.Selection,
    *,
    status: int,
    head: bytes,
    dated: bool,
    length: bytes | None,
    body: bytes,
    terms: reuse.Terms,
    date: float,
    born: float,
    arrived: float,
) -> Stored:
    """The same from its head as field lines."""
    fresh_until = NEVER if terms.always_validate else born + terms.lifetime
    return Stored(
        key,
        names,
        selection,
        status,
        head,
        dated,
        length,
        body,
        terms,
        date,
        born,
        fresh_until,
        fresh_until,
        weight(key, selection, head, body),
        arrived,
    )


def weight(key: bytes, selection: vary.Selection, head: bytes, body: bytes) -> int:
    """Bytes of memory: content, head and bookkeeping."""
    varies = _SELECTION + sum(_VALUE + len(value or b"") for value in selection) if selection else 0
    return _RECORD + len(key) + varies + len(head) + len(body)
