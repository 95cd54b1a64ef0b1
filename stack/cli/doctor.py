"""`hopstack doctor`."""

from __future__ import annotations

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print every finding, with its level and remedy, as JSON.")
def doctor(as_json: bool) -> int:
    """Say what is missing on this machine, and how to mend it.

    A line for each finding: `ok`; `warn` for what something works less well
    without; `missing` for what `hopstack up` cannot do without.

    Exit status: 0 nothing needed is missing (there may be warnings), 1
    something is.
    """
    from stack.cli.examination import show

    return show(as_json=as_json)
