"""A WSGI application (PEP 3333) as a Service: it runs in a thread, and what it sends crosses into the loop."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import IO, Any, Final
from wsgiref.util import FileWrapper

from appserver.failures import AppFailed, named, told
from appserver.marks import Marks
from appserver.outgoing import Disconnected
from appserver.rules.environ import environ
from appserver.rules.outgoing import response_fields, status_code
from appserver.spool import spooled
from appserver.threads import Threads
from appserver.wsgi_input import ContentBroken, content
from stack.errors import ClientError, HopError
from stack.http.message import BodyStream, Fields, Request, Response, has_no_content
from stack.http.upgrade import WEBSOCKET
from stack.net.tasks import Tasks
from stack.telemetry.exchange import Exchange

StartResponse = Callable[..., Callable[[bytes], None]]
App = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]

log = logging.getLogger("hopstack.app")

EXCHANGE: Final = "hopstack.exchange"
"""`environ["hopstack.exchange"]`: an app may add steps of its own with `.mark("db", "asked")`."""


class WsgiService:
    """Answers with what `app` returns and writes. `buffer`: bytes that wait for the client before the app does.

    `spool`: bytes of content that are waited for before the app begins. 0: it begins at once and reads what comes.
    """

    def __init__(
        self, app: App, *, threads: Threads, tasks: Tasks, root_path: str = "", buffer: int = 64 * 1024, spool: int = 0
    ) -> None:
        self._app = app
        self._threads = threads
        self._tasks = tasks
        self._root_path = root_path
        self._buffer = buffer
        self._spool = spool

    def handle(self, request: Request, exchange: Exchange) -> Awaitable[Response]:
        if request.upgrade is not None:
            if request.upgrade == WEBSOCKET:
                raise ClientError("A WSGI app speaks HTTP only: WebSocket needs an ASGI or aiohttp app.", status=501)
            request.upgrade, request.body = None, b""  # RFC 9110 §7.8: ignored
        if self._spool and not isinstance(request.body, bytes):
            return self._once_whole(request, request.body, exchange)
        cycle = _Cycle(self._app, request, exchange, self._buffer)
        return self._run(cycle, content(request.body, cycle.loop, self._tasks, cycle.broken))

    async def _once_whole(self, request: Request, body: BodyStream, exchange: Exchange) -> Response:
        file, size = await spooled(body, memory=self._buffer, most=self._spool)
        cycle = _Cycle(self._app, request, exchange, self._buffer)
        return await self._run(cycle, file, CONTENT_LENGTH=str(size))

    def _run(self, cycle: _Cycle, file: IO[bytes], **more: str) -> asyncio.Future[Response]:
        request, exchange = cycle.request, cycle.exchange
        cycle.environ = {
            **environ(request, exchange.client, root_path=self._root_path),
            **more,
            "wsgi.input": file,
            "wsgi.errors": sys.stderr,
            "wsgi.file_wrapper": FileWrapper,
            EXCHANGE: Marks(exchange),
        }
        self._threads.run(cycle.run)
        return cycle.answer


class _Cycle:
    """One request and its response. The client's departure shows in `answer` being cancelled or the pipe closed."""

    def __init__(self, app: App, request: Request, exchange: Exchange, buffer: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[Response] = self.loop.create_future()
        self.answer.add_done_callback(self._answered)
        self.environ: dict[str, Any] = {}
        self._app = app
        self.request = request
        self.exchange = exchange
        self._buffer = buffer
        self._gone = False
        self._error: HopError | None = None
        # Of the app's thread alone:
        self._head: tuple[int, Fields] | None = None
        self._declared = -1
        self._sent = 0
        self._begun = False
        self._pipe: _Pipe | None = None

    # The app's thread.

    def run(self) -> None:
        try:
            if not self._gone:  # while it waited for a thread
                self._serve()
        except Disconnected:
            pass
        except BaseException as error:  # even SystemExit is the failure of this one request
            self._tell(self._failed, error)
        finally:
            self.environ["wsgi.input"].close()

    def _serve(self) -> None:
        result = self._app(self.environ, self.start_response)
        try:
            if not self._begun and isinstance(result, list | tuple):
                self._whole(b"".join(result))
                return
            for piece in result:
                if self._done(piece):
                    return
            if not self._begun:
                self._whole(b"")
            elif self._pipe is not None:
                if 0 <= self._declared != self._sent:
                    raise ValueError(f"Content-Length is {self._declared}, the content has {self._sent} bytes")
                self._pipe.end()
        finally:
            # PEP 3333: however it ended. What close() raises after the response is logged.
            if (close := getattr(result, "close", None)) is not None:
                close()

    def start_response(self, status: str, headers: Iterable[Any], exc_info: Any = None) -> Callable[[bytes], None]:
        if exc_info:
            try:
                if self._begun:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # no cycle with this frame
        elif self._head is not None:
            raise AssertionError("start_response was called twice, the second time without exc_info")
        fields, self._declared = response_fields(_encoded(headers))
        self._head = status_code(status), fields
        return self.write

    def write(self, piece: bytes) -> None:
        """PEP 3333's way for old apps: what is written goes out at once."""
        if self._begun or piece:
            self._stream(piece)

    def _done(self, piece: bytes) -> bool:
        """Send a piece; whether nothing more is wanted of the app."""
        if not piece:
            return False
        if not self._begun and self._declared == len(piece):
            self._whole(piece)  # the head and all its content: nothing is left to wait for
            return True
        self._stream(piece)
        return self._pipe is None

    def _whole(self, body: bytes) -> None:
        status, fields = self._started()
        empty = has_no_content(self.request.method, status)
        if self._declared >= 0 and self._declared != len(body) and not empty:
            raise ValueError(f"Content-Length is {self._declared}, the content has {len(body)} bytes")
        self._begun = True
        if empty and not body and self._declared < 0:
            self._tell(self._deliver, Response(status, fields, _Pipe.empty(self.loop)))
        else:
            self._tell(self._deliver, Response(status, fields, body))

    def _stream(self, piece: bytes) -> None:
        if type(piece) is not bytes:
            raise TypeError(f"a WSGI application sends bytes, not {type(piece).__name__}")
        if not self._begun:
            status, fields = self._started()
            self._begun = True
            if has_no_content(self.request.method, status):
                # HEAD, 204, 304: the head goes out, the rest is not asked for
                self._tell(self._deliver, Response(status, fields, _Pipe.empty(self.loop)))
                return
            self._pipe = _Pipe(self.loop, self._buffer)
            self._tell(self._deliver, Response(status, fields, self._pipe))
        if self._pipe is not None:
            self._sent += len(piece)
            if 0 <= self._declared < self._sent:
                raise ValueError(f"Content-Length is {self._declared}, the content has at least {self._sent} bytes")
            self._pipe.put(piece)

    def _started(self) -> tuple[int, Fields]:
        if self._gone:
            raise Disconnected("the client has gone")
        if self._head is None:
            raise AssertionError("the app sent content before it called start_response")
        return self._head

    def _tell(self, callback: Callable[..., None], *arguments: Any) -> None:
        try:
            self.loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:  # the loop is closed: nobody is left to be told
            raise Disconnected("the server has stopped") from None

    # The loop's.

    def broken(self, error: HopError) -> None:
        """What was wrong with the request explains what the app then did: 408, 413."""
        self._error = error

    def _answered(self, answer: asyncio.Future[Response]) -> None:
        self._gone = self._gone or answer.cancelled()

    def _deliver(self, response: Response) -> None:
        if not self.answer.done():
            self.exchange.mark("app", "answered")
            self.answer.set_result(response)
        elif isinstance(response.body, _Pipe):
            response.body.close()

    def _failed(self, error: BaseException) -> None:
        if self._pipe is not None and not self._pipe.over:
            self._pipe.fail(error if isinstance(error, Exception) else AppFailed(private=repr(error)))
        elif not self._begun and not self.answer.done():
            self.exchange.mark("app", "failed")
            self.answer.set_exception(self._error or named(error, self.request, self.exchange))
        elif not isinstance(error, ContentBroken):
            told("the app failed after its response", error, self.request, self.exchange)


def _encoded(headers: Iterable[Any]) -> Iterable[tuple[bytes, bytes]]:
    for name, value in headers:
        if type(name) is not str or type(value) is not str:
            raise TypeError(f"a header is {name!r}: {value!r}; both are str (PEP 3333)")
        yield name.encode("latin-1"), value.encode("latin-1")


class _Pipe:
    """A BodyStream that the app's thread fills and the engine empties; the thread waits while `limit` bytes do."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int) -> None:
        self._loop = loop
        self._limit = limit
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._changed = threading.Condition()
        self._reader: asyncio.Future[None] | None = None
        self._error: BaseException | None = None
        self._closed = False
        self.ended = False

    @classmethod
    def empty(cls, loop: asyncio.AbstractEventLoop) -> _Pipe:
        """Content that has ended, of no stated length."""
        pipe = cls(loop, 0)
        pipe.ended = True
        return pipe

    @property
    def over(self) -> bool:
        """Nobody would hear of an error any more."""
        return self.ended or self._closed

    # The app's side; `end` and `fail` may come from the loop as well.

    def put(self, piece: bytes) -> None:
        with self._changed:
            while self._size >= self._limit and self._size and not self._closed:
                self._changed.wait()
            if self._closed:
                raise Disconnected("the client has gone")
            if piece:
                self._pieces.append(piece)
                self._size += len(piece)
                self._wake()

    def end(self) -> None:
        with self._changed:
            self.ended = True
            self._wake()

    def fail(self, error: BaseException) -> None:
        self._error = error
        self.end()

    def _wake(self) -> None:
        """Under the lock: the reader, if it waits."""
        reader, self._reader = self._reader, None
        if reader is not None:
            try:
                self._loop.call_soon_threadsafe(_wake, reader)
            except RuntimeError:
                raise Disconnected("the server has stopped") from None

    # The engine's side.

    def __aiter__(self) -> _Pipe:
        return self

    async def __anext__(self) -> bytes:
        while True:
            with self._changed:
                if self._pieces:
                    data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
                    self._pieces.clear()
                    self._size = 0
                    self._changed.notify()
                    return data
                if self.ended or self._closed:
                    if self._error is not None:
                        error, self._error = self._error, None
                        raise error
                    raise StopAsyncIteration
                reader = self._reader = self._loop.create_future()
            await reader

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        """Before the end: the app hears of it when it sends the next piece."""
        with self._changed:
            self._closed = True
            self._pieces.clear()
            self._size = 0
            self._changed.notify()


def _wake(reader: asyncio.Future[None]) -> None:
    if not reader.done():
        reader.set_result(None)
