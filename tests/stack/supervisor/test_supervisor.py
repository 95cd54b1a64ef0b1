"""The supervisor on its own, over a small plan: its order, and what it does when its state cannot be written."""

from __future__ import annotations

import asyncio
import logging
import shutil
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from stack.clock import SystemClock, eventually
from stack.config.base import HopOptions
from stack.config.listen import Listen
from stack.errors import ConfigError
from stack.hop.child import Child, Event, State
from stack.plan.model import HopPlan, StackPlan
from stack.supervisor import supervisor as module
from stack.supervisor.sockets import Serving
from stack.supervisor.state import StateDir
from stack.supervisor.supervisor import Supervisor

KINDS = ("dns_server", "appserver", "proxy", "loadbalancer", "cdn_edge")
FAITHFUL = """
import os, signal, socket, sys, time
def term(*_):
    {on_term}
    sys.exit(0)
signal.signal(signal.SIGTERM, term)
control = socket.socket(fileno=int(os.environ["HOPSTACK_CONTROL_FD"]))
control.send(b'{{"event": "ready", "ready_ms": 1}}\\n')
while True:
    time.sleep(0.05)
"""


class Small(Supervisor):
    """One hop of each kind, in an order that is not the one to stop in; each a script."""

    program = FAITHFUL.format(on_term="pass")

    def _prepare(self) -> None: ...

    def _handle_signals(self) -> None: ...

    def _child(self, hop: HopPlan, sockets: Sequence[Serving]) -> Child:
        return Child(
            hop.name, hop.kind, [sys.executable, "-c", self.program], sockets=[one.socket for one in sockets],
            log=self.state.rotate(hop.name),
        )  # fmt: skip


class Run:
    def __init__(self, path: Path, make: type[Small] = Small) -> None:
        any_port = "http://127.0.0.1:0"
        hops = tuple(
            HopPlan(kind, HopOptions(name=f"the-{kind}", listen=(any_port,), admin=any_port)) for kind in KINDS
        )
        self.state = StateDir(path)
        self.state.create()
        self.state.lock()
        self.events: list[Event] = []
        self.said: list[str] = []
        self.supervisor = make(
            StackPlan("shop.test", hops), self.state, SystemClock(), report=self.heard, say=self.said.append
        )
        self.ready = asyncio.Event()
        self.task = asyncio.create_task(self.supervisor.run(self.ready.set))

    def heard(self, event: Event) -> None:
        self.events.append(event)

    async def up(self) -> Run:
        await asyncio.wait({self.task, asyncio.create_task(self.ready.wait())}, return_when=asyncio.FIRST_COMPLETED)
        assert self.ready.is_set(), self.task
        return self

    async def down(self) -> None:
        self.supervisor._asked_to_stop(signal.SIGTERM)
        await self.task
        self.state.unlock()

    def kill(self, name: str) -> None:
        self.supervisor._master.signal(name, signal.SIGKILL)

    def standing(self, name: str) -> State:
        return self.supervisor._master.statistics()[name].state


async def test_hops_stop_by_kind_outermost_first(tmp_path: Path) -> None:
    """What a hop has in flight needs the hops behind it: TERM goes to the next when the one before has ended."""
    run = await Run(tmp_path).up()
    await run.down()
    order = [(event.name, event.new) for event in run.events if event.new in (State.STOPPING, State.STOPPED)]
    assert order == [
        (f"the-{kind}", state)
        for kind in ("cdn_edge", "loadbalancer", "proxy", "appserver", "dns_server")
        for state in (State.STOPPING, State.STOPPED)
    ]
    assert run.state.status()["phase"] == "stopped"


