"""Python's own clients at the edge: http.client, requests, httpx and aiohttp, with connections that they keep."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import socket
import ssl
from collections.abc import Iterator

import httpx
import pytest
import requests
from requests.adapters import HTTPAdapter

from tests.support.apps.clients.site_clients import FILE
from tests.support.site import EDGE, Site

CONTENT = hashlib.shake_256(b"content").digest(300_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def pieces() -> Iterator[bytes]:
    for at in range(0, len(CONTENT), 70_000):
        yield CONTENT[at : at + 70_000]


class AtEdge(http.client.HTTPSConnection):
    """Connects to the edge's address by the site's name."""

    def connect(self) -> None:
        raw = socket.create_connection((EDGE, self.port), timeout=20)
        self.sock = self._context.wrap_socket(raw, server_hostname=self.host)  # type: ignore[attr-defined]


def test_http_client_keeps_its_connection(clients_site: Site) -> None:
    stack = clients_site.stack
    client = AtEdge("site.test", stack.https, context=ssl.create_default_context(cafile=str(stack.ca)))
    client.connect()
    first = client.sock
    for number in range(20):
        client.request("POST", "/echo", body=CONTENT if number % 2 else pieces(), encode_chunked=True)
        assert DIGEST.encode() in client.getresponse().read()
        client.request("HEAD", "/file")
        answer = client.getresponse()
        assert (answer.read(), answer.headers["content-length"]) == (b"", "1000000")
    assert client.sock is first
    client.close()


class _Resolved(HTTPAdapter):
    def get_connection_with_tls_context(self, request, verify, proxies=None, cert=None):  # type: ignore[no-untyped-def]
        pool = super().get_connection_with_tls_context(request, verify, proxies, cert)
        pool.host, pool.assert_hostname = EDGE, "site.test"
        pool.conn_kw["server_hostname"] = "site.test"
        return pool


def test_requests_with_a_session(clients_site: Site) -> None:
    stack = clients_site.stack
    with requests.Session() as session:
        session.trust_env = False
        session.mount("https://", _Resolved())
        session.verify = str(stack.ca)
        session.headers["Host"] = f"site.test:{stack.https}"
        assert session.post(stack.url("/echo"), data=pieces(), timeout=20).json()["digest"] == DIGEST
        assert session.post(stack.url("/echo"), files={"f": CONTENT}, timeout=20).json()["length"] > len(CONTENT)
        assert session.patch(stack.url("/echo"), json={"a": 1}, timeout=20).json()["method"] == "PATCH"
        with session.get(stack.url("/stream"), stream=True, timeout=20) as answer:
            assert sum(map(len, answer.iter_content(None))) == 50_000
        again = session.get(stack.url("/file"), timeout=20)
        assert session.get(stack.url("/file"), headers={"Range": "bytes=5-9"}, timeout=20).content == FILE[5:10]
        assert (
            session.get(stack.url("/file"), headers={"If-None-Match": again.headers["etag"]}, timeout=20).status_code
            == 304
        )


async def test_httpx_many_at_a_time(clients_site: Site) -> None:
    stack = clients_site.stack
    context = ssl.create_default_context(cafile=str(stack.ca))
    base = f"https://{EDGE}:{stack.https}"
    headers = {"Host": f"site.test:{stack.https}"}
    async with httpx.AsyncClient(verify=context, base_url=base, headers=headers, trust_env=False, timeout=20) as client:
        name = {"sni_hostname": "site.test"}
        answers = await asyncio.gather(
            *(client.post("/echo", content=CONTENT, extensions=name, params={"n": n}) for n in range(30))
        )
        assert [answer.json()["digest"] for answer in answers] == [DIGEST] * 30
        assert [answer.json()["query"] for answer in answers] == [f"n={n}" for n in range(30)]
        async with client.stream("GET", "/stream", extensions=name) as answer:
            assert sum([len(piece) async for piece in answer.aiter_raw()]) == 50_000


async def test_aiohttp_many_at_a_time_and_gone_in_the_middle(clients_site: Site) -> None:
    stack = clients_site.stack
    async with stack.session() as client:

        async def leave() -> None:
            async with client.get(stack.url("/file?left")) as answer:
                await answer.content.readexactly(1000)

        async def ask(number: int) -> str:
            async with client.post(stack.url(f"/echo?{number}"), data=CONTENT) as answer:
                said = await answer.json()
                assert said["query"] == str(number)
                return str(said["digest"])

        found = await asyncio.gather(*(leave() if number % 3 == 0 else ask(number) for number in range(45)))
        assert [digest for digest in found if digest is not None] == [DIGEST] * 30


@pytest.mark.parametrize("pause", [0.0, 0.02])
async def test_a_browser_s_connections_that_stay_open(clients_site: Site, pause: float) -> None:
    """Six kept connections, used again and again, pipelined now and then: no answer is lost or mixed up."""
    stack = clients_site.stack

    async def one(number: int) -> None:
        reader, writer = await asyncio.open_connection(EDGE, stack.base + 80)
        for turn in range(10):
            targets = [f"/echo?{number}.{turn}.{part}" for part in range(1 + turn % 3)]
            writer.write("".join(f"GET {target} HTTP/1.1\r\nHost: site.test\r\n\r\n" for target in targets).encode())
            for target in targets:
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
                assert head.startswith(b"HTTP/1.1 200")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                assert f'"query": "{target.partition("?")[2]}"'.encode() in await reader.readexactly(length)
            await asyncio.sleep(pause)
        writer.close()

    await asyncio.gather(*map(one, range(6)))
