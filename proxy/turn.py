"""Letting the others go first, for work that is long but never waits."""

from __future__ import annotations

import types
from collections.abc import Generator


@types.coroutine
def next_turn() -> Generator[None, None, None]:
    """Goes on in the loop's next round: a bare yield is how a task says so. No timer, so no clock either."""
    yield
