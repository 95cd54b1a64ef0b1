"""`/-/faults` of a real hop's admin endpoint, in the test's own loop."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest

from proxy.build import build
from proxy.config import Config
from stack.clock import SystemClock
from stack.config.listen import parse
from stack.errors import ConfigError
from stack.faults.net import FaultyNet
from stack.hop.admin import Admin, AdminService
from stack.hop.hop import Bound
from stack.net import Net
from stack.net.bind import bind
from stack.telemetry.metrics import Metrics
from tests.support.origin import origin, serve_ok


@dataclass
class Endpoint:
    session: aiohttp.ClientSession
    served: str
    log: Path

    async def ask(self, method: str, path: str = "", content: Any = None) -> tuple[int, Any]:
        given: dict[str, Any] = {"data": content} if isinstance(content, str) else {"json": content}
        async with self.session.request(method, f"/-/faults{path}", **(given if content is not None else {})) as answer:
            return answer.status, await answer.json(content_type=None)

    async def status(self) -> int:
        async with self.session.get(self.served) as answer:
            await answer.read()
            return answer.status


def config(port: int, **options: Any) -> Config:
    return Config(name="proxy-1", upstream=f"app-1=http://127.0.0.1:{port}", health="", **options)


@pytest.fixture(params=[()])
async def endpoint(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Endpoint]:
    clock, metrics = SystemClock(), Metrics()
    net = FaultyNet(clock, Random(1))
    async with origin(serve_ok) as app:
        log = tmp_path / "access.log"
        options = config(app.port, access_log=str(log), fault=request.param)
        hop = build(options, clock=clock, random=net.random, net=net, metrics=metrics, state_dir=tmp_path)
        (listening,) = bind(parse("http://127.0.0.1:0"))
        bound = Bound("http", listening)
        await hop.start([bound])
        service = AdminService(hop, metrics=metrics, config=dict)
        admin = Admin(service, hop.name, clock=clock, random=net.random, tasks=net.tasks)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = await admin.start(listener)
            async with aiohttp.ClientSession(url) as session:
                yield Endpoint(session, f"http://127.0.0.1:{bound.address[1]}/", log)
            await admin.stop()
            await hop.stop()
            await net.close()


async def test_add_list_and_remove(endpoint: Endpoint) -> None:
    assert await endpoint.status() == 200
    status, answer = await endpoint.ask("POST", content={"name": "x", "on": "proxy-1>app-1", "status": 503})
    assert (status, answer) == (201, {"name": "x", "here": ["proxy-1>app-1"], "replaced": False})
    assert await endpoint.status() == 503
    _, listed = await endpoint.ask("GET")
    assert (listed["name"], listed["kind"], listed["links"]) == ("proxy-1", "proxy", ["app-1"])
    (one,) = listed["faults"]
    assert one["text"] == "proxy-1>app-1 status=503 name=x"
    assert {key: one[key] for key in ("name", "on", "status", "state", "seen", "hits", "left_s", "configured")} == {
        "name": "x", "on": "proxy-1>app-1", "status": 503, "state": "active", "seen": 1, "hits": 1, "left_s": None,
        "configured": False,
    }  # fmt: skip
    assert await endpoint.ask("DELETE", "/x") == (200, {"removed": 1})
    assert await endpoint.status() == 200


async def test_text_and_replacement(endpoint: Endpoint) -> None:
    assert (await endpoint.ask("POST", content="app-1 refused name=x"))[0] == 201
    assert (await endpoint.ask("POST", content="app-1 status=500 name=x"))[1]["replaced"] is True
    assert (await endpoint.ask("POST", content="client>proxy-1 latency=1ms"))[1]["here"] == ["client>proxy-1"]
    assert await endpoint.ask("DELETE") == (200, {"removed": 2})
    assert (await endpoint.ask("GET"))[1]["faults"] == []


@pytest.mark.parametrize(
    ("content", "status", "says"),
    [
        ("lb-a>proxy-1 refused", 422, "lb-a>proxy-1 is not in this process: it is proxy-1, its links are proxy-1>app-1."),
        ("app-1 refuse", 400, "did you mean refused?"),
        ("{", 400, "the content is no JSON"),
        ("[]", 400, 'Send {"on": "lb-a>proxy-2"'),
        ("[" * 2000, 400, "the content is no JSON"),
        ('{"on": "app-1", "latency": ' + "9" * 1000 + "}", 400, "wanted a duration"),
        ({"on": "app-1", "refused": True, "path": "/*" + "a*" * 800}, 400, "path: wanted up to 200 characters"),
        ({"on": "app-1", "refused": True, "path": "/\ud800"}, 400, "path: wanted up to 200 characters"),
        ({"on": "app-1", "name": 3, "refused": True}, 400, "name: wanted text"),
        ({"on": "app-1"}, 400, "it does nothing"),
        ("x" * 20_000, 413, "at most"),
    ],
)  # fmt: skip
async def test_refusals(endpoint: Endpoint, content: Any, status: int, says: str) -> None:
    found, answer = await endpoint.ask("POST", content=content)
    assert found == status
    assert says in answer["detail"]
    assert (await endpoint.ask("GET"))[0] == 200


async def test_no_such_fault(endpoint: Endpoint) -> None:
    await endpoint.ask("POST", content="app-1 refused name=cable")
    status, answer = await endpoint.ask("DELETE", "/cabel")
    assert (status, answer["detail"]) == (404, "No fault is called cabel; did you mean cable?")
    assert (await endpoint.ask("PUT", "/cable"))[0] == 405


@pytest.mark.parametrize("endpoint", [("proxy-1>app-1 status=500 first=1", "lb-a>proxy-9 refused")], indirect=True)
async def test_of_the_configuration_only_its_own(endpoint: Endpoint) -> None:
    (one,) = (await endpoint.ask("GET"))[1]["faults"]
    assert (one["name"], one["configured"]) == ("proxy-1-app-1-status", True)
    assert [await endpoint.status() for _ in range(3)] == [500, 200, 200]


@pytest.mark.parametrize(
    ("faults", "says"),
    [
        (("app-1 latncy=1",), "--fault 'app-1 latncy=1': latncy: a fault has no such key; did you mean latency?"),
        (("app-1 refused name=x", "lb-a refused name=x"), "another is called x too"),
    ],
)
async def test_a_slip_in_the_configuration(faults: tuple[str, ...], says: str, tmp_path: Path) -> None:
    net = FaultyNet(SystemClock(), Random(1))
    parts: dict[str, Any] = {"clock": net.clock, "random": net.random, "metrics": Metrics(), "state_dir": tmp_path}
    with pytest.raises(ConfigError) as raised:
        build(config(1, fault=faults), net=net, **parts)
    assert says in str(raised.value)
    with pytest.raises(ConfigError, match="injects none"):
        build(config(1, fault=faults), net=Net(net.clock, net.random), **parts)
    await net.close()
