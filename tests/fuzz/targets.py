"""What is fuzzed: a function of bytes for each parser, which fails only where the parser breaks its word.

A parser may refuse with its documented errors. Beside that, what it takes must hold what the next hop relies on: no
line break within a field, the same message when it is written and read again, the same content however it is split.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from typing import Any, Final

from stack.clock import VirtualClock, settle
from stack.config.base import Limits, Timeouts
from stack.errors import HopError
from stack.http import cache_control, conditional, dates, fields, forwarding, h1, h2_fields, negotiation, ranges
from stack.http import h2_wire as wire
from stack.http.chunked import Chunked
from stack.http.h2 import Connection
from stack.http.h2_decoder import BadSection, Decoder, LargeSection
from stack.http.h2_events import Data, Head, Reset, Trailers
from stack.http.hpack_tables import STATIC_TABLE, huffman
from stack.http.message import Fields, Peer, Request, Response
from stack.http.trust import Trust, node_address
from stack.net.context import Context
from stack.net.h1_server import H1ServerConnection
from stack.net.h2_server import H2ServerConnection
from stack.net.tasks import Tasks
from stack.telemetry.exchange import Exchange
from tests.fuzz.mutator import Target
from tests.support.memory import Link

NOW: Final = 1_700_000_000.0
SETTINGS: Final = b"\0\0\0\x04\0\0\0\0\0"


def clean(found: Fields) -> None:
    """Nothing breaks out of its line; names are in lower case."""
    for name, value in found:
        assert fields.TOKEN.fullmatch(name), name
        assert name == name.lower(), name
        assert not any(byte in value for byte in b"\r\n\0"), value
        assert value == value.strip(b" \t"), value


def refused(error: HopError, *statuses: int) -> None:
    assert error.status in statuses, error.status


def request_head(data: bytes) -> None:
    parser = h1.FieldParser()
    try:
        head = h1.parse_request(parser, data, max_target=8192, max_fields=100)
    except HopError as error:
        refused(error, 400, 405, 413, 414, 417, 421, 431, 501, 505)
        return
    clean(head.fields)
    assert fields.TOKEN.fullmatch(head.method)
    assert not any(byte in head.target + head.authority for byte in b"\r\n\0 \t")
    framing = b"transfer-encoding: chunked\r\n" if head.framing == h1.CHUNKED else b""
    written = h1.request_head(head.method, head.target, head.authority, head.fields, framing=framing)
    again = h1.parse_request(h1.FieldParser(), written, max_target=8192, max_fields=102)
    assert (again.method, again.target, again.authority) == (head.method, head.target, head.authority)
    assert again.fields == head.fields
    assert again.framing == head.framing


def response_head(data: bytes) -> None:
    method = b"HEAD" if data[:1] == b"\0" else b"GET"
    data = data.removeprefix(b"\0")
    try:
        head = h1.parse_response(h1.FieldParser(), data, method=method)
    except HopError as error:
        refused(error, 502)
        return
    clean(head.fields)
    assert 100 <= head.status <= 999
    framing = b"transfer-encoding: chunked\r\n" if head.framing == h1.CHUNKED else b""
    written = h1.response_head(head.status, head.fields, [], framing=framing)
    again = h1.parse_response(h1.FieldParser(), written, method=method, max_fields=1001)
    assert (again.status, again.fields, again.framing) == (head.status, head.fields, head.framing)


def _chunks(data: bytes, step: int) -> tuple[bytes, bool, Fields, bytes] | None:
    decoder = Chunked(h1.FieldParser())
    out = b""
    for at in range(0, len(data), step):
        try:
            out += b"".join(decoder.feed(data[at : at + step]))
        except ValueError:
            return None
        if decoder.done:
            return out, True, decoder.trailers, decoder.rest + data[at + step :]
    return out, False, [], b""


def chunked(data: bytes) -> None:
    """Whole and in pieces: the same content, the same end, or an error both times."""
    step = data[0] % 7 + 1 if data else 1
    data = data[1:]
    whole, parts = _chunks(data, max(1, len(data))), _chunks(data, step)
    assert whole == parts, (whole, parts)
    if whole is not None:
        clean(whole[2])


def _owner(connection: Connection, data: bytes, step: int, *, answers: bool) -> None:
    """Does what a server (which answers) or a client does with events; the machine may never raise."""
    now = 0.0
    for at in range(0, len(data), step):
        for event in connection.receive(data[at : at + step], now):
            if isinstance(event, Head) and answers and event.stream % 4 == 1:
                connection.send_head(event.stream, [(b":status", b"200")], ended=False)
                connection.send_data(event.stream, b"x" * min(10, max(0, connection.room(event.stream))), ended=False)
            elif isinstance(event, Data):
                connection.credit(event.stream, event.size)
                if event.ended:
                    connection.release(event.stream, answered=True)
            elif isinstance(event, Reset):
                connection.release(event.stream)
            elif isinstance(event, Trailers):
                connection.fault(event.stream, now)
                connection.release(event.stream)
        _ = connection.partial, connection.capacity
        _frames(connection.outgoing())
        now += 0.01
    if not connection.failed:
        connection.go_away()
        _frames(connection.outgoing())


def _frames(data: bytes) -> None:
    """What we write is whole frames of a size that everybody takes."""
    while data:
        length = int.from_bytes(data[:3], "big")
        assert len(data) >= 9 + length, "half a frame"
        assert length <= wire.FRAME
        data = data[9 + length :]


def h2_server(data: bytes) -> None:
    connection = Connection(is_client=False, streams=10, window=65535, max_head=4096)
    step = data[0] * 8 + 1 if data else 1
    _owner(connection, wire.PREFACE + SETTINGS + data[1:], step, answers=True)


def h2_client(data: bytes) -> None:
    connection = Connection(is_client=True, streams=10, window=65535, max_head=4096)
    for ended in (True, False, True):
        get = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/")]
        connection.open(get, ended=ended)
    _frames(connection.outgoing().removeprefix(wire.PREFACE))
    step = data[0] * 8 + 1 if data else 1
    _owner(connection, SETTINGS + data[1:], step, answers=False)


def hpack(data: bytes) -> None:
    decoder = Decoder(STATIC_TABLE, huffman, max_size=16384)
    for block in data.split(b"\xfe\xfe"):
        try:
            found = decoder.decode(block)
        except (BadSection, LargeSection):
            return
        assert sum(len(name) + len(value) + 32 for name, value in found) <= 16384
        assert decoder._size == sum(len(name) + len(value) + 32 for name, value in decoder._entries) <= 4096


def downgrade(data: bytes) -> None:
    """A field list of HTTP/2 that is taken leaves as one HTTP/1.1 request, with the same fields (RFC 9113 §10.3)."""
    decoder = Decoder(STATIC_TABLE, huffman, max_size=16384)
    try:
        received = decoder.decode(data)
        head = h2_fields.request_head(received, max_head=8192, max_fields=50, max_target=2048)
    except (BadSection, LargeSection, h2_fields.Malformed, HopError):
        return
    out = Request(head.method, head.target, head.fields, authority=head.authority, version=b"2")
    with contextlib.suppress(HopError):
        out = forwarding.outbound(
            out, pseudonym=b"p", client="127.0.0.1", request_id=b"1", traceparent=b"t", trusted=False
        )
        written = h1.request_head(out.method, out.target, out.authority, out.fields)
        again = h1.parse_request(h1.FieldParser(), written, max_target=2048, max_fields=80)
        assert (again.method, again.target, again.authority) == (out.method, out.target, out.authority)
        assert again.fields == out.fields
        return
    assert b"max-forwards" in dict(head.fields) or b"via" in dict(head.fields)


def field_lists(data: bytes) -> None:
    for element in fields.split_list(data):
        assert element == element.strip(b" \t") != b""
    for name in fields.split_params(data):
        assert name == name.lower()
    assert fields.unquote(fields.quote(data)) == data
    for name in fields.tokens(data):
        assert fields.TOKEN.fullmatch(name)


def field_values(data: bytes) -> None:
    """Cache-Control, Range, entity tags, dates, weights."""
    found = cache_control.parse(data)
    assert found == cache_control.parse(data)
    for size in (0, 1, 1000):
        got = ranges.parse(b"bytes=" + data, size)
        if isinstance(got, tuple):
            assert all(0 <= part.start < part.stop <= size for part in got)
            body = ranges.multipart(got, size, content_type=b"a/b", boundary=b"x")
            assert len(b"".join(body.pieces(bytes(size)))) == body.content_length
    ranges.parse(data, 10)
    if (tags := conditional.entity_tags(data)) is not None:
        assert all(map(conditional.is_entity_tag, tags))
    lines = [(b"if-none-match", data), (b"if-modified-since", data), (b"if-range", data), (b"if-match", data)]
    for start in range(3):
        conditional.evaluate(b"GET", lines[start:], etag=b'"a"', last_modified=data, now=NOW)
    conditional.if_range_holds(lines, etag=b'"a"', last_modified=data, date=data, now=NOW)
    at = dates.parse_http_date(data, NOW)
    if at is not None and at >= 0:
        assert dates.parse_http_date(dates.http_date(at), NOW) == at
    assert all(0 <= weight <= 1000 for weight in negotiation.weighted(data).values())
    negotiation.coding(data, [b"br", b"gzip"])
    negotiation.prefers_html(data)


_TRUST: Final = Trust(["127.0.0.0/8"])


def forwarded(data: bytes) -> None:
    """Via, Forwarded and their like from anybody, as a trusted peer and as another."""
    lines = [
        (name, value.replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"").strip(b" \t"))
        for name, value in zip(
            (b"forwarded", b"x-forwarded-for", b"via", b"connection", b"max-forwards", b"x-forwarded-host"),
            data.split(b"\xff"),
            strict=False,
        )
    ]
    assert node_address(data) is None or node_address(data)
    client = _TRUST.client("127.0.0.1", lines)
    peer = Peer("127.0.0.1", 1, trusted=True)
    for method, trusted in ((b"GET", True), (b"OPTIONS", False)):
        request = Request(method, b"/", lines, authority=b"a", peer=peer)
        with contextlib.suppress(HopError):
            out = forwarding.outbound(
                request, pseudonym=b"p", client=client, request_id=b"1", traceparent=b"t", trusted=trusted
            )
            clean([field for field in out.fields if field not in lines])
            h1.request_head(out.method, out.target, out.authority, out.fields)
    forwarding.inbound(Response(200, list(lines)), pseudonym=b"p", date=b"d")


class _Service:
    """Answers at once, later, or as the content comes."""

    def handle(self, request: Request, exchange: Exchange) -> Any:
        if b"now" in request.target:
            return Response(200, [], b"now")
        return self._later(request)

    async def _later(self, request: Request) -> Response:
        body = request.body
        content = body if isinstance(body, bytes) else b"".join([piece async for piece in body])
        return Response(200, [], content)


def _connection(data: bytes, make: Callable[[Context, Peer], Any], step: int) -> None:
    """A whole connection: no event of the transport may raise, and nothing may be left when it is lost."""
    loop = asyncio.new_event_loop()
    failures: list[object] = []
    loop.set_exception_handler(lambda _, context: failures.append(context))

    async def run() -> None:
        tasks = Tasks()
        clock = VirtualClock()
        context = Context(
            _Service(), name="s", clock=clock, random=random.Random(1), tasks=tasks, limits=Limits(head=4096),
            timeouts=Timeouts(), trust=Trust(()),
        )  # fmt: skip
        link = Link(loop)
        link.start(asyncio.Protocol(), connection := make(context, Peer("127.0.0.1", 1)))
        for at in range(0, len(data), step):
            link.server.receive(data[at : at + step])
            link.move(link.server, 10**6)
            await settle(2)
        for seconds in (1.0, 40.0, 40.0, 100.0):
            clock._now += seconds
            if not link.server.lost:
                link.server.protocol.expire()  # type: ignore[attr-defined]
            await settle(3)
        connection.abort()
        link.server.abort()
        await settle(6)
        assert not failures, failures
        assert context.in_flight == 0, "an exchange was not ended"
        assert not context.connections
        assert len(tasks) == 0, "a task is left"

    try:
        loop.run_until_complete(run())
    finally:
        loop.close()


def h1_connection(data: bytes) -> None:
    _connection(
        data[1:], lambda context, peer: H1ServerConnection(context, peer, b"http", None), data[0] * 8 + 1 if data else 1
    )


def h2_connection(data: bytes) -> None:
    whole = wire.PREFACE + SETTINGS + data[1:]
    _connection(whole, lambda context, peer: H2ServerConnection(context, peer, b"http"), data[0] * 8 + 1 if data else 1)


TARGETS: Final[dict[str, Target]] = {
    "request-head": request_head,
    "response-head": response_head,
    "chunked": chunked,
    "h2-server": h2_server,
    "h2-client": h2_client,
    "h1-connection": h1_connection,
    "h2-connection": h2_connection,
    "hpack": hpack,
    "downgrade": downgrade,
    "field-lists": field_lists,
    "field-values": field_values,
    "forwarded": forwarded,
}
