"""HttpHop in the test's own loop: start, serve, log, count, drain, stop."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from stack.clock import SystemClock
from stack.config.listen import parse
from stack.errors import ConfigError
from stack.hop.hop import Bound
from stack.net import Net, ca
from stack.net.bind import bind
from stack.telemetry.metrics import Metrics
from tests.support.hello_hop import Config, HelloHop, build


def bound(*texts: str) -> list[Bound]:
    return [Bound(parse(text).scheme, item) for text in texts for item in bind(parse(text))]


async def get(address: tuple[str, int], target: str = "/", tls: ssl.SSLContext | None = None) -> bytes:
    name = {"server_hostname": "localhost"} if tls else {}
    reader, writer = await asyncio.open_connection(*address, ssl=tls, **name)
    writer.write(f"GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[dict[str, Any]]:
    clock = SystemClock()
    net = Net(clock, Random(1))
    yield {"clock": clock, "random": net.random, "net": net, "metrics": Metrics(), "state_dir": tmp_path / "state"}
    await net.close()


async def test_it_serves_logs_and_counts(parts: dict[str, Any], tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    hop: HelloHop = build(Config(name="hello-1", access_log=str(log)), **parts)
    sockets = bound("http://127.0.0.1:0", "https://127.0.0.1:0")
    await hop.start(sockets)
    assert hop.readiness().ready
    assert (await get(sockets[0].address)).endswith(b"\r\n\r\nhello")
    trusting = ssl.create_default_context(cafile=str(ca.ca_path(tmp_path / "state")))
    assert (await get(sockets[1].address, tls=trusting)).endswith(b"\r\n\r\nhello")
    stats = hop.stats()
    assert stats["listen"] == [f"{item.scheme}://127.0.0.1:{item.address[1]}" for item in sockets]
    assert stats["server"]["opened_h1"] == 2
    assert stats["access_log"] == {"written": 2, "dropped": 0}  # nobody reads a number that lags
    assert parts["metrics"].samples()['hopstack_requests_total{hop="hello-1",method="GET",status="2xx"}'] == 2
    address = sockets[0].address
    await hop.drain()
    assert hop.readiness().reason == "draining"
    await hop.stop()
    await hop.stop()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["scheme"] for line in lines] == ["http", "https"]
    assert lines[0]["marks"][0][:2] == ["app", "answered"]
    with pytest.raises(OSError, match="Connect call failed"):
        await get(address)


async def test_draining_lets_a_request_in_flight_end(parts: dict[str, Any]) -> None:
    hop: HelloHop = build(Config(access_log="off"), **parts)
    sockets = bound("http://127.0.0.1:0")
    await hop.start(sockets)
    waiting = asyncio.create_task(get(sockets[0].address, "/slow"))
    while not hop.context.in_flight:
        await asyncio.sleep(0.005)
    await hop.drain()
    assert (await waiting).endswith(b"slow hello")
    await hop.stop()


@pytest.mark.parametrize(
    ("config", "listen", "message"),
    [
        (Config(cert=("c.pem",)), "https://127.0.0.1:0", "--key is missing"),
        (Config(key=("k.pem",)), "https://127.0.0.1:0", "--cert is missing"),
        (Config(cert=("/no/c.pem",), key=("/no/k.pem",)), "https://127.0.0.1:0", "/no/c.pem: no such file"),
        (Config(server_names=("evil.example",)), "https://127.0.0.1:0", None),
        (Config(), "tcp://127.0.0.1:0", "serves http, https and h2c"),
    ],
)
async def test_what_cannot_be_served_is_a_config_error(
    parts: dict[str, Any], config: Config, listen: str, message: str | None
) -> None:
    hop: HelloHop = build(config, **parts)
    sockets = bound(listen)
    if message is None:
        await hop.start(sockets)  # a CA made now is made for the name; one that exists already is not
        ca_file = ca.ca_path(parts["state_dir"])
        assert ca_file.exists()
    else:
        with pytest.raises(ConfigError, match=message):
            await hop.start(sockets)
    await hop.stop()
    for item in sockets:
        item.socket.close()


async def test_a_name_that_the_existing_ca_may_not_vouch_for(parts: dict[str, Any]) -> None:
    ca.ensure(parts["state_dir"])
    hop: HelloHop = build(Config(server_names=("other.example",)), **parts)
    sockets = bound("https://127.0.0.1:0")
    with pytest.raises(ConfigError, match=r"may not vouch for 'other\.example', only for test, localhost"):
        await hop.start(sockets)
    await hop.stop()
    sockets[0].socket.close()
