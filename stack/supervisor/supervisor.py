"""Runs a stack: binds its sockets, prepares its state, starts each hop as a process, changes them, and stops them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from stack.clock import Clock
from stack.errors import ConfigError
from stack.hop.child import BROKEN, Child, Event, State
from stack.hop.master import Master
from stack.net import ca
from stack.net.tasks import Tasks
from stack.plan.model import HopPlan, StackPlan
from stack.supervisor import changes, channel, children, outside
from stack.supervisor.changes import Change
from stack.supervisor.reload import DRAIN, START, STOP, STOP_ALL, Outcome, Switch, by_kind
from stack.supervisor.sockets import Serving, Sockets
from stack.supervisor.state import StateDir
from stack.supervisor.terminal import Terminal

if TYPE_CHECKING:
    from stack.supervisor.source import Source
    from stack.supervisor.watch import CodeWatch

SILENCE: Final = 1.0
"""Seconds of stopping after which a person wants to know why; idle hops stop in less."""
PROGRESS: Final = 5.0
"""Seconds after which whoever asked for a reload is told that it goes on."""
RENEW: Final = 3600.0
"""Seconds between two looks at whether a hop's certificate is due."""
LOOK: Final = 5.0
"""Seconds between two looks at the state directory."""

Report = Callable[[Event], object]
Say = Callable[[str], object]

log = logging.getLogger("hopstack.supervisor")


