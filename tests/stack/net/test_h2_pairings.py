"""What passes at each pairing of HTTP/1.1 and HTTP/2, downstream and upstream, in the clear and over TLS, at each hop
that stands between two others."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
import trustme

from stack.clock import SystemClock, eventually
from stack.config.base import PoolLimits, UpstreamTimeouts
from stack.errors import HopError, ResponseIncomplete
from stack.http.message import Fields, Request, Response, get
from stack.net.pool import Pool, Upstream
from stack.net.tasks import Tasks
from stack.telemetry.exchange import Exchange
from tests.support.h2_handlers import collected, pieces
from tests.support.hops import hop
from tests.support.wire import serving

MIB = 1024 * 1024
CONTENT = hashlib.shake_256(b"pairings").digest(3 * MIB)
Protocol = Literal["h1", "h2"]


@dataclass
class Origin:
    """What was asked of it, and how the work behind a request ended."""

    asked: list[Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    held: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: list[bytes] = field(default_factory=list)

    async def handle(self, request: Request, exchange: Exchange) -> Response:
        self.asked.append(request)
        answer: Callable[[Request], Awaitable[Response]] = getattr(self, request.path[1:].decode().replace("-", "_"))
        return await answer(request)

    async def echo(self, request: Request) -> Response:
        content = await collected(request)
        self.bodies.append(content)
        more = [(b"x-trailer-" + name, value) for name, value in request.trailers]
        length = request.get(b"content-length") or b"none"
        return Response(200, [*NO_STORE, (b"x-length", length), *more], content)

    async def small(self, request: Request) -> Response:
        return Response(
            200,
            [*NO_STORE, (b"content-type", b"text/plain"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")],
            b"small",
        )

    async def stream(self, request: Request) -> Response:
        return Response(200, NO_STORE, pieces(b"one ", b"two ", b"three"))

    async def trailers(self, request: Request) -> Response:
        return Response(200, [*NO_STORE, (b"trailer", b"x-sum")], pieces(b"body"), trailers=[(b"x-sum", b"42")])

    async def large(self, request: Request) -> Response:
        return Response(200, NO_STORE, pieces(*[CONTENT[at : at + 50_000] for at in range(0, len(CONTENT), 50_000)]))

    async def empty(self, request: Request) -> Response:
        return Response(204, NO_STORE)

    async def unchanged(self, request: Request) -> Response:
        return Response(304, [*NO_STORE, (b"etag", b'"a"')])

    async def hints(self, request: Request) -> Response:
        assert request.interim is not None
        request.interim(103, [(b"link", b"</a.css>; rel=preload")])
        await asyncio.sleep(0.01)
        return Response(200, NO_STORE, b"after the hints")

    async def cut(self, request: Request) -> Response:
        return Response(200, NO_STORE, pieces(b"x" * 40_000, HopError()))

    async def fails(self, request: Request) -> Response:
        return Response(500, NO_STORE, b"our own words")

    async def early(self, request: Request) -> Response:
        return Response(413, NO_STORE, b"too much")

    async def work(self, request: Request) -> Response:
        try:
            await self.held.wait()
        except asyncio.CancelledError:
            self.cancelled.append(request.path)
            raise
        return Response(200, NO_STORE, b"done")

    async def dialogue(self, request: Request) -> Response:
        body = request.body
        assert not isinstance(body, bytes)
        return Response(200, NO_STORE, body, trailers=request.trailers)

    async def endless(self, request: Request) -> Response:
        async def content() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"tick"
                    await asyncio.sleep(0.005)
            finally:
                self.cancelled.append(request.path)

        return Response(200, NO_STORE, content())


NO_STORE = [(b"cache-control", b"no-store")]


class Rig:
    """A client of one protocol, the hop, and the origin."""

    def __init__(self, pool: Pool, origin: Origin, down: Protocol, up: Protocol) -> None:
        self.pool, self.origin, self.down, self.up = pool, origin, down, up
        self.interims: list[tuple[int, Fields]] = []

    async def ask(
        self, method: bytes, path: bytes, *fields: tuple[bytes, bytes], body: Any = b"", trailers: Fields | None = None
    ) -> Response:
        request = Request(
            method, path, list(fields), authority=b"shop.test", scheme=b"http", body=body, trailers=trailers,
            interim=lambda status, fields: self.interims.append((status, fields)),
        )  # fmt: skip
        async with asyncio.timeout(20):
            return await self.pool.send(request, Exchange("client", SystemClock.now))

    async def whole(self, *args: Any, **more: Any) -> tuple[Response, bytes]:
        response = await self.ask(*args, **more)
        async with asyncio.timeout(20):
            return response, await content_of(response)


async def content_of(response: Response) -> bytes:
    body = response.body
    return body if isinstance(body, bytes) else b"".join([piece async for piece in body])


async def get_small(rig: Rig) -> None:
    response, content = await rig.whole(b"GET", b"/small")
    assert (response.status, content) == (200, b"small")
    assert response.get(b"content-length") == b"5"
    assert [value for name, value in response.fields if name == b"set-cookie"] == [b"a=1", b"b=2"]
    seen = rig.origin.asked[-1]
    assert (seen.authority, seen.version) == (b"shop.test", b"2" if rig.up == "h2" else b"1.1")
    assert (get(seen.fields, b"via") or b"").startswith(b"2 " if rig.down == "h2" else b"1.1 ")


async def post_with_length(rig: Rig) -> None:
    response, content = await rig.whole(b"POST", b"/echo", body=b"hello")
    assert (response.status, content, response.get(b"x-length")) == (200, b"hello", b"5")


async def post_of_nothing(rig: Rig) -> None:
    response, content = await rig.whole(b"POST", b"/echo")
    assert (response.status, content, response.get(b"x-length")) == (200, b"", b"0")


async def post_without_length(rig: Rig) -> None:
    response, content = await rig.whole(b"POST", b"/echo", body=pieces(b"in ", b"pieces"))
    assert (response.status, content) == (200, b"in pieces")


async def trailers_of_a_request(rig: Rig) -> None:
    response, content = await rig.whole(b"POST", b"/echo", body=pieces(b"body"), trailers=[(b"x-sum", b"7")])
    assert (response.status, content, response.get(b"x-trailer-x-sum")) == (200, b"body", b"7")


async def trailers_of_a_response(rig: Rig) -> None:
    response, content = await rig.whole(b"GET", b"/trailers", (b"te", b"trailers"), (b"connection", b"te"))
    assert (content, response.trailers) == (b"body", [(b"x-sum", b"42")])
    assert rig.origin.asked[-1].get(b"te") == b"trailers"


async def response_in_pieces(rig: Rig) -> None:
    response, content = await rig.whole(b"GET", b"/stream")
    assert (response.status, content) == (200, b"one two three")


async def head(rig: Rig) -> None:
    response, content = await rig.whole(b"HEAD", b"/small")
    assert (response.status, content, response.get(b"content-length")) == (200, b"", b"5")


async def no_content(rig: Rig) -> None:
    response, content = await rig.whole(b"GET", b"/empty")
    assert (response.status, content, response.get(b"content-length")) == (204, b"", None)


async def not_modified(rig: Rig) -> None:
    response, content = await rig.whole(b"GET", b"/unchanged", (b"if-none-match", b'"a"'))
    assert (response.status, content, response.get(b"etag")) == (304, b"", b'"a"')


async def early_hints(rig: Rig) -> None:
    rig.interims.clear()
    response, content = await rig.whole(b"GET", b"/hints")
    assert (response.status, content) == (200, b"after the hints")
    assert [(status, get(fields, b"link")) for status, fields in rig.interims] == [(103, b"</a.css>; rel=preload")]


async def large_both_ways(rig: Rig) -> None:
    sent = pieces(*[CONTENT[at : at + 70_000] for at in range(0, len(CONTENT), 70_000)])
    up, down = await asyncio.gather(rig.whole(b"POST", b"/echo", body=sent), rig.whole(b"GET", b"/large"))
    assert (up[0].status, down[0].status) == (200, 200)
    assert up[1] == CONTENT
    assert down[1] == CONTENT


async def many_at_once(rig: Rig) -> None:
    answers = await asyncio.gather(*[rig.whole(b"POST", b"/echo", body=b"%d" % i) for i in range(30)])
    assert [content for _, content in answers] == [b"%d" % i for i in range(30)]


async def interleaved(rig: Rig) -> None:
    """Each piece is answered before the next one is sent, as in a gRPC call that streams both ways."""
    turns: asyncio.Queue[bytes] = asyncio.Queue()

    async def body() -> AsyncIterator[bytes]:
        while said := await turns.get():
            yield said

    turns.put_nowait(b"first")
    response = await rig.ask(b"POST", b"/dialogue", body=body(), trailers=[(b"x-said", b"all")])
    assert not isinstance(response.body, bytes)
    async with asyncio.timeout(10):
        assert await anext(response.body) == b"first"  # type: ignore[arg-type]
        for said in (b"second", b"third"):
            turns.put_nowait(said)
            assert await anext(response.body) == said  # type: ignore[arg-type]
        turns.put_nowait(b"")
        assert await content_of(response) == b""
    assert response.trailers == [(b"x-said", b"all")]


async def cut_short(rig: Rig) -> None:
    response = await rig.ask(b"GET", b"/cut")
    with pytest.raises(ResponseIncomplete):
        await content_of(response)


async def an_error(rig: Rig) -> None:
    response, content = await rig.whole(b"GET", b"/fails")
    assert (response.status, content) == (500, b"our own words")


async def answered_early(rig: Rig) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b"x" * 16384
            await asyncio.sleep(0)

    response, content = await rig.whole(b"POST", b"/early", body=body())
    assert (response.status, content) == (413, b"too much")


async def cancelled_before_the_head(rig: Rig) -> None:
    rig.origin.cancelled.clear()
    asking = asyncio.ensure_future(rig.ask(b"GET", b"/work"))
    await eventually(lambda: rig.origin.asked[-1].path == b"/work")
    asking.cancel()
    await eventually(lambda: rig.origin.cancelled == [b"/work"])


async def cancelled_within_the_content(rig: Rig) -> None:
    rig.origin.cancelled.clear()
    response = await rig.ask(b"GET", b"/endless")
    assert not isinstance(response.body, bytes)
    assert await anext(response.body)  # type: ignore[arg-type]
    await response.body.aclose()
    await eventually(lambda: rig.origin.cancelled == [b"/endless"])


CASES = (
    get_small, post_with_length, post_of_nothing, post_without_length, trailers_of_a_request, trailers_of_a_response,
    response_in_pieces, head, no_content, not_modified, early_hints, large_both_ways, many_at_once, interleaved, cut_short, an_error,
    answered_early, cancelled_before_the_head, cancelled_within_the_content, get_small,
)  # fmt: skip
"""In this order on one client: what one leaves behind the next would meet."""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("ca")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1", "shop.test")
    paths = {"ca": home / "ca.pem", "cert": home / "cert.pem", "key": home / "key.pem"}
    authority.cert_pem.write_to_path(str(paths["ca"]))
    paths["cert"].write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(paths["key"]))
    return paths


ALPN = {"h1": "http/1.1", "h2": "h2"}


@contextlib.asynccontextmanager
async def rig(kind: str, down: Protocol, up: Protocol, tls: dict[str, Path] | None, home: Path) -> AsyncIterator[Rig]:
    origin = Origin()
    server_tls = client_tls = None
    listening: dict[str, Any] = {"scheme": "h2c" if down == "h2" else "http"}
    scheme = "h2c" if up == "h2" else "http"
    more: dict[str, Any] = {}
    prefix = {"cdn_edge": "origin", "loadbalancer": "backend", "proxy": "upstream"}[kind]
    if tls is not None:
        scheme, listening = "https", {"scheme": "https", "cert": (str(tls["cert"]),), "key": (str(tls["key"]),)}
        server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server_tls.load_cert_chain(tls["cert"], tls["key"])
        server_tls.set_alpn_protocols([ALPN[up]])
        client_tls = ssl.create_default_context(cafile=str(tls["ca"]))
        client_tls.set_alpn_protocols([ALPN[down]])
        more = {f"{prefix}_ca": str(tls["ca"]), f"{prefix}_protocol": up}
    async with serving(origin.handle, tls=server_tls) as (service, _):
        behind = f"{scheme}://localhost:{service.port}"
        match kind:
            case "cdn_edge":
                more["origin"] = behind
            case "loadbalancer":
                more |= {"backend": (behind,), "check": "none"}
            case _:
                more |= {"upstream": behind, "health": "", "compress": False}
        async with hop(kind, home, **listening, **more) as port:
            tasks = Tasks()
            pool = Pool(
                Upstream("hop", "127.0.0.1", port, tls=client_tls, server_name="localhost", protocol=down),
                limits=PoolLimits(connections=64 if down == "h1" else 1),
                timeouts=UpstreamTimeouts(),
                clock=SystemClock(),
                tasks=tasks,
            )
            try:
                yield Rig(pool, origin, down, up)
            finally:
                origin.held.set()
                await pool.close()
                await tasks.close()


@pytest.mark.parametrize("over_tls", [False, True], ids=["clear", "tls"])
@pytest.mark.parametrize("up", ["h1", "h2"], ids=["to-h1", "to-h2"])
@pytest.mark.parametrize("down", ["h1", "h2"], ids=["from-h1", "from-h2"])
@pytest.mark.parametrize("kind", ["cdn_edge", "loadbalancer", "proxy"])
async def test_what_passes(
    kind: str, down: Protocol, up: Protocol, over_tls: bool, certificates: dict[str, Path], tmp_path: Path
) -> None:
    failed: dict[str, BaseException] = {}
    async with rig(kind, down, up, certificates if over_tls else None, tmp_path) as running:
        for number, case in enumerate(CASES):
            try:
                await case(running)
            except (AssertionError, HopError, TimeoutError, StopAsyncIteration) as error:
                failed[f"{number}-{case.__name__}"] = error
    assert not failed, "\n".join(f"{name}: {error!r}" for name, error in failed.items())
