"""The master over real children: what they become, how they are restarted, replaced and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from stack.clock import SystemClock, eventually
from stack.config.listen import parse
from stack.errors import ConfigError
from stack.hop.child import Child, Event, State
from stack.hop.master import Master
from stack.net.bind import bind
from stack.net.tasks import Tasks

ROOT = str(Path(__file__).parents[3])
WAIT = 30.0


class Stage:
    """A master, what it was heard to say, and one listener for all its children."""

    def __init__(self, tmp_path: Path, tasks: Tasks) -> None:
        self.events: list[Event] = []
        self.master = Master(SystemClock(), tasks, events=self.events.append)
        [self.listener] = bind(parse("http://127.0.0.1:0"))
        self.tmp_path = tmp_path

    def hello(self, name: str, *argv: str, log: bool = True) -> Child:
        return Child(
            name,
            "hello",
            lambda fds: [
                *(sys.executable, "-m", "tests.support.hello_hop", "--name", name, "--access-log", "off"),
                *("--listen", f"http+fd://{fds[0]}", "--admin", "http://127.0.0.1:0", *argv),
            ],
            env={"PYTHONPATH": ROOT},
            sockets=[self.listener],
            log=self.tmp_path / "logs" / f"{name}.log" if log else None,
        )

    def script(self, name: str, program: str) -> Child:
        """A child that is not a hop."""
        return Child(name, "script", [sys.executable, "-c", program], log=self.tmp_path / f"{name}.log")

    def heard(self, name: str) -> list[State]:
        return [event.new for event in self.events if event.name == name]

    def pid(self, name: str) -> int:
        pid = self.master.statistics()[name].pid
        assert pid is not None
        return pid

    def state(self, name: str) -> State:
        return self.master.statistics()[name].state

    async def becomes(self, name: str, state: State) -> None:
        await eventually(lambda: self.state(name) is state, within=WAIT)

    async def get(self, path: str = "/") -> bytes:
        reader, writer = await asyncio.open_connection(*self.listener.getsockname())
        writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        return answer.rpartition(b"\r\n\r\n")[2]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    tasks = Tasks()
    made = Stage(tmp_path, tasks)
    yield made
    pids = [standing.pid for standing in made.master.statistics().values() if standing.pid]
    await made.master.stop(timeout=5)
    made.listener.close()
    await tasks.close()
    assert not [pid for pid in pids if is_alive(pid)]


def is_alive(pid: int) -> bool:
    """A zombie is not: only its parent has yet to look."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_child_becomes_ready_serves_and_stops(stage: Stage) -> None:
    await stage.master.start(stage.hello("a"))
    await stage.master.wait_ready(timeout=WAIT)
    standing = stage.master.statistics()["a"]
    port = stage.listener.getsockname()[1]
    assert (standing.kind, standing.state, standing.restarts) == ("hello", State.READY, 0)
    assert standing.listen == (f"http://127.0.0.1:{port}",)
    assert standing.admin.startswith("http://127.0.0.1:")
    assert standing.ready_ms is not None
    assert standing.ready_ms > 0
    assert await stage.get() == b"hello"
    assert (await stage.master.ask("a", "stats"))["name"] == "a"
    assert await stage.master.ask("a", "nonsense") is None
    await stage.master.stop()
    assert stage.heard("a") == [State.READY, State.STOPPING, State.STOPPED]
    assert stage.master.statistics()["a"].pid is None
    assert stage.master.last_words("a")[0].startswith("a ready on")


async def test_a_child_is_deaf_to_the_terminals_signals(stage: Stage) -> None:
    await stage.master.start(stage.hello("a"))
    await stage.master.wait_ready(timeout=WAIT)
    assert os.getsid(stage.pid("a")) == stage.pid("a")


async def test_a_child_that_dies_is_started_again(stage: Stage) -> None:
    await stage.master.start(stage.hello("a"))
    await stage.master.wait_ready(timeout=WAIT)
    first = stage.pid("a")
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: State.RESTARTING in stage.heard("a"), within=WAIT)
    # the listener is the master's: who comes meanwhile waits
    assert await stage.get() == b"hello"
    await stage.becomes("a", State.READY)
    assert stage.pid("a") != first
    assert stage.master.statistics()["a"].restarts == 1
    assert stage.heard("a") == [State.READY, State.RESTARTING, State.STARTING, State.READY]
    [event] = [event for event in stage.events if event.new is State.RESTARTING]
    assert event.reason == "killed by SIGKILL"


