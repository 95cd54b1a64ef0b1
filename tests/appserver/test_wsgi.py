"""A WSGI application as a Service: apps in real threads, no sockets. All of them under wsgiref.validate."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any
from wsgiref.validate import validator

import pytest

from appserver.asgi import AppFailed
from appserver.threads import Threads
from appserver.wsgi import EXCHANGE, App, StartResponse, WsgiService
from stack.clock import eventually, settle
from stack.errors import ClientGone, ContentTooLarge, HopError
from stack.http.message import Body, Fields, Peer, Request, Response
from stack.net.stream import Incoming
from stack.net.tasks import Tasks
from stack.telemetry.exchange import Exchange

TEXT = [("Content-Type", "text/plain")]
Ask = Callable[..., "asyncio.Future[Response]"]


@pytest.fixture
async def ask() -> AsyncIterator[Ask]:
    threads, tasks = Threads(4, name="app-1"), Tasks()

    def ask(
        app: App,
        *,
        method: bytes = b"GET",
        content: Body = b"",
        fields: Fields | None = None,
        buffer: int = 64,
        valid: bool = True,
    ) -> Awaitable[Response]:
        checked: Any = validator(app) if valid else app  # type: ignore[arg-type]
        service = WsgiService(checked, threads=threads, tasks=tasks, buffer=buffer)
        request = Request(
            method, b"/p?q=1", fields or [], authority=b"x", body=content, peer=Peer("127.0.0.1", 1, local=("", 80))
        )
        exchange = Exchange("app-1", lambda: 0.0, request)
        exchange.request_id = b"id-7"
        return service.handle(request, exchange)

    yield ask  # type: ignore[misc]
    await eventually(lambda: threads.unfinished == 0, within=10)
    threads.close()
    await tasks.close()


async def whole(response: Response) -> bytes:
    body = response.body
    return body if isinstance(body, bytes) else b"".join([piece async for piece in body])


async def pieces(body: Body) -> list[bytes]:
    assert not isinstance(body, bytes)
    return [piece async for piece in body]


def answering(*content: bytes, status: str = "200 OK", headers: list[tuple[str, str]] | None = None) -> App:
    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        start_response(status, TEXT if headers is None else headers)
        return list(content)

    return app


class Closing:
    """An iterable that knows whether it was closed."""

    def __init__(self, source: Iterator[bytes]) -> None:
        self.source, self.closed = source, 0

    def __iter__(self) -> Iterator[bytes]:
        return self.source

    def close(self) -> None:
        self.closed += 1


# ── Answers ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("content", [(b"hello",), (b"hel", b"", b"lo"), (b"", b"hello")])
async def test_a_list_is_a_whole_answer(ask: Ask, content: tuple[bytes, ...]) -> None:
    response = await ask(answering(*content), valid=False)
    assert (response.status, response.fields, response.body) == (200, [(b"content-type", b"text/plain")], b"hello")


async def test_nothing_is_an_answer_too(ask: Ask) -> None:
    assert (await ask(answering(), valid=False)).body == b""


async def test_content_of_the_declared_length_is_whole_before_the_app_ends(ask: Ask) -> None:
    go = threading.Event()
    ended: list[str] = []

    def app(environ: dict[str, Any], start_response: StartResponse) -> Closing:
        start_response("200 OK", [*TEXT, ("Content-Length", "5")])

        def source() -> Iterator[bytes]:
            yield b"hello"
            raise AssertionError("nobody asks for more")

        class Slow(Closing):
            def close(self) -> None:
                go.wait(10)
                ended.append("closed")

        return Slow(source())

    response = await ask(app, valid=False)
    assert response.body == b"hello"
    assert ended == []
    go.set()
    await eventually(lambda: ended == ["closed"], within=10)


async def test_a_generator_is_handed_on_piece_by_piece(ask: Ask) -> None:
    go = [threading.Event() for _ in range(3)]

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        for number, event in enumerate(go):
            event.wait(10)
            yield b"%d" % number

    answer = ask(app)
    await settle()
    assert not answer.done()  # PEP 3333: no head before the first piece
    go[0].set()
    body = (await answer).body
    assert not isinstance(body, bytes)
    assert await body.__anext__() == b"0"
    go[1].set()
    assert await body.__anext__() == b"1"
    go[2].set()
    assert await pieces(body) == [b"2"]


async def test_empty_pieces_send_no_head(ask: Ask) -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        yield b""
        try:
            raise KeyError("late")
        except KeyError as error:
            start_response("500 Oops", TEXT, (KeyError, error, error.__traceback__))
        yield b"sorry"

    response = await ask(app)
    assert response.status == 500  # PEP 3333: until then the head may still be replaced
    assert await pieces(response.body) == [b"sorry"]


async def test_written_content_goes_out_at_once(ask: Ask) -> None:
    go = threading.Event()

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        write = start_response("200 OK", TEXT)
        write(b"first")
        go.wait(10)
        write(b"second")
        return [b"third"]

    response = await ask(app)
    assert not isinstance(response.body, bytes)
    assert await response.body.__anext__() == b"first"
    go.set()
    assert b"".join(await pieces(response.body)) == b"secondthird"


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", "200 OK"), (b"GET", "304 Not Modified")])
@pytest.mark.parametrize("kind", ["list", "generator", "write"])
async def test_an_answer_without_content(ask: Ask, method: bytes, status: str, kind: str) -> None:
    results: list[Closing] = []

    def app(environ: dict[str, Any], start_response: StartResponse) -> Any:
        write = start_response(status, [("ETag", '"1"')])
        if kind == "write":
            write(b"abc")
            return []
        if kind == "list":
            return [b"abc"]
        results.append(Closing(iter([b"abc", b"def"])))
        return results[-1]

    response = await ask(app, method=method, valid=False)
    assert (response.status, response.fields) == (int(status[:3]), [(b"etag", b'"1"')])
    if kind == "list":
        assert response.body == b"abc"  # the engine measures it and sends none of it
    else:
        assert await pieces(response.body) == []
    await eventually(lambda: all(result.closed == 1 for result in results), within=10)


async def test_a_file(ask: Ask, tmp_path: Any) -> None:
    (tmp_path / "film").write_bytes(b"x" * 20_000)

    def app(environ: dict[str, Any], start_response: StartResponse) -> Any:
        start_response("200 OK", TEXT)
        return environ["wsgi.file_wrapper"](open(tmp_path / "film", "rb"), 4096)

    assert b"".join(await pieces((await ask(app)).body)) == b"x" * 20_000


async def test_the_connection_is_the_servers(ask: Ask) -> None:
    headers = [
        ("Connection", "close"),
        ("Transfer-Encoding", "chunked"),
        ("X", "y"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
    ]
    response = await ask(answering(b"x", headers=headers), valid=False)
    assert response.fields == [(b"x", b"y"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]


async def test_an_app_marks_its_own_steps(ask: Ask) -> None:
    seen: list[Exchange] = []

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        seen.append(environ[EXCHANGE])
        environ[EXCHANGE].mark("db", "asked")
        start_response("200 OK", TEXT)
        return [b"x"]

    await ask(app)
    assert [(step, word) for step, word, _ in seen[0].marks] == [("db", "asked"), ("app", "answered")]


# ── Content of the request ────────────────────────────────────────────────────────────────────


def reading(read: Callable[[Any], Any]) -> App:
    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        found = read(environ["wsgi.input"])
        start_response("200 OK", TEXT)
        return [repr(found).encode()]

    return app


READS: list[tuple[str, Callable[[Any], Any], Any]] = [
    ("all", lambda file: file.read(100), b"one\ntwo\nthree"),
    ("in pieces", lambda file: [file.read(5), file.read(5), file.read(5), file.read(5)], [b"one\nt", b"wo\nth", b"ree", b""]),
    ("nothing", lambda file: [file.read(0), file.read(3)], [b"", b"one"]),
    ("lines", lambda file: [file.readline(), file.readline(), file.readline(), file.readline()], [b"one\n", b"two\n", b"three", b""]),
    ("part of a line", lambda file: [file.readline(2), file.readline(10)], [b"on", b"e\n"]),
    ("readlines", lambda file: file.readlines(), [b"one\n", b"two\n", b"three"]),
    ("readlines hint", lambda file: file.readlines(5), [b"one\n", b"two\n"]),
    ("iterated", lambda file: list(file), [b"one\n", b"two\n", b"three"]),
]  # fmt: skip


@pytest.mark.parametrize(("read", "expected"), [pytest.param(*rest, id=name) for name, *rest in READS])
@pytest.mark.parametrize("streamed", [False, True])
async def test_reading(ask: Ask, read: Callable[[Any], Any], expected: Any, streamed: bool) -> None:
    content: Any = b"one\ntwo\nthree"
    if streamed:
        incoming = content = Incoming(64)
        answer = ask(reading(read), method=b"POST", content=content)
        for piece in (b"o", b"ne\ntw", b"o\nthr", b"ee"):  # while the app waits for it
            await settle()
            incoming.feed(piece)
        incoming.end()
    else:
        answer = ask(reading(read), method=b"POST", content=content)
    assert await whole(await answer) == repr(expected).encode()


async def test_a_long_upload_holds_the_sender(ask: Ask) -> None:
    # what the app does not read is not taken off the connection
    held: list[str] = []
    incoming = Incoming(1000, pause=lambda: held.append("pause"), resume=lambda: held.append("resume"))
    go = threading.Event()

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        go.wait(10)
        size = 0
        while piece := environ["wsgi.input"].read(500):
            size += len(piece)
        start_response("200 OK", TEXT)
        return [b"%d" % size]

    answer = ask(app, method=b"POST", content=incoming)
    incoming.feed(b"x" * 2000)
    await settle()
    assert held == ["pause"]
    go.set()
    await eventually(lambda: held == ["pause", "resume"], within=10)
    incoming.feed(b"x" * 300)
    incoming.end()
    assert await whole(await answer) == b"2300"


async def test_content_and_answer_at_the_same_time(ask: Ask) -> None:
    incoming = Incoming(64)

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        for line in environ["wsgi.input"]:
            yield line.upper()

    answer = ask(app, method=b"POST", content=incoming)
    incoming.feed(b"one\n")
    body = (await answer).body
    assert not isinstance(body, bytes)
    assert await body.__anext__() == b"ONE\n"
    incoming.feed(b"two\n")
    assert await body.__anext__() == b"TWO\n"
    incoming.end()
    assert await pieces(body) == []


@pytest.mark.parametrize(("error", "status"), [(ContentTooLarge(), 413), (ClientGone(), ClientGone.status)])
async def test_content_that_breaks_off(ask: Ask, error: HopError, status: int) -> None:
    incoming = Incoming(64)
    raised: list[BaseException] = []

    def read(file: Any) -> Any:
        try:
            return file.read(100)
        except OSError as error:
            raised.append(error)
            raise

    answer = ask(reading(read), method=b"POST", content=incoming)
    incoming.feed(b"some")
    incoming.fail(error)
    with pytest.raises(HopError) as failed:
        await answer
    assert failed.value.status == status  # what was wrong with the request explains what the app then did
    assert len(raised) == 1


# ── The app is wrong ──────────────────────────────────────────────────────────────────────────


def raising(error: BaseException) -> App:
    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", TEXT)
        raise error

    return app


def started_twice(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
    start_response("200 OK", TEXT)
    start_response("200 OK", TEXT)
    return []


def not_started(environ: dict[str, Any], start_response: StartResponse) -> Any:
    return (piece for piece in (b"x",))


@pytest.mark.parametrize(
    ("app", "says"),
    [
        pytest.param(raising(KeyError("x")), "KeyError('x')", id="an exception"),
        pytest.param(raising(SystemExit(3)), "SystemExit(3)", id="SystemExit"),
        pytest.param(started_twice, "called twice", id="PEP 3333: start_response twice"),
        pytest.param(not_started, "before it called start_response", id="PEP 3333: content before start_response"),
        pytest.param(lambda environ, start_response: [b"x"], "before it called", id="no start_response at all"),
        pytest.param(lambda environ, start_response: None, "NoneType", id="no iterable"),
        pytest.param(answering(b"x", status="OK"), "begins with three digits", id="no status"),
        pytest.param(answering(b"x", status="103 Early Hints"), "interim", id="an interim status"),
        pytest.param(answering(b"x", status=200), "not a str", id="a status that is a number"),  # type: ignore[arg-type]
        pytest.param(answering(b"x", headers=[("X", 1)]), "both are str", id="a header that is no str"),  # type: ignore[list-item]
        pytest.param(answering(b"x", headers=[("X", "\u20ac")]), "latin-1", id="PEP 3333: beyond Latin-1"),
        pytest.param(answering("text"), "str found", id="content that is text"),  # type: ignore[arg-type]
        pytest.param(answering(b"abc", headers=[("Content-Length", "5")]), "is 5, the content has 3", id="too short"),
        pytest.param(answering(b"abc", headers=[("Content-Length", "1")]), "is 1, the content has 3", id="too long"),
    ],
)
async def test_before_the_response_it_is_an_error(
    ask: Ask, app: App, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(AppFailed) as failed:
        await ask(app, valid=False)
    assert failed.value.status == 500
    assert says in (failed.value.private or "")
    assert "id-7" in caplog.text


@pytest.mark.parametrize(
    ("headers", "error", "expected"),
    [
        ([], KeyError("x"), KeyError),
        ([], SystemExit(1), AppFailed),
        ([("Content-Length", "9")], None, ValueError),
        ([("Content-Length", "3")], None, ValueError),
    ],
)
async def test_within_the_response_it_is_cut(
    ask: Ask, headers: list[tuple[str, str]], error: BaseException | None, expected: type[Exception]
) -> None:
    results: list[Closing] = []

    def app(environ: dict[str, Any], start_response: StartResponse) -> Closing:
        start_response("200 OK", headers)

        def source() -> Iterator[bytes]:
            yield b"ab"
            yield b"cd"
            if error is not None:
                raise error

        results.append(Closing(source()))
        return results[-1]

    response = await ask(app, valid=False)
    with pytest.raises(expected):
        await pieces(response.body)
    await eventually(lambda: results[0].closed == 1, within=10)


async def test_exc_info_after_the_head_is_raised_again(ask: Ask) -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        yield b"x"
        try:
            raise KeyError("late")
        except KeyError as error:
            start_response("500 Oops", TEXT, (KeyError, error, error.__traceback__))

    response = await ask(app)
    with pytest.raises(KeyError):
        await pieces(response.body)


async def test_a_failing_close_is_logged(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Closing):
        def close(self) -> None:
            raise KeyError("in close")

    def app(environ: dict[str, Any], start_response: StartResponse) -> Closing:
        start_response("200 OK", [("Content-Length", "1")])
        return Failing(iter([b"x"]))

    with caplog.at_level(logging.ERROR):
        assert (await ask(app, valid=False)).body == b"x"
        await eventually(lambda: "failed after its response" in caplog.text, within=10)


# ── The client is slow, or gone ───────────────────────────────────────────────────────────────


async def test_the_app_waits_for_a_slow_client(ask: Ask) -> None:
    made: list[int] = []

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        for number in range(100):
            made.append(number)
            yield b"x" * 50

    body = (await ask(app, buffer=100)).body
    assert not isinstance(body, bytes)
    await eventually(lambda: len(made) == 3, within=10)
    await settle(50)
    assert len(made) == 3  # two that wait, and one in the app's hands
    assert sum([len(piece) async for piece in body]) == 5000


async def test_the_app_hears_of_a_client_that_left_while_it_streams(ask: Ask) -> None:
    results: list[Closing] = []

    def app(environ: dict[str, Any], start_response: StartResponse) -> Closing:
        start_response("200 OK", TEXT)
        results.append(Closing(iter([b"x" * 50] * 1000)))
        return results[0]

    body = (await ask(app, valid=False)).body
    assert not isinstance(body, bytes)
    await body.__anext__()
    await body.aclose()
    await eventually(lambda: results[0].closed == 1, within=10)


async def test_who_writes_gets_an_oserror_then(ask: Ask) -> None:
    raised: list[BaseException] = []

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        write = start_response("200 OK", TEXT)
        try:
            for _ in range(1000):
                write(b"x" * 50)
        except OSError as error:
            raised.append(error)
            raise
        return []

    body = (await ask(app)).body
    assert not isinstance(body, bytes)
    await body.aclose()
    await eventually(lambda: len(raised) == 1, within=10)


async def test_a_client_that_left_before_the_answer(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    go = threading.Event()
    results: list[Closing] = []

    def app(environ: dict[str, Any], start_response: StartResponse) -> Closing:
        go.wait(10)
        start_response("200 OK", TEXT)
        results.append(Closing(iter([b"x"])))
        return results[0]

    answer = ask(app, valid=False)
    await settle()
    answer.cancel()
    await settle()
    go.set()
    await eventually(lambda: bool(results) and results[0].closed == 1, within=10)
    assert "failed" not in caplog.text


# ── Threads ───────────────────────────────────────────────────────────────────────────────────


async def test_as_many_at_a_time_as_there_are_threads(ask: Ask) -> None:
    go = threading.Event()
    running: list[str] = []

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        running.append(threading.current_thread().name)
        go.wait(10)
        start_response("200 OK", TEXT)
        return [b"x"]

    answers = [ask(app) for _ in range(6)]
    await eventually(lambda: len(running) == 4, within=10)
    await settle(20)
    assert len(running) == 4
    answers[4].cancel()  # it waits for a thread, and its client has gone
    await settle()
    go.set()
    await asyncio.gather(*(answer for answer in answers if not answer.cancelled()))
    assert len(running) == 5  # the app was never asked
    assert set(running) == {f"app-1.{number}" for number in (1, 2, 3, 4)}


async def test_threads_are_made_when_they_are_needed() -> None:
    threads = Threads(8, name="t")
    used: set[int] = set()
    for _ in range(20):
        threads.run(lambda: used.add(threading.get_ident()))
        await eventually(lambda: threads.unfinished == 0, within=10)
    assert len(used) == 1
    assert threads.statistics().busy == 0
    threads.close()


async def test_a_job_that_dies_takes_no_thread_with_it(caplog: pytest.LogCaptureFixture) -> None:
    threads = Threads(1, name="t")
    done = threading.Event()
    threads.run(lambda: 1 // 0)  # type: ignore[arg-type, return-value]
    threads.run(done.set)
    await eventually(done.is_set, within=10)
    assert "ZeroDivisionError" in caplog.text
    threads.close()
