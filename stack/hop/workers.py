"""A hop of several processes: the master serves nothing, it keeps workers running that share its sockets."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from stack.clock import Clock, Handle
from stack.config.arguments import arguments
from stack.config.base import HopOptions
from stack.config.listen import Listen, address
from stack.errors import ConfigError
from stack.hop.child import Child, Event, State
from stack.hop.hop import AdminHandler, Bound, Readiness
from stack.hop.master import ASK, Master
from stack.hop.process import WORKER
from stack.http.message import Request, Response
from stack.net import Net
from stack.telemetry.metrics import Metrics, number

log = logging.getLogger("hopstack.workers")

PAUSE: Final = 30.0
"""Seconds for which a worker that cannot run is left alone before it is tried once more."""
MARGIN: Final = 2.0
"""Seconds that a worker has beyond its own deadlines before it is killed."""
ROUNDS: Final = 5
"""Questions without an answer, spread over `worker_timeout`, that make a worker hung: one late look is none."""


class WorkersHop:
    """Workers are named `app-1/0`, `app-1/1`, ... and are started as `python -m appserver --workers 0 ...`.

    Ready when every worker is. HUP replaces all workers by new ones, TTIN adds one, TTOU takes one away. Each kind
    of hop has its subclass.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        config: HopOptions,
        *,
        count: int,
        start_timeout: float,
        hung_after: float,
        stop_timeout: float,
        clock: Clock,
        net: Net,
        metrics: Metrics,
        state_dir: Path,
    ) -> None:
        """`config` is every worker's. Seconds: until a worker must be ready, until one that does not answer is killed,
        and that one has to end.
        """
        self.name, self.kind = name, kind
        self._config = config
        self._start_timeout, self._hung_after, self._stop_timeout = start_timeout, hung_after, stop_timeout + MARGIN
        self._clock = clock
        self._tasks = net.tasks
        self._state_dir = state_dir
        self._master = Master(clock, net.tasks, events=self._happened, asked=self._told)
        self._bound: list[Bound] = []
        self._count = count
        self._one_at_a_time = asyncio.Lock()
        self._started = False
        self._draining = False
        self._began = clock.now()
        self._reloads = 0
        self._reload_error = ""
        self._attempts = 0
        """Reloads that have come to an end, whichever."""
        self._before_reload: Readiness | None = None
        self._retries: dict[str, Handle] = {}
        self._watch: asyncio.Task[None] | None = None
        self._refusing: list[socket.socket] = []
        self._metrics = metrics
        metrics.gauge(
            "hopstack_workers", "Worker processes, by state.", ("hop", "state"), lambda: self._by_state().items()
        )

    # Life.

    async def start(self, sockets: Sequence[Bound]) -> None:
        """ConfigError when a worker cannot start: what it said is the reason."""
        self._bound = list(sockets)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTTIN, self._change, 1)
        loop.add_signal_handler(signal.SIGTTOU, self._change, -1)
        for which in range(self._count):
            await self._master.start(self._worker(which))
        try:
            await self._master.wait_ready(timeout=self._start_timeout)
        except ConfigError:
            # all fail alike: what one of them said is the whole story
            failed = [one for one in self._master.statistics().values() if one.state is State.FAILED and one.reason]
            if failed:
                raise ConfigError(failed[0].reason) from None
            raise
        self._started = True
        self._watch = self._tasks.spawn(self._watch_workers(), name="watch workers")

    def readiness(self) -> Readiness:
        if self._draining:
            return Readiness(False, "draining")
        if self._before_reload is not None:
            return self._before_reload  # the old workers serve on
        standings = self._master.statistics().values()
        if any(standing.state is State.READY for standing in standings):
            return Readiness(True)
        reasons = (f"{one.name} {one.state.value}" + (f": {one.reason}" if one.reason else "") for one in standings)
        return Readiness(False, "; ".join(reasons) or "no worker")

    async def drain(self) -> None:
        """Workers stop accepting and finish; new connections are refused from the first moment."""
        self._end_watch()
        for bound in self._bound:
            bound.socket.close()
        await self._master.stop(timeout=self._stop_timeout)

    async def stop(self) -> None:
        self._end_watch()
        for handle in self._retries.values():
            handle.cancel()
        await self._master.stop(timeout=MARGIN)

    def _end_watch(self) -> None:
        self._draining = True
        self._refuse(False)
        if self._watch is not None:
            self._watch.cancel()

    async def reload(self) -> None:
        """New workers beside the old; when all are ready the old ones drain. If one cannot start, the old ones stay."""
        async with self._one_at_a_time:
            if self._draining:
                return
            try:
                await self._reload()
            finally:
                self._attempts += 1

    async def _reload(self) -> None:
        log.info("reload: starting %d new workers", self._count)
        self._before_reload = self.readiness()
        try:
            await self._master.replace(
                *map(self._worker, range(self._count)),
                timeout=self._start_timeout,
                stop_timeout=self._stop_timeout,
            )
        except ConfigError as error:
            self._reload_error = str(error)
            log.error("reload failed, the old workers stay: %s", error)
            return
        finally:
            self._before_reload = None
        self._reloads += 1
        self._reload_error = ""
        log.info("reload: done")

    def reopen_logs(self) -> None:
        for name in self._master.statistics():
            self._master.signal(name, signal.SIGUSR1)

    # Workers.

    def _options(self, which: int) -> tuple[HopOptions, str]:
        """A worker's own options, and the name among them."""
        return self._config, f"{self.name}/{which}"

    def _worker(self, which: int) -> Child:
        name = f"{self.name}/{which}"
        config, own_name = self._options(which)
        given = arguments(
            config,
            name=own_name,
            workers=0,
            admin="",
            listen=tuple(
                str(Listen(bound.scheme, fd=bound.socket.fileno(), query=bound.query)) for bound in self._bound
            ),
            state_dir=str(self._state_dir),
        )
        return Child(
            name,
            self.kind,
            [sys.executable, "-P", "-m", self.kind, *given],
            env={WORKER: name},
            sockets=[bound.socket for bound in self._bound],
        )

    def _change(self, by: int) -> None:
        self._tasks.spawn(self._changed(by), name="workers")

    async def _changed(self, by: int) -> None:
        async with self._one_at_a_time:
            if self._draining:
                return
            if by > 0:
                await self._master.start(self._worker(self._count))
                self._count += 1
            elif self._count > 1:
                self._count -= 1
                await self._master.remove(f"{self.name}/{self._count}", timeout=self._stop_timeout)
            log.info("%d workers", self._count)

    async def _watch_workers(self) -> None:
        """A worker whose loop is blocked looks well from outside: ask each, and end the one that does not answer."""
        patience = self._hung_after
        missed: dict[int, int] = {}
        while True:
            round_ends = self._clock.now() + patience / ROUNDS
            asked = {
                one.name: one.pid
                for one in self._master.statistics().values()
                if one.pid is not None and one.state in (State.READY, State.NOT_READY)
            }
            answers = await asyncio.gather(*(self._ask(name, "alive", patience / ROUNDS) for name in asked))
            missed = {
                pid: 0 if answer else missed.get(pid, 0) + 1
                for pid, answer in zip(asked.values(), answers, strict=True)
            }
            now = self._master.statistics()
            for name, pid in asked.items():
                if missed[pid] >= ROUNDS and name in now and now[name].pid == pid:
                    log.error("%s (pid %d) has not answered for %g s: killed", name, pid, patience)
                    self._master.signal(name, signal.SIGKILL)
            await self._clock.sleep(max(0.0, round_ends - self._clock.now()))

    def _refuse(self, refuse: bool) -> None:
        """While no worker can run, whoever connects is let go at once: nobody else would accept before the next try."""
        loop = asyncio.get_running_loop()
        if refuse and not self._refusing:
            self._refusing = [bound.socket for bound in self._bound]
            for one in self._refusing:
                loop.add_reader(one.fileno(), _let_go, one)
        elif not refuse and self._refusing:
            for one in self._refusing:
                loop.remove_reader(one.fileno())
            self._refusing = []

    def _happened(self, event: Event) -> None:
        if self._started and not self._draining:
            states = {standing.state for standing in self._master.statistics().values()}
            self._refuse(states <= {State.CRASH_LOOP, State.FAILED})
        if self._draining or not self._started or self._one_at_a_time.locked():
            return  # whoever asked for the change reports it
        if event.new is State.RESTARTING:
            log.warning("%s ended (%s): it is started again", event.name, event.reason)
        elif event.new in (State.CRASH_LOOP, State.FAILED):
            log.error("%s %s (%s): tried again in %g s, or on HUP", event.name, event.new.value, event.reason, PAUSE)
            self._retries[event.name] = self._clock.call_later(PAUSE, lambda: self._retry(event.name))

    def _retry(self, name: str) -> None:
        standing = self._master.statistics().get(name)
        if standing is not None and standing.state in (State.CRASH_LOOP, State.FAILED) and not self._draining:
            self._tasks.spawn(self._master.restart(name), name=f"retry {name}")

    # Admin.

    def stats(self) -> dict[str, Any]:
        """What the master knows by itself; the page `/-/stats` asks the workers too."""
        return {
            "name": self.name,
            "kind": self.kind,
            "uptime_s": round(self._clock.now() - self._began, 3),
            "listen": [f"{bound.scheme}://{address(*bound.address)}" for bound in self._bound if not self._draining],
            "reloads": self._reloads,
            "reload_attempts": self._attempts,
            "reload_error": self._reload_error,
            "rss_kib": rss_kib(os.getpid()),
            "workers": [
                {
                    "name": standing.name,
                    "pid": standing.pid,
                    "state": standing.state.value,
                    "reason": standing.reason,
                    "ready_ms": standing.ready_ms,
                    "restarts": standing.restarts,
                    "rss_kib": rss_kib(standing.pid),
                }
                for standing in self._master.statistics().values()
            ],
        }

    def routes(self) -> Mapping[tuple[bytes, bytes], AdminHandler]:
        return {(b"GET", b"/metrics"): self._metrics_page}

    async def _metrics_page(self, _: Request) -> Response:
        answers = await self._asked("metrics")
        text = merged([self._metrics.text(), *(answer for answer in answers.values() if isinstance(answer, str))])
        return Response(200, [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")], text.encode())

    async def _told(self, name: str, what: str, given: Sequence[Any]) -> Any:
        """A worker's own question. None where there is no answer to it."""
        return None

    async def _asked(self, what: str, *given: Any) -> dict[str, Any]:
        names = [name for name, worker in self._master.statistics().items() if worker.pid is not None]
        answers = await asyncio.gather(*(self._ask(name, what, ASK, *given) for name in names))
        return dict(zip(names, answers, strict=True))

    async def _ask(self, name: str, what: str, timeout: float = ASK, *given: Any) -> Any:
        # it may have been replaced or taken away meanwhile
        return (
            await self._master.ask(name, what, *given, timeout=timeout) if name in self._master.statistics() else None
        )

    def _by_state(self) -> dict[tuple[str, str], float]:
        counts: dict[tuple[str, str], float] = {}
        for standing in self._master.statistics().values():
            labels = (self.name, standing.state.value)
            counts[labels] = counts.get(labels, 0) + 1
        return counts


def _let_go(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        listener.accept()[0].close()


def merged(pages: Iterable[str]) -> str:
    """Several processes' metrics as one page: every family once with all samples, those of the same labels summed."""
    heads: dict[str, list[str]] = {}
    samples: dict[str, dict[str, str]] = {}
    for page in pages:
        family = ""
        for line in page.splitlines():
            if line.startswith("# HELP "):
                family = line.split(" ", 3)[2]
                if family not in heads:
                    heads[family], samples[family] = [line], {}
            elif line.startswith("# TYPE ") and len(heads[family]) == 1:
                heads[family].append(line)
            elif not line.startswith("#"):
                left, _, value = line.rpartition(" ")
                before = samples[family].get(left)
                samples[family][left] = value if before is None else number(float(before) + float(value))
    return "".join(
        f"{line}\n"
        for family in heads
        for line in (*heads[family], *(f"{left} {value}" for left, value in samples[family].items()))
    )


def rss_kib(pid: int | None) -> int | None:
    """Resident memory; None where /proc does not tell."""
    try:
        with open(f"/proc/{pid}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
    except (OSError, ValueError, IndexError):
        return None