async def test_a_crash_loop_comes_to_rest(stage: Stage) -> None:
    await stage.master.start(stage.hello("a", "--failing", "crash"))
    await stage.becomes("a", State.CRASH_LOOP)
    assert stage.heard("a").count(State.STARTING) == 4
    assert stage.master.statistics()["a"].reason == "5 exits in a row: RuntimeError: no such luck"
    assert stage.master.statistics()["a"].pid is None
    heard = len(stage.events)
    with pytest.raises(ConfigError, match="a crash-loop: 5 exits in a row"):
        await stage.master.wait_ready(timeout=WAIT)
    await asyncio.sleep(0.3)
    assert len(stage.events) == heard
    assert stage.master.last_words("a", 1) == ["hopstack: hello: RuntimeError: no such luck"]


async def test_the_way_out_of_a_crash_loop(stage: Stage) -> None:
    trap = stage.tmp_path / "trap"
    trap.touch()
    hop = stage.hello("a")
    command = hop.command()
    program = f"import os, sys; sys.exit(3) if os.path.exists({str(trap)!r}) else os.execv(sys.argv[1], sys.argv[1:])"
    child = Child("a", "hello", [sys.executable, "-c", program, *command], hop.env, hop.sockets, hop.log)
    await stage.master.start(child)
    await stage.becomes("a", State.CRASH_LOOP)
    assert stage.master.statistics()["a"].reason == "5 exits in a row: exit 3"
    trap.unlink()
    await stage.master.restart("a")
    await stage.master.wait_ready(["a"], timeout=WAIT)


async def test_a_fault_of_configuration_is_not_tried_again(stage: Stage) -> None:
    await stage.master.start(stage.hello("good"))
    await stage.master.start(stage.hello("a", "--failing", "config"))
    with pytest.raises(ConfigError, match=r"^a failed: --failing config: choose another one$"):
        await stage.master.wait_ready(timeout=WAIT)
    assert stage.heard("a") == [State.FAILED]


async def test_the_last_line_of_a_program_without_a_channel_is_its_reason(stage: Stage) -> None:
    program = "import sys; print('first'); print('the reason', file=sys.stderr); sys.exit(2)"
    await stage.master.start(stage.script("a", program))
    await stage.becomes("a", State.FAILED)
    assert stage.master.statistics()["a"].reason == "the reason"


async def test_a_program_that_is_not_there(stage: Stage) -> None:
    await stage.master.start(Child("a", "none", ["/no/such/program"]))
    await stage.becomes("a", State.CRASH_LOOP)
    assert "cannot be started: [Errno 2] No such file" in stage.master.statistics()["a"].reason


async def test_who_is_late_is_named(stage: Stage) -> None:
    await stage.master.start(stage.hello("a"))
    await stage.master.start(stage.hello("b", "--unready"))
    await stage.becomes("b", State.NOT_READY)
    with pytest.raises(ConfigError, match=r"not ready within 0\.1 s: b is not-ready \(never will be\)"):
        await stage.master.wait_ready(["b"], timeout=0.1)


async def test_they_stop_in_the_order_that_is_given(stage: Stage) -> None:
    for name in ("app", "proxy", "edge", "other"):
        await stage.master.start(stage.hello(name))
    await stage.master.wait_ready(timeout=WAIT)
    await stage.master.stop(["edge", ["proxy", "app"]])
    done = [event.name for event in stage.events if event.new is State.STOPPED]
    begun = [event.name for event in stage.events if event.new is State.STOPPING]
    assert done[0] == "edge"
    assert set(done[1:3]) == {"proxy", "app"}
    assert done[3] == "other"
    assert stage.events.index(next(e for e in stage.events if e.name == "edge" and e.new is State.STOPPED)) < min(
        stage.events.index(next(e for e in stage.events if e.name == name and e.new is State.STOPPING))
        for name in begun[1:]
    )


async def test_who_does_not_stop_in_time_is_killed(stage: Stage) -> None:
    program = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(3600)"
    await stage.master.start(stage.script("a", program))
    await eventually(lambda: stage.master.last_words("a") == ["deaf"], within=WAIT)
    await stage.master.stop(timeout=0.2)
    assert stage.state("a") is State.STOPPED
    assert stage.master.statistics()["a"].reason == "killed by SIGKILL"


