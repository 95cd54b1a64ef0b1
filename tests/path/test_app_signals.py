"""The app server's master and workers as real processes: no signal loses a request."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from stack.clock import eventually
from tests.support.app_process import HUP, KILL, TERM, TTIN, TTOU, AppProcess, Load, app_process, exists, get

KINDS = ["asgi", "aiohttp", "wsgi"]


async def settled(app: AppProcess, workers: int) -> bool:
    states = [worker["state"] for worker in (await app.stats())["workers"]]
    return states == ["ready"] * workers


async def change(app: AppProcess, number: int, *, workers: int) -> None:
    """Send the signal, and wait until as many workers are ready, none of them one of before if it was HUP."""
    before = set(await app.pids())
    app.signal(number)

    async def done() -> bool:
        now = set(await app.pids())
        return await settled(app, workers) and (number != HUP or not now & before)

    await eventually(done, within=20)


@pytest.mark.parametrize("kind", KINDS)
async def test_requests_under_every_signal(tmp_path: Path, kind: str) -> None:
    async with app_process(tmp_path, kind, "--workers", "2") as app:
        load = Load(app.port, requests=100_000)
        running = asyncio.get_running_loop().create_task(load.run())
        await eventually(lambda: load.answered > 100)
        for number, workers in ((HUP, 2), (TTIN, 3), (TTOU, 2), (HUP, 2), (TTOU, 1), (HUP, 1)):
            before = load.answered
            await change(app, number, workers=workers)
            await eventually(lambda before=before: load.answered > before + 50)
        assert load.lost == []
        app.signal(TERM)
        assert await app.wait() == 0
        await running
        assert "not ready" not in app.said()
    assert load.answered >= 500
    assert load.lost == []
    assert load.refused == load.clients  # all connections were closed in order, and no new one was accepted


@pytest.mark.parametrize("kind", KINDS)
async def test_term_finishes_what_is_in_flight(tmp_path: Path, kind: str) -> None:
    async with app_process(tmp_path, kind, "--workers", "2") as app:
        load = Load(app.port, requests=20, path="/slow")
        running = asyncio.get_running_loop().create_task(load.run())

        async def all_in_flight() -> bool:
            return bool((await app.stats())["in_flight"] == 20)

        await eventually(all_in_flight)
        app.signal(TERM)
        await running
        assert await app.wait() == 0
    assert (load.answered, load.lost) == (20, [])
    assert (tmp_path / "shutdowns").read_text() == "xx"  # each worker's app was told


@pytest.mark.parametrize("kind", ["asgi", "aiohttp"])
async def test_hup_serves_the_new_code_or_keeps_the_old(tmp_path: Path, kind: str) -> None:
    async with app_process(tmp_path, kind, "--workers", "2") as app:
        app.write("the second")
        await change(app, HUP, workers=2)
        assert await get(app.port) == (200, b"the second")
        pids = await app.pids()

        (tmp_path / "application.py").write_text("import nosuchmodule")
        app.signal(HUP)

        async def failed() -> bool:
            return "nosuchmodule" in (await app.stats())["reload_error"]

        await eventually(failed, within=20)
        assert "reload failed, the old workers stay" in app.said()
        assert await app.pids() == pids
        assert await get(app.port) == (200, b"the second")

        app.write("a third one")
        await change(app, HUP, workers=2)
        assert await get(app.port) == (200, b"a third one")

        async def forgotten() -> bool:
            return (await app.stats())["reload_error"] == ""

        await eventually(forgotten, within=20)  # when the old workers have gone


async def test_int_is_graceful_and_a_second_one_quick(tmp_path: Path) -> None:
    async with app_process(tmp_path, "asgi") as app:
        (pid,) = await app.pids()
        load = Load(app.port, clients=1, requests=1, path="/slow")
        running = asyncio.get_running_loop().create_task(load.run())

        async def in_flight() -> bool:
            return bool((await app.stats())["in_flight"])

        await eventually(in_flight)
        app.signal(signal.SIGINT)
        await running
        assert (load.answered, load.lost) == (1, [])
        assert await app.wait() == 0

    async with app_process(tmp_path, "asgi") as app:
        (pid,) = await app.pids()
        load = Load(app.port, clients=1, requests=1, path="/slow")
        running = asyncio.get_running_loop().create_task(load.run())
        await eventually(in_flight)
        app.signal(signal.SIGINT)
        await eventually(lambda: refused(app.port))
        app.signal(signal.SIGINT)
        assert await app.wait(5) == 128 + signal.SIGINT
        await running
        await eventually(lambda: not exists(pid))


async def refused(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return True
    writer.close()
    return False


async def test_a_dead_worker_is_started_again(tmp_path: Path) -> None:
    async with app_process(tmp_path, "asgi", "--workers", "2") as app:
        with pytest.raises((IndexError, OSError)):
            await get(app.port, "/die")

        async def restarted() -> bool:
            workers = (await app.stats())["workers"]
            return [w["state"] for w in workers] == ["ready"] * 2 and sum(w["restarts"] for w in workers) == 1

        await eventually(restarted, within=20)
        assert await get(app.port) == (200, b"one")
        assert "exit 4" in app.said()


async def test_a_worker_that_hangs_is_killed_and_started_again(tmp_path: Path) -> None:
    """Its loop is blocked: it takes connections, and answers none."""
    async with app_process(tmp_path, "asgi", "--workers", "2", "--worker-timeout", "2") as app:
        before = await app.pids()
        _, writer = await asyncio.open_connection("127.0.0.1", app.port)
        writer.write(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")

        async def restarted() -> bool:
            workers = (await app.stats())["workers"]
            return [w["state"] for w in workers] == ["ready"] * 2 and sum(w["restarts"] for w in workers) == 1

        await eventually(restarted, within=30, every=0.2)
        writer.close()
        assert len(set(before) & set(await app.pids())) == 1, "the other one serves on"
        for _ in range(8):
            assert await get(app.port) == (200, b"one")
        assert "has not answered for 2 s: killed" in app.said()


async def test_a_crash_loop_is_seen_and_ended_by_hup(tmp_path: Path) -> None:
    async with app_process(tmp_path, "asgi") as app:
        (tmp_path / "crash").touch()
        with pytest.raises((IndexError, OSError)):
            await get(app.port, "/die")

        async def crashed() -> bool:
            (worker,) = (await app.stats())["workers"]
            return bool(worker["state"] == "crash-loop")

        await eventually(crashed, within=20)
        status, body = await get(app.admin_port, "/-/ready")
        assert status == 503
        assert b"app-1/0 crash-loop" in body
        # nobody serves, and nobody waits: the connection ends at once
        reader, writer = await asyncio.open_connection("127.0.0.1", app.port)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        assert "crash-loop" in app.said()

        (tmp_path / "crash").unlink()
        app.signal(HUP)
        await eventually(app.is_ready, within=20)
        assert await get(app.port) == (200, b"one")


async def test_a_killed_master_leaves_no_worker(tmp_path: Path) -> None:
    async with app_process(tmp_path, "asgi", "--workers", "3") as app:
        pids = await app.pids()
        assert all(map(exists, pids))
        app.signal(KILL)
        await app.wait()
        await eventually(lambda: not any(map(exists, pids)), within=5)


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
async def test_what_an_app_does_after_its_response_is_waited_for(tmp_path: Path, kind: str) -> None:
    async with app_process(tmp_path, kind) as app:
        assert await get(app.port, "/later") == (200, b"one")
        app.signal(TERM)
        assert await app.wait() == 0
    assert (tmp_path / "done").read_text() == "done"


async def test_a_thread_that_never_comes_back_holds_nobody(tmp_path: Path) -> None:
    async with app_process(tmp_path, "wsgi", "--threads", "2", "--timeouts-drain", "300ms") as app:
        hanging = asyncio.get_running_loop().create_task(get(app.port, "/hang"))

        async def busy() -> bool:
            return bool((await app.stats())["in_flight"] == 1)

        await eventually(busy)
        assert (await get(app.port))[0] == 200  # the other thread
        app.signal(TERM)
        assert await app.wait() == 0
        await asyncio.gather(hanging, return_exceptions=True)
    assert (tmp_path / "shutdowns").read_text() == "x"


@pytest.mark.parametrize("workers", ["0", "2"])
async def test_an_app_that_cannot_be_loaded_is_one_line_and_exit_2(tmp_path: Path, workers: str) -> None:
    app = AppProcess(tmp_path, "asgi")
    (tmp_path / "application.py").write_text("ap = None")
    await app.start("--workers", workers)
    assert await app.wait() == 2
    (line,) = app.said().splitlines()
    assert line.startswith("hopstack: appserver: --app application:app: the module application has no 'app'")
    assert line.endswith("near it: ap")


async def test_an_app_whose_startup_fails_says_why_and_exits(tmp_path: Path) -> None:
    app = AppProcess(tmp_path, "asgi")
    (tmp_path / "application.py").write_text(
        "async def app(scope, receive, send):\n"
        "    await receive()\n"
        "    await send({'type': 'lifespan.startup.failed', 'message': 'no database'})\n"
    )
    await app.start()
    assert await app.wait() == 2
    assert app.said().splitlines() == ["hopstack: appserver: the app's lifespan startup failed: no database"]


async def test_the_admin_endpoint_sums_up_the_workers(tmp_path: Path) -> None:
    async with app_process(tmp_path, "aiohttp", "--workers", "2") as app:
        for _ in range(10):
            await get(app.port)
        stats = await app.stats()
        assert [worker["name"] for worker in stats["workers"]] == ["app-1/0", "app-1/1"]
        assert stats["requests"] == 10
        assert all(worker["rss_kib"] > 0 and worker["engine"] == "aiohttp" for worker in stats["workers"])
        status, page = await get(app.admin_port, "/metrics")
        lines = page.decode().splitlines()
        assert status == 200
        assert 'hopstack_workers{hop="app-1",state="ready"} 2' in lines
        assert lines.count("# TYPE hopstack_requests_total counter") == 1
        counted = [line for line in lines if line.startswith("hopstack_requests_total{")]
        assert sum(float(line.rpartition(" ")[2]) for line in counted) == 10
