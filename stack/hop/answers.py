"""How an admin endpoint answers: text and JSON that nobody stores."""

from __future__ import annotations

import json
from typing import Final

from stack.http.message import Field, Response

SAVED: Final[list[Field]] = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]


def text(content: str, *, status: int = 200) -> Response:
    return Response(status, [*SAVED, (b"content-type", b"text/plain; charset=utf-8")], content.encode())


def as_json(value: object, *, status: int = 200) -> Response:
    """For `routes()` of hops too. Indented: it is read by people as much as by programs."""
    body = json.dumps(value, indent=2, ensure_ascii=False, default=str).encode() + b"\n"
    return Response(status, [*SAVED, (b"content-type", b"application/json")], body)
