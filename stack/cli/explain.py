"""`hopstack explain`."""

from __future__ import annotations

from typing import Any

import click


@click.command()
@click.argument("url")
@click.option("--request", "-X", "method", metavar="METHOD", default="GET", help="Default: GET.")
@click.option("--header", "-H", "headers", multiple=True, metavar="'NAME: VALUE'", help="Of the request. Repeats.")
@click.option("--edge", metavar="NAME", help="Only this edge, as edge-fra or fra. Default: each.")
@click.option("--admin", metavar="URL", help="An edge that runs alone, by its --admin, as http://127.0.0.1:8012.")
@click.option("--json", "as_json", is_flag=True, help="Print each edge's record as JSON.")
def explain(url: str, method: str, headers: tuple[str, ...], edge: str | None, admin: str | None, as_json: bool) -> int:
    """Say what a request for URL would come to in the edges' caches, and why.

    The key, what is stored under it, which header differs, how fresh it is and
    by what, what became of the last answer that was not stored, and what would
    make it a hit. Nothing is fetched, counted or changed by asking.

    A path alone, as /products/shoes, is that of the running stack's site.
    What the fields that select a variant are, the caller says: -H
    'Accept-Encoding: gzip, br' as a browser would.

    \b
    Exit status: 0 explained, whether it would be a hit or not
                 1 an edge did not answer
                 2 no such edge, or no such URL, method or header
                 3 nothing runs here
    """
    import msgspec

    from stack.cli.edges import post, where

    found = where(url, edge, admin)
    if isinstance(found, int):
        return found
    url, places = found
    question = {"url": url, "method": method, "headers": [_field(line) for line in headers]}
    answers: dict[str, dict[str, Any]] = {}
    for name, place in places.items():
        answer = post(place, "/-/explain", question)
        answers[name or answer.get("edge", place)] = answer
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(answers)))
    else:
        from stack.cli.explain_output import told

        for number, (name, answer) in enumerate(answers.items()):
            text = f"{name}: no answer: {answer['error']}" if "error" in answer else told(name, answer, question)
            click.echo(("\n" if number else "") + text, err="error" in answer)
    return 1 if any("error" in answer for answer in answers.values()) else 0


def _field(line: str) -> list[str]:
    name, colon, value = line.partition(":")
    if not colon:
        raise click.ClickException(f"-H {line!r}: write it as 'Name: value'")
    return [name.strip(), value.strip()]
