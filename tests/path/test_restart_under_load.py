"""Every hop is restarted while clients of all kinds ask: HTTP/2 with many streams, HTTP/1.1 kept and pipelined, uploads."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Iterator

import pytest

from stack.clock import SystemClock
from stack.config.base import PoolLimits, UpstreamTimeouts
from stack.http.message import Request, Response
from stack.net.pool import Pool, Upstream
from stack.net.tasks import Tasks
from stack.telemetry.exchange import Exchange
from tests.support.load import Load
from tests.support.site import EDGE, Site, site

CONTENT = hashlib.shake_256(b"content").digest(50_000)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("restarted"), "--replicas", "2", folder="clients") as made:
        yield made


class H2Load:
    """Requests without end through our own client over TLS: it sends again only what was certainly not acted upon."""

    def __init__(self, made: Site, clients: int = 8) -> None:
        stack = made.stack
        context = ssl.create_default_context(cafile=str(stack.ca))
        context.set_alpn_protocols(["h2"])
        self.tasks = Tasks()
        self.pool = Pool(
            Upstream("edge", EDGE, stack.https, tls=context, server_name="site.test"),
            limits=PoolLimits(connections=2, waiting=100), timeouts=UpstreamTimeouts(), clock=SystemClock(), tasks=self.tasks,
        )  # fmt: skip
        self.authority = f"site.test:{stack.https}".encode()
        self.clients = clients
        self.ending = False
        self.answered = 0
        self.lost: list[str] = []

    async def __aenter__(self) -> H2Load:
        self.running = asyncio.gather(*map(self._client, range(self.clients)))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.ending = True
        await self.running
        await self.pool.close()
        await self.tasks.close()

    async def _streamed(self) -> AsyncIterator[bytes]:
        for at in range(0, len(CONTENT), 10_000):
            yield CONTENT[at : at + 10_000]
            await asyncio.sleep(0.01)

    async def _client(self, number: int) -> None:
        turn = 0
        while not self.ending:
            turn += 1
            kind = (number + turn) % 4
            method, body = [(b"GET", b""), (b"GET", b""), (b"POST", CONTENT), (b"PUT", self._streamed())][kind]
            request = Request(
                method, b"/echo?%d.%d" % (number, turn), [], authority=self.authority, scheme=b"https", body=body  # type: ignore[arg-type]
            )  # fmt: skip
            try:
                async with asyncio.timeout(20):
                    response = await self.pool.send(request, Exchange("t", SystemClock.now))
                    content = await self._read(response)
                assert response.status == 200, (response.status, content[:300])
                assert f'"query": "{number}.{turn}"'.encode() in content
                self.answered += 1
            except Exception as error:
                self.lost.append(f"{method!r} {error!r} {getattr(error, 'private', '')}")
            await asyncio.sleep(0.005)

    async def _read(self, response: Response) -> bytes:
        if isinstance(response.body, bytes):
            return response.body
        return b"".join([piece async for piece in response.body])


@pytest.mark.parametrize("hop", ["edge-fra", "lb-a", "proxy-1", "app-1"])
async def test_a_restart_loses_nothing_of_anybody(own: Site, hop: str) -> None:
    stack = own.stack
    async with H2Load(own) as h2, Load(EDGE, stack.base + 80, "site.test") as h1:
        await asyncio.sleep(0.5)
        done = await asyncio.to_thread(stack.hopstack, "restart", hop)
        assert done.returncode == 0, done.stdout + done.stderr
        await asyncio.sleep(0.3)
    assert h2.lost == []
    assert h1.lost == []
    assert h2.answered > 20
    assert h1.answered > 20
