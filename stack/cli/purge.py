"""`hopstack purge`."""

from __future__ import annotations

from typing import Any, Final

import click

PATIENCE: Final = 10.0
"""Seconds that an edge has to answer."""


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
    from stack.cli.site import site
    from stack.supervisor.state import StateDir

    state = StateDir.chosen()
    status = state.running()
    if not status:
        click.echo(f"No stack runs in {state.path}; `hopstack up` starts one.", err=True)
        return NOTHING_RUNS
    if url.startswith("/") and (found := site(status)) is not None:
        url = found.url + url
    answers = {hop["name"]: _purged(hop["admin"], url) for hop in _edges(status, edge)}
    refused = next((answer["refused"] for answer in answers.values() if "refused" in answer), None)
    if refused is not None:
        raise click.ClickException(f"{url}: {refused}")
    if as_json:
        click.echo(msgspec.json.encode(answers))
    else:
        for name, answer in answers.items():
            click.echo(f"{name}: {_told(answer)}", err="error" in answer)
    return 1 if any("error" in answer for answer in answers.values()) else 0


def _edges(status: dict[str, Any], wanted: str | None) -> list[dict[str, Any]]:
    import difflib

    edges = {hop["name"]: hop for hop in status["hops"] if hop["kind"] == "cdn_edge"}
    if wanted is None:
        return list(edges.values())
    name = wanted if wanted in edges else f"edge-{wanted}"
    if name not in edges:
        near = difflib.get_close_matches(wanted, edges, 1)
        hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(edges)}"
        raise click.ClickException(f"no edge is called {wanted!r}: {hint}")
    return [edges[name]]


def _purged(admin: str, url: str) -> dict[str, Any]:
    import http.client
    import json
    from urllib.parse import urlsplit

    place = urlsplit(admin)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=PATIENCE)
    try:
        connection.request(
            "POST", "/-/purge", json.dumps({"url": url}), {"content-type": "application/json", "accept": "*/*"}
        )
        response = connection.getresponse()
        answer: dict[str, Any] = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        return {"error": str(error) or type(error).__name__}
    finally:
        connection.close()
    if response.status == 400:
        return {"refused": answer.get("detail", answer.get("title", ""))}
    return answer if response.status == 200 else {"error": f"status {response.status}: {answer.get('detail', '')}"}


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
