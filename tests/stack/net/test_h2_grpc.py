"""gRPC as its own library speaks it, through edge, balancer and proxy over HTTP/2: messages both ways as they come,
trailers, trailers alone, cancelling."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest

from appserver.asgi import AsgiService
from stack.clock import eventually
from stack.net.tasks import Tasks
from tests.support.h2_peer import GET, client
from tests.support.hops import hop
from tests.support.wire import serving

SERVICE = "test.Echo"
BIG = bytes(range(256)) * 12_000
"""3 MB: more than any window."""


class Echo(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Messages are bytes as they are: what is encoded in them is nobody's concern here."""

    def __init__(self) -> None:
        self.cancelled = 0
        self.metadata: dict[str, Any] = {}

    def service(self, details: Any) -> Any:
        match details.method.rpartition("/")[2]:
            case "Unary":
                return grpc.unary_unary_rpc_method_handler(self.unary)
            case "Fail":
                return grpc.unary_unary_rpc_method_handler(self.fail)
            case "Count":
                return grpc.unary_stream_rpc_method_handler(self.count)
            case "Sum":
                return grpc.stream_unary_rpc_method_handler(self.sum)
            case "Talk":
                return grpc.stream_stream_rpc_method_handler(self.talk)
            case "Hang":
                return grpc.unary_unary_rpc_method_handler(self.hang)
        return None

    async def unary(self, request: bytes, context: Any) -> bytes:
        self.metadata = dict(context.invocation_metadata())
        await context.send_initial_metadata([("x-first", "1")])
        context.set_trailing_metadata([("x-last", "2"), ("x-bytes-bin", b"\0\xff")])
        return request

    async def fail(self, request: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: ü", (("x-why", "gone"),))
        return b""

    async def count(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        for number in range(int(request)):
            yield b"%d" % number
        await context.abort(grpc.StatusCode.DATA_LOSS, "no more") if request == b"3" else None

    async def sum(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        return b"%d" % sum([len(request) async for request in requests])

    async def talk(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield b"you said " + request

    async def hang(self, request: bytes, context: Any) -> bytes:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return b""


@contextlib.asynccontextmanager
async def through(kinds: list[str], home: Path) -> AsyncIterator[tuple[Any, Echo]]:
    """A channel to the first of the hops, which are in a row before a gRPC server; HTTP/2 in the clear everywhere."""
    echo = Echo()
    options = [("grpc.max_receive_message_length", 16 * 2**20)]
    server = grpc.aio.server(options=options)
    server.add_generic_rpc_handlers((echo,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with contextlib.AsyncExitStack() as hops:
        try:
            for kind in reversed(kinds):
                behind = f"h2c://127.0.0.1:{port}"
                more: dict[str, Any] = {
                    "cdn_edge": {"origin": behind},
                    "loadbalancer": {"backend": (behind,), "check": "none"},
                    "proxy": {"upstream": behind, "health": ""},
                }[kind]
                port = await hops.enter_async_context(hop(kind, home, scheme="h2c", **more))
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
                yield channel, echo
        finally:
            await server.stop(None)


PATHS = [["loadbalancer"], ["proxy"], ["cdn_edge", "loadbalancer", "proxy"]]


@pytest.mark.parametrize("kinds", PATHS, ids=["balancer", "proxy", "all"])
async def test_every_kind_of_call(kinds: list[str], tmp_path: Path) -> None:
    async with through(kinds, tmp_path) as (channel, echo), asyncio.timeout(30):
        call = channel.unary_unary(f"/{SERVICE}/Unary")(b"hello", metadata=[("x-mine", "3")])
        assert await call == b"hello"
        assert dict(await call.initial_metadata())["x-first"] == "1"
        assert dict(await call.trailing_metadata()) == {"x-last": "2", "x-bytes-bin": b"\0\xff"}
        assert (await call.code(), echo.metadata["x-mine"]) == (grpc.StatusCode.OK, "3")
        assert await channel.unary_unary(f"/{SERVICE}/Unary")(BIG) == BIG

        failed = channel.unary_unary(f"/{SERVICE}/Fail")(b"")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await failed
        assert refused.value.code() == grpc.StatusCode.NOT_FOUND
        assert refused.value.details() == "no such thing: ü"
        assert dict(refused.value.trailing_metadata())["x-why"] == "gone"

        counted = [number async for number in channel.unary_stream(f"/{SERVICE}/Count")(b"500")]
        assert counted == [b"%d" % number for number in range(500)]
        partly: list[bytes] = []
        broken = channel.unary_stream(f"/{SERVICE}/Count")(b"3")
        with contextlib.suppress(grpc.aio.AioRpcError):
            async for number in broken:
                partly.append(number)
        assert (partly, await broken.code()) == ([b"0", b"1", b"2"], grpc.StatusCode.DATA_LOSS)

        async def many() -> AsyncIterator[bytes]:
            for _ in range(100):
                yield b"x" * 10_000

        assert await channel.stream_unary(f"/{SERVICE}/Sum")(many()) == b"1000000"

        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await channel.unary_unary(f"/{SERVICE}/NoSuch")(b"")
        assert unknown.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("kinds", PATHS, ids=["balancer", "proxy", "all"])
async def test_messages_pass_both_ways_as_they_come(kinds: list[str], tmp_path: Path) -> None:
    async with through(kinds, tmp_path) as (channel, _), asyncio.timeout(30):
        calls = [channel.stream_stream(f"/{SERVICE}/Talk")() for _ in range(20)]
        for turn in range(5):
            for number, call in enumerate(calls):
                await call.write(b"%d-%d" % (number, turn))
            for number, call in enumerate(calls):
                assert await call.read() == b"you said %d-%d" % (number, turn)
        for call in calls:
            await call.done_writing()
            assert await call.read() == grpc.aio.EOF
            assert await call.code() == grpc.StatusCode.OK


async def test_cancelling_reaches_the_server(tmp_path: Path) -> None:
    async with through(PATHS[-1], tmp_path) as (channel, echo), asyncio.timeout(30):
        late = channel.unary_unary(f"/{SERVICE}/Hang")(b"", timeout=0.3)
        with pytest.raises(grpc.aio.AioRpcError) as expired:
            await late
        assert expired.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        await eventually(lambda: echo.cancelled == 1)
        given_up = channel.unary_unary(f"/{SERVICE}/Hang")(b"")
        await asyncio.sleep(0.1)
        given_up.cancel()
        await eventually(lambda: echo.cancelled == 2)
        assert await channel.unary_unary(f"/{SERVICE}/Unary")(b"and on") == b"and on"


@pytest.mark.parametrize("scheme", ["http", "h2c"])
async def test_an_asgi_app_that_insists_on_te_sees_it_through_all_hops(scheme: str, tmp_path: Path) -> None:
    """And the trailers that it answers with arrive, whatever is spoken between the hops."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked = (b"te", b"trailers") in scope["headers"]
        await send({"type": "http.response.start", "status": 200 if asked else 400, "headers": [], "trailers": asked})
        await send({"type": "http.response.body", "body": b"message"})
        if asked:
            await send({"type": "http.response.trailers", "headers": [(b"grpc-status", b"0")]})

    service = AsgiService("app-1", tasks=Tasks())
    service.app = app
    async with contextlib.AsyncExitStack() as hops:
        behind, _ = await hops.enter_async_context(serving(service.handle))
        port = behind.port
        for kind, option in (("proxy", "upstream"), ("loadbalancer", "backend"), ("cdn_edge", "origin")):
            url = f"{scheme}://127.0.0.1:{port}"
            more: dict[str, Any] = {option: (url,) if option == "backend" else url}
            more |= {"proxy": {"health": ""}, "loadbalancer": {"check": "none"}}.get(kind, {})
            port = await hops.enter_async_context(hop(kind, tmp_path, scheme="h2c", **more))
        async with client(port) as peer:
            peer.send(peer.headers(1, [*GET, (b"te", b"trailers")]))
            head, content, trailers = await peer.answer(1)
            assert (head[0][1], content, trailers) == (b"200", b"message", [(b"grpc-status", b"0")])
            peer.send(peer.headers(3, GET))
            head, _, trailers = await peer.answer(3)
            assert (head[0][1], trailers) == (b"400", [])
