"""What an operator sends to the edge's admin endpoint."""

from __future__ import annotations

import json
from typing import Any, Final

from stack.errors import BadRequest, ContentTooLarge
from stack.http.message import Request

_MOST: Final = 64 * 1024


async def read_json(request: Request, written: str) -> Any:
    """The content as JSON, None where there is none. BadRequest, saying what to send (`written`), for anything else."""
    try:
        return json.loads(await content(request) or b"null")
    except (ValueError, RecursionError):
        raise BadRequest(f"The content is no JSON. {written}") from None


async def content(request: Request) -> bytes:
    """Of an order, whole. ContentTooLarge."""
    if isinstance(request.body, bytes):
        return request.body
    content = bytearray()
    async for chunk in request.body:
        content += chunk
        if len(content) > _MOST:
            raise ContentTooLarge(f"An order is at most {_MOST} bytes.")
    return bytes(content)
