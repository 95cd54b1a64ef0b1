"""`hopstack reload`."""

from __future__ import annotations

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def reload(as_json: bool) -> int:
    """Read the configuration again, and change what is different in it. What did
    not change goes on untouched; no request is lost.

    A hop that changed is replaced by a new process on the same sockets, when all
    new ones are ready; an edge's cache goes with its process. With a fault in the
    file, or a hop that cannot start, everything stays as it was.

    Exit status: 0 done or nothing to do, 2 refused, 3 nothing runs here.
    """
    import msgspec

    from stack.cli.control import NOTHING_RUNS
    from stack.supervisor.channel import NotHeard, ask
    from stack.supervisor.reload import outcome_of
    from stack.supervisor.state import StateDir

    state = StateDir.chosen()
    if not state.running():
        click.echo(f"No stack runs in {state.path}; `hopstack up` starts one.", err=True)
        return NOTHING_RUNS
    try:
        outcome = outcome_of(ask(state.path, {"do": "reload"}, lambda line: click.echo(line, err=True)))
    except NotHeard as error:
        click.echo(f"The supervisor did not answer ({error}); `hopstack logs` may say why.", err=True)
        return 2
    if as_json:
        click.echo(msgspec.json.encode(outcome))
    else:
        for line in outcome.lines():
            click.echo(line, err=not outcome.ok)
    return 0 if outcome.ok else 2
