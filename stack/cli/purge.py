"""`hopstack purge`."""

from __future__ import annotations

from typing import Any

import click


@click.command()
@click.argument("url")
@click.option("--edge", metavar="NAME", help="Only at this edge, as edge-fra or fra. Default: at all.")
@click.option("--json", "as_json", is_flag=True, help="Print what each edge answered as JSON.")
def purge(url: str, edge: str | None, as_json: bool) -> int:
    """Remove URL from the edges' caches, with all its variants.

    A path alone, as /products/shoes, is that of the running stack's site.

    Exit status: 0 it is stored nowhere any more (also when it never was),
    1 an edge did not answer, 2 no such edge or no such URL, 3 nothing runs here.
    """
    import msgspec

    from stack.cli.control import NOTHING_RUNS
    from stack.cli.edges import edges, post
    from stack.cli.site import site
    from stack.supervisor.state import StateDir

    state = StateDir.chosen()
    status = state.running()
    if not status:
        click.echo(f"No stack runs in {state.path}; `hopstack up` starts one.", err=True)
        return NOTHING_RUNS
    if url.startswith("/") and (found := site(status)) is not None:
        url = found.url + url
    answers = {hop["name"]: post(hop["admin"], "/-/purge", {"url": url}) for hop in edges(status, edge)}
    if as_json:
        click.echo(msgspec.json.encode(answers))
    else:
        for name, answer in answers.items():
            click.echo(f"{name}: {_told(answer)}", err="error" in answer)
    return 1 if any("error" in answer for answer in answers.values()) else 0


def _told(answer: dict[str, Any]) -> str:
    if "error" in answer:
        return f"no answer: {answer['error']}"
    match answer["purged"]:
        case 0:
            return f"nothing was stored{': ' + answer['hint'] if 'hint' in answer else ''}"
        case 1:
            return "purged"
        case many:
            return f"purged, {many} variants"
