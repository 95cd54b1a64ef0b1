"""An origin's file: ranges and preconditions by the letter of RFC 9110."""

from __future__ import annotations

from dataclasses import dataclass, field

from stack.clock import Clock
from stack.http import ranges
from stack.http.conditional import Condition, evaluate, if_range_holds
from stack.http.dates import http_date
from stack.http.message import Request, Response
from tests.cdn_edge.lab import Stream, lines


def counted(size: int, version: int = 0) -> bytes:
    """Content in which every place tells itself and the version."""
    row = b"".join(b"%c%07x" % (ord("a") + version, at) for at in range(0, size, 8))
    return row[:size]


@dataclass
class File:
    """A script's step for `Lab.origin`, and what a real origin answers with."""

    clock: Clock
    content: bytes
    tag: str = '"a"'
    head: str = "Cache-Control: max-age=60\nAccept-Ranges: bytes\nContent-Type: text/plain"
    chunk: int = 0
    """Content is streamed in pieces of this size; 0: in one."""
    matches: bool = True
    """It knows If-Match."""
    served: list[str] = field(default_factory=list)
    """What was asked for: the Range, or `all`, and the status of the answer."""

    def __call__(self, request: Request) -> Response:
        now = self.clock.time()
        fields = [*lines(self.head), (b"date", http_date(now))]
        if self.tag:
            fields += lines(f"ETag: {self.tag}")
        etag = self.tag.encode() or None
        conditions = [line for line in request.fields if self.matches or line[0] != b"if-match"]
        asked = request.get(b"range")
        condition = evaluate(request.method, conditions, etag=etag, last_modified=None, now=now)
        status, span = 200, ranges.Range(0, len(self.content))
        if condition is not Condition.PROCEED:
            status = condition.value
        elif asked is not None and if_range_holds(request.fields, etag=etag, last_modified=None, date=None, now=now):
            found = ranges.parse(asked, len(self.content))
            if isinstance(found, ranges.Unsatisfiable):
                status, fields = 416, [*fields, (b"content-range", found.content_range)]
            elif found is not None:
                status, span = 206, found[0]
                fields.append((b"content-range", ranges.content_range(span, len(self.content))))
        self.served.append(f"{(asked or b'all').decode()} {status}")
        if status not in (200, 206):
            return Response(status, fields, b"")
        body = self.content[span.start : span.stop]
        fields.append((b"content-length", b"%d" % len(body)))
        if self.chunk and request.method != b"HEAD":
            pieces = [body[at : at + self.chunk] for at in range(0, len(body), self.chunk)]
            return Response(status, fields, Stream(*pieces))
        return Response(status, fields, b"" if request.method == b"HEAD" else body)
