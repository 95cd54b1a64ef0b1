"""OTLP over HTTP: one tree over all hops, the same requests on each, and no request that a collector can harm."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from stack.clock import SystemClock, eventually
from stack.config import flags
from stack.config.listen import parse
from stack.hop import registry
from stack.hop.collector import Collector
from stack.hop.hop import Bound
from stack.net import Net
from stack.net.bind import bind
from stack.telemetry.exporter import NotTaken
from stack.telemetry.metrics import Metrics
from tests.support.collector import attributes, collecting


class Path4:
    """Edge, balancer, proxy and app in this loop, each told of the next."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.clock = SystemClock()
        self.hops: dict[str, Any] = {}
        self.nets: list[Net] = []
        self.metrics: dict[str, Metrics] = {}
        self.url = ""

    async def start(self, kind: str, name: str, *argv: str) -> str:
        parts = registry.load(kind)
        net = Net(self.clock, Random())
        self.nets.append(net)
        self.metrics[name] = Metrics()
        config = flags.parse(kind, parts.config, ["--name", name, "--access-log=off", *argv], {})
        hop = parts.build(
            config, clock=self.clock, random=net.random, net=net, metrics=self.metrics[name], state_dir=self.state_dir
        )
        self.hops[name] = hop
        listen = parse("http://127.0.0.1:0")
        [sock] = bind(listen)
        await hop.start([Bound("http", sock)])
        await eventually(lambda: hop.readiness().ready)
        return f"http://127.0.0.1:{sock.getsockname()[1]}"

    async def stop(self) -> None:
        for hop in self.hops.values():
            await hop.drain()
            await hop.stop()
        for net in self.nets:
            await net.close()

    async def get(self, **headers: str) -> int:
        async with aiohttp.ClientSession() as session, session.get(self.url, headers=headers) as answer:
            await answer.read()
            return answer.status


@contextlib.asynccontextmanager
async def path(state_dir: Path, otlp: str, *, app: str = "app", edge: tuple[str, ...] = ()) -> AsyncIterator[Path4]:
    made = Path4(state_dir)
    inner = ("--trusted", "127.0.0.1", f"--otlp={otlp}", "--timeouts-linger=1ms")
    try:
        behind = await made.start(
            "appserver", "app-1", "--app", f"tests.support.traced_app:{app}", "--workers", "0", *inner
        )
        behind = await made.start("proxy", "proxy-1", "--upstream", f"app-1={behind}", "--health=", *inner)
        behind = await made.start("loadbalancer", "lb-a", "--backend", f"proxy-1={behind}", "--check=none", *inner)
        made.url = await made.start(
            "cdn_edge", "edge-fra", "--origin", behind, f"--otlp={otlp}", "--timeouts-linger=1ms", *edge
        )
        made.url += "/products/shoes?token=abc"
        yield made
    finally:
        await made.stop()


@pytest.mark.parametrize("app", ["app", "wsgi", "make"], ids=["asgi", "wsgi", "aiohttp"])
async def test_one_request_is_one_tree_from_the_edge_to_the_app(tmp_path: Path, app: str) -> None:
    async with collecting() as collector:
        async with path(tmp_path, collector.url, app=app) as hops:
            # an edge believes no client: this trace is not continued
            assert await hops.get(traceparent=f"00-{'a' * 32}-{'b' * 16}-00") == 200
        spans = collector.spans  # what was waiting was sent when the hops stopped
    servers = {hop: span for hop, span in spans if span.kind == span.SPAN_KIND_SERVER}
    assert len([span for _, span in spans if span.kind == span.SPAN_KIND_SERVER]) == 4
    assert len({span.trace_id for _, span in spans}) == 1
    assert servers["edge-fra"].trace_id.hex() != "a" * 32
    assert servers["edge-fra"].parent_span_id == b""
    for before, after in (("edge-fra", "lb-a"), ("lb-a", "proxy-1"), ("proxy-1", "app-1")):
        assert servers[after].parent_span_id == servers[before].span_id, f"{before} -> {after}"
        assert servers[before].start_time_unix_nano <= servers[after].start_time_unix_nano
    steps: dict[str, list[str]] = {}
    for hop, span in spans:
        if span.kind == span.SPAN_KIND_INTERNAL:
            assert span.parent_span_id == servers[hop].span_id
            steps.setdefault(hop, []).append(span.name)
    assert steps["edge-fra"][:2] == ["lookup uri-miss", "fetch fetched"]
    assert steps["lb-a"] == ["choose chosen", "attempt answered"]
    assert steps["proxy-1"][:2] == ["route app", "forward answered"]
    assert steps["app-1"][-1] == "app answered"
    assert attributes(servers["app-1"])["client.address"] == "127.0.0.1"
    assert attributes(servers["edge-fra"])["url.query"] == "token=***"
    assert {head["content-type"] for head in collector.heads} == {"application/json"}
    assert set(collector.paths) == {"/v1/traces"}


