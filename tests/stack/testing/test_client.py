"""The client: cookies, redirects, content, names, protocols, and other clients pointed at the stack."""

from __future__ import annotations

import asyncio
import gzip
import json
import shutil
from typing import Any

import aiohttp
import pytest

from stack.testing import NoResponse, NoSuchHost, WebStack
from tests.stack.testing.apps import MINUTE, Probe


async def test_cookies_belong_to_one_client_and_end_by_the_stacks_clock() -> None:
    async with WebStack(Probe, replicas=1) as web:
        ada, bob = web.client(), web.client(cookies=False)
        await ada.get("/cookie?set=session%3Dabc123%3B+Max-Age%3D60%3B+Secure%3B+HttpOnly")
        await bob.get("/cookie?set=session%3Dxyz")
        assert (await ada.get("/echo")).json()["headers"]["cookie"] == "session=abc123"
        assert "cookie" not in (await bob.get("/echo")).json()["headers"]
        assert ada.cookies["session"] == "abc123"
        await web.clock.advance(61)
        assert "cookie" not in (await ada.get("/echo")).json()["headers"]
        assert "session" not in ada.cookies


async def test_cookies_of_a_call_and_headers_of_a_client() -> None:
    async with WebStack(Probe, replicas=1) as web:
        client = web.client(headers={"X-Who": "ada", "Accept": "text/html"})
        seen = (await client.get("/echo", cookies={"a": "1"}, headers={"accept": "*/*"})).json()["headers"]
        assert (seen["x-who"], seen["accept"], seen["cookie"]) == ("ada", "*/*", "a=1")


@pytest.mark.parametrize(("status", "method"), [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")])
async def test_redirects_are_followed_when_asked(status: int, method: str) -> None:
    async with WebStack(Probe, replicas=1) as web:
        path = f"/redirect?status={status}&to=/echo?b%3D2"
        assert (await web.post(path, data={"k": "v"})).status == status
        r = await web.post(path, data={"k": "v"}, follow=True)
        assert (r.json()["method"], r.json()["query"]) == (method, "b=2")
        assert r.json()["body"] == ("k=v" if method == "POST" else "")
        assert [one.status for one in r.history] == [status]


async def test_redirects_that_never_end_do_end() -> None:
    async def again(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        await send({"type": "http.response.start", "status": 302, "headers": [(b"location", b"/again")]})
        await send({"type": "http.response.body", "body": b""})

    async with WebStack(again, replicas=1) as web:
        with pytest.raises(NoResponse, match="more than 10 redirects"):
            await web.get("/again", follow=True)


@pytest.mark.parametrize("http", ["h1", "h2"])
async def test_both_protocols(http: str) -> None:
    async with WebStack(Probe) as web:
        r = await web.get(MINUTE, http=http)
        assert r.version == {"h1": "HTTP/1.1", "h2": "HTTP/2"}[http]
        assert web.logs.of(r)[0]["proto"] == {"h1": "1.1", "h2": "2"}[http]
        assert not r.trace.reused
        assert (await web.get(MINUTE, http=http)).trace.reused
        assert (await web.get(web.url(MINUTE, scheme="http"), http="h1")).status == 200
        with pytest.raises(ValueError, match="wanted h1 or h2"):
            await web.get("/", http="h3")


async def test_content_both_ways() -> None:
    async with WebStack(Probe, replicas=1) as web:
        upload = bytes(range(256)) * 4096
        assert (await web.put("/echo", data=upload)).json()["body"].encode("latin-1") == upload
        assert (await web.head("/echo")).body == b""
        assert (await web.get("/?body=%C3%BC")).text == "ü"
        assert (await web.get("/ü x", params={"q": ["a b", "c"]})).status == 200
        large = await web.get(
            "/?body=" + "a" * 4000 + "&cache-control=max-age%3D1", headers={"accept-encoding": "gzip"}
        )
        if large.headers.get("content-encoding") == "gzip":
            assert gzip.decompress(large.raw) == large.body
        assert large.text == "a" * 4000
        with pytest.raises(TypeError, match="one content"):
            await web.post("/", data=b"", json={})
        with pytest.raises(TypeError, match="data is a int: wanted bytes, text, or a mapping"):
            await web.post("/", data=5)
        with pytest.raises(ValueError, match="the header x-name holds '€'"):
            await web.get("/", headers={"X-Name": "€"})
        with pytest.raises(ValueError, match="wanted a path"):
            await web.get("x")
        for ask in (web.url, web.purge):
            with pytest.raises(ValueError, match="wanted a path"):
                await ask("x")  # type: ignore[misc]


@pytest.mark.parametrize("http", ["h1", "h2"])
async def test_a_host_that_is_not_the_one_connected_to(http: str) -> None:
    """What a test of poisoned links in mails needs: curl -H 'Host: ...'."""
    async with WebStack(Probe, replicas=1) as web:
        r = await web.get("/echo", http=http, headers={"Host": "evil.example"})
        assert r.json()["headers"]["host"] == web.logs.of(r)[0]["host"] == "evil.example"
        own = web.url("").removeprefix("https://")
        r = await web.get("/redirect?to=/echo", http=http, headers={"Host": "evil.example"}, follow=True)
        assert (r.json()["headers"]["host"], [one.status for one in r.history]) == (own, [302])
        assert (await web.client(headers={"host": "www.example"}).get("/echo", http=http)).json()["headers"][
            "host"
        ] == "www.example"


async def test_a_name_that_a_fault_hides_is_told_with_the_fault() -> None:
    async with WebStack(Probe, replicas=1) as web:
        with web.fault("resolver", rcode="SERVFAIL", name="cable"), pytest.raises(NoSuchHost) as told:
            await web.get("/")
        assert str(told.value).endswith("says SERVFAIL (injected: cable)")
        with web.fault("resolver>dns-shop", drop=True, name="cut"), pytest.raises(NoSuchHost, match=r"injected: cut\)"):
            await web.get("/")


async def test_names_come_from_the_stacks_own_dns() -> None:
    async with WebStack(Probe) as web:
        assert (await web.get(f"https://www.{web.name}/")).status == 200
        asked = len(web.logs["resolver"])
        await web.get("/")
        await web.get("/")
        assert [line["name"] for line in web.logs["resolver"][asked:]] == [f"{web.name}."]
        await web.clock.advance(61)
        await web.get("/")
        assert len(web.logs["resolver"]) == asked + 2
        with pytest.raises(NoSuchHost, match="says NXDOMAIN"):
            await web.get(f"https://nowhere.{web.name}/")


async def test_other_clients_find_it_and_believe_it() -> None:
    async with WebStack(Probe, replicas=1) as web, aiohttp.ClientSession() as session:
        with web.resolving():
            async with session.get(web.url("/echo"), ssl=web.ssl_context()) as response:
                assert (await response.json())["scheme"] == "https"
        async with session.get(web.doh_url, ssl=web.ssl_context()) as response:
            assert response.status in (400, 405)


@pytest.mark.needs("curl")
async def test_curl_by_dns_over_https() -> None:
    async with WebStack(Probe) as web:
        curl = await asyncio.create_subprocess_exec(
            shutil.which("curl") or "curl", "-sS", "--max-time", "20", "--cacert", web.ca_path, "--doh-url", web.doh_url,
            web.url("/echo"), stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await curl.communicate()
        assert json.loads(out)["headers"]["host"] == web.url("").removeprefix("https://")