async def test_a_status_that_cannot_be_written_changes_nothing_for_the_hops(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = await Run(tmp_path).up()

    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    run.state.write_status = full  # type: ignore[method-assign, assignment]
    with caplog.at_level(logging.WARNING):
        run.kill("the-proxy")
        await eventually(lambda: [e.new for e in run.events if e.name == "the-proxy"][-3:-1] == [
            State.RESTARTING, State.STARTING] and run.standing("the-proxy") is State.READY, within=30)  # fmt: skip
        await run.down()
    assert [record.getMessage() for record in caplog.records] == [
        f"{run.state.status_path} cannot be written: No space left on device"
    ], "once"


async def test_a_report_that_fails_changes_nothing_for_the_hops(tmp_path: Path) -> None:
    class Deaf(Run):
        def heard(self, event: Event) -> None:
            super().heard(event)
            raise BrokenPipeError(32, "Broken pipe")

    run = await Deaf(tmp_path).up()
    run.kill("the-proxy")
    await eventually(lambda: State.STARTING in [event.new for event in run.events], within=30)
    await eventually(lambda: run.standing("the-proxy") is State.READY, within=30)
    await run.down()
    assert {event.name for event in run.events if event.new is State.STOPPED} == {f"the-{kind}" for kind in KINDS}


async def test_in_a_crash_loop_clients_are_refused(tmp_path: Path) -> None:
    run = await Run(tmp_path).up()
    place = run.supervisor._sockets.of(run.supervisor.plan.hop("the-proxy"))[0].socket.getsockname()
    socket.create_connection(place, 5).close()

    def crashed() -> bool:
        run.kill("the-proxy")
        return run.standing("the-proxy") is State.CRASH_LOOP

    await eventually(crashed, within=60, every=0.05)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(place, 5)
    [hop] = [hop for hop in run.supervisor.status()["hops"] if hop["name"] == "the-proxy"]
    assert (hop["state"], hop["reason"]) == ("crash-loop", "5 exits in a row: killed by SIGKILL")
    await run.down()


async def test_a_state_directory_that_is_deleted_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK", 0.02)
    run = await Run(tmp_path / "home").up()
    shutil.rmtree(run.state.path)
    await eventually(lambda: run.said != [])
    await asyncio.sleep(0.1)
    [line] = run.said
    assert line.startswith(f"{run.state.path} was deleted while the stack runs")
    run.kill("the-proxy")
    await eventually(lambda: State.STARTING in [event.new for event in run.events], within=30)
    await eventually(lambda: run.standing("the-proxy") is State.READY, within=30)
    await run.down()
    assert not run.state.status_path.exists(), "another stack may be there now"


async def test_logs_are_cut_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK", 0.02)
    monkeypatch.setattr("stack.supervisor.state.LOG_LIMIT", 1000)
    run = await Run(tmp_path).up()
    run.state.log("the-proxy").write_text("x" * 1001)
    await eventually(lambda: run.state.log("the-proxy").stat().st_size == 0)
    assert run.state.log("the-proxy").with_suffix(".log.1").stat().st_size == 1001
    await run.down()


async def test_waiting_for_requests_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(Small):
        program = FAITHFUL.format(on_term="time.sleep(0.2)")

    monkeypatch.setattr(module, "SILENCE", 0.1)
    run = await Run(tmp_path / "slow", Slow).up()
    await run.down()
    assert run.said == ["Stopping; waiting up to 10 s for requests in flight. Ctrl-C again stops at once."]
    monkeypatch.setattr(module, "SILENCE", 30)
    run = await Run(tmp_path / "quick").up()
    await run.down()
    assert run.said == []


async def test_told_twice_it_goes_at_once_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    monkeypatch.setattr("os._exit", left.append)
    run = await Run(tmp_path).up()
    run.supervisor._asked_to_stop(signal.SIGINT)
    run.supervisor._asked_to_stop(signal.SIGINT)
    assert left == [130]
    assert run.said[0].startswith("Stopped at once")
    await run.task
    run.state.unlock()


async def test_the_remedy_for_a_taken_port_is_said_once(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        place = Listen("http", *taken.getsockname())
        state = StateDir(tmp_path)
        state.create()
        hop = HopPlan("proxy", HopOptions(name="a", listen=(str(place),), admin="http://127.0.0.1:0"))
        supervisor = Small(StackPlan("shop.test", (hop,)), state, SystemClock())
        with pytest.raises(ConfigError) as told:
            await supervisor.run(lambda: None)
    assert str(told.value).count("--port-base") == 1
    assert "--listen" not in str(told.value)


def test_down_waits_longer_than_hops_may_take() -> None:
    from stack.cli import control

    groups = len(KINDS) + 2
    assert module.STOP > 2 * module.DRAIN + 2, "an app server: requests, then the app's own shutdown"
    assert module.STOP_ALL + groups * 1.0 < control.PATIENCE
