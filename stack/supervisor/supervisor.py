"""Runs a stack: binds its sockets, prepares its state, starts each hop as a process, and stops them all again."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, Final

from stack.clock import Clock
from stack.config.arguments import arguments
from stack.config.base import Timeouts
from stack.config.listen import Listen
from stack.errors import ConfigError
from stack.hop.child import Child, Event, State
from stack.hop.master import Master
from stack.net import ca
from stack.net.bind import bind
from stack.net.tasks import Tasks
from stack.plan.model import HopPlan, StackPlan
from stack.supervisor.state import StateDir

START: Final = 30.0
"""Seconds that all hops together have to become ready."""
DRAIN: Final = Timeouts().drain
STOP: Final = 2 * DRAIN + 5.0
"""Seconds that one hop has to end what it does: requests in flight, then the application's own shutdown."""
STOP_ALL: Final = 45.0
"""Seconds that all of them have together; `hopstack down` waits longer than that."""
SILENCE: Final = 1.0
"""Seconds of stopping after which a person wants to know why; idle hops stop in less."""
LOOK: Final = 5.0
"""Seconds between two looks at the state directory."""

Report = Callable[[Event], object]
Say = Callable[[str], object]

log = logging.getLogger("hopstack.supervisor")


def has_many_addresses() -> bool:
    """Whether all of 127.0.0.0/8 is this machine, as on Linux, or only 127.0.0.1."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        try:
            probe.bind(("127.0.53.1", 0))
        except OSError as error:
            return error.errno != errno.EADDRNOTAVAIL
    return True


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
    ) -> None:
        """`report` hears what becomes of the hops, `say` gets lines for whoever sits before the terminal."""
        self.plan = plan
        self.state = state
        self._clock = clock
        self._report = report
        self._say: Say = say or (lambda _: None)
        self._sockets: dict[str, list[tuple[str, socket.socket]]] = {}
        self._unwritten = ""
        """Why the status could not be written last time."""
        self._tasks = Tasks()
        self._master = Master(clock, self._tasks, events=self._heard)
        self._stop = asyncio.Event()
        self._phase = "starting"
        self._reason = ""
        self.late: list[str] = []
        """Hops that were not ready in time, when the start failed for that."""

    async def run(self, ready: Callable[[], object]) -> None:
        """Calls `ready` once every hop is. ConfigError when the stack cannot start; nothing is left running then."""
        sockets = self._sockets = self._bind()
        try:
            self._prepare()
            self._handle_signals()
            self._write()
            self._tasks.spawn(self._look_after(), name="state directory")
            try:
                await self._start(sockets)
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
                await self._stop_hops()
                if self._phase == "stopping":
                    self._phase = "stopped"
                self._write()
        finally:
            for name in sockets:
                self._close(name)
            await self._tasks.close()

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
            "ca": str(ca.ca_path(self.state.path)),
            "hops": hops,
        }

    # Starting.

    def _bind(self) -> dict[str, list[tuple[str, socket.socket]]]:
        """All sockets before the first process: a taken port stops the start before anything runs."""
        bound: dict[str, list[tuple[str, socket.socket]]] = {}
        try:
            for hop in self.plan.hops:
                places: list[tuple[str, Listen]] = [(item.scheme, item) for item in hop.listen]
                bound[hop.name] = []
                if hop.admin is not None:
                    places.append(("admin", hop.admin))
                for scheme, place in places:
                    bound[hop.name] += [(scheme, one) for one in bind(place, option="--port-base")]
        except ConfigError:
            for one in (one for several in bound.values() for _, one in several):
                one.close()
            raise
        return bound

    def _close(self, name: str) -> None:
        for _, one in self._sockets.get(name, ()):
            one.close()

    def _prepare(self) -> None:
        """Certificates and zone files."""
        ca.ensure(self.state.path, sorted({name for hop in self.plan.hops for name in hop.server_names}))
        for hop in self.plan.hops:
            for file, text in hop.files.items():
                path = self.state.path / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)

    async def _start(self, sockets: dict[str, list[tuple[str, socket.socket]]]) -> None:
        stopped = self._tasks.spawn(self._stop.wait(), name="stop")
        for hop in self.plan.hops:
            await self._master.start(self._child(hop, sockets[hop.name]))
        failure: list[ConfigError] = []
        ready = self._tasks.spawn(self._wait_ready(failure), name="ready")
        # told to stop while still starting: then that is what happens
        await asyncio.wait({stopped, ready}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if failure:
            raise failure[0]

    async def _wait_ready(self, failure: list[ConfigError]) -> None:
        try:
            await self._master.wait_ready(timeout=START)
        except ConfigError as error:
            standings = self._master.statistics()
            waiting = (State.STARTING, State.NOT_READY)
            if not any(standing.state in (State.FAILED, State.CRASH_LOOP) for standing in standings.values()):
                self.late = [name for name, standing in standings.items() if standing.state in waiting]
            failure.append(error)

    def _child(self, hop: HopPlan, sockets: list[tuple[str, socket.socket]]) -> Child:
        own: dict[str, object] = {}
        if hop.tls and not getattr(hop.config, "cert", ""):
            hosts = sorted({item.host for item in hop.listen})
            names = [name for name in hop.server_names if name != "localhost"] + ["localhost"]
            cert, key = ca.issue(self.state.path, hop.name, names, hosts)
            own |= {"cert": str(cert), "key": str(key)}
        listening = [f"{scheme}+fd://{one.fileno()}" for scheme, one in sockets if scheme != "admin"]
        own |= {"listen": listening, "admin": ""}
        for scheme, one in sockets:
            if scheme == "admin":
                own["admin"] = f"http+fd://{one.fileno()}"
        return Child(
            name=hop.name,
            kind=hop.kind,
            argv=[sys.executable, "-m", hop.kind, *arguments(hop.config, changed_only=True, **own)],
            env={**hop.env, "HOPSTACK_HOME": str(self.state.path)},
            sockets=[one for _, one in sockets],
            log=self.state.rotate(hop.name),
        )

    # Running and stopping.

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._asked_to_stop, number)

    def _asked_to_stop(self, number: int) -> None:
        if self._stop.is_set() and number != signal.SIGHUP:
            self._say("Stopped at once; requests in flight are cut off.")
            os._exit(128 + number)  # asked twice: the hops go with their master
        self._stop.set()

    def _heard(self, event: Event) -> None:
        if event.new in (State.CRASH_LOOP, State.FAILED):
            self._close(event.name)  # nobody will accept there any more: who comes is refused, and does not wait
        self._write()
        if self._report is not None and not (event.new is State.STARTING and event.old is None):
            self._report(event)

    def last_words(self, name: str, lines: int = 12) -> list[str]:
        """Of a hop's last process, without its access log."""
        return self._master.last_words(name, lines)

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
            await self._master.stop(self._stop_order(), timeout=STOP, within=STOP_ALL)
        finally:
            patience.cancel()

    def _stop_order(self) -> list[list[str]]:
        """Outermost first: what a hop has in flight needs the hops behind it."""
        kinds = ("cdn_edge", "loadbalancer", "proxy", "appserver", "dns_server")
        running = self._master.statistics()
        return [[hop.name for hop in self.plan.hops if hop.kind == kind and hop.name in running] for kind in kinds]
