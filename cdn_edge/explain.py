"""`GET` or `POST /-/explain`: what a request would come to, and why. Asking counts, fetches and changes nothing."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any, Final
from urllib.parse import parse_qs

from cdn_edge.explaining import Explaining
from cdn_edge.orders import read_json
from cdn_edge.rules.key import parts_of_url
from stack.errors import BadRequest
from stack.hop.admin import as_json
from stack.http.message import Request, Response, get

_WRITTEN: Final = (
    'Send {"url": "https://host/path", "method": "GET", "headers": {"Name": "value"}} as JSON, '
    "or ?url=&method=&header=Name:%20value in the query, percent-encoded. Only url is needed."
)
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_NOT_IN_VALUE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]|[^\x00-\xff]")


class Explain:
    """An `AdminHandler`."""

    def __init__(self, explaining: Explaining) -> None:
        self._explaining = explaining

    async def __call__(self, request: Request) -> Response:
        return as_json(asdict(await self._explaining.ask(asked(await _given(request)))))


async def _given(request: Request) -> dict[str, Any]:
    query = parse_qs((request.query or b"").decode("latin-1"))
    if request.method == b"POST" and not query:
        document = await read_json(request, _WRITTEN)
        if not isinstance(document, dict):
            raise BadRequest(_WRITTEN)
        return document
    if any(len(query.get(name, [])) > 1 for name in ("url", "method")):
        raise BadRequest(_WRITTEN)
    given: dict[str, Any] = {name: query[name][0] for name in ("url", "method") if name in query}
    given["headers"] = [[part.strip() for part in line.partition(":")[::2]] for line in query.get("header", [])]
    return given


def asked(given: dict[str, Any]) -> Request:
    """The request that is described: `url`, and maybe `method` and `headers`, an object or pairs. BadRequest."""
    if unknown := given.keys() - {"url", "method", "headers"}:
        raise BadRequest(f"There is no {', '.join(sorted(unknown))} to be given. {_WRITTEN}")
    url, method, headers = given.get("url"), given.get("method", "GET"), given.get("headers") or {}
    if not isinstance(url, str) or not isinstance(method, str):
        raise BadRequest(_WRITTEN)
    try:
        scheme, authority, target = parts_of_url(url)
    except ValueError as error:
        raise BadRequest(f"{error}.") from None
    if _TOKEN.fullmatch(method) is None:
        raise BadRequest(f"{method!r} is no method.")
    pairs = list(headers.items()) if isinstance(headers, dict) else headers
    if not isinstance(pairs, list):
        raise BadRequest(_WRITTEN)
    fields = [_field(pair) for pair in pairs]
    length = get(fields, b"content-length")
    content = b"?" if get(fields, b"transfer-encoding") is not None or length not in (None, b"0") else b""
    return Request(method.encode(), target, fields, authority=authority, scheme=scheme, body=content)


def _field(pair: Any) -> tuple[bytes, bytes]:
    if not (isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):
        raise BadRequest(_WRITTEN)
    name, value = pair
    if _TOKEN.fullmatch(name) is None or _NOT_IN_VALUE.search(value) is not None:
        raise BadRequest(f"{name + ': ' + value!r} is no header; write it as Name: value.")
    return name.lower().encode("ascii"), value.strip(" \t").encode("latin-1")