async def test_stopping_while_starting(stage: Stage) -> None:
    """TERM reaches a process that was on its way into being when the master was told to stop."""
    starting = asyncio.create_task(stage.master.start(stage.hello("a")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    began = time.monotonic()
    await stage.master.stop(timeout=WAIT)
    await starting
    assert time.monotonic() - began < WAIT / 2
    assert stage.state("a") is State.STOPPED


async def test_stopping_while_waiting_to_restart(stage: Stage) -> None:
    await stage.master.start(stage.script("a", "raise SystemExit(1)"))
    await eventually(lambda: stage.heard("a").count(State.RESTARTING) == 3, within=WAIT)
    began = time.monotonic()
    await stage.master.stop(timeout=WAIT)
    assert time.monotonic() - began < 5
    assert stage.state("a") is State.STOPPED


async def test_add_and_remove(stage: Stage) -> None:
    await stage.master.start(stage.hello("a"))
    await stage.master.add(stage.hello("b"))
    await stage.master.wait_ready(timeout=WAIT)
    pid = stage.pid("b")
    await stage.master.remove("b")
    assert list(stage.master.statistics()) == ["a"]
    assert not is_alive(pid)
    with pytest.raises(ValueError, match="a runs already"):
        await stage.master.start(stage.hello("a"))


async def test_a_child_that_stops_already_is_not_told_again(stage: Stage) -> None:
    """A hop that is asked twice drops what it does: that is for the person at the terminal."""
    marks = stage.tmp_path / "terms"
    program = f"""
import signal, sys, time
def term(*_):
    with open({str(marks)!r}, "a") as file:
        file.write("x")
signal.signal(signal.SIGTERM, term)
print("up", flush=True)
while True:
    time.sleep(0.05)
    try:
        if open({str(marks)!r}).read():
            time.sleep(0.5)
            sys.exit(0)
    except FileNotFoundError:
        pass
"""
    child = stage.script("slow", program)
    await stage.master.start(child)
    await eventually(lambda: "up" in (child.log.read_text() if child.log and child.log.exists() else ""))
    await asyncio.gather(stage.master.stop(), stage.master.stop(), stage.master.stop())
    assert marks.read_text() == "x"
    assert stage.state("slow") is State.STOPPED


async def test_a_new_generation_takes_over_without_a_lost_request(stage: Stage) -> None:
    for name in ("a", "b"):
        await stage.master.start(stage.hello(name, "--greeting", "old"))
    await stage.master.wait_ready(timeout=WAIT)
    before = {stage.pid("a"), stage.pid("b")}
    answers: list[bytes] = []
    running = True

    async def ask() -> None:
        while running:
            answers.append(await stage.get())

    clients = [asyncio.create_task(ask()) for _ in range(4)]
    await stage.master.replace(
        stage.hello("a", "--greeting", "new"), stage.hello("b", "--greeting", "new"), timeout=WAIT
    )
    after = len(answers)
    await eventually(lambda: len(answers) > after + 20, within=WAIT)
    running = False
    await asyncio.gather(*clients)
    assert set(answers) == {b"old", b"new"}
    assert set(answers[after + 4 :]) == {b"new"}
    assert not before & {stage.pid("a"), stage.pid("b")}
    assert not [pid for pid in before if is_alive(pid)]
    assert [event for event in stage.events if event.name == "a"][1:] == [
        Event("a", State.READY, State.READY, "replaced")
    ]


async def test_a_new_generation_that_fails_leaves_the_old_one(stage: Stage) -> None:
    await stage.master.start(stage.hello("a", "--greeting", "old"))
    await stage.master.wait_ready(timeout=WAIT)
    pid = stage.pid("a")
    with pytest.raises(ConfigError, match="a failed: --failing config"):
        await stage.master.replace(stage.hello("a", "--failing", "config"), timeout=WAIT)
    assert stage.pid("a") == pid
    assert await stage.get() == b"old"
    assert stage.state("a") is State.READY


async def test_a_stop_in_the_middle_of_a_replacement_leaves_nobody(stage: Stage) -> None:
    await stage.master.start(stage.hello("a"))
    await stage.master.wait_ready(timeout=WAIT)
    old = stage.pid("a")
    replacing = asyncio.create_task(stage.master.replace(stage.hello("a", "--unready"), timeout=WAIT))
    await eventually(lambda: "never will be" in (stage.tmp_path / "logs" / "a.log").read_text(), within=WAIT)
    assert stage.pid("a") == old
    assert stage.state("a") is State.READY, "the old one stands for the name"
    new = stage.master._beside[0].standing().pid
    assert new is not None
    assert is_alive(new)
    await stage.master.stop(timeout=WAIT)
    assert not is_alive(old)
    assert not is_alive(new)
    with pytest.raises(ConfigError):
        await replacing


@pytest.mark.parametrize("stuck", [False, True], ids=["running", "stuck"])
def test_a_master_that_is_killed_leaves_nobody(stuck: bool) -> None:
    """Not even a child whose loop hears nothing any more."""
    master = subprocess.Popen(
        [sys.executable, "-m", "tests.support.hello_master", "2"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert master.stdout is not None
    port, *pids = map(int, master.stdout.readline().split())
    assert len(pids) == 2
    assert all(map(is_alive, pids))
    with contextlib.ExitStack() as stack:
        stack.callback(master.stdout.close)
        if stuck:
            for _ in pids:
                client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                client.sendall(b"GET /stuck HTTP/1.1\r\nhost: x\r\n\r\n")
        master.send_signal(signal.SIGKILL)
        master.wait(WAIT)
        wait_until(lambda: not any(map(is_alive, pids)), within=2.0)
    # and the port is free
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


def wait_until(condition: Callable[[], Any], *, within: float) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def test_a_listener_that_raises_ends_no_keeping(tmp_path: Path) -> None:
    """A full disk or a closed terminal is the listener's trouble, not the children's."""

    def no_space(event: Event) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", event.name)

    tasks = Tasks()
    master = Master(SystemClock(), tasks, events=no_space)
    child = Child("a", "script", [sys.executable, "-c", "import time; time.sleep(3600)"])
    await master.start(child)
    first = master.statistics()["a"].pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: master.statistics()["a"].pid not in (None, first), within=WAIT)
    second = master.statistics()["a"].pid
    await master.stop(timeout=5)
    assert master.statistics()["a"].state is State.STOPPED
    assert second is not None
    assert not is_alive(second)
    await tasks.close()


async def test_a_log_that_cannot_be_written_keeps_nobody_from_serving(stage: Stage) -> None:
    (stage.tmp_path / "logs").write_text("a file, where a directory should be")
    await stage.master.start(stage.hello("a"))
    await stage.master.wait_ready(timeout=WAIT)
    assert await stage.get() == b"hello"


LAST_WORDS = {
    "its own line": ("print('the reason')", "the reason"),
    "an access log after it": ("""print('the reason'); print('{"time":"x"}')""", "the reason"),
    "a piece of an access log": ("""print('the reason'); print('x","status":200}')""", "the reason"),
    "ready, then nothing": ("print('a ready on http://127.0.0.1:1 in 9 ms')", "exit 3"),
    "a worker's": ("print('2026-01-31T12:00:00.000Z a/0 info stopping')", "exit 3"),
    "nothing": ("pass", "exit 3"),
}


@pytest.mark.parametrize(("said", "reason"), LAST_WORDS.values(), ids=LAST_WORDS)
async def test_the_reason_is_what_the_process_itself_said_last(stage: Stage, said: str, reason: str) -> None:
    (stage.tmp_path / "a.log").write_text("of the run before\n")
    await stage.master.start(stage.script("a", f"{said}; raise SystemExit(3)"))
    await stage.becomes("a", State.CRASH_LOOP)
    reasons = {event.reason for event in stage.events if event.new is State.RESTARTING}
    assert reasons == {reason}
    assert stage.master.statistics()["a"].reason == f"5 exits in a row: {reason}"
    assert "of the run before" not in stage.master.last_words("a")


async def test_a_signal_is_the_whole_reason(stage: Stage) -> None:
    program = "import os; print('something', flush=True); os.kill(os.getpid(), 9)"
    await stage.master.start(stage.script("a", program))
    await stage.becomes("a", State.CRASH_LOOP)
    assert stage.master.statistics()["a"].reason == "5 exits in a row: killed by SIGKILL"


async def test_last_words_of_a_log_that_was_cut(stage: Stage) -> None:
    log = stage.tmp_path / "a.log"
    log.write_text("before\n" * 1000)
    program = (
        "import os, time; print('up', flush=True)\n"
        f"while os.path.getsize({str(log)!r}): time.sleep(0.01)\n"
        "print('after', flush=True); time.sleep(3600)"
    )
    await stage.master.start(stage.script("a", program))
    await eventually(lambda: stage.master.last_words("a") == ["up"], within=WAIT)
    os.truncate(log, 0)
    await eventually(lambda: stage.master.last_words("a") == ["after"], within=WAIT)


async def test_all_together_stop_within_a_bound(stage: Stage) -> None:
    program = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(3600)"
    names = ("a", "b", "c")
    for name in names:
        await stage.master.start(stage.script(name, program))
    await eventually(lambda: all(stage.master.last_words(name) == ["deaf"] for name in names), within=WAIT)
    began = time.monotonic()
    await stage.master.stop(["a", "b", "c"], timeout=20, within=0.1)
    assert time.monotonic() - began < 10


async def test_a_process_that_went_has_no_start_time(stage: Stage) -> None:
    await stage.master.start(stage.hello("a"))
    await stage.master.wait_ready(timeout=WAIT)
    assert stage.master.statistics()["a"].ready_ms is not None
    os.kill(stage.pid("a"), signal.SIGKILL)
    await eventually(lambda: State.RESTARTING in stage.heard("a"), within=WAIT)
    assert stage.master.statistics()["a"].ready_ms is None
    await stage.becomes("a", State.READY)
