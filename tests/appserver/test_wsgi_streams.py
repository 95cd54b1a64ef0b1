"""WSGI: content while it arrives, clients that are slow or gone, and a bounded number of threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from appserver.threads import Threads
from appserver.wsgi import App, StartResponse
from stack.clock import eventually, settle
from stack.errors import ClientGone, ContentTooLarge, HopError
from stack.net.stream import Incoming
from tests.support.wsgi import TEXT, Ask, Closing, asking, pieces, whole


@pytest.fixture
async def ask() -> AsyncIterator[Ask]:
    async with asking() as ask:
        yield ask


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
    began, go = threading.Event(), threading.Event()
    results: list[Closing] = []

    def app(environ: dict[str, Any], start_response: StartResponse) -> Closing:
        began.set()
        go.wait(10)
        start_response("200 OK", TEXT)
        results.append(Closing(iter([b"x"])))
        return results[0]

    answer = ask(app, valid=False)
    await eventually(began.is_set, within=10)
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


async def test_a_thread_that_cannot_be_made_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit of processes: whoever asks gets an error while there is no thread, and those that there are do the work."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    threads, done = Threads(2, name="t"), threading.Semaphore(0)
    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", refuse)
        for _ in range(3):
            with pytest.raises(RuntimeError):
                threads.run(done.release)
    assert threads.unfinished == 0
    go = threading.Event()
    threads.run(lambda: bool(go.wait(10)))  # type: ignore[arg-type, return-value]
    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", refuse)
        threads.run(lambda: bool(done.release()))  # type: ignore[arg-type, func-returns-value, return-value]
    go.set()
    await eventually(lambda: threads.unfinished == 0, within=10)
    assert done.acquire(blocking=False)
    threads.close()
