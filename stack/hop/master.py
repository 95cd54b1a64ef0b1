"""Runs processes: starts them with their sockets, restarts what dies, stops them in order, leaves none behind.

One master serves the supervisor over hops and a hop over its workers. A child is a process of `stack.hop.process`: it
says over its control channel when it listens and is ready.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import IO, Any, Final

from stack.clock import Clock
from stack.errors import ConfigError
from stack.hop.child import FAULT_OF_CONFIGURATION, FINAL, Child, Crashes, Event, Standing, State, ended
from stack.hop.control import VARIABLE, Channel, answer
from stack.hop.last_words import last_words, own_last_line
from stack.net.tasks import Tasks

log = logging.getLogger("hopstack.master")

ASK: Final = 2.0
"""Seconds that a child has for an answer."""
LAST_MESSAGE: Final = 0.5
"""Seconds that the control channel of a process that ended may take to end too."""
EXCUSED: Final = 2.0
"""Seconds that a child which may stay not ready has all the same to become so."""
LAST_CHANCE: Final = 1.0
"""Seconds that a process has to stop when those before it took all the time there was."""


Asked = Callable[[str, str, Sequence[Any]], Awaitable[Any]]
"""The child's name, its question, and what is given with it."""


class Master:
    """Owns children by name. `events` hears of every change of state, `asked` answers what a child wants to know."""

    def __init__(
        self,
        clock: Clock,
        tasks: Tasks,
        *,
        events: Callable[[Event], object] | None = None,
        asked: Asked | None = None,
    ) -> None:
        self._asked = asked
        self._clock = clock
        self._tasks = tasks
        self._events = events
        self._runs: dict[str, _Run] = {}
        self._beside: list[_Run] = []
        """Processes of a name that another one stands for: a generation to come, or one that is leaving."""
        self._changed = asyncio.Event()

    # Starting.

    async def start(self, child: Child) -> None:
        """Start it, and keep it running from now on. Returns when it is spawned; `wait_ready` waits for more."""
        if child.name in self._runs and self._runs[child.name].state not in FINAL:
            raise ValueError(f"{child.name} runs already")
        run = self._runs[child.name] = _Run(child, self._clock, self._notify, self._hear)
        await run.start(self._tasks)

    add = start

    async def wait_ready(
        self, names: Iterable[str] | None = None, *, timeout: float = 30.0, excused: Collection[str] = ()
    ) -> None:
        """ConfigError names the child that failed, or is not ready in time, and its reason.

        Those in `excused` may say that they are not: what they need is nobody's here.
        """
        wanted = list(self._runs if names is None else names)
        await self._wait_ready(lambda: [self._runs[name] for name in wanted], timeout, excused)

    async def _wait_ready(
        self, wanted: Callable[[], Sequence[_Run]], timeout: float, excused: Collection[str] = ()
    ) -> None:
        patience = self._clock.call_later(EXCUSED, self._changed.set) if excused else None
        until = self._clock.now() + EXCUSED
        try:
            async with self._clock.timeout(timeout):
                while True:
                    self._changed.clear()
                    for run in wanted():
                        if run.state in FINAL:
                            raise ConfigError(f"{run.child.name} {run.state.value}: {run.reason}")
                    late = [run for run in wanted() if run.state is not State.READY]
                    if not late or (
                        self._clock.now() >= until
                        and all(run.state is State.NOT_READY and run.child.name in excused for run in late)
                    ):
                        return
                    await self._changed.wait()
        except TimeoutError:
            said = [
                f"{run.child.name} is {run.state.value}" + (f" ({run.reason})" if run.reason else "")
                for run in wanted()
                if run.state is not State.READY
            ]
            raise ConfigError(f"not ready within {timeout:g} s: {'; '.join(said)}") from None
        finally:
            if patience is not None:
                patience.cancel()

    # Changing.

    def generation(self) -> Generation:
        """New processes beside those that serve, to be taken over all at once or not at all."""
        return Generation(self)

    async def replace(self, *children: Child, timeout: float = 30.0, stop_timeout: float = 15.0) -> None:
        """A new generation beside the old one, which stops when the new one is ready: no request is lost.

        Children of the same name are replaced; until then the old ones stand for the name. When the new generation
        does not become ready it is stopped, the old one stays, and ConfigError says why.
        """
        generation = self.generation()
        try:
            await generation.start(*children, timeout=timeout)
        except BaseException:
            await generation.undo(timeout=stop_timeout)
            raise
        generation.commit()
        await generation.retire(timeout=stop_timeout)

    async def remove(self, name: str, *, timeout: float = 15.0) -> None:
        """Stop it, and forget it."""
        await self._runs[name].stop(timeout)
        del self._runs[name]

    async def restart(self, name: str, *, timeout: float = 15.0) -> None:
        """Stop it and start it anew: the way out of a crash loop."""
        child = self._runs[name].child
        await self._runs[name].stop(timeout)
        await self.start(child)

    def signal(self, name: str, number: int) -> None:
        """To a child that runs."""
        self._runs[name].signal(number)

    # Stopping.

    async def stop(
        self,
        order: Iterable[Iterable[str] | str] | None = None,
        *,
        timeout: float = 15.0,
        within: float = math.inf,
    ) -> None:
        """TERM in the given order, outermost first, each item waited for before the next; then KILL after `timeout`.

        An item may be several names, which stop together. What the order leaves out stops at its end. When all
        together take longer than `within` seconds, each item that is left has LAST_CHANCE.
        """
        until = self._clock.now() + within

        def patience() -> float:
            return min(timeout, max(LAST_CHANCE, until - self._clock.now()))

        groups = [[item] if isinstance(item, str) else list(item) for item in (order or ())]
        named = {name for group in groups for name in group}
        groups.append([name for name in self._runs if name not in named])
        beside = list(self._beside)
        for run in (*self._runs.values(), *beside):
            run.forsaken.set()  # nothing is started again while the rest goes
        for group in groups:
            standing = [self._runs[name] for name in group if name in self._runs]
            await asyncio.gather(*(run.stop(patience()) for run in standing + _named(beside, group)))
        await asyncio.gather(*(run.stop(patience()) for run in beside))

    # Looking.

    def statistics(self) -> dict[str, Standing]:
        return {name: run.standing() for name, run in self._runs.items()}

    async def ask(self, name: str, what: str, *given: Any, timeout: float = ASK) -> Any:
        """A child's own answer, such as to "stats". None when it has none to give in time."""
        return await self._runs[name].ask(what, timeout, *given)

    def last_words(self, name: str, lines: int = 10) -> list[str]:
        """The end of what a child's last process wrote to its log, without the lines of its access log."""
        return self._runs[name].last_words(lines)

    def _hear(self, name: str, message: Mapping[str, Any], channel: Channel) -> None:
        if self._asked is None:
            channel.send({"reply": message.get("id"), "value": None})
            return
        what = str(message["ask"])
        said = self._asked(name, what, message.get("given", ()))
        self._tasks.spawn(answer(channel, message.get("id"), said), name=f"{name} {what}")

    def _notify(self, run: _Run, event: Event) -> None:
        self._changed.set()
        if self._events is None or run.silent:
            return
        try:
            self._events(event)
        except Exception as error:  # whoever listens must not end whoever keeps the child running
            log.error("%s %s was not heard: %s: %s", event.name, event.new.value, type(error).__name__, error)


