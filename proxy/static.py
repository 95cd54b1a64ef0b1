"""Static files over HTTP: which one, in which coding, whole or in part, or not at all because the client has it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from proxy.files import CHUNK, File, FileBody, Part, open_beneath
from proxy.rules import representation
from proxy.rules.compression import Types, varying
from proxy.rules.paths import INDEX, NotServed, names
from stack.errors import ClientError, NotFound
from stack.http import conditional, problem, ranges
from stack.http.dates import http_date
from stack.http.message import Field, Fields, Request, Response, combined, get, without
from stack.telemetry.exchange import Exchange

# No proxy_status: for its files this hop is the origin, and what an origin says is no error of a proxy (RFC 9209 §1).


class FileNotFound(NotFound):
    proxy_status = ""


class MethodNotAllowed(ClientError):
    status, proxy_status, title = 405, "", "A file can only be read"


class PreconditionFailed(ClientError):
    status, proxy_status, title = 412, "", "The file is not what the request expects"


class RangeNotSatisfiable(ClientError):
    status, proxy_status, title = 416, "", "The file ends before the range begins"


NOT_FOUND: Final = ("404.html",)
"""The page of a root for whatever is not there."""


class StaticFiles:
    """Serves what lies below `root` under `prefix`; a directory is its index.html, if it has one.

    `max_age` in seconds; `time` is Unix time.
    """

    def __init__(
        self,
        root: str,
        *,
        prefix: bytes,
        max_age: int,
        compressible: Types,
        hop: str,
        time: Callable[[], float],
        random: Random,
    ) -> None:
        self.prefix = prefix
        self._root = root
        self._max_age = max_age
        self._compressible = compressible
        self._hop = hop
        self._time = time
        self._random = random

    def answer(self, request: Request, exchange: Exchange) -> Response:
        """Never awaits. Errors of the file system are raised as HopErrors."""
        if request.method not in (b"GET", b"HEAD"):
            # RFC 9110 §15.5.6: Allow is what the target takes
            exchange.mark("serve", "method")
            return self._problem(MethodNotAllowed(), request, exchange, (b"allow", b"GET, HEAD"))
        found = names(request.path, self.prefix)
        if isinstance(found, NotServed):
            return self._not_served(found, request, exchange)
        file = open_beneath(self._root, found)
        if file is None:
            index = None if request.path.endswith(b"/") else open_beneath(self._root, (*found, INDEX))
            if index is None:
                return self._not_served(NotServed.MISSING, request, exchange)
            index.close()
            return self._moved(request, exchange)
        try:
            file, fields = self._represent(file, found, request)
            response = self._select(file, fields, request, exchange)
        except BaseException:
            file.close()
            raise
        if not isinstance(response.body, FileBody):
            file.close()
        return response

    def _not_served(self, why: NotServed, request: Request, exchange: Exchange) -> Response:
        """The root's own page if it has one: whatever the reason, it looks the same."""
        exchange.mark("serve", why.value)
        page = open_beneath(self._root, NOT_FOUND)
        if page is None:
            return self._problem(FileNotFound(), request, exchange)
        fields: Fields = [
            (b"content-type", representation.content_type(NOT_FOUND[-1])),
            (b"content-length", b"%d" % page.size),
            (b"cache-control", b"no-cache"),
            (b"x-content-type-options", b"nosniff"),
        ]
        if request.method == b"HEAD":
            page.close()
            return Response(404, fields)
        return Response(404, fields, _content(page, page.size, (0, page.size)))

    def _moved(self, request: Request, exchange: Exchange) -> Response:
        """To the directory's path, which ends in a slash: relative links of its page count from there."""
        exchange.mark("serve", "redirect")
        query = request.query
        location = request.path + b"/" + (b"" if query is None else b"?" + query)
        kept = representation.cache_control(INDEX, self._max_age)
        return Response(308, [(b"location", location), (b"cache-control", kept)])

    def _represent(self, file: File, found: tuple[str, ...], request: Request) -> tuple[File, Fields]:
        """The file in the best coding there is beforehand, and the fields that describe it."""
        content_type = representation.content_type(found[-1])
        chosen = None
        if varies := self._compressible.lists(content_type):
            for coding in representation.sibling_codings(combined(request.fields, b"accept-encoding")):
                sibling = open_beneath(self._root, (*found[:-1], found[-1] + representation.SIBLINGS[coding]))
                if sibling is None:
                    continue
                if representation.is_current(sibling.mtime_ns, file.mtime_ns):
                    file.close()
                    file, chosen = sibling, coding
                    break
                sibling.close()
        # RFC 9110 §8.8.2.1: Last-Modified is never later than Date
        modified = min(file.mtime_ns / 1e9, self._time())
        fields: Fields = [
            (b"content-type", content_type),
            (b"etag", representation.etag(file.mtime_ns, file.size, chosen)),
            (b"last-modified", http_date(modified)),
            (b"cache-control", representation.cache_control(found[-1], self._max_age)),
            (b"accept-ranges", b"bytes"),
            (b"x-content-type-options", b"nosniff"),
        ]
        if chosen is not None:
            fields.append((b"content-encoding", chosen))
        return file, varying(fields) if varies else fields

    def _select(self, file: File, fields: Fields, request: Request, exchange: Exchange) -> Response:
        """RFC 9110 §13.2.2: preconditions first, then the range, then the whole."""
        etag, modified = get(fields, b"etag"), get(fields, b"last-modified")
        now = self._time()
        condition = conditional.evaluate(request.method, request.fields, etag=etag, last_modified=modified, now=now)
        if condition is conditional.Condition.NOT_MODIFIED:
            exchange.mark("serve", "not-modified")
            # §15.4.5: what a cache needs to freshen its copy, and no more
            kept = (b"etag", b"cache-control", b"vary", b"last-modified")
            return Response(304, [pair for pair in fields if pair[0] in kept])
        if condition is conditional.Condition.FAILED:
            exchange.mark("serve", "precondition-failed")
            return self._problem(PreconditionFailed(), request, exchange)
        asked = request.get(b"range") if request.method == b"GET" else None  # §14.2: Range means nothing with HEAD
        if asked is not None and conditional.if_range_holds(
            request.fields, etag=etag, last_modified=modified, date=None, now=now
        ):
            part = self._part(file, fields, asked, request, exchange)
            if part is not None:
                return part
        exchange.mark("serve", "file" if get(fields, b"content-encoding") is None else "precompressed")
        fields = [*fields, (b"content-length", b"%d" % file.size)]
        if request.method == b"HEAD":
            return Response(200, fields)
        return Response(200, fields, _content(file, file.size, (0, file.size)))

    def _part(self, file: File, fields: Fields, asked: bytes, request: Request, exchange: Exchange) -> Response | None:
        """206 or 416; None for a Range that is to be ignored (RFC 9110 §14.2)."""
        found = ranges.parse(asked, file.size)
        if found is None:
            return None
        if isinstance(found, ranges.Unsatisfiable):
            exchange.mark("serve", "unsatisfiable")
            return self._problem(RangeNotSatisfiable(), request, exchange, (b"content-range", found.content_range))
        exchange.mark("serve", "partial")
        if len(found) == 1:
            (part,) = found
            fields = [
                *fields,
                (b"content-range", ranges.content_range(part, file.size)),
                (b"content-length", b"%d" % len(part)),
            ]
            return Response(206, fields, _content(file, len(part), (part.start, part.stop)))
        boundary = b"%032x" % self._random.getrandbits(128)
        several = ranges.multipart(found, file.size, content_type=get(fields, b"content-type"), boundary=boundary)
        # §15.3.7.2: each part has its Content-Range, the whole has none
        fields = [
            (b"content-type", several.content_type),
            (b"content-length", b"%d" % several.content_length),
            *without(fields, b"content-type"),
        ]
        pieces: list[Part] = []
        for head, part in zip(several.heads, several.parts, strict=True):
            pieces += head, (part.start, part.stop)
        return Response(206, fields, _content(file, several.content_length, *pieces, several.tail))

    def _problem(self, error: ClientError, request: Request, exchange: Exchange, *fields: Field) -> Response:
        return problem.response(
            error, hop=self._hop, accept=request.get(b"accept"), request_id=exchange.request_id, fields=fields
        )


def _content(file: File, length: int, *parts: Part) -> bytes | FileBody:
    """Small ones at once, so that head and content go out together; others as the client takes them."""
    body = FileBody(file, *parts)
    return body.whole() if length <= CHUNK else body
