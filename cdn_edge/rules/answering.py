"""From a stored response to what this client asked for: all of it, parts, 304, 416 (RFC 9110 §13, §14)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from stack.http import ranges
from stack.http.conditional import Condition, evaluate, if_range_holds
from stack.http.message import FieldBlock, Fields, Request, Response, get
from stack.http.ranges import Range

_DESCRIBE_CONTENT: Final = frozenset(
    {b"content-encoding", b"content-language", b"content-length", b"content-range", b"content-type"}
)


def condition(request: Request, status: int, fields: Fields, now: float) -> Condition:
    """The request's preconditions against a response. §13.2.1: only where it would be a success without them."""
    if not 200 <= status < 300 or status == 206:
        return Condition.PROCEED
    return evaluate(
        request.method,
        request.fields,
        etag=get(fields, b"etag"),
        last_modified=get(fields, b"last-modified"),
        now=now,
    )


def not_modified(fields: Fields, added: Fields) -> Response:
    return Response(304, unchanged(fields) + added)


def unchanged(fields: Fields) -> Fields:
    """§15.4.5: what the 200 would have carried, but what describes the content that is not sent."""
    return [field for field in fields if field[0] not in _DESCRIBE_CONTENT]


def failed(added: Fields) -> Response:
    return Response(412, [(b"content-length", b"0"), *added])


@dataclass(slots=True)
class Selected:
    """What a client gets of a stored response: a status, and which bytes of the content."""

    status: int
    fields: Fields | None = None
    """In place of the stored ones; None for these."""
    spans: tuple[Range, ...] = ()
    heads: tuple[bytes, ...] = ()
    """What goes before each span, where there are several (RFC 9110 §14.6)."""
    tail: bytes = b""

    def content(self, body: bytes) -> bytes:
        """Cut from all of it."""
        if not self.heads:
            return b"".join([body[span.start : span.stop] for span in self.spans])
        pieces = [
            part
            for head, span in zip(self.heads, self.spans, strict=True)
            for part in (head, body[span.start : span.stop])
        ]
        return b"".join(pieces) + self.tail


def partial(
    request: Request, block: FieldBlock, size: int, *, now: float, boundary: Callable[[], bytes]
) -> Selected | None:
    """206 or 416 for the request's Range; None where the field is to be ignored and all is sent (§14.2).

    `size` is that of the complete content.
    """
    fields = block.fields
    wanted = get(request.fields, b"range")
    if wanted is None or request.method != b"GET":
        return None
    if not if_range_holds(
        request.fields,
        etag=get(fields, b"etag"),
        last_modified=get(fields, b"last-modified"),
        date=get(fields, b"date"),
        now=now,
    ):
        return None
    parts = ranges.parse(wanted, size)
    if parts is None:
        return None
    if isinstance(parts, ranges.Unsatisfiable):
        return Selected(416, [(b"content-range", parts.content_range), (b"content-length", b"0")])
    if len(parts) == 1:
        part = parts[0]
        own = [(b"content-range", ranges.content_range(part, size)), (b"content-length", b"%d" % len(part))]
        rest = [field for field in fields if field[0] not in (b"content-length", b"content-range")]
        return Selected(206, rest + own, parts)
    several = ranges.multipart(parts, size, content_type=get(fields, b"content-type"), boundary=boundary())
    own = [(b"content-type", several.content_type), (b"content-length", b"%d" % several.content_length)]
    rest = [field for field in fields if field[0] not in (b"content-length", b"content-range", b"content-type")]
    return Selected(206, rest + own, parts, several.heads, several.tail)
