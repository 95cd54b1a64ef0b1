"""The edges of the running stack, and what their admin endpoints say."""

from __future__ import annotations

from typing import Any, Final

import click

PATIENCE: Final = 10.0
"""Seconds that an edge has to answer."""
_NO_EDGE: Final = "what answers there is not the --admin of an edge"


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


def where(url: str, edge: str | None, admin: str | None) -> tuple[str, dict[str, str]] | int:
    """The whole URL, and the admin endpoints by name, which is empty for `admin`; or the exit status.

    ClickException for options that are wrong.
    """
    if admin is not None:
        if edge is not None:
            raise click.ClickException("--edge is one of the running stack's, --admin one that runs alone: not both")
        if not _is_place(admin):
            raise click.ClickException(f"--admin {admin!r}: write it as http://127.0.0.1:8012")
        return url, {"": admin}
    from stack.cli.control import NOTHING_RUNS
    from stack.cli.site import site
    from stack.supervisor.state import StateDir

    state = StateDir.chosen()
    status = state.running()
    if not status:
        click.echo(
            f"No stack runs in {state.path}; `hopstack up` starts one, --admin names an edge that runs alone.", err=True
        )
        return NOTHING_RUNS
    if url.startswith("/") and (found := site(status)) is not None:
        url = found.url + url
    return url, {hop["name"]: hop["admin"] for hop in edges(status, edge)}


def _is_place(admin: str) -> bool:
    from urllib.parse import urlsplit

    place = urlsplit(admin)
    try:
        return place.scheme == "http" and bool(place.hostname and place.port)
    except ValueError:
        return False


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
        answer: Any = json.loads(response.read())
    except TimeoutError:
        return {"error": f"it took more than {PATIENCE:g} s"}
    except ConnectionRefusedError:
        return {"error": "connection refused; is the edge running, and is this its --admin?"}
    except OSError as error:
        return {"error": error.strerror or str(error)}
    except (http.client.HTTPException, ValueError):
        return {"error": _NO_EDGE}
    finally:
        connection.close()
    if not isinstance(answer, dict) or response.status == 404:
        return {"error": _NO_EDGE}
    if response.status == 400:
        raise click.ClickException(str(answer.get("detail", answer.get("title", ""))))
    return answer if response.status == 200 else {"error": f"status {response.status}: {answer.get('detail', '')}"}
