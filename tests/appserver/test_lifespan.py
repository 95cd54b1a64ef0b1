"""The ASGI lifespan with scripted apps, on a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from appserver.asgi import App
from appserver.lifespan import Lifespan
from stack.clock import VirtualClock, eventually, settle
from stack.errors import ConfigError
from stack.net.tasks import Tasks


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    tasks = Tasks()
    yield tasks
    await tasks.close()


def lifespan_of(app: App, tasks: Tasks, clock: VirtualClock | None = None, *, required: bool = False) -> Lifespan:
    return Lifespan(app, clock=clock or VirtualClock(), tasks=tasks, required=required)


async def test_startup_state_and_shutdown(tasks: Tasks) -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        assert scope["asgi"]["version"] == "3.0"
        seen.append((await receive())["type"])
        scope["state"]["db"] = "pool"
        await send({"type": "lifespan.startup.complete"})
        seen.append((await receive())["type"])
        await send({"type": "lifespan.shutdown.complete"})

    lifespan = lifespan_of(app, tasks)
    await lifespan.startup(within=1)
    assert (lifespan.supported, lifespan.state) == (True, {"db": "pool"})
    await lifespan.shutdown(within=1)
    assert seen == ["lifespan.startup", "lifespan.shutdown"]
    await eventually(lambda: len(tasks) == 0)


async def knows_http_only(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"


async def leaves(scope: Any, receive: Any, send: Any) -> None:
    return


@pytest.mark.parametrize("app", [knows_http_only, leaves])
async def test_an_app_that_does_not_know_it_is_served_without(tasks: Tasks, app: App) -> None:
    lifespan = lifespan_of(app, tasks)
    await lifespan.startup(within=1)
    assert not lifespan.supported
    await lifespan.shutdown(within=1)


@pytest.mark.parametrize("app", [knows_http_only, leaves])
async def test_it_can_be_required(tasks: Tasks, app: App) -> None:
    with pytest.raises(ConfigError, match="does not answer lifespan startup"):
        await lifespan_of(app, tasks, required=True).startup(within=1)


async def test_a_startup_that_fails_says_why(tasks: Tasks, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        trace = "Traceback\n  File db.py\nOSError: no database\n"
        await send({"type": "lifespan.startup.failed", "message": trace})
        raise OSError("no database")

    with pytest.raises(ConfigError, match=r"lifespan startup failed: OSError: no database$"):
        await lifespan_of(app, tasks).startup(within=1)
    await settle()
    assert "  File db.py" in [record.message for record in caplog.records]


async def test_a_startup_that_hangs_is_given_up(tasks: Tasks) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    clock = VirtualClock()
    starting = tasks.spawn(lifespan_of(app, tasks, clock).startup(within=30), name="starting")
    await clock.advance(29)
    assert not starting.done()
    await clock.advance(2)
    with pytest.raises(ConfigError, match="did not complete within 30 s"):
        await starting


async def test_a_shutdown_that_hangs_or_fails_does_not_hold_the_process(
    tasks: Tasks, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if scope["state"].get("fails"):
            await send({"type": "lifespan.shutdown.failed", "message": "stuck"})
        await asyncio.Event().wait()

    clock = VirtualClock()
    hanging, failing = lifespan_of(app, tasks, clock), lifespan_of(app, tasks, clock)
    await hanging.startup(within=1)
    await failing.startup(within=1)
    failing.state["fails"] = True
    await failing.shutdown(within=5)
    stopping = tasks.spawn(hanging.shutdown(within=5), name="stopping")
    await clock.advance(6)
    await stopping
    assert [record.message for record in caplog.records] == [
        "the app's lifespan shutdown failed: stuck",
        "the app's lifespan shutdown did not complete within 5 s",
    ]


async def test_an_app_that_dies_between_is_logged(tasks: Tasks, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        raise LookupError("later")

    lifespan = lifespan_of(app, tasks)
    await lifespan.startup(within=1)
    await settle()
    assert [record.message for record in caplog.records] == ["the app's lifespan died"]
    await lifespan.shutdown(within=1)


@pytest.mark.parametrize("kind", ["http.response.start", "lifespan.shutdown.complete", "lifespan.nonsense"])
async def test_a_message_out_of_place_is_an_error_in_the_app(tasks: Tasks, kind: str) -> None:
    raised: list[BaseException] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        try:
            await send({"type": kind})
        except RuntimeError as error:
            raised.append(error)
        await send({"type": "lifespan.startup.complete"})

    await lifespan_of(app, tasks).startup(within=1)
    assert len(raised) == 1
