"""The same stack for tests that do not await: a thread has the loop. For requests, Flask, Django, unittest."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from stack.testing.backends import Backend
from stack.testing.client import Client
from stack.testing.records import SyncRecords
from stack.testing.response import Response
from stack.testing.stream import Streamed, Streaming
from stack.testing.verbs import SyncVerbs
from stack.testing.webstack import WebStack

if TYPE_CHECKING:
    import ssl

    from stack.testing.cookies import CookieJar
    from stack.testing.faults import Ordered
    from stack.testing.journal import Logs
    from stack.trace.model import Trace

T = TypeVar("T")
PATIENCE: Final = 90.0
"""Seconds for a call that has a deadline of its own: more than any, so that its message is the one that is seen."""


class SyncWebStack(SyncVerbs):
    """`with SyncWebStack(app) as web: r = web.get("/")`. Takes what `WebStack` takes; nothing is awaited."""

    def __init__(self, app: Any = None, **how: Any) -> None:
        self._web = app if isinstance(app, WebStack) else WebStack(app, **how)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    # Start and end.

    def __enter__(self) -> SyncWebStack:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._web.graceful = error is None
        self.stop()

    def __repr__(self) -> str:
        return f"<Sync{repr(self._web)[1:]}"

    def start(self) -> None:
        ready: concurrent.futures.Future[asyncio.AbstractEventLoop] = concurrent.futures.Future()
        self._thread = threading.Thread(target=_run, args=(ready,), name="webstack", daemon=True)
        self._thread.start()
        self._loop = ready.result(PATIENCE)
        try:
            self._wait(self._web.start())
        except BaseException:
            self._end()
            raise

    def stop(self) -> None:
        if self._loop is None:
            return
        try:
            self._wait(self._web.stop())
        finally:
            self._end()

    def _end(self) -> None:
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)
        if self._thread is not None:
            self._thread.join(PATIENCE)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            work.close()
            raise RuntimeError("the stack does not run: use it in `with SyncWebStack(app) as web:`")
        done = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return done.result(PATIENCE)
        except concurrent.futures.CancelledError:
            raise RuntimeError("the stack was stopped meanwhile") from None

    def _do(self, work: Callable[[], T]) -> T:
        """What must happen in the loop's thread, and what it begins ends before this returns."""

        async def done() -> T:
            made = work()
            if isinstance(made, Awaitable):
                await made
            return made

        return self._wait(done())

    # Requests.

    def request(self, method: str, url: str = "/", **how: Any) -> Response:
        """As `Client.request`."""
        return self._wait(self._web.request(method, url, **how))

    def stream(self, method: str, url: str = "/", **how: Any) -> SyncStreaming:
        """As `Client.stream`: `with web.stream("GET", "/events") as r: for line in r.lines()`."""
        return SyncStreaming(self._do(lambda: self._web.stream(method, url, **how)), self._wait)

    def client(self, **how: Any) -> SyncClient:
        return SyncClient(self._do(lambda: self._web.client(**how)), self._wait)

    # What is ordered.

    @property
    def clock(self) -> SyncClock:
        return SyncClock(self._web, self._do)

    @property
    def backends(self) -> Mapping[str, SyncBackend]:
        return SyncBackends(self._web, self._do)

    def fault(self, on: str, **kinds: Any) -> SyncFault:
        return SyncFault(self._do(lambda: self._web.fault(on, **kinds)), self._do)

    @property
    def dns(self) -> SyncRecords:
        return SyncRecords(self._do(lambda: self._web.dns), self._wait)

    def clear_faults(self) -> None:
        self._do(self._web.clear_faults)

    def purge(self, url: str) -> int:
        return self._wait(self._web.purge(url))

    def explain(
        self, url: str, *, headers: Mapping[str, str] | None = None, method: str = "GET", edge: str = ""
    ) -> dict[str, Any]:
        return self._wait(self._web.explain(url, headers=headers, method=method, edge=edge))

    def kill(self, hop: str) -> None:
        self._do(lambda: self._web.kill(hop))

    def revive(self, hop: str) -> None:
        self._do(lambda: self._web.revive(hop))

    # What may be looked at.

    @property
    def logs(self) -> Logs:
        return self._web.logs

    @property
    def responses(self) -> list[Response]:
        return self._web.responses

    @property
    def trace(self) -> Trace:
        return self._web.trace

    def metrics(self, hop: str) -> dict[str, float]:
        return self._do(lambda: self._web.metrics(hop))

    def stats(self, hop: str) -> dict[str, Any]:
        return self._do(lambda: self._web.stats(hop))

    def config(self, hop: str) -> dict[str, Any]:
        return self._web.config(hop)

    @property
    def name(self) -> str:
        return self._web.name

    def url(self, path: str = "/", *, scheme: str = "https", edge: str | None = None) -> str:
        return self._web.url(path, scheme=scheme, edge=edge)

    @property
    def ca_path(self) -> str:
        return self._web.ca_path

    def ssl_context(self) -> ssl.SSLContext:
        return self._web.ssl_context()

    @property
    def dns_address(self) -> tuple[str, int]:
        return self._web.dns_address

    @property
    def doh_url(self) -> str:
        return self._web.doh_url

    def resolving(self) -> contextlib.AbstractContextManager[None]:
        return self._web.resolving()

    def address(self, hop: str, scheme: str | None = None) -> tuple[str, int]:
        return self._web.address(hop, scheme)


