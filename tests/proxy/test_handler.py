"""The proxy's phases in order, with an app that answers by script."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from proxy.codecs.gzip import Gzip
from proxy.compression import Compressor
from proxy.config import COMPRESSIBLE
from proxy.handler import Proxy
from proxy.rules.compression import Policy, Types
from proxy.static import StaticFiles
from stack.errors import ConnectRefused, HopError, LoopDetected
from stack.http.message import Fields, Peer, Request, Response
from stack.path import STEPS
from stack.telemetry.exchange import Exchange

DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"


class App:
    def __init__(self, answer: Callable[[], Response]) -> None:
        self.answer = answer
        self.sent: list[Request] = []

    async def send(self, request: Request, exchange: Exchange) -> Response:
        self.sent.append(request)
        return self.answer()


def page() -> Response:
    return Response(
        200, [(b"content-type", b"text/html"), (b"connection", b"x-inner"), (b"x-inner", b"1")], b"x" * 3000
    )


def refused() -> Response:
    raise ConnectRefused(private="127.0.0.1:1: refused")


def proxy(app: App | None, *static: StaticFiles, compress: bool = True) -> Proxy:
    compressor = Compressor(Policy((b"gzip",), 1024, Types(COMPRESSIBLE)), {b"gzip": Gzip(2)})
    return Proxy(
        name="proxy-1",
        app=app,
        app_name="app-1",
        static=static,
        compressor=compressor if compress else None,
        date=lambda: DATE,
    )


def exchange_of(target: bytes, fields: Fields | None = None) -> tuple[Request, Exchange]:
    peer = Peer("10.0.0.9", 1234, trusted=True)
    request = Request(b"GET", target, fields or [], authority=b"shop.test", scheme=b"https", peer=peer)
    exchange = Exchange("proxy-1", lambda: 0.0, request)
    exchange.client, exchange.request_id, exchange.trace_id, exchange.span_id = (
        "192.0.2.7",
        b"r-1",
        b"a" * 32,
        b"b" * 16,
    )
    return request, exchange


def words(exchange: Exchange) -> list[tuple[str, str]]:
    said = [(step, word) for step, word, _ in exchange.marks]
    assert all(word in STEPS["proxy"][step] for step, word in said)
    return said


async def test_to_the_app_and_back() -> None:
    app = App(page)
    request, exchange = exchange_of(b"/products?page=2", [(b"accept-encoding", b"gzip"), (b"connection", b"close")])
    answer = proxy(app).handle(request, exchange)
    assert inspect.isawaitable(answer)
    response = await answer
    (sent,) = app.sent
    assert (sent.method, sent.target, sent.authority) == (b"GET", b"/products?page=2", b"shop.test")
    assert sent.get(b"accept-encoding") == b"gzip"  # an app that encodes itself may do so
    assert sent.get(b"connection") is None
    assert sent.get(b"via") == b"1.1 proxy-1"
    assert sent.get(b"x-forwarded-proto") == b"https"
    assert sent.get(b"x-request-id") == b"r-1"
    assert sent.get(b"traceparent") == b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-00"
    assert response.get(b"via") == b"1.1 proxy-1"
    assert response.get(b"date") == DATE
    assert response.get(b"x-inner") is None
    assert response.get(b"content-encoding") == b"gzip"
    assert words(exchange) == [("route", "app"), ("forward", "answered"), ("compress", "gzip")]
    assert (exchange.upstream, exchange.attempts) == ("app-1", 1)


async def test_without_compression() -> None:
    request, exchange = exchange_of(b"/", [(b"accept-encoding", b"gzip")])
    response = await proxy(None, compress=False).forward(App(page), request, exchange)
    assert (response.get(b"content-encoding"), response.get(b"vary")) == (None, None)
    assert words(exchange) == [("forward", "answered")]


async def test_an_app_that_is_down() -> None:
    request, exchange = exchange_of(b"/")
    with pytest.raises(HopError) as caught:
        await proxy(None).forward(App(refused), request, exchange)
    assert (caught.value.status, caught.value.proxy_status) == (502, "connection_refused")
    assert words(exchange) == [("forward", "failed")]
    assert exchange.upstream == "app-1"


async def test_a_loop() -> None:
    """RFC 9110 §7.6.3: this hop's own name in Via."""
    app = App(page)
    request, exchange = exchange_of(b"/", [(b"via", b"1.1 proxy-1")])
    with pytest.raises(LoopDetected):
        await proxy(None).forward(app, request, exchange)
    assert app.sent == []