class Generation:
    """Processes to come. `start` them in as many steps as it takes; then either `commit` and `retire`, or `undo`."""

    def __init__(self, master: Master) -> None:
        self._master = master
        self._coming: list[_Run] = []
        self._leaving: list[_Run] = []

    async def start(self, *children: Child, timeout: float, excused: Collection[str] = ()) -> None:
        """Returns when all of them are ready; ConfigError, when one is not within `timeout` seconds, says why."""
        master = self._master
        step = [_Run(child, master._clock, master._notify, master._hear, silent=True) for child in children]
        self._coming += step
        master._beside += step
        for run in step:
            await run.start(master._tasks)
        await master._wait_ready(lambda: step, timeout, excused)

    async def undo(
        self, order: Iterable[Iterable[str]] | None = None, *, timeout: float, within: float = math.inf
    ) -> None:
        """Stop what has come so far; what served before goes on."""
        await self._stop(self._coming, order, timeout, within)

    def commit(self, without: Iterable[str] = ()) -> None:
        """What has come stands for its names from now on, and nothing for the names in `without`."""
        master = self._master
        runs, coming = master._runs, self._coming
        self._leaving = [
            runs[name] for name in dict.fromkeys([*(run.child.name for run in coming), *without]) if name in runs
        ]
        for run in self._leaving:
            run.silent = True
        master._beside += self._leaving
        for name in without:
            runs.pop(name, None)
        for run in coming:
            before = runs.get(run.child.name)
            runs[run.child.name], run.silent = run, False
            master._beside.remove(run)
            said = "replaced" if before else "added"
            master._notify(run, Event(run.child.name, before.state if before else None, run.state, said))

    async def retire(
        self, order: Iterable[Iterable[str]] | None = None, *, timeout: float, within: float = math.inf
    ) -> None:
        """Stop whom `commit` relieved, as `Master.stop` does; those that `order` leaves out go last."""
        await self._stop(self._leaving, order, timeout, within)

    async def _stop(
        self, runs: Sequence[_Run], order: Iterable[Iterable[str]] | None, timeout: float, within: float
    ) -> None:
        now = self._master._clock.now
        until = now() + within
        groups = [_named(runs, names) for names in (order or ())]
        groups.append([run for run in runs if not any(run in group for group in groups)])
        for group in groups:
            patience = min(timeout, max(LAST_CHANCE, until - now()))
            await asyncio.gather(*(run.stop(patience) for run in group))
        beside = self._master._beside
        beside[:] = [run for run in beside if run not in runs or run.state not in FINAL]


