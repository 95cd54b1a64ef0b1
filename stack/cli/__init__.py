"""The `hopstack` command."""

from __future__ import annotations

from stack.cli.main import main

__all__ = ["main"]