class Supervisor:
    """One stack. `run` starts it, waits to be told to stop, and stops it."""

    def __init__(
        self,
        plan: StackPlan,
        state: StateDir,
        clock: Clock,
        *,
        report: Report | None = None,
        say: Say | None = None,
        source: Source | None = None,
        watch: bool = False,
    ) -> None:
        """`report` hears what becomes of the hops, `say` gets lines for whoever sits before the terminal.

        `source` makes the plan anew for a reload; without one there is none.
        With `watch` a change of an app's code replaces its workers.
        """
        self.plan = plan
        self.state = state
        self._clock = clock
        self._report = report
        self._say: Say = say or (lambda _: None)
        self._source = source
        self._unwritten = ""
        """Why the status could not be written last time."""
        self._tasks = Tasks()
        self._master = Master(clock, self._tasks, events=self._heard)
        self._sockets = Sockets()
        self._files: dict[str, changes.Files] = {}
        self._changing = asyncio.Lock()
        """One change at a time; the start is the first."""
        self._changes: set[asyncio.Task[Outcome]] = set()
        self._reloads = 0
        self._reload_error = ""
        self._watch = self._watcher() if watch else None
        self._stop = asyncio.Event()
        self._all_at_once = False
        self._phase = "starting"
        self._reason = ""
        self.late: list[str] = []
        """Hops that were not ready in time, when the start failed for that."""

    async def run(self, ready: Callable[[], object], *, signals: bool = True) -> None:
        """Calls `ready` once every hop is. ConfigError when the stack cannot start; nothing is left running then."""
        self._sockets.bind(self.plan.hops)  # before the first process: a taken port is told before anything runs
        server = channel.Server(self.state.path, self._asked)
        try:
            self._prepare()
            if signals:
                self._handle_signals()
            self._record()
            self._tasks.spawn(self._look_after(), name="state directory")
            self._tasks.spawn(self._renew(), name="certificates")
            with contextlib.suppress(OSError):  # a file system without sockets: SIGHUP is left
                await server.start()
            try:
                async with self._changing:
                    self._watch_code()  # from here on: the apps import it soon
                    await self._start()
                    if not self._stop.is_set():
                        self._phase = "ready"
                        self._write()
                        ready()
                await self._stop.wait()
                self._phase = "stopping"
            except ConfigError as error:
                self._phase, self._reason = "failed", str(error)
                raise
            finally:
                if self._watch is not None:
                    self._watch.stop()
                for task in self._changes:
                    task.cancel()
                await self._stop_hops()
                if self._phase == "stopping":
                    self._phase = "stopped"
                self._write()
        finally:
            self._sockets.keep(())
            await server.close()
            await self._tasks.close()

    def stop(self, *, all_at_once: bool = False) -> None:
        """`run` returns when every hop has stopped: outermost first; or together, where no request is in flight."""
        self._all_at_once = all_at_once
        self._stop.set()

    def status(self) -> dict[str, Any]:
        """What `hopstack status --json` prints."""
        standings = self._master.statistics()
        hops = []
        for hop in self.plan.hops:
            standing = standings.get(hop.name)
            hops.append(
                {
                    "name": hop.name,
                    "kind": hop.kind,
                    "pid": standing.pid if standing else None,
                    "state": standing.state.value if standing else "stopped",
                    "listen": hop.addresses(),
                    "urls": hop.urls(),
                    "certificate": hop.own_certificate,
                    "admin": str(hop.admin or ""),
                    "ready_ms": standing.ready_ms if standing else None,
                    "restarts": standing.restarts if standing else 0,
                    "reason": standing.reason if standing else "",
                    "log": str(self.state.log(hop.name)),
                }
            )
        return {
            "name": self.plan.name,
            "pid": os.getpid(),
            "phase": self._phase,
            "reason": self._reason,
            "config": str(self._source.config) if self._source is not None and self._source.config else None,
            "reloads": self._reloads,
            "reload_error": self._reload_error,
            "demo": any(getattr(hop.config, "app", "").startswith("appserver.shop") for hop in self.plan.hops),
            "ca": str(ca.ca_path(self.state.path)),
            "hops": hops,
        }

    def last_words(self, name: str, lines: int = 12) -> list[str]:
        """Of a hop's last process, without its access log."""
        return self._master.last_words(name, lines)

    def _watcher(self) -> CodeWatch:
        from stack.supervisor.watch import CodeWatch  # 50 ms, for those who want it

        async def restart(names: Sequence[str]) -> Sequence[str]:
            return (await self._begin(self.restart(names))).problems

        return CodeWatch(
            self._master,
            self._clock,
            self._tasks,
            self._say,
            self.state.path,
            changing=self._changing,
            restart=restart,
        )

    # Starting.

    def _prepare(self) -> None:
        """Certificates and zone files."""
        children.prepare(self.state, self.plan.hops)

    def _child(self, hop: HopPlan, sockets: Sequence[Serving]) -> Child:
        return children.child(self.state, hop, sockets)

    async def _start(self) -> None:
        stopped = self._tasks.spawn(self._stop.wait(), name="stop")
        # an app is ready last, for its master starts a worker: it begins first
        for hop in sorted(self.plan.hops, key=lambda hop: hop.kind != "appserver"):
            await self._master.start(self._child(hop, self._sockets.of(hop)))
        failure: list[ConfigError] = []
        ready = self._tasks.spawn(self._wait_ready(failure), name="ready")
        # told to stop while still starting: then that is what happens
        await asyncio.wait({stopped, ready}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if failure:
            raise failure[0]

    async def _wait_ready(self, failure: list[ConfigError]) -> None:
        try:
            await self._master.wait_ready(timeout=START, excused=outside.excused(self.plan))
        except ConfigError as error:
            standings = self._master.statistics()
            waiting = (State.STARTING, State.NOT_READY)
            if not any(standing.state in BROKEN for standing in standings.values()):
                self.late = [name for name, standing in standings.items() if standing.state in waiting]
            failure.append(error)

    # Changing.

    async def reload(self) -> Outcome:
        """The plan anew, and what is different in it. What cannot be leaves all as it was."""
        source = self._source
        if source is None:
            return Outcome("refused", problems=("This stack is made from nothing that could be read again.",))
        async with self._changing:
            outcome = await self._change(lambda: self._differences(source.plan()))
            self._reloads += outcome.outcome == "done"
            self._reload_error = "\n".join(outcome.problems)
            self._write()
            return outcome

    async def restart(self, names: Sequence[str]) -> Outcome:
        """New processes for these hops, whose plan stays."""
        async with self._changing:
            return await self._change(lambda: (self.plan, changes.restarts(self.plan, names)))

    async def _change(self, make: Callable[[], tuple[StackPlan, tuple[Change, ...]]]) -> Outcome:
        if self._stop.is_set():
            return Outcome("stopping")
        try:
            new, found = make()
        except ConfigError as error:
            return Outcome("refused", problems=tuple(str(error).splitlines()))
        if not found and new.name == self.plan.name:
            return Outcome("unchanged", notes=_notes(new))
        switch = Switch(
            self._master,
            self._sockets,
            prepare=lambda plan: children.prepare(self.state, plan.hops),
            child=lambda hop: self._child(hop, self._sockets.of(hop)),
            excused=outside.excused,
        )

        def committed() -> None:
            self.plan = new
            self._record()
            self._watch_code()

        try:
            await switch.to(self.plan, new, found, committed=committed)
        except ConfigError as error:
            return Outcome("failed", problems=tuple(str(error).splitlines()))
        except Exception as error:
            log.exception("no change")
            return Outcome("failed", problems=(f"{type(error).__name__}: {error}",))
        finally:
            self._close_broken()
        return Outcome("done", found, notes=_notes(new))

    def _differences(self, new: StackPlan) -> tuple[StackPlan, tuple[Change, ...]]:
        files = self._read_files(new)
        touched = {name for name, found in files.items() if found != self._files.get(name, found)}
        broken = {name: one.state.value for name, one in self._master.statistics().items() if one.state in BROKEN}
        return new, changes.changes(self.plan, new, broken=broken, touched=touched)

    def _read_files(self, plan: StackPlan) -> dict[str, changes.Files]:
        return {hop.name: changes.files(hop, self.state.path) for hop in plan.hops}

    async def _asked(self, question: Mapping[str, Any], say: Say) -> Mapping[str, Any]:
        """By a command, over the channel."""
        match question:
            case {"do": "reload"}:
                wish = self.reload()
            case {"do": "restart", "hops": [*names]}:
                wish = self.restart([str(name) for name in names])
            case _:
                return _plain(Outcome("refused", problems=(f"nothing is called {question.get('do')!r}",)))
        patience = self._clock.call_later(
            PROGRESS, lambda: say(f"Working; old processes have up to {DRAIN:g} s for requests in flight.")
        )
        try:
            return _plain(await self._begin(wish))
        finally:
            patience.cancel()

    async def _begin(self, wish: Coroutine[Any, Any, Outcome]) -> Outcome:
        """In a task of its own: whoever asked may go, and a change that has begun goes on."""
        task = self._tasks.spawn(wish, name="change")
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.cancelled():
                raise
            return Outcome("stopping")

    async def _reload_by_signal(self) -> None:
        for line in (await self._begin(self.reload())).lines():
            self._say(f"reload: {line}")

    def _watch_code(self) -> None:
        if self._watch is not None:
            self._watch.start(self.plan)

    # Running and stopping.

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        terminal = Terminal()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._asked_to_stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._hung_up, terminal)

    def _asked_to_stop(self, number: int) -> None:
        if self._stop.is_set():
            self._say("Stopped at once; requests in flight are cut off.")
            os._exit(128 + number)  # asked twice: the hops go with their master
        self._stop.set()

    def _hung_up(self, terminal: Terminal) -> None:
        """SIGHUP is a wish to reload; from a terminal that was closed it is the end, as for any program in it."""
        if terminal.has_gone():
            self._stop.set()
        else:
            self._tasks.spawn(self._reload_by_signal(), name="reload by signal")

    def _heard(self, event: Event) -> None:
        if self._stop.is_set() and event.new is State.STOPPING:
            self._close({event.name})
        elif not self._changes:  # the new process of that name has the same sockets
            self._close_broken()
        self._write()
        if self._report is not None and not (event.new is State.STARTING and event.old is None):
            self._report(event)

    def _close_broken(self) -> None:
        """Nobody accepts there any more: who comes is refused, and does not wait."""
        self._close({name for name, one in self._master.statistics().items() if one.state in BROKEN})

    def _close(self, names: set[str]) -> None:
        for hop in self.plan.hops:
            if hop.name in names:
                self._sockets.close_of(hop)

    async def _renew(self) -> None:
        """Certificates of the local CA that are due; their hops see that the files have changed."""
        while True:
            await self._clock.sleep(RENEW)
            for hop in self.plan.hops:
                try:
                    children.certificate(self.state, hop, self._clock.time())
                except ConfigError as error:
                    self._say(f"{hop.name}: its certificate cannot be renewed: {error}")

    async def _look_after(self) -> None:
        """Logs that grow, and a state directory that somebody deletes."""
        told = False
        while True:
            await self._clock.sleep(LOOK)
            self.state.trim()
            if not told and self.state.removed():
                told = True
                self._say(
                    f"{self.state.path} was deleted while the stack runs: `hopstack status`, `logs` and `down` no "
                    "longer find it. It serves on; Ctrl-C stops it."
                )

    def _record(self) -> None:
        """What runs now, for others to compare with."""
        self._files = self._read_files(self.plan)
        self._write()
        if not self.state.removed():
            with contextlib.suppress(OSError):
                self.state.write_plan(self.plan)

    def _write(self) -> None:
        """As well as can be: a full disk is no reason to let hops die, or to leave them running."""
        if self.state.removed():
            return  # another directory may be in its place, and another stack in that
        try:
            self.state.write_status(self.status())
            self._unwritten = ""
        except OSError as error:
            reason = error.strerror or str(error)
            if reason != self._unwritten:
                log.warning("%s cannot be written: %s", self.state.status_path, reason)
            self._unwritten = reason

    async def _stop_hops(self) -> None:
        patience = self._clock.call_later(
            SILENCE,
            lambda: self._say(
                f"Stopping; waiting up to {DRAIN:g} s for requests in flight. Ctrl-C again stops at once."
            ),
        )
        try:
            order = [] if self._all_at_once else by_kind(self.plan)
            await self._master.stop(order, timeout=STOP, within=STOP_ALL)
        finally:
            patience.cancel()


def _notes(plan: StackPlan) -> tuple[str, ...]:
    return (*(f"warning: {warning}" for warning in plan.warnings), *outside.waiting(plan))


def _plain(outcome: Outcome) -> dict[str, Any]:
    return cast(dict[str, Any], msgspec.to_builtins(outcome))
