"""A proxy is ready while its app is; the balancer's check passes through to the app and so tells the truth."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from stack.clock import eventually
from stack.http.message import Request, Response
from stack.telemetry.exchange import Exchange
from tests.proxy.processes import proxy
from tests.support.wire import listener, serving

pytestmark = pytest.mark.needs("curl")


class App:
    def __init__(self) -> None:
        self.health = 200
        self.hosts: set[bytes] = set()

    def handle(self, request: Request, exchange: Exchange) -> Response:
        if request.path == b"/health":
            self.hosts.add(request.authority)
            return Response(self.health, [(b"content-type", b"application/json")], b'{"database": "down"}')
        return Response(200, [], b"ok")


async def test_an_app_that_is_down(tmp_path: Path) -> None:
    closed = listener()  # bound, not listening: connections are refused
    port = closed.getsockname()[1]
    async with proxy(port, home=tmp_path, ready=False) as front:
        reply = await front.curl("/products", "--header", "accept: application/json")
        assert reply.status == 502
        assert reply.fields["proxy-status"].startswith("proxy-1;error=connection_refused")
        assert reply.fields["content-type"] == "application/problem+json"
        problem = json.loads(reply.body)
        assert (problem["status"], problem["hop"]) == (502, "proxy-1")
        assert str(port) not in reply.body.decode()
        assert (await front.curl("/health")).status == 502  # what a balancer's check sees
        assert await front.not_ready()
        health = (await front.stats())["upstream"]["health"]
        assert health["reason"] == "app-1 did not answer GET /health: connection_refused"
    closed.close()


async def test_health_is_asked_for_by_the_sites_name(tmp_path: Path) -> None:
    """An app that serves its own names alone would refuse another."""
    app = App()
    async with serving(app.handle) as (service, _), proxy(service.port, "--health-host", "shop.test", home=tmp_path):
        assert app.hosts == {b"shop.test"}


async def test_readiness_follows_the_apps_health(tmp_path: Path) -> None:
    app = App()
    async with serving(app.handle) as (service, server), proxy(service.port, home=tmp_path) as front:
        assert (await front.curl("/health")).status == 200
        app.health = 503
        await eventually(front.not_ready)
        reply = await front.curl("/health")
        assert (reply.status, reply.body) == (503, b'{"database": "down"}')
        assert (await front.curl("/")).status == 200  # it serves all the same: the balancer decides
        assert 'hopstack_app_ready{hop="proxy-1"} 0' in (await front.admin("/metrics"))[1].decode()
        app.health = 200
        await eventually(front.ready)
        await server.close()
        await eventually(front.not_ready)


async def test_a_drain_finishes_what_is_in_flight(tmp_path: Path) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> Response:
        began.set()
        await go_on.wait()
        return Response(200, [], b"done")

    def handle(request: Request, exchange: Exchange) -> Response:
        return Response(200, [], b"ok") if request.path == b"/health" else slow()  # type: ignore[return-value]

    async with serving(handle) as (service, _), proxy(service.port, home=tmp_path) as front:
        reply = asyncio.ensure_future(front.curl("/slow"))
        await began.wait()
        front.process.terminate()
        await eventually(front.not_ready)
        go_on.set()
        assert (await reply).body == b"done"
        assert await front.process.wait() == 0
