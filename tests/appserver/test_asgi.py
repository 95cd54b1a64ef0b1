"""An ASGI application as a Service: scripted apps, no sockets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from appserver.asgi import App, AppFailed, AsgiService, Message, Receive, Send
from stack.clock import settle
from stack.errors import ClientGone, ContentTooLarge, HopError
from stack.http.message import Body, BodyStream, Fields, Peer, Request, Response
from stack.net.stream import Incoming
from stack.net.tasks import Tasks
from stack.telemetry.exchange import Exchange

START = {"type": "http.response.start", "status": 200, "headers": [(b"Content-Type", b"text/plain")]}


def body(data: bytes = b"", more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


def script(*messages: Message) -> App:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return app


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    tasks = Tasks()
    yield tasks
    await tasks.close()


@pytest.fixture
def ask(tasks: Tasks) -> Callable[..., Awaitable[Response]]:
    def ask(
        app: App, *, method: bytes = b"GET", content: Body = b"", fields: Fields | None = None, buffer: int = 64
    ) -> Any:
        service = AsgiService("app-1", tasks=tasks, buffer=buffer)
        service.app = app
        request = Request(method, b"/", fields or [], authority=b"x", body=content, peer=Peer("127.0.0.1", 1))
        exchange = Exchange("app-1", lambda: 0.0, request)
        exchange.request_id = b"id-7"
        return service.handle(request, exchange)

    return ask


Ask = Callable[..., "asyncio.Future[Response]"]


async def pieces(stream: Body) -> list[bytes]:
    assert not isinstance(stream, bytes)
    return [piece async for piece in stream]


# ── Answers ───────────────────────────────────────────────────────────────────────────────────


async def test_a_whole_answer_is_bytes(ask: Ask) -> None:
    response = await ask(script(START, body(b"hello")))
    assert (response.status, response.fields, response.body) == (200, [(b"content-type", b"text/plain")], b"hello")


async def test_headers_and_body_may_be_left_out(ask: Ask) -> None:
    response = await ask(script({"type": "http.response.start", "status": 404}, {"type": "http.response.body"}))
    assert (response.status, response.fields, response.body) == (404, [], b"")


async def test_nothing_goes_out_before_the_first_piece_of_content(ask: Ask) -> None:
    # ASGI HTTP "Response Start": the server waits for the first body message
    go = asyncio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(START)
        await go.wait()
        await send(body(b"x"))

    answer = ask(app)
    await settle()
    assert not answer.done()
    go.set()
    assert (await answer).body == b"x"


async def test_a_stream_is_handed_on_piece_by_piece(ask: Ask) -> None:
    response = await ask(script(START, body(b"a", True), body(b"", True), body(b"b", True), body(b"c")))
    assert await pieces(response.body) == [b"a", b"b", b"c"]


@pytest.mark.parametrize(
    "field",
    [b"Transfer-Encoding", b"connection", b"keep-alive", b"upgrade", b"proxy-connection"],
)
async def test_the_connection_is_the_servers(ask: Ask, field: bytes) -> None:
    start = {"type": "http.response.start", "status": 200, "headers": [(field, b"chunked"), (b"x", b"y")]}
    assert (await ask(script(start, body()))).fields == [(b"x", b"y")]


async def test_the_response_comes_before_the_app_has_ended(ask: Ask, tasks: Tasks) -> None:
    ended = asyncio.Event()
    go = asyncio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"x"))
        await go.wait()
        ended.set()

    assert (await ask(app)).body == b"x"
    assert len(tasks) == 1
    go.set()
    await ended.wait()
    await settle()
    assert len(tasks) == 0


# ── Content of the request ────────────────────────────────────────────────────────────────────


async def echo(scope: Any, receive: Receive, send: Send) -> None:
    data, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("gone")
        data += message.get("body", b"")
        more = message["more_body"]
    await send(START)
    await send(body(data))


async def test_content_that_has_come_is_one_message(ask: Ask) -> None:
    assert (await ask(echo, method=b"POST", content=b"12345")).body == b"12345"


async def test_content_on_its_way_is_waited_for_with_backpressure(ask: Ask) -> None:
    paused: list[bool] = []
    stream = Incoming(4, pause=lambda: paused.append(True), resume=lambda: paused.append(False))
    answer = ask(echo, method=b"POST", content=stream)
    stream.feed(b"123")
    stream.feed(b"456")
    assert paused == [True]
    await settle()
    assert paused == [True, False]
    stream.feed(b"7")
    stream.end()
    assert (await answer).body == b"1234567"


async def test_a_client_that_goes_while_it_sends_is_a_disconnect(ask: Ask) -> None:
    stream = Incoming(64)
    answer = ask(echo, method=b"POST", content=stream)
    stream.feed(b"1")
    await settle()
    stream.fail(ClientGone())
    with pytest.raises(ClientGone):
        await answer


async def test_content_that_is_refused_tells_the_client_why(ask: Ask) -> None:
    stream = Incoming(64)
    answer = ask(echo, method=b"POST", content=stream)
    stream.fail(ContentTooLarge())
    with pytest.raises(ContentTooLarge):
        await answer


# ── Disconnection ─────────────────────────────────────────────────────────────────────────────


async def test_receive_tells_that_the_client_has_gone(ask: Ask, tasks: Tasks) -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        seen.append((await receive())["type"])
        seen.append((await receive())["type"])
        seen.append((await receive())["type"])

    answer = ask(app)
    await settle()
    assert seen == ["http.request"]
    answer.cancel()
    await settle()
    assert seen == ["http.request", "http.disconnect", "http.disconnect"]
    assert len(tasks) == 0


async def test_send_raises_oserror_when_the_client_has_gone(ask: Ask) -> None:
    # ASGI HTTP 2.4 "Disconnected Client - send exception"
    go = asyncio.Event()
    raised: list[BaseException] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await go.wait()
        try:
            await send(START)
        except OSError as error:
            raised.append(error)

    answer = ask(app)
    await settle()
    answer.cancel()
    go.set()
    await settle()
    assert len(raised) == 1


async def test_a_client_that_leaves_a_stream_is_told_to_receive_and_send(ask: Ask) -> None:
    seen: list[str] = []
    raised: list[BaseException] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send(START)
        await send(body(b"a", True))
        seen.append((await receive())["type"])
        try:
            await send(body(b"b", True))
        except OSError as error:
            raised.append(error)

    response = await ask(app)
    assert not isinstance(response.body, bytes)
    assert await anext(response.body) == b"a"
    await response.body.aclose()
    await settle()
    assert seen == ["http.disconnect"]
    assert len(raised) == 1


async def test_a_waiting_writer_is_freed_when_the_client_leaves(ask: Ask, tasks: Tasks) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(START)
        while True:
            await send(body(b"x" * 100, True))

    response = await ask(app)
    assert not isinstance(response.body, bytes)
    await settle()
    assert len(tasks) == 1
    await response.body.aclose()
    await settle()
    assert len(tasks) == 0


async def test_after_the_response_receive_says_disconnect(ask: Ask) -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        waiting = asyncio.get_running_loop().create_task(receive())  # type: ignore[arg-type]
        await asyncio.sleep(0)
        await send(START)
        await send(body(b"x"))
        seen.append((await waiting)["type"])
        seen.append((await receive())["type"])

    await ask(app)
    await settle()
    assert seen == ["http.disconnect", "http.disconnect"]


async def test_who_waits_for_content_hears_that_the_response_is_complete(ask: Ask, tasks: Tasks) -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        reading = asyncio.get_running_loop().create_task(receive())  # type: ignore[arg-type]
        await settle()
        await send(START)
        await send(body(b"enough"))
        seen.append((await reading)["type"])

    assert (await ask(app, method=b"POST", content=Incoming(64))).body == b"enough"
    await settle()
    assert seen == ["http.disconnect"]
    assert len(tasks) == 0


async def test_one_cancelled_receive_does_not_disturb_the_next(ask: Ask) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        waiting = asyncio.get_running_loop().create_task(receive())  # type: ignore[arg-type]
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await send(START)
        await send(body(b"fine"))

    assert (await ask(app)).body == b"fine"


# ── Backpressure ──────────────────────────────────────────────────────────────────────────────


async def test_a_slow_client_holds_the_app(ask: Ask) -> None:
    sent = 0

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send(START)
        for _ in range(100):
            await send(body(b"x" * 10, True))
            sent += 1
        await send(body())

    response = await ask(app, buffer=64)
    await settle()
    assert sent == 6  # the seventh piece is over 64 bytes and waits
    assert len(b"".join(await pieces(response.body))) == 1000
    assert sent == 100


# ── Errors ────────────────────────────────────────────────────────────────────────────────────


async def test_an_error_before_the_start_is_the_apps_failure(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        raise LookupError("no such shoe")

    with pytest.raises(AppFailed, match="The application failed") as caught:
        await ask(app)
    assert (caught.value.status, caught.value.detail) == (500, "")
    assert caught.value.private == "LookupError('no such shoe')"
    assert [record.message for record in caplog.records] == ["the app failed: <Request GET x/>, request id-7"]
    assert "no such shoe" in str(caplog.records[0].exc_info)


async def test_an_error_between_start_and_content_is_still_a_500(ask: Ask) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(START)
        raise LookupError("no such shoe")

    with pytest.raises(AppFailed):
        await ask(app)


async def test_an_error_after_the_start_cuts_the_stream(ask: Ask) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"half", True))
        raise LookupError("no such shoe")

    response = await ask(app)
    assert not isinstance(response.body, bytes)
    assert await anext(response.body) == b"half"
    with pytest.raises(LookupError):
        await anext(response.body)


async def test_an_error_after_the_end_is_logged_only(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"x"))
        raise LookupError("the mail was not sent")

    assert (await ask(app)).body == b"x"
    await settle()
    assert [(record.levelno, record.message) for record in caplog.records] == [
        (logging.ERROR, "the app failed after its response: <Request GET x/>, request id-7")
    ]


async def test_sys_exit_ends_the_request_not_the_worker(ask: Ask) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        raise SystemExit(3)

    with pytest.raises(AppFailed):
        await ask(app)


@pytest.mark.parametrize(
    ("messages", "error"),
    [
        ([], "without the response"),
        ([START], "without the end of the response"),
        ([body(b"x")], "'http.response.body' was sent where 'http.response.start' is due"),
        ([START, START], "'http.response.start' was sent where 'http.response.body' is due"),
        ([{"type": "websocket.accept"}], "'websocket.accept' was sent"),
        ([START | {"status": "200"}, body()], "the status '200'"),
        ([START | {"status": 103}, body()], "the status 103"),
        ([START | {"headers": [("x", b"y")]}, body()], "of str, not bytes"),
        ([START | {"headers": [(b"content-length", b"3")]}, body(b"four")], "Content-Length is 3"),
        ([START | {"headers": [(b"content-length", b"5")]}, body(b"four")], "Content-Length is 5"),
        ([START | {"headers": [(b"content-length", b"-5")]}, body(b"four")], "Content-Length is"),
        (
            [START | {"headers": [(b"content-length", b"4"), (b"content-length", b"5")]}, body(b"four")],
            "two Content-Length",
        ),
    ],
)
async def test_a_broken_sequence_is_the_apps_failure(ask: Ask, messages: list[Message], error: str) -> None:
    with pytest.raises(HopError) as failed:
        await ask(script(*messages))
    assert error in f"{failed.value} {getattr(failed.value, 'private', '')}"


@pytest.mark.parametrize("tail", [[body(b"567", True), body()], [body()], []], ids=["long", "short", "none"])
async def test_a_stream_that_is_not_its_declared_length_is_cut(ask: Ask, tail: list[Message]) -> None:
    start = START | {"headers": [(b"content-length", b"6")]}
    response = await ask(script(start, body(b"1234", True), *tail))
    with pytest.raises((ValueError, AppFailed)):
        await pieces(response.body)


async def test_sending_after_the_end_is_an_error_in_the_app(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    assert (await ask(script(START, body(b"x"), body(b"y")))).body == b"x"
    await settle()
    assert "was sent after the response's end" in str(caplog.records[0].exc_info)


# ── No content ────────────────────────────────────────────────────────────────────────────────


async def test_head_may_send_its_content(ask: Ask) -> None:
    assert (await ask(script(START, body(b"hello")), method=b"HEAD")).body == b"hello"  # the engine drops it


async def test_head_may_declare_a_length_and_send_nothing(ask: Ask) -> None:
    start = START | {"headers": [(b"content-length", b"1000")]}
    response = await ask(script(start, body()), method=b"HEAD")
    assert response.get(b"content-length") == b"1000"


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", 200), (b"GET", 304), (b"GET", 204)])
async def test_what_an_app_streams_where_nothing_may_be_sent_is_dropped(
    ask: Ask, tasks: Tasks, caplog: pytest.LogCaptureFixture, method: bytes, status: int
) -> None:
    sent = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(START | {"status": status})
        for n in range(5):
            await send(body(b"x" * 1000, True))
            sent.append(n)
        await send(body(b"end"))
        sent.append("end")

    response = await ask(app, method=method)
    assert not isinstance(response.body, bytes)
    await response.body.aclose()  # as the engine does at once
    await settle()
    assert sent == [0, 1, 2, 3, 4, "end"]
    assert len(tasks) == 0
    assert caplog.records == []


# ── What is refused ───────────────────────────────────────────────────────────────────────────


async def test_marks_say_how_it_ended(tasks: Tasks) -> None:
    for app, word in (
        (script(START, body()), "answered"),
        (script(), "failed"),
        (script(START, body(b"", True)), "answered"),
    ):
        service = AsgiService("app-1", tasks=tasks)
        service.app = app
        request = Request(b"GET", b"/", [], authority=b"x")
        exchange = Exchange("app-1", lambda: 0.0, request)
        await asyncio.gather(service.handle(request, exchange), return_exceptions=True)
        assert [(step, said) for step, said, _ in exchange.marks] == [("app", word)]


def test_the_stream_is_a_body_stream() -> None:
    from appserver.outgoing import Outgoing

    stream: BodyStream = Outgoing(lambda: None)
    assert hasattr(stream, "aclose")
