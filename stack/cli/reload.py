"""`hopstack reload` and `restart`: what the running supervisor is asked to change."""

from __future__ import annotations

from typing import Any

import click

from stack.cli.complete import hops


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
    return _asked({"do": "reload"}, as_json=as_json)


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="HOP...", shell_complete=hops)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def restart(names: tuple[str, ...], as_json: bool) -> int:
    """Replace HOP, such as app-1, by a new process with the same configuration: on
    the same sockets, when it is ready, without losing a request.

    What a process keeps in memory goes with it: an edge's cache, health states,
    drained backends, faults. If the new one cannot start, the old one stays.

    Exit status: 0 done, 2 refused, 3 nothing runs here.
    """
    return _asked({"do": "restart", "hops": list(names)}, as_json=as_json)


def _asked(question: dict[str, Any], *, as_json: bool) -> int:
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
        outcome = outcome_of(ask(state.path, question, lambda line: click.echo(line, err=True)))
    except NotHeard as error:
        click.echo(f"The supervisor did not answer ({error}); `hopstack logs` may say why.", err=True)
        return 2
    if as_json:
        click.echo(msgspec.json.encode(outcome))
    else:
        for line in outcome.lines():
            click.echo(line, err=not outcome.ok)
    return 0 if outcome.ok else 2
