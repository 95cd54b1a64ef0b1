"""`hopstack purge`."""

from __future__ import annotations

from typing import Any

import click


@click.command()
@click.argument("url")
@click.option("--edge", metavar="NAME", help="Only at this edge, as edge-fra or fra. Default: at all.")
@click.option("--admin", metavar="URL", help="An edge that runs alone, by its --admin, as http://127.0.0.1:8012.")
@click.option("--json", "as_json", is_flag=True, help="Print what each edge answered as JSON.")
def purge(url: str, edge: str | None, admin: str | None, as_json: bool) -> int:
    """Remove URL from the edges' caches, with all its variants.

    A path alone, as /products/shoes, is that of the running stack's site.

    Exit status: 0 it is stored nowhere any more (also when it never was),
    1 an edge did not answer, 2 no such edge or no such URL, 3 nothing runs here.
    """
    import msgspec

    from stack.cli.edges import post, where

    found = where(url, edge, admin)
    if isinstance(found, int):
        return found
    url, places = found
    answers = {name or place: post(place, "/-/purge", {"url": url}) for name, place in places.items()}
    if as_json:
        click.echo(msgspec.json.encode(answers))
    else:
        for name, answer in answers.items():
            click.echo(f"{name}: {_told(answer)}", err="error" in answer)
    return 1 if any("error" in answer for answer in answers.values()) else 0


def _told(answer: dict[str, Any]) -> str:
    if "error" in answer:
        return f"no answer: {answer['error']}"
    amiss = f"; the disk: {answer['disk']}" if "disk" in answer else ""
    match answer["purged"]:
        case 0:
            return f"nothing was stored{amiss}{'. ' + answer['hint'] if 'hint' in answer else ''}"
        case 1:
            return f"purged{amiss}"
        case many:
            return f"purged, {many} variants{amiss}"