@pytest.fixture
def static(tmp_path: Path) -> StaticFiles:
    (tmp_path / "site.css").write_bytes(b"body{}" * 1000)
    return StaticFiles(
        str(tmp_path),
        prefix=b"/static/",
        max_age=60,
        compressible=Types(COMPRESSIBLE),
        hop="proxy-1",
        time=lambda: 0.0,
        random=Random(1),
    )


def test_a_file_is_answered_at_once(static: StaticFiles) -> None:
    app = App(page)
    request, exchange = exchange_of(b"/static/site.css", [(b"accept-encoding", b"gzip")])
    response = proxy(app, static).handle(request, exchange)
    assert isinstance(response, Response)
    assert response.get(b"content-encoding") == b"gzip"
    etag = response.get(b"etag")
    assert etag is not None
    assert etag.startswith(b'W/"')
    assert words(exchange) == [("route", "static"), ("serve", "file"), ("compress", "gzip")]
    assert app.sent == []

    request, exchange = exchange_of(b"/static/site.css", [(b"accept-encoding", b"gzip"), (b"if-none-match", etag)])
    again = proxy(app, static).handle(request, exchange)
    assert isinstance(again, Response)
    assert (again.status, again.get(b"etag")) == (304, etag)


def test_a_part_of_a_file_is_not_compressed(static: StaticFiles) -> None:
    request, exchange = exchange_of(b"/static/site.css", [(b"accept-encoding", b"gzip"), (b"range", b"bytes=0-3999")])
    response = proxy(App(page), static).handle(request, exchange)
    assert isinstance(response, Response)
    assert (response.status, response.get(b"content-encoding"), len(response.body)) == (206, None, 4000)  # type: ignore[arg-type]
    assert words(exchange) == [("route", "static"), ("serve", "partial"), ("compress", "range")]


def test_a_missing_file_is_not_asked_of_the_app(static: StaticFiles) -> None:
    app = App(page)
    request, exchange = exchange_of(b"/static/nowhere.css")
    response = proxy(app, static).handle(request, exchange)
    assert isinstance(response, Response)
    assert response.status == 404
    assert app.sent == []


async def test_another_path_is_the_apps(static: StaticFiles) -> None:
    app = App(page)
    request, exchange = exchange_of(b"/static")
    answer = proxy(app, static).handle(request, exchange)
    assert not isinstance(answer, Response)
    await answer
    assert len(app.sent) == 1


def test_the_longest_prefix_wins(tmp_path: Path) -> None:
    def files(prefix: bytes, content: str) -> StaticFiles:
        root = tmp_path / content
        root.mkdir()
        (root / "a.txt").write_text(content)
        return StaticFiles(
            str(root), prefix=prefix, max_age=60, compressible=Types(COMPRESSIBLE), hop="proxy-1",
            time=lambda: 1.8e9, random=Random(1),
        )  # fmt: skip

    service = proxy(None, files(b"/x/y/", "inner"), files(b"/x/", "outer"))
    for target, content in ((b"/x/y/a.txt", b"inner"), (b"/x/a.txt", b"outer")):
        response = service.handle(*exchange_of(target))
        assert isinstance(response, Response)
        assert response.body == content
    request, exchange = exchange_of(b"/a.txt")
    with pytest.raises(HopError) as caught:  # nobody is there to be asked
        service.handle(request, exchange)
    assert (caught.value.status, caught.value.proxy_status) == (404, "")
    assert words(exchange) == [("route", "none")]
