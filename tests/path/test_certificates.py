"""Certificates change while an edge serves: new handshakes have the new one, no connection is lost, a fault is told."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import ssl
from pathlib import Path
from typing import Any

import pytest

from stack.clock import eventually
from tests.cdn_edge.processes import EdgeProcess, cacheable, edge, origin
from tests.support.certificates import Authority, authority


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ours"))


def trusting(by: Authority, *, shows: tuple[str, str] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=by.path)
    if shows:
        context.load_cert_chain(*shows)
    return context


async def opened(
    url: str, context: ssl.SSLContext, name: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, dict[str, Any]]:
    port = int(url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    return reader, writer, writer.get_extra_info("peercert")


async def asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, path: str = "/a") -> bytes:
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]))
    return head.split(b"\r\n")[0]


async def serial(url: str, context: ssl.SSLContext, name: str) -> str:
    _, writer, shown = await opened(url, context, name)
    writer.close()
    return str(shown["serialNumber"])


async def certificates(front: EdgeProcess, method: str = "GET") -> tuple[int, dict[str, Any]]:
    async with front.client.request(method, front.admin + "/-/certificates") as response:
        return response.status, json.loads(await response.text())


def put(pair: tuple[str, str], place: tuple[str, str]) -> None:
    for one, other in zip(pair, place, strict=True):
        shutil.copyfile(one, f"{other}.new")
        Path(f"{other}.new").replace(other)


async def test_a_new_certificate_is_taken_up_and_no_connection_is_lost(ours: Authority, tmp_path: Path) -> None:
    place = (str(tmp_path / "live.pem"), str(tmp_path / "live-key.pem"))
    put(ours.files("shop.test"), place)
    flags = ("--cert", place[0], "--key", place[1])
    context = trusting(ours)
    async with (
        origin(lambda _: cacheable(b"content")) as behind,
        edge(behind.url, *flags, home=tmp_path, scheme="https") as front,
    ):
        reader, writer, shown = await opened(front.url, context, "shop.test")
        first = shown["serialNumber"]
        assert await asked(reader, writer, "shop.test") == b"HTTP/1.1 200 OK"

        # by SIGHUP
        put(ours.files("shop.test"), place)
        front.process.send_signal(signal.SIGHUP)
        await eventually(lambda: _differs(front.url, context, first))
        second = await serial(front.url, context, "shop.test")
        assert await asked(reader, writer, "shop.test") == b"HTTP/1.1 200 OK"

        # a broken file changes nothing, and is told
        Path(place[0]).write_text("no certificate\n")
        status, answer = await certificates(front, "POST")
        assert status == 422
        assert "live.pem" in answer["detail"]
        assert await serial(front.url, context, "shop.test") == second
        _, described = await certificates(front)
        assert "live.pem" in described["error"]
        async with front.client.get(front.admin + "/-/ready") as response:
            assert response.status == 200

        # by itself, without being told
        put(ours.files("shop.test"), place)
        await eventually(lambda: _differs(front.url, context, second), within=30)
        _, described = await certificates(front)
        assert described["error"] == ""
        assert described["certificates"][0]["names"] == ["shop.test"]
        assert f'hopstack_certificate_expires_seconds{{hop="edge",cert="{place[0]}"}}' in await front.metrics()
        assert await asked(reader, writer, "shop.test") == b"HTTP/1.1 200 OK"
        writer.close()


async def _differs(url: str, context: ssl.SSLContext, before: str) -> bool:
    return await serial(url, context, "shop.test") != before


async def test_several_names_and_a_client_certificate_for_one_listener(ours: Authority, tmp_path: Path) -> None:
    first, second = ours.files("shop.test"), ours.files("*.other.test")
    flags = ("--cert", first[0], "--key", first[1], "--cert", second[0], "--key", second[1])
    known = trusting(ours, shows=ours.files("tester@shop.test", common="tester"))
    with_ca = f"https://127.0.0.1:0?client_ca={ours.path}"
    async with (
        origin(lambda _: cacheable(b"content")) as behind,
        edge(behind.url, *flags, "--listen", with_ca, "--access-log", str(tmp_path / "log"), home=tmp_path,
             scheme="https") as front,
    ):  # fmt: skip
        for name in ("shop.test", "www.other.test"):
            reader, writer, _ = await opened(front.url, trusting(ours), name)
            assert await asked(reader, writer, name) == b"HTTP/1.1 200 OK"
            assert b" 421 " in await asked(reader, writer, "elsewhere.test")
            writer.close()
        async with front.client.get(front.admin + "/-/stats") as response:
            listens = (await response.json())["listen"]
        strict = next(place for place in listens if place != front.url)
        reader, writer, _ = await opened(strict, known, "www.other.test")
        assert await asked(reader, writer, "www.other.test", "/own") == b"HTTP/1.1 200 OK"
        writer.close()
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await asked(*(await opened(strict, trusting(ours), "shop.test"))[:2], "shop.test")
        await eventually(lambda: _counted(front, 'result="no-client-certificate"} 1'))
        assert behind.seen[-1].get(b"client-cert") is not None
    assert '"client_cert":"CN=tester' in (tmp_path / "log").read_text()


async def _counted(front: EdgeProcess, line: str) -> bool:
    return line in await front.metrics()
