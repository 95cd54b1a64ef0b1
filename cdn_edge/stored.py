"""One stored response, and what it weighs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cdn_edge.rules import reuse, vary
from stack.http.message import FieldBlock, Fields, get

if TYPE_CHECKING:
    from cdn_edge.eviction import Item, Queue
    from cdn_edge.parts import Parts

_RECORD: Final = 800
"""Bytes of the record itself with its numbers, its terms, its block, its entry and their places in dicts."""
_HIT: Final = 500
"""Bytes of the block of a hit and of the two fields that are its own, without the stored fields in it."""
_PLACE: Final = 8
_VARIANT: Final = 600
"""Bytes of the dicts and tuples that a response with Vary is found by besides."""
_FIELD: Final = 140
"""Bytes of one field besides its text: a tuple, two objects, a place in the list."""


class Stored:
    """A response under one key, for one selection of request fields. Replaced as a whole, never changed.

    It is complete, or the head of one whose content is held in `parts`.
    """

    __slots__ = (
        "at_once_until",
        "block",
        "body",
        "born",
        "date",
        "fresh_until",
        "hit",
        "hit_until",
        "key",
        "names",
        "newer",
        "older",
        "parts",
        "queue",
        "refreshing",
        "selection",
        "size",
        "status",
        "terms",
        "uses",
    )

    def __init__(
        self,
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
    ) -> None:
        self.key = key
        self.names = names
        self.selection = selection
        self.status = status
        self.block = FieldBlock(fields)
        self.body = body
        self.terms = terms
        self.date = date
        """Unix seconds: of several that match, the latest is used (RFC 9111 §4.1)."""
        self.born = born
        """Monotonic seconds at which its age was 0: its age is `now - born` (§4.2.3)."""
        self.fresh_until = float("-inf") if terms.always_validate else born + terms.lifetime
        """Monotonic seconds."""
        self.parts: Parts | None = None
        """Where the content is if not in `body`: what has come of it, in pieces. Of a piece, what it belongs to."""
        self.at_once_until = self.fresh_until
        """Monotonic seconds; before it a plain request gets `hit` and `body`: for what is whole and in memory."""
        self.hit: FieldBlock = self.block
        """Its head as a fresh hit is answered with: Age and Cache-Status hold for a second at most."""
        self.hit_until = float("-inf")
        """Monotonic seconds. From then on they say something else."""
        self.refreshing = False
        """It is being validated in the background."""
        self.size = weight(key, selection, self.block, body)
        # The eviction policy's.
        self.uses = 0
        self.queue: Queue | None = None
        self.older: Item | None = None
        self.newer: Item | None = None

    def held_in(self, parts: Parts) -> Stored:
        """Itself, as the head of content that is held in pieces: nothing of it is answered without a look at them."""
        self.parts = parts
        self.at_once_until = float("-inf")
        return self

    @property
    def identity(self) -> tuple[bytes, vary.Names, vary.Selection]:
        """Its place in the store: what has the same one replaces it."""
        return self.key, self.names, self.selection

    def get(self, name: bytes) -> bytes | None:
        return get(self.block.fields, name)

    def __repr__(self) -> str:
        return f"<Stored {self.status} {self.key.decode('latin-1')} {self.size} bytes>"


def weight(key: bytes, selection: vary.Selection, block: FieldBlock, body: bytes) -> int:
    """Bytes of memory: content, head in both forms and that of a hit, and bookkeeping."""
    head = len(block.wire) * 3 + len(block.fields) * (_FIELD + _PLACE) + _HIT
    varies = _VARIANT + sum(_FIELD + len(value or b"") for value in selection) if selection else 0
    return _RECORD + len(key) + varies + head + len(body)