class SyncClient(SyncVerbs):
    """As `Client`."""

    def __init__(self, client: Client, wait: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._client, self._wait = client, wait

    @property
    def cookies(self) -> CookieJar:
        return self._client.cookies

    def request(self, method: str, url: str = "/", **how: Any) -> Response:
        got: Response = self._wait(self._client.request(method, url, **how))
        return got

    def with_other(self, other: SyncClient, page: Any, examine: Callable[..., Coroutine[Any, Any, None]]) -> None:
        """For assert_no_leak. A function that asks for the page blocks, so it does not run in the loop's thread."""
        users = {user._client: user for user in (self, other)}

        async def ask(user: Client) -> Response:
            if isinstance(page, str):
                return await user.get(page)
            got: Response = await asyncio.to_thread(page, users[user])
            return got

        self._wait(examine(self._client, other._client, ask))

    def stream(self, method: str, url: str = "/", **how: Any) -> SyncStreaming:
        """As `Client.stream`."""
        return SyncStreaming(self._client.stream(method, url, **how), self._wait)


class SyncStreaming:
    """`with web.stream("GET", "/events") as r:`. Leaving the block ends the request."""

    def __init__(self, streaming: Streaming, wait: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._streaming, self._wait = streaming, wait

    def __enter__(self) -> SyncStreamed:
        return SyncStreamed(self._wait(self._streaming.__aenter__()), self._wait)

    def __exit__(self, *error: object) -> None:
        self._wait(self._streaming.__aexit__(*error))


class SyncStreamed:
    """As `Streamed`, with all that it has: `for piece in r`, `for line in r.lines()`, `r.read()`."""

    def __init__(self, response: Streamed, wait: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._response, self._wait = response, wait

    def __iter__(self) -> Iterator[bytes]:
        return self._each(aiter(self._response))

    def lines(self) -> Iterator[str]:
        return self._each(self._response.lines())

    def read(self) -> bytes:
        return bytes(self._wait(self._response.read()))

    def _each(self, things: AsyncIterator[T]) -> Iterator[T]:
        async def following() -> T | None:
            return await anext(things, None)

        while (thing := self._wait(following())) is not None:
            yield thing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._response, name)


class SyncClock:
    """The stack's clock: `advance` returns when what it begins has ended."""

    def __init__(self, web: WebStack, do: Callable[[Callable[[], Any]], Any]) -> None:
        self._web, self._do = web, do

    def now(self) -> float:
        return self._web.clock.now()

    def time(self) -> float:
        return self._web.clock.time()

    def advance(self, seconds: float) -> None:
        self._do(lambda: self._web.clock.advance(seconds))


class SyncBackend:
    """As `Backend`; what is ordered has been done on return."""

    def __init__(self, backend: Backend, do: Callable[[Callable[[], Any]], Any]) -> None:
        self._backend, self._do = backend, do
        self.name = backend.name

    def drain(self) -> None:
        self._do(self._backend.drain)

    def ready(self) -> None:
        self._do(self._backend.ready)

    def kill(self) -> None:
        self._do(self._backend.kill)

    def start(self) -> None:
        self._do(self._backend.start)

    @property
    def running(self) -> bool:
        return self._backend.running

    def __repr__(self) -> str:
        return f"<SyncBackend {self.name} {self.state}{'' if self.running else ', killed'}>"

    @property
    def state(self) -> str:
        return str(self._do(lambda: self._backend.state))

    @property
    def seen(self) -> dict[str, Any]:
        return dict(self._do(lambda: self._backend.seen))


class SyncBackends(Mapping[str, SyncBackend]):
    def __init__(self, web: WebStack, do: Callable[[Callable[[], Any]], Any]) -> None:
        self._web, self._do = web, do

    def __getitem__(self, name: str) -> SyncBackend:
        return SyncBackend(self._web.backends[name], self._do)

    def __iter__(self) -> Iterator[str]:
        return iter(self._web.backends)

    def __len__(self) -> int:
        return len(self._web.backends)


class SyncFault:
    """A fault that acts until `clear`, or the end of a `with` block."""

    def __init__(self, ordered: Ordered, do: Callable[[Callable[[], Any]], Any]) -> None:
        self._ordered, self._do = ordered, do

    @property
    def hits(self) -> int:
        return int(self._do(lambda: self._ordered.hits))

    def clear(self) -> None:
        self._do(self._ordered.clear)

    def __enter__(self) -> SyncFault:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()


def _run(ready: concurrent.futures.Future[asyncio.AbstractEventLoop]) -> None:
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        ready.set_result(loop)
        loop.run_forever()
