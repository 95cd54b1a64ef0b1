"""What the shell completes besides commands and options: the hops of the running stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click


def hops(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """For `shell_complete=`. Nothing where no stack runs, and never an error: it would be printed into the prompt."""
    from stack.supervisor.state import StateDir

    try:
        status = StateDir.chosen().running()
        return [hop["name"] for hop in status.get("hops", ()) if hop["name"].startswith(incomplete)]
    except Exception:
        return []
