"""What an app is given of its Exchange: it adds steps, and reads the rest."""

from __future__ import annotations

import re
from typing import Any, Final

from stack.telemetry.exchange import Exchange

MOST: Final = 64
"""Steps that one request has room for; what an app adds beyond is left out."""

_WORD: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")


class Marks:
    """Stands between an app and the Exchange, whose words go into a field and a line of the log as they are."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def mark(self, step: str, word: str) -> None:
        """ValueError for what Server-Timing and the log have no room for."""
        for text in (step, word):
            if type(text) is not str or _WORD.fullmatch(text) is None:
                raise ValueError(f"mark({step!r}, {word!r}): each is up to 40 letters, digits, - and _")
        if len(self._exchange.marks) < MOST:
            self._exchange.mark(step, word)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._exchange, name)
