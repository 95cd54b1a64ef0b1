"""A client that goes away ends the work behind all hops within 100 ms, whatever it was waiting for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from stack.clock import eventually
from tests.support.chain import Running, chain
from tests.support.h2_peer import GET, POST, PREFACE, Peer

WITHIN = 0.1
TRIES = 5
"""The best of so many counts: on a busy machine each of nine processes may be kept waiting."""


@pytest_asyncio.fixture(scope="module", params=["h1", "h2"], loop_scope="module")
async def hops(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, Running]]:
    """The parameter is the protocol between the hops."""
    async with chain(tmp_path_factory.mktemp("hops"), h2=request.param == "h2") as running:
        yield running


async def leave_h1(port: int, path: bytes, *, begun: asyncio.Event) -> float:
    """Ask, wait until the app works on it, and close. When that was."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    if path == b"/sink":
        writer.write(b"POST /sink HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\n" + bytes(1000))
    else:
        writer.write(b"GET %b HTTP/1.1\r\nHost: a.test\r\n\r\n" % path)
    await begun.wait()
    if path in (b"/drip", b"/store"):
        await reader.readuntil(b"first" if path == b"/drip" else b"\r\n\r\n")
    at = time.monotonic()
    writer.close()
    return at


async def leave_h2(port: int, path: bytes, *, begun: asyncio.Event, reset: bool) -> float:
    peer = Peer(*await asyncio.open_connection("127.0.0.1", port))
    peer.send(PREFACE, peer.settings())
    if path == b"/sink":
        fields = [*POST[:3], (b":path", path)]
        peer.send(peer.headers(1, fields, end=False), peer.data(1, bytes(1000)))
    else:
        peer.send(peer.headers(1, [*GET[:3], (b":path", path)]))
    await peer.pong()
    await begun.wait()
    at = time.monotonic()
    if reset:
        peer.send(peer.reset(1))
        await asyncio.sleep(0.3)
    peer.close()
    return at


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("how", ["h1", "h2-reset", "h2-close"])
@pytest.mark.parametrize("path", [b"/wait", b"/sink", b"/drip", b"/store"], ids=lambda path: path.decode()[1:])
async def test_a_client_that_goes_away(hops: dict[str, Running], path: bytes, how: str) -> None:
    app, port = hops["appserver"], hops["cdn_edge"].port
    took = []
    for _ in range(TRIES):
        before = len(app.notes())
        begun = asyncio.Event()

        async def watch(known: int = before, event: asyncio.Event = begun) -> None:
            await eventually(lambda: "asked" in [word for word, _ in app.notes()[known:]], every=0.005)
            event.set()

        watching = asyncio.create_task(watch())
        if how == "h1":
            left = await leave_h1(port, path, begun=begun)
        else:
            left = await leave_h2(port, path, begun=begun, reset=how == "h2-reset")
        await watching
        await eventually(lambda: "gone" in [word for word, _ in app.notes()[before:]], within=5, every=0.005)  # noqa: B023
        [gone] = [at for word, at in app.notes()[before:] if word == "gone"]
        took.append(gone - left)
        if took[-1] < WITHIN:
            break
    print(path.decode(), how, " ".join(f"{seconds * 1000:.0f} ms" for seconds in took))
    assert min(took) < WITHIN, took
