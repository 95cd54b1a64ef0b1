"""A dead backend costs no GET: it leaves within the checks' time, its requests go elsewhere, and it returns."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from stack.clock import eventually
from tests.loadbalancer.processes import BackendProcess, Balancer, balancer, bound
from tests.support.origin import Link, Origin, origin, serve_ok

FAST = ("--check", "http:/health", "--check-interval", "200ms", "--check-fast", "50ms")


@pytest.fixture
def three() -> Iterator[list[BackendProcess]]:
    with contextlib.ExitStack() as cleanup:
        backends = []
        for name in ("b1", "b2", "b3"):
            backends.append(BackendProcess(name))
            cleanup.callback(backends[-1].kill)
        yield backends


def flag(name: str, where: Origin) -> str:
    return f"--backend={name}=http://127.0.0.1:{where.port}"


async def test_a_dead_backend_leaves_and_returns(three: list[BackendProcess], tmp_path: Path) -> None:
    async with balancer(*(backend.flag for backend in three), *FAST, home=tmp_path) as lb:
        await lb.becomes({"b1": "up", "b2": "up", "b3": "up"})
        assert Counter([(await lb.get())[1] for _ in range(30)]) == {"b1": 10, "b2": 10, "b3": 10}
        three[1].kill()
        await lb.becomes({"b1": "up", "b2": "down", "b3": "up"}, within=3.0)
        state = (await lb.backends())["b2"]
        assert state["reason"] == "check: refused"
        assert {(await lb.get())[1] for _ in range(10)} == {"b1", "b3"}
        assert 'hopstack_lb_backend_up{backend="b2"} 0' in await lb.metrics()
        three[1].start()
        await lb.becomes({"b2": "up"}, within=5.0)
        assert {(await lb.get())[1] for _ in range(9)} == {"b1", "b2", "b3"}


@pytest.mark.parametrize("check", ["http:/health", "tcp", "none"])
@pytest.mark.parametrize("balance", ["round-robin", "least-connections"])
async def test_no_get_fails_when_a_backend_is_killed(
    three: list[BackendProcess], tmp_path: Path, check: str, balance: str
) -> None:
    """500 requests with 20 in flight, half of them waiting inside a backend when it dies."""
    flags = ("--check", check, "--balance", balance)
    async with balancer(*(backend.flag for backend in three), *flags, home=tmp_path) as lb:
        await eventually(lambda: _all_answer(lb, 3))
        answered = Counter[int]()
        left = iter(range(500))

        async def client() -> None:
            for number in left:
                if number == 150:
                    three[2].kill()
                status, _ = await lb.get("/slow" if number % 2 else "/")
                answered[status] += 1

        await asyncio.gather(*(client() for _ in range(20)))
        assert answered == {200: 500}
        assert (await lb.states())["b3"] == "down"
        assert {state["in_flight"] for state in (await lb.backends()).values()} == {0}


async def _all_answer(lb: Balancer, count: int) -> bool:
    return len({await lb.get() for _ in range(count)}) == count


async def test_a_post_that_was_sent_is_never_sent_again(tmp_path: Path) -> None:
    seen: list[bytes] = []

    async def takes_and_dies(link: Link) -> None:
        head = await link.head()
        if head:
            seen.append(head)
            link.close()

    async with origin(takes_and_dies) as first, origin(takes_and_dies) as second:
        backends = [flag("a", first), flag("b", second)]
        async with balancer(*backends, "--check", "none", home=tmp_path) as lb:
            status, text = await lb.post("/orders", data=b"shoes", headers={"accept": "application/json"})
            assert status == 502
            assert len(seen) == 1
            assert seen[0].startswith(b"POST /orders ")
            assert "request" in text
            status, _ = await lb.get("/products")
            assert status == 502
            assert len(seen) == 3, "a GET was tried on both"


async def test_a_post_that_could_not_be_sent_goes_to_another(tmp_path: Path) -> None:
    async with origin(serve_ok) as alive:
        with bound() as nobody:  # bound, but not listening: connections are refused
            backends = [f"--backend=gone=http://127.0.0.1:{nobody.getsockname()[1]}", flag("alive", alive)]
            async with balancer(*backends, "--check", "none", home=tmp_path) as lb:
                assert [(await lb.post("/orders", data=b"shoes"))[0] for _ in range(4)] == [200] * 4
                assert (await lb.backends())["gone"]["attempts"]["refused"] == 1
                assert (await lb.states())["gone"] == "down"


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_bad_status_is_tried_elsewhere_for_safe_methods_only(tmp_path: Path, status: int) -> None:
    async def unable(link: Link) -> None:
        while await link.head():
            link.send(b"HTTP/1.1 %d No\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nlost\r\n0\r\n\r\n" % status)

    async with origin(unable) as bad, origin(serve_ok) as good:
        async with balancer(flag("bad", bad), flag("good", good), "--check", "tcp", home=tmp_path) as lb:
            assert [await lb.get() for _ in range(6)] == [(200, "ok")] * 6
            posts = [(await lb.post())[0] for _ in range(4)]
            assert sorted(posts) == [200, 200, status, status]
            assert len(bad.links) <= 12, "connections are reused or closed, not left"


async def test_all_bad_passes_the_last_answer_on(tmp_path: Path) -> None:
    async def unable(link: Link) -> None:
        while await link.head():
            link.send(b"HTTP/1.1 503 No\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nbusy")

    async with origin(unable) as one, origin(unable) as two:
        async with balancer(flag("a", one), flag("b", two), "--check", "none", home=tmp_path) as lb:
            async with lb.client.get(lb.url) as response:
                assert (response.status, await response.text()) == (503, "busy")
                assert response.headers["retry-after"] == "7"
                assert "lb-a.attempt" in response.headers["server-timing"]


async def test_a_failing_health_page_takes_a_backend_out_although_it_accepts(tmp_path: Path) -> None:
    ill = asyncio.Event()

    async def app(link: Link) -> None:
        while head := await link.head():
            bad = ill.is_set() and b" /health " in head
            link.send(b"HTTP/1.1 %d x\r\nContent-Length: 3\r\n\r\nill" % (503 if bad else 200))

    async with origin(app) as one, origin(serve_ok) as two:
        async with balancer(flag("ill", one), flag("well", two), *FAST, home=tmp_path) as lb:
            await lb.becomes({"ill": "up", "well": "up"})
            ill.set()
            await lb.becomes({"ill": "down"}, within=3.0)
            assert (await lb.backends())["ill"]["reason"] == "check: 503"
            assert {(await lb.get())[1] for _ in range(6)} == {"ok"}
            ill.clear()
            await lb.becomes({"ill": "up"}, within=5.0)


@pytest.mark.parametrize("panic", ["--panic", "--no-panic"])
async def test_nobody_is_there(tmp_path: Path, panic: str) -> None:
    with bound() as nobody:
        backend = f"--backend=a=http://127.0.0.1:{nobody.getsockname()[1]}"
        async with balancer(backend, *FAST, panic, home=tmp_path, wait=False) as lb:
            await lb.becomes({"a": "down"})
            ready, reason = await lb.ready()
            assert not ready
            assert "a is down (check: refused)" in reason
            async with lb.client.get(lb.url, headers={"accept": "application/json"}) as response:
                assert response.status == 503
                assert response.content_type == "application/problem+json"
                assert response.headers["proxy-status"].startswith("lb-a;error=destination_unavailable")
            assert (await lb.backends())["a"]["attempts"]["refused"] == (1 if panic == "--panic" else 0)


async def test_content_that_the_backend_cuts_is_visibly_cut(tmp_path: Path) -> None:
    async def cuts(link: Link) -> None:
        while await link.head():
            link.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
            await link.writer.drain()
            link.reset()

    async with origin(cuts) as one:
        async with balancer(flag("a", one), "--check", "none", home=tmp_path) as lb:
            for _ in range(3):
                with pytest.raises(aiohttp.ClientError):
                    await lb.get()
            state = (await lb.backends())["a"]
            assert (state["attempts"]["failed"], state["in_flight"]) == (3, 0)
            assert (state["state"], state["reason"]) == ("down", "traffic: cut")


async def test_a_client_that_leaves_frees_the_backend_and_blames_nobody(tmp_path: Path) -> None:
    async def never(link: Link) -> None:
        await link.head()
        with contextlib.suppress(ConnectionResetError):  # an end or a reset: either says that nobody waits any more
            assert await link.reader.read() == b""
        gone.set()

    gone = asyncio.Event()
    async with origin(never) as one:
        async with balancer(flag("a", one), "--check", "none", home=tmp_path) as lb:
            with pytest.raises(TimeoutError):
                await lb.get(timeout=aiohttp.ClientTimeout(total=0.3))
            async with asyncio.timeout(10):
                await gone.wait()
            state = (await lb.backends())["a"]
            assert (state["state"], state["in_flight"], state["attempts"]["failed"]) == ("unknown", 0, 0)


async def test_draining_finishes_what_is_in_flight_and_sends_nothing_new(tmp_path: Path) -> None:
    let_go = asyncio.Event()

    async def app(link: Link) -> None:
        while head := await link.head():
            if b" /slow " in head:
                await let_go.wait()
            link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none")

    async with origin(app) as one, origin(serve_ok) as two:
        async with balancer(flag("one", one), flag("two", two), "--check", "none", home=tmp_path) as lb:
            slow = [asyncio.ensure_future(lb.get("/slow")) for _ in range(2)]
            await eventually(lambda: _in_flight(lb, "one"))
            assert (await lb.operate("one", "drain"))["state"] == "draining"
            assert {(await lb.get())[1] for _ in range(6)} == {"ok"}
            let_go.set()
            assert sorted(await asyncio.gather(*slow)) == [(200, "ok"), (200, "one")]
            await lb.operate("one", "ready")
            assert {(await lb.get())[1] for _ in range(6)} == {"ok", "one"}


async def _in_flight(lb: Balancer, name: str) -> bool:
    return bool((await lb.backends())[name]["in_flight"])