class _Run:
    """A child and, one after the other, the processes that it has been."""

    def __init__(
        self,
        child: Child,
        clock: Clock,
        notify: Callable[[_Run, Event], object],
        hear: Callable[[str, Mapping[str, Any], Channel], object],
        *,
        silent: bool = False,
    ) -> None:
        self.child = child
        self.state = State.STARTING
        self.reason = ""
        self.forsaken = asyncio.Event()
        """Not to be started again."""
        self.silent = silent
        """Another process stands for the name."""
        self._task: asyncio.Task[None] | None = None
        self._spawned = asyncio.Event()
        self._clock, self._notify, self._hear = clock, notify, hear
        self._process: asyncio.subprocess.Process | None = None
        self._channel: Channel | None = None
        self._crashes = Crashes()
        self._began = 0.0
        self._ready_ms: int | None = None
        self._ready_at: float | None = None
        self._restarts = 0
        self._listen: tuple[str, ...] = ()
        self._admin = ""
        self._said = ""
        """Why it failed, in its own words."""
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._log_begin = 0
        self._hung_up = asyncio.Event()
        """The control channel has come to its end."""

    async def start(self, tasks: Tasks) -> None:
        self._task = tasks.spawn(self._keep(), name=f"keep {self.child.name}")
        await self._spawned.wait()

    # One process.

    async def _spawn(self) -> None:
        child = self.child
        hung_up = self._hung_up = asyncio.Event()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._said, self._ready_ms, self._ready_at = "", None, None
        self._began = self._clock.now()
        try:
            with self._output() as output:
                self._process = await asyncio.create_subprocess_exec(
                    *child.command(),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env={**os.environ, **child.env, VARIABLE: str(theirs.fileno())},
                    cwd=child.cwd,
                    pass_fds=(theirs.fileno(), *(passed.fileno() for passed in child.sockets)),
                    start_new_session=True,  # Ctrl-C on the terminal is for the master, which stops them in order
                )
        except (OSError, ValueError) as error:  # no such program; a socket that is closed
            ours.close()
            self._said = f"cannot be started: {error}"
            self._process = None
            return
        finally:
            theirs.close()
        loop = asyncio.get_running_loop()
        _, self._channel = await loop.create_unix_connection(lambda: Channel(self._received, hung_up.set), sock=ours)

    @contextlib.contextmanager
    def _output(self) -> Iterator[IO[bytes] | None]:
        if self.child.log is None:
            yield None
            return
        try:
            self.child.log.parent.mkdir(parents=True, exist_ok=True)
            file = self.child.log.open("ab")
        except OSError as error:  # a full disk is no reason not to serve
            log.warning("%s runs without a log: %s: %s", self.child.name, self.child.log, error.strerror)
            file = open(os.devnull, "ab")  # noqa: SIM115 - closed below
        with file:
            self._log_begin = file.tell()
            yield file

    def _received(self, message: Mapping[str, Any]) -> None:
        if "reply" in message:
            waiting = self._asked.pop(message["reply"], None)
            if waiting is not None and not waiting.done():
                waiting.set_result(message.get("value"))
            return
        if "ask" in message and self._channel is not None:
            self._hear(self.child.name, message, self._channel)
            return
        match message.get("event"):
            case "listening":
                self._listen = tuple(message.get("listen", ()))
                self._admin = message.get("admin", "")
            case "ready":
                if self._ready_at is None:
                    self._ready_at, self._ready_ms = self._clock.now(), message.get("ready_ms")
                self._become(State.READY)
            case "not-ready":
                self._become(State.NOT_READY, message.get("reason", ""))
            case "failed":
                self._said = message.get("reason", "")

    # All of them.

    async def _keep(self) -> None:
        """Start it, wait for it to end, and start it again, until it is to stop or there is no hope."""
        while True:
            await self._spawn()
            self._spawned.set()
            if self.forsaken.is_set():  # meanwhile
                self.signal(signal.SIGTERM)
            status = await self._wait()
            if self.forsaken.is_set():
                self._become(State.STOPPED, "" if status == 0 else ended(status))
                return
            # a signal that ended it is the whole reason: what it happened to say before is none
            reason = ended(status) if status < 0 else self._said or self._last_line() or ended(status)
            if status == FAULT_OF_CONFIGURATION and self._ready_at is None:
                self._become(State.FAILED, reason)
                return
            pause = self._crashes.ended(began=self._began, now=self._clock.now(), ready_at=self._ready_at)
            if pause is None:
                self._become(State.CRASH_LOOP, f"{len(self._crashes.exits)} exits in a row: {reason}")
                return
            self._become(State.RESTARTING, reason)
            with contextlib.suppress(TimeoutError):
                async with self._clock.timeout(pause):
                    await self.forsaken.wait()
            if self.forsaken.is_set():
                self._become(State.STOPPED)
                return
            self._restarts += 1
            self._become(State.STARTING)

    async def _wait(self) -> int:
        process = self._process
        if process is None:
            return 127
        status = await process.wait()
        with contextlib.suppress(TimeoutError):  # its last message may still be on its way
            async with self._clock.timeout(LAST_MESSAGE):
                await self._hung_up.wait()
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        for waiting in self._asked.values():
            if not waiting.done():
                waiting.set_result(None)
        self._asked.clear()
        self._process = self._ready_ms = None
        return status

    async def stop(self, timeout: float) -> None:
        self.forsaken.set()
        if self._task is None or self._task.done():
            return
        if self._process is not None and self.state is not State.STOPPING:
            # once: asked a second time, a process drops what it does
            self._become(State.STOPPING)
            self.signal(signal.SIGTERM)
        try:
            async with self._clock.timeout(timeout):
                await asyncio.shield(self._task)
        except TimeoutError:
            log.warning("%s did not stop within %g s: killed", self.child.name, timeout)
            self.signal(signal.SIGKILL)
            await self._task

    def signal(self, number: int) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def ask(self, what: str, timeout: float, *given: Any) -> Any:
        if self._channel is None:
            return None
        number = max(self._asked, default=0) + 1
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        self._channel.send({"ask": what, "id": number, **({"given": given} if given else {})})
        try:
            async with self._clock.timeout(timeout):
                return await answer
        except TimeoutError:
            return None
        finally:
            self._asked.pop(number, None)

    def _become(self, new: State, reason: str = "") -> None:
        if self.state is State.STOPPING and new in (State.READY, State.NOT_READY):
            return
        old, self.state, self.reason = self.state, new, reason
        self._notify(self, Event(self.child.name, old, new, reason))

    def standing(self) -> Standing:
        return Standing(
            name=self.child.name,
            kind=self.child.kind,
            pid=self._process.pid if self._process is not None else None,
            state=self.state,
            reason=self.reason,
            ready_ms=self._ready_ms,
            restarts=self._restarts,
            listen=self._listen,
            admin=self._admin,
        )

    # Last words.

    def last_words(self, lines: int) -> list[str]:
        """Of the process that ran last, as far as a log keeps them."""
        return [] if self.child.log is None else last_words(self.child.log, self._log_begin, lines)

    def _last_line(self) -> str:
        return own_last_line(self.child.name, self.last_words(50))


def _named(runs: Iterable[_Run], names: Iterable[str]) -> list[_Run]:
    wanted = set(names)
    return [run for run in runs if run.child.name in wanted]
