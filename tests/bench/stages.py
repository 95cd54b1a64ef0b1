"""The stages of a request as calls that can be timed alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from stack.http.field_lines import FieldParser
from stack.http.forwarding import inbound
from stack.http.h1 import parse_request, parse_response, request_head, response_head
from stack.http.message import Response
from stack.telemetry.access_log import who
from stack.telemetry.exchange import Exchange
from stack.telemetry.identity import onward
from tests.bench.inprocess import RESPONSE, Bench, head, request_of

MANY = 100
Stage = tuple[str, Callable[[], Any]]


def stages(bench: Bench) -> Iterator[Stage]:
    """Name and call, in the order of the path. The names say whose work it is."""
    if bench.hits:
        yield from short_stages(bench)
        return
    context = bench.hop.context
    parser = FieldParser()
    raw, answer = head(1), RESPONSE[: RESPONSE.find(b"\r\n\r\n") + 4]
    limits = context.limits
    yield (
        "head in: parse_request",
        lambda: parse_request(parser, raw, max_target=limits.target, max_fields=limits.fields),
    )
    request = request_of(bench)
    yield "exchange begun: Context.begin", lambda: context.begin(request)
    exchange: Exchange = context.begin(request)
    if bench.hop.kind != "cdn_edge":
        yield "request onward: onward", lambda: onward(request, exchange, b"name")
        out = onward(request, exchange, b"name")
        yield (
            "head out: request_head",
            lambda: request_head(out.method, out.target, out.authority, out.fields),
        )
        yield "head back: parse_response", lambda: parse_response(parser, answer, method=b"GET")
        fields = parse_response(parser, answer, method=b"GET").fields

        def back() -> Response:
            passed = Response(200, fields[:])
            passed.plain = True
            return inbound(passed, pseudonym=b"name", date=b"now")

        yield "response onward: inbound", back
    response = back() if bench.hop.kind != "cdn_edge" else Response(200, [(b"content-type", b"text/html")])
    exchange.mark("route", "app")
    exchange.mark("forward", "answered")
    exchange.status, exchange.upstream, exchange.attempts = 200, "app", 1
    yield "fields added: Context.added", lambda: context.added(response, exchange)
    added = context.added(response, exchange)
    yield "head down: response_head", lambda: response_head(200, response.fields, added)
    exchange.ended = context.now()
    many = [exchange] * MANY
    for reader in bench.hop.ended.readers:
        name = getattr(reader, "__qualname__", "?")
        yield f"afterwards, {MANY} at a time: {name}", lambda reader=reader: reader(many)  # type: ignore[misc]
    context.in_flight = 0


def short_stages(bench: Bench) -> Iterator[Stage]:
    """The same of a hit, which takes the short way."""
    context, raw = bench.hop.context, head(1)
    short, now = context.short, context.now
    assert short is not None
    began = now()
    yield "head in: plain_get", lambda: short.plain(raw)
    yield "found: at_once", lambda: short.find(b"http", b"bench.test", b"/page1", began, list)
    yield "ids, Server-Timing", lambda: (short.ids(), short.timing(0.00001))
    one = (who("192.0.2.1", b"http", b"bench.test", None), short.ids(), b"/page1", began, began, now(), 200, 1024)
    many = [one] * MANY
    for reader in bench.hop.ended.readers:
        name = getattr(reader, "__qualname__", "?")
        yield f"afterwards, {MANY} at a time: {name}", lambda reader=reader: reader(many)  # type: ignore[misc]
