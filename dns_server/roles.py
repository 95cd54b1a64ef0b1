"""What a server is: it answers from its zones, or walks (resolver.py)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from dns_server.book import Book
from dns_server.rules import authority, errors, types
from dns_server.rules.edns import INVALID_DATA, ExtendedError
from dns_server.rules.query import Query
from dns_server.rules.rrset import Answer


class Role(Protocol):
    """What the server is: it gives the answer, at once or after a walk."""

    recursion: bool
    """Whether it recurses: RA in its responses."""

    allows: Callable[[str], bool] | None
    """Whether a client of that address is answered; None: everybody is."""

    def answer(self, query: Query) -> Answer | Awaitable[Answer]: ...

    def epoch(self) -> object:
        """Finished responses hold while this is the same: they are made anew when it changes."""


class Authority:
    """Answers from the zones of a book; nobody sees half of a change."""

    recursion = False
    allows: Callable[[str], bool] | None = None

    def __init__(self, book: Book) -> None:
        self.book = book

    def answer(self, query: Query) -> Answer:
        if query.cls not in (types.IN, types.CLASS_ANY):
            return errors.answer(types.REFUSED, errors.CLASS)
        if self.book.absent and (why := self.book.why_absent(query.key)) is not None:
            return errors.answer(types.SERVFAIL, ExtendedError(INVALID_DATA, why))
        answer = authority.answer(self.book.zones, query.name, query.key, query.type)
        if query.cls == types.CLASS_ANY:
            answer.authoritative = False  # RFC 1035 §6.2: it does not cover all classes
        return answer

    def epoch(self) -> object:
        return self.book.zones
