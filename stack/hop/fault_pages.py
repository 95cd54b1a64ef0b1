"""`/-/faults` of the admin endpoint: list, add and remove what is injected in this process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Final

from stack.errors import BadRequest, ConfigError, ContentTooLarge, NotFound
from stack.faults.registry import Faults
from stack.faults.spec import EXAMPLE, Fault, from_table, nearest, parse
from stack.hop.answers import as_json
from stack.hop.hop import AdminHandler
from stack.http.message import Request, Response

_MOST: Final = 2048
_WRITTEN: Final = f'Send {{"on": "lb-a>proxy-2", "latency": "200ms"}} as JSON, or the text {EXAMPLE}.'


def fault_pages(faults: Faults) -> Mapping[tuple[bytes, bytes], AdminHandler]:
    return {
        (b"GET", b"/-/faults"): lambda _: as_json(faults.described()),
        (b"POST", b"/-/faults"): partial(_add, faults),
        (b"DELETE", b"/-/faults"): lambda _: as_json({"removed": faults.clear()}),
        (b"DELETE", b"/-/faults/*"): partial(_remove, faults),
    }


async def _add(faults: Faults, request: Request) -> Response:
    """201 with the fault and where it acts; 400 for what is none, 422 for one that acts nowhere in this process."""
    try:
        fault = _read(await _content(request))
    except ConfigError as error:
        raise BadRequest(f"{error}") from None
    here = faults.places(fault)
    if not here and (reason := faults.standing.refusal(fault)):
        raise BadRequest(f"{reason}.", status=422)
    if not here:
        links = ", ".join(f"{faults.name}>{target}" for target in faults.links) or "to nobody"
        raise BadRequest(f"{fault.on} is not in this process: it is {faults.name}, its links are {links}.", status=422)
    replaced = faults.add(fault)
    return as_json({"name": fault.name, "here": here, "replaced": replaced}, status=201)


def _remove(faults: Faults, request: Request) -> Response:
    name = request.path.rpartition(b"/")[2].decode("latin-1")
    if not faults.remove(name):
        known = [fault["name"] for fault in faults.described()["faults"]]
        hint = nearest(name, known) or (f"there are {', '.join(known)}" if known else "there is none")
        raise NotFound(f"No fault is called {name}; {hint}")
    return as_json({"removed": 1})


def _read(content: bytes) -> Fault:
    text = content.decode("utf-8", "replace").strip()
    if not text.startswith(("{", "[", '"')):
        return parse(text)
    try:
        table = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the content is no JSON ({error}). {_WRITTEN}") from None
    if not isinstance(table, dict):
        raise ConfigError(_WRITTEN)
    name = table.get("name", "")
    if not isinstance(name, str):
        raise ConfigError("name: wanted text, as slow-proxy")
    return from_table(name, table)


async def _content(request: Request) -> bytes:
    content = bytearray(request.body if isinstance(request.body, bytes) else b"")
    if not isinstance(request.body, bytes):
        async for chunk in request.body:
            content += chunk
            if len(content) > _MOST:
                break
    if len(content) > _MOST:
        raise ContentTooLarge(f"A fault is at most {_MOST} bytes.")
    return bytes(content)