@pytest.mark.parametrize("app", ["app", "wsgi", "make"], ids=["asgi", "wsgi", "aiohttp"])
async def test_a_hop_that_stands_alone_begins_the_trace(tmp_path: Path, app: str) -> None:
    async with collecting() as collector:
        alone = Path4(tmp_path)
        argv = ("--app", f"tests.support.traced_app:{app}", "--workers", "0", f"--otlp={collector.url}")
        try:
            alone.url = await alone.start("appserver", "app-1", *argv, "--timeouts-linger=1ms")
            assert await alone.get() == 200
        finally:
            await alone.stop()
        [server] = [span for _, span in collector.spans if span.kind == span.SPAN_KIND_SERVER]
        assert server.parent_span_id == b""
        assert len(server.trace_id) == 16


async def test_the_edge_decides_for_all_hops(tmp_path: Path) -> None:
    async with collecting() as collector:
        async with path(tmp_path, collector.url, edge=("--otlp-sample", "0.5")) as hops:
            async with aiohttp.ClientSession() as session:
                for number in range(40):
                    async with session.get(f"{hops.url}&n={number}") as answer:
                        assert answer.status == 200
        traces: dict[bytes, set[str]] = {}
        for hop, span in collector.spans:
            traces.setdefault(span.trace_id, set()).add(hop)
    assert 5 <= len(traces) <= 35
    assert set(map(frozenset, traces.values())) == {frozenset({"edge-fra", "lb-a", "proxy-1", "app-1"})}


async def test_a_collector_that_is_down_or_silent_costs_no_request(tmp_path: Path) -> None:
    async with collecting() as collector:
        collector.open.clear()
        async with path(tmp_path, collector.url) as hops:
            for _ in range(20):
                assert await hops.get() == 200
            await eventually(lambda: len(collector.heads) >= 4)
            assert await hops.get() == 200
            assert not collector.messages
            began = hops.clock.now()
            await hops.hops["app-1"].stop()
            assert hops.clock.now() - began < 4, "a message that is not taken may take five seconds, a stop may not"
            collector.open.set()
    nobody = bind(parse("http://127.0.0.1:0"))[0]
    port = nobody.getsockname()[1]
    nobody.close()
    async with path(tmp_path, f"http://127.0.0.1:{port}") as hops:
        assert await hops.get() == 200
        await hops.hops["edge-fra"].stop()
        assert hops.hops["edge-fra"].stats()["otlp"]["failed"] > 0


async def test_off_is_off(tmp_path: Path) -> None:
    async with path(tmp_path, "") as hops:
        assert await hops.get() == 200
        for hop in ("edge-fra", "lb-a", "proxy-1"):
            assert hops.hops[hop].exporter is None
            assert hops.hops[hop].context.sample is None
            assert "otlp" not in hops.metrics[hop].text()
            assert "otlp" not in hops.hops[hop].stats()


def test_nothing_is_imported_where_it_is_off() -> None:
    code = "import sys, stack.hop.http_hop; assert not [name for name in sys.modules if 'otlp' in name], sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


class TestCollector:
    @pytest.fixture
    async def net(self) -> AsyncIterator[Net]:
        net = Net(SystemClock(), Random(1))
        yield net
        await net.close()

    @pytest.mark.parametrize(
        ("answer", "again"),
        [(429, True), (502, True), (503, True), (504, True), (400, False), (404, False), (500, False), (301, False)],
    )
    async def test_which_answers_are_worth_another_attempt(self, net: Net, answer: int, again: bool) -> None:
        """OTLP/HTTP: 429, 502, 503 and 504 are retryable, no other is."""
        async with collecting() as collector:
            collector.answers = [web.Response(status=answer, headers={"retry-after": "3"})]
            with pytest.raises(NotTaken, match=str(answer)) as error:
                await Collector(collector.url, hop="h", net=net)(b"{}")
            assert error.value.again is again
            assert error.value.after == 3

    @pytest.mark.parametrize(
        ("answer", "refused"),
        [
            (b"{}", 0),
            (b'{"partialSuccess": {"rejectedSpans": "3", "errorMessage": "too old"}}', 3),
            (b'{"partialSuccess": {"rejectedSpans": 3}}', 3),
            (b'{"partialSuccess": {"rejectedSpans": -3}}', 0),
            (b'{"partialSuccess": {}}', 0),
            (b"\x0a\x00", 0),
            (b"x" * 200_000, 0),
        ],
        ids=["full", "a string", "a number", "below none", "nothing refused", "no JSON", "too long"],
    )
    async def test_a_partial_success(self, net: Net, answer: bytes, refused: int) -> None:
        async with collecting() as collector:
            collector.answers = [web.Response(body=answer)]
            assert await Collector(collector.url, hop="h", net=net)(b"{}") == refused

    async def test_the_port_of_grpc_is_a_likely_mistake(self, net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
        async with collecting() as collector:
            collector.answers = [web.Response(status=404)]
            monkeypatch.setattr("stack.hop.collector._GRPC", int(collector.url.rpartition(":")[2]))
            with pytest.raises(NotTaken, match=r"404 \(.* is usually OTLP over gRPC; over HTTP it is 4318\)"):
                await Collector(collector.url, hop="h", net=net)(b"{}")

    async def test_a_connection_that_breaks_off(self, net: Net) -> None:
        async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
            writer.close()

        server = await asyncio.start_server(cut, "127.0.0.1", 0)
        async with server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            with pytest.raises(NotTaken) as error:
                await Collector(url, hop="h", net=net)(b"{}")
            assert error.value.again
