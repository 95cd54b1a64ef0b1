"""One hop as one process: options -> sockets -> build -> start -> ready -> signals -> drain -> stop.

TERM and INT drain and exit 0; a second one exits at once. HUP reloads what the hop can reload, USR1 reopens its logs.
Exit status 2 is a fault of configuration in one line on standard error, 1 any other failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import ipaddress
import logging
import os
import random
import resource
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from stack.clock import Clock, SystemClock
from stack.config import flags, listen
from stack.config.base import HopOptions
from stack.errors import ConfigError, ConfigErrors
from stack.faults.net import FaultyNet
from stack.hop import logs, registry
from stack.hop.admin import Admin, AdminService
from stack.hop.control import Control
from stack.hop.hop import Bound, Hop, Joining, Readiness
from stack.net import Net
from stack.net.bind import bind
from stack.net.tasks import Tasks
from stack.telemetry.metrics import Metrics

log = logging.getLogger("hopstack.process")

POLL: Final = 0.1
"""Seconds between two looks at whether the hop is ready; a tenth of it until it first is."""
GRACE: Final = 1.5
"""Seconds for a process whose master is gone; then the kernel ends it, even if its loop is stuck."""
WORKER: Final = "HOPSTACK_WORKER"
"""Set for a worker, mostly to its name, as app-1/0: its master says why it could not start, and when all are ready."""
_PR_SET_PDEATHSIG: Final = 1


def main(kind: str, argv: Sequence[str] | None = None, *, parts: registry.Parts | None = None) -> int:
    """The whole life of a process; its exit status. `parts` stands in for the registry's."""
    environ = os.environ
    control = Control.inherited(environ)
    if control.has_master:
        die_with_parent()
    try:
        parts = parts or registry.load(kind)
        config = _configured(kind, parts.config, argv, control)
        worker = environ.get(WORKER, "")
        name = worker if "/" in worker else config.name or kind
        logs.configure(name, environ.get("HOPSTACK_LOG", ""))
        raise_descriptor_limit()
        process = Process(kind, name, config, parts, control, environ)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(process.run())
    except ConfigError as error:
        return _failed(kind, control, error, 2)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if "debug" in environ.get("HOPSTACK_LOG", ""):
            log.exception("could not start")
        return _failed(kind, control, error, 1)


def _configured(kind: str, record: type[HopOptions], argv: Sequence[str] | None, control: Control) -> HopOptions:
    # who started this process has read file and environment, and leaves out what is as by default
    environ = {} if control.has_master else dict(os.environ)
    given = flags.given(kind, record, argv, environ)
    if not given.get(("config",)):
        return flags.make(record, given)
    from stack.hop.from_file import configured  # only who reads the whole file pays for what it takes

    config, besides = configured(kind, given, environ)
    os.environ.update(besides)
    return config


