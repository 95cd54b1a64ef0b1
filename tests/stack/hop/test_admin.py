"""The admin endpoint over a real socket."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest

from stack.clock import SystemClock
from stack.errors import BadRequest, ConfigError
from stack.hop.admin import Admin, AdminService, as_json
from stack.hop.hop import Readiness
from stack.http.message import Request, Response
from stack.net.tasks import Tasks
from stack.telemetry.metrics import Metrics


class StubHop:
    name, kind = "edge-fra", "cdn_edge"

    def __init__(self) -> None:
        self.ready = Readiness(True)
        self.purged: list[bytes] = []

    def readiness(self) -> Readiness:
        return self.ready

    def stats(self) -> dict[str, Any]:
        return {"name": self.name, "objects": 3}

    def routes(self) -> Any:
        return {(b"POST", b"/-/purge"): self.purge, (b"POST", b"/-/fail"): self.fail}

    async def purge(self, request: Request) -> Response:
        assert not isinstance(request.body, bytes) or request.body == b""
        self.purged.append(request.target)
        return as_json({"purged": 1}, status=202)

    def fail(self, request: Request) -> Response:
        raise BadRequest("Say what to purge.")


class Endpoint:
    def __init__(self, hop: StubHop, port: int) -> None:
        self.hop, self.port = hop, port

    async def ask(
        self, method: str, path: str, *, host: str | None = "", version: str = "1.1", **fields: str
    ) -> tuple[int, dict[str, str], str]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        lines = [f"{method} {path} HTTP/{version}"]
        if host is not None:
            lines.append(f"host: {host or f'127.0.0.1:{self.port}'}")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        writer.write("\r\n".join([*lines, "connection: close", "", ""]).encode())
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        writer.close()
        await writer.wait_closed()
        first, *rest = head.split("\r\n")
        return int(first.split()[1]), dict(line.split(": ", 1) for line in rest), body


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    clock, tasks, metrics, hop = SystemClock(), Tasks(), Metrics(), StubHop()
    metrics.counter("hopstack_x_total", "Xs.").inc()
    service = AdminService(hop, metrics=metrics, config=lambda: {"token": "***"})
    admin = Admin(service, hop.name, clock=clock, random=Random(1), tasks=tasks)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = await admin.start(listener)
        port = listener.getsockname()[1]
        assert url == f"http://127.0.0.1:{port}"
        yield Endpoint(hop, port)
        await admin.stop()
        await tasks.close()


@pytest.mark.parametrize(
    ("path", "content_type", "part"),
    [
        ("/-/ready", "text/plain; charset=utf-8", "ready\n"),
        ("/-/live", "text/plain; charset=utf-8", "alive\n"),
        ("/-/stats", "application/json", '"objects": 3'),
        ("/-/config", "application/json", '"token": "***"'),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8", "hopstack_x_total 1\n"),
        ("/-/ready?x=1", "text/plain; charset=utf-8", "ready\n"),
    ],
)
async def test_pages(endpoint: Endpoint, path: str, content_type: str, part: str) -> None:
    status, fields, body = await endpoint.ask("GET", path)
    assert (status, fields["content-type"], fields["cache-control"]) == (200, content_type, "no-store")
    assert part in body
    status, fields, body = await endpoint.ask("HEAD", path)
    assert (status, body) == (200, "")


async def test_not_ready_says_why(endpoint: Endpoint) -> None:
    endpoint.hop.ready = Readiness(False, "draining")
    status, _, body = await endpoint.ask("GET", "/-/ready")
    assert (status, body) == (503, "not ready: draining\n")
    assert (await endpoint.ask("GET", "/-/live"))[0] == 200


async def test_a_route_of_the_hop_that_must_wait(endpoint: Endpoint) -> None:
    status, _, body = await endpoint.ask("POST", "/-/purge?all", content_length="0")
    assert (status, json.loads(body)) == (202, {"purged": 1})
    assert endpoint.hop.purged == [b"/-/purge?all"]


async def test_an_error_of_a_route_is_a_problem_document(endpoint: Endpoint) -> None:
    status, fields, body = await endpoint.ask("POST", "/-/fail", content_length="0")
    assert (status, fields["content-type"]) == (400, "application/problem+json")
    assert json.loads(body)["detail"] == "Say what to purge."


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/-/nope", 404, None),
        ("GET", "/", 404, None),
        ("POST", "/-/stats", 405, "GET, HEAD"),
        ("DELETE", "/-/purge", 405, "POST"),
        ("GET", "/-/purge", 405, "POST"),
        ("HEAD", "/-/purge", 405, "POST"),
    ],
)
async def test_rfc9110_15_5_6_what_is_not_there_and_what_is_not_allowed(
    endpoint: Endpoint, method: str, path: str, status: int, allow: str | None
) -> None:
    found, fields, _ = await endpoint.ask(method, path, content_length="0")
    assert (found, fields.get("allow")) == (status, allow)
    assert fields["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("", 200),
        ("localhost", 200),
        ("localhost:9", 200),
        ("LOCALHOST", 200),
        ("edge.localhost:80", 200),
        ("127.0.0.1", 200),
        ("127.9.9.9:1", 200),
        ("[::1]:80", 200),
        ("evil.example", 403),
        ("evil.example:80", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example", 403),
        ("192.0.2.1", 403),
        ("[2001:db8::1]", 403),
    ],
)
async def test_a_name_that_was_rebound_to_loopback_is_refused(endpoint: Endpoint, host: str, status: int) -> None:
    for method, path in (("GET", "/-/stats"), ("POST", "/-/purge")):
        found, _, body = await endpoint.ask(method, path, host=host, content_length="0")
        assert found == status + (2 if status == 200 and method == "POST" else 0), body
    assert bool(endpoint.hop.purged) == (status == 200)


async def test_http_1_0_without_host_is_no_browser(endpoint: Endpoint) -> None:
    assert (await endpoint.ask("GET", "/-/live", host=None, version="1.0"))[0] == 200


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 202),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "https://127.0.0.1:{port}"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"origin": "http://127.0.0.1:{port}"}, 202),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"sec_fetch_site": "same-origin"}, 202),
        ({"sec_fetch_site": "none"}, 202),
    ],
)
async def test_a_page_of_another_origin_changes_nothing(
    endpoint: Endpoint, fields: dict[str, str], status: int
) -> None:
    sent = {name: value.format(port=endpoint.port) for name, value in fields.items()}
    assert (await endpoint.ask("POST", "/-/purge", content_length="0", **sent))[0] == status
    assert bool(endpoint.hop.purged) == (status == 202)


async def test_off_loopback_it_does_not_start() -> None:
    service = AdminService(StubHop(), metrics=Metrics(), config=dict)
    admin = Admin(service, "x", clock=SystemClock(), random=Random(1), tasks=Tasks())
    with socket.create_server(("0.0.0.0", 0)) as listener:
        with pytest.raises(ConfigError, match="the admin endpoint is for loopback only"):
            await admin.start(listener)
