"""A WSGI application as a Service: what it answers, and how it fails. In real threads, without sockets."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from appserver.asgi import AppFailed
from appserver.wsgi import EXCHANGE, App, StartResponse
from stack.clock import eventually, settle
from stack.telemetry.exchange import Exchange
from tests.support.wsgi import TEXT, Ask, Closing, answering, asking, pieces


@pytest.fixture
async def ask() -> AsyncIterator[Ask]:
    async with asking() as ask:
        yield ask


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


@pytest.mark.parametrize("word", ["\u00e4", 'a";x="b', "a\r\nx-evil: 1", "", "a" * 41, None, "a b"])
async def test_a_step_that_no_field_could_carry_is_the_apps_error(ask: Ask, word: Any) -> None:
    """It would break the log's line, or leave the client without a response."""

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        environ[EXCHANGE].mark("db", word)
        raise AssertionError("not reached")

    with pytest.raises(AppFailed) as failed:
        await ask(app, valid=False)
    assert "each is up to 40 letters" in (failed.value.private or "")


async def test_an_app_adds_no_more_steps_than_a_field_has_room_for(ask: Ask) -> None:
    seen: list[Exchange] = []

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        for _ in range(5000):
            environ[EXCHANGE].mark("db", "asked")
        seen.append(environ[EXCHANGE])
        return answering(b"x")(environ, start_response)  # type: ignore[return-value]

    assert (await ask(app, valid=False)).status == 200
    assert len(seen[0].marks) == 65


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
        pytest.param(answering(b"x", headers=[("", "x")]), "no field name", id="9110-5.1: an empty name"),
        pytest.param(answering(b"x", headers=[("X A", "x")]), "no field name", id="9110-5.1: a blank in a name"),
        pytest.param(answering(b"x", headers=[("X:A", "x")]), "no field name", id="9110-5.1: a colon in a name"),
        pytest.param(
            answering(b"x", headers=[("Transfer-Encoding ", "x")]), "no field name", id="9112-5.1: a blank behind"
        ),
        pytest.param(answering(b"x", headers=[("X\r\nY", "x")]), "no field name", id="9112-5: a line break in a name"),
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
