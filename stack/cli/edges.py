"""The edges of the running stack, and what their admin endpoints say."""

from __future__ import annotations

from typing import Any, Final

import click

PATIENCE: Final = 10.0
"""Seconds that an edge has to answer."""


def edges(status: dict[str, Any], wanted: str | None) -> list[dict[str, Any]]:
    """All, or the one called `wanted`, as edge-fra or fra. ClickException where none is."""
    import difflib

    found = {hop["name"]: hop for hop in status["hops"] if hop["kind"] == "cdn_edge"}
    if wanted is None:
        return list(found.values())
    name = wanted if wanted in found else f"edge-{wanted}"
    if name not in found:
        near = difflib.get_close_matches(wanted, found, 1)
        hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(found)}"
        raise click.ClickException(f"no edge is called {wanted!r}: {hint}")
    return [found[name]]


def post(admin: str, page: str, document: object) -> dict[str, Any]:
    """What the endpoint answers; with `error`, why there is none. ClickException where the question is at fault."""
    import http.client
    import json
    from urllib.parse import urlsplit

    place = urlsplit(admin)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=PATIENCE)
    try:
        connection.request("POST", page, json.dumps(document), {"content-type": "application/json", "accept": "*/*"})
        response = connection.getresponse()
        answer: dict[str, Any] = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        return {"error": str(error) or type(error).__name__}
    finally:
        connection.close()
    if response.status == 400:
        raise click.ClickException(answer.get("detail", answer.get("title", "")))
    return answer if response.status == 200 else {"error": f"status {response.status}: {answer.get('detail', '')}"}
