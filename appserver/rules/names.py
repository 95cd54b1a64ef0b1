"""What a process is called, and where."""

from __future__ import annotations


def said(name: str) -> str:
    """A worker's name in messages: `app-1` for `app-1/0`. A name in Server-Timing is a token: it has no slash."""
    return name.partition("/")[0]
