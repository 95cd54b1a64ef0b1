"""What the shop deals in, and what it asks of a database."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

MOST: Final = 20
"""Pieces of one product that a cart holds."""


@dataclass(frozen=True, slots=True)
class Product:
    slug: str
    name: str
    tagline: str
    description: str
    price: int
    """In cents."""
    stock: int
    updated: int
    """Unix seconds of the last change, be it of the stock."""


@dataclass(frozen=True, slots=True)
class Line:
    """So many pieces of one product, in a cart or an order."""

    slug: str
    name: str
    price: int
    quantity: int
    stock: int
    """What there is now. Of an order's line: not known, and as many as were sold."""

    @property
    def total(self) -> int:
        return self.price * self.quantity

    @property
    def is_short(self) -> bool:
        return self.quantity > self.stock


@dataclass(frozen=True, slots=True)
class Cart:
    lines: tuple[Line, ...] = ()

    @property
    def total(self) -> int:
        return sum(line.total for line in self.lines)

    @property
    def count(self) -> int:
        return sum(line.quantity for line in self.lines)

    @property
    def can_be_ordered(self) -> bool:
        return bool(self.lines) and not any(line.is_short for line in self.lines)


@dataclass(frozen=True, slots=True)
class Order:
    number: str
    placed: int
    """Unix seconds."""
    lines: tuple[Line, ...]

    @property
    def total(self) -> int:
        return sum(line.total for line in self.lines)


class Added(enum.Enum):
    """What became of putting something into a cart."""

    NEW = "new"
    MORE = "more"  # the cart held some already
    SOLD_OUT = "sold-out"
    UNKNOWN = "unknown"


class Refused(enum.Enum):
    """Why no order was placed."""

    EMPTY = "empty"
    SHORT = "short"  # of at least one product there are fewer pieces than the cart holds


class Unavailable(Exception):
    """The database does not answer. The message is for the log and for /health, never for a shopper."""


class Repository(Protocol):
    """A database of the shop. Every method may raise Unavailable; times are Unix seconds.

    A method is atomic: it happened as a whole, or not at all.
    """

    @property
    def kind(self) -> str: ...

    async def open(self, seed: Sequence[Product]) -> None:
        """Connect; create and fill the tables where there are none, one process at a time. ConfigError in one line."""

    async def close(self) -> None: ...

    async def ping(self) -> None:
        """A question that only a working database answers."""

    async def products(self) -> tuple[Product, ...]: ...

    async def product(self, slug: str) -> Product | None: ...

    async def search(self, words: Sequence[str]) -> tuple[Product, ...]:
        """The products that have every word somewhere, whatever its case."""

    async def cart(self, session: str) -> Cart: ...

    async def add(self, session: str, slug: str, quantity: int, *, now: int) -> Added:
        """Put `quantity` more pieces into the cart, up to MOST."""

    async def remove(self, session: str, slug: str) -> None:
        """Take a product out of the cart; nothing happens where it is not in it."""

    async def checkout(self, session: str, number: str, *, now: int) -> Order | Refused:
        """Turn the cart into an order and lower the stock, which never falls below zero."""

    async def order(self, session: str, number: str) -> Order | None:
        """An order, for the session that placed it."""

    async def forget(self, before: int) -> int:
        """Throw away cart lines that nobody has touched since `before`; how many."""