def raise_descriptor_limit() -> None:
    """To what the system allows: 1024, the usual soft limit, is less than `limits.connections`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with contextlib.suppress(ValueError, OSError):  # macOS names a hard limit that it does not grant
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _failed(kind: str, control: Control, error: Exception, status: int) -> int:
    reason = _one_line(error)
    control.tell("failed", reason=reason)
    if isinstance(error, ConfigErrors):
        sys.stderr.write(f"{error}\n")
    elif not (control.has_master and WORKER in os.environ):
        sys.stderr.write(f"hopstack: {kind}: {reason}\n")
    return status


def _one_line(error: Exception) -> str:
    text = str(error) if isinstance(error, ConfigError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


class Process:
    """What runs one hop until it is told to stop."""

    def __init__(
        self,
        kind: str,
        name: str,
        config: HopOptions,
        parts: registry.Parts,
        control: Control,
        environ: Mapping[str, str],
    ) -> None:
        self.kind, self.name, self.config = kind, name, config
        self._parts, self._control, self._environ = parts, control, environ
        self._clock: Clock = SystemClock()
        self._stop = asyncio.Event()
        self._orphaned = False
        self._starting: asyncio.Task[Any] | None = None

    async def run(self) -> int:
        clock, control = self._clock, self._control
        state_dir = Path(self.config.state_dir or self._environ.get("HOPSTACK_HOME") or ".hopstack")
        metrics = Metrics()
        net = FaultyNet(clock, random.Random())  # noqa: S311 - ids and balancing, no secrets
        bound, admin_bound = self._bind()
        hop: Hop | None = None
        admin: Admin | None = None
        try:
            hop = self._parts.build(
                self.config, clock=clock, random=net.random, net=net, metrics=metrics, state_dir=state_dir
            )
            self._handle_signals(hop, net.tasks)
            asks: dict[str, Any] = {"stats": hop.stats, "metrics": metrics.text, "alive": lambda: True}
            service = AdminService(hop, metrics=metrics, config=lambda: flags.effective(self.config))
            if WORKER in self._environ:
                asks["page"] = service.page
                if isinstance(hop, Joining):
                    asks |= hop.joined(control)
            await control.open(asks, self._master_gone, net.tasks)
            if not await self._started(hop, bound):
                return 0
            admin_url = ""
            if admin_bound is not None:
                admin = Admin(service, self.name, clock=clock, random=net.random, tasks=net.tasks)
                admin_url = await admin.start(admin_bound.socket)
            addresses = [f"{item.scheme}://{listen.address(*item.address)}" for item in bound]
            addresses = list(dict.fromkeys(addresses))
            control.tell("listening", listen=addresses, admin=admin_url)
            # what start-up made stays until the end: the collector need not look at it again, nor at all of it now
            gc.collect(1)
            gc.freeze()
            gc.set_threshold(10_000, 20, 20)  # what a request makes goes without it; 700 is met by 20 in flight
            watch = net.tasks.spawn(self._watch(hop, addresses), name="readiness")
            await self._stop.wait()
            watch.cancel()
            await self._wind_down(hop)
        except Exception as error:
            control.tell("failed", reason=_one_line(error))
            raise
        finally:
            await self._release(hop, admin, net)
            for item in (*bound, *((admin_bound,) if admin_bound else ())):
                item.socket.close()
        return 0

    async def _release(self, hop: Hop | None, admin: Admin | None, net: Net) -> None:
        """Whatever could not start may not be able to stop either: the reason to tell is the first one."""
        self._stop.set()  # the end of the control channel is our own doing now
        for part in (hop, admin):
            if part is not None:
                try:
                    await part.stop()
                except Exception as error:
                    log.error("could not stop: %s: %s", type(error).__name__, error)
        await net.close()
        self._control.close()

    async def _started(self, hop: Hop, bound: Sequence[Bound]) -> bool:
        """Whether it did; a start that takes long is broken off when asked to stop."""
        self._starting = asyncio.current_task()
        try:
            if not self._stop.is_set():
                await hop.start(bound)
        except asyncio.CancelledError:
            if not self._stop.is_set() or self._starting is None:
                raise
            self._starting.uncancel()
        finally:
            self._starting = None
        return not self._stop.is_set()

    # Sockets.

    def _bind(self) -> tuple[list[Bound], Bound | None]:
        usual = listen.usual(self.kind)
        if not self.config.listen:
            raise ConfigError(f"--listen is needed, as --listen {usual}://127.0.0.1:0")
        served = listen.served(self.kind)
        wanted = [listen.parse(text, usual=usual, schemes=served) for text in self.config.listen]
        bound = [Bound(item.scheme, socket, item.query) for item in wanted for socket in bind(item)]
        if not self.config.admin:
            return bound, None
        admin = listen.parse(self.config.admin, option="--admin", schemes=("http",))
        if admin.scheme != "http":
            raise ConfigError(f"--admin {self.config.admin}: wanted http://127.0.0.1:PORT or http+fd://N")
        if admin.fd is None and not ipaddress.ip_address(admin.host).is_loopback:
            raise ConfigError(f"--admin {admin}: the admin endpoint is for loopback only, as http://127.0.0.1:0")
        return bound, Bound("http", bind(admin, option="--admin")[0])

    # Readiness.

    async def _watch(self, hop: Hop, addresses: Sequence[str]) -> None:
        """Say when the hop becomes ready, and when it no longer is."""
        told: Readiness | None = None
        was_ready = False
        while True:
            readiness = hop.readiness()
            if told is None or readiness.ready != told.ready or (not readiness.ready and readiness != told):
                told = readiness
                self._tell(readiness, addresses, first=readiness.ready and not was_ready)
                was_ready |= readiness.ready
            await self._clock.sleep(POLL if was_ready else POLL / 10)

    def _tell(self, readiness: Readiness, addresses: Sequence[str], *, first: bool) -> None:
        if not readiness.ready:
            self._control.tell("not-ready", reason=readiness.reason)
            log.info("not ready: %s", readiness.reason)
            return
        ms = round(age() * 1000)
        self._control.tell("ready", ready_ms=ms)
        if first and WORKER not in self._environ:
            sys.stderr.write(f"{self.name} ready on {' '.join(addresses)} in {ms} ms\n")
        elif not first:
            log.info("ready again")

    # The end.

    async def _wind_down(self, hop: Hop) -> None:
        self._control.tell("stopping")
        patience = GRACE / 2 if self._orphaned else None
        with contextlib.suppress(TimeoutError):
            async with self._clock.timeout(patience):
                await hop.drain()

    def _master_gone(self) -> None:
        """Stop, within GRACE: whoever started this process is not there to wait for it."""
        if self._stop.is_set():
            return
        self._orphaned = True
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, GRACE)
        log.warning("the master is gone: stopping")
        self._end()

    def _handle_signals(self, hop: Hop, tasks: Tasks) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._optional, hop, "reload", tasks)
        loop.add_signal_handler(signal.SIGUSR1, self._optional, hop, "reopen_logs", tasks)

    def _asked_to_stop(self, number: int) -> None:
        if self._stop.is_set():
            os._exit(128 + number)
        self._end()

    def _end(self) -> None:
        self._stop.set()
        if self._starting is not None:
            self._starting.cancel()

    def _optional(self, hop: Hop, what: str, tasks: Tasks) -> None:
        """A signal that a hop answers if it has something to answer with."""
        method: Any = getattr(hop, what, None)
        if method is None:
            log.info("nothing to %s", what.replace("_", " "))
            return
        try:
            answer = method()
        except Exception as error:
            log.error("could not %s: %s", what.replace("_", " "), error)
            return
        if asyncio.iscoroutine(answer):
            tasks.spawn(_reported(answer, what), name=what)


async def _reported(answer: Coroutine[Any, Any, Any], what: str) -> None:
    try:
        await answer
    except Exception as error:
        log.error("could not %s: %s", what, error)


def die_with_parent() -> None:
    """Linux: when the parent ends, however it ends, the kernel kills this process: nothing is left behind.

    At once and not with TERM: a loop that is stuck would not hear it. Elsewhere the control channel's end of file does.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def age() -> float:
    """Seconds since this process began, imports and all; to 10 ms."""
    try:
        started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
        return max(0.0, float(Path("/proc/uptime").read_text().split()[0]) - started)
    except (OSError, ValueError, IndexError):
        return 0.0
