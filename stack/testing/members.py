"""The hops of a stack in one loop: each built from its record, with a network and metrics of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from stack.config import flags
from stack.config.base import HopOptions, HttpOptions
from stack.faults.net import FaultyNet
from stack.hop import registry
from stack.hop.hop import Hop, Readiness
from stack.http.message import Request, Response
from stack.plan.model import HopPlan, StackPlan
from stack.telemetry.metrics import Metrics
from stack.testing import apps
from stack.testing.certificates import Authority
from stack.testing.clock import StackClock
from stack.testing.dates import OnTime
from stack.testing.faults import Known
from stack.testing.journal import Logs
from stack.testing.sockets import Sockets


class Member:
    """One hop. `kill` is what SIGKILL is to a process; `start` brings it back, with nothing of its memory."""

    def __init__(
        self,
        plan: HopPlan,
        *,
        app: apps.Given,
        clock: StackClock,
        random: Random,
        state_dir: Path,
        authority: Authority,
        sockets: Sockets,
        logs: Logs,
    ) -> None:
        self.name, self.kind = plan.name, plan.kind
        self._plan, self._app = plan, app
        self._clock, self._random, self._state_dir = clock, random, state_dir
        self._sockets, self._logs = sockets, logs
        self._authority = authority
        self.config = self._configured(plan.config)
        self.hop: Hop | None = None
        self.net: FaultyNet | None = None
        self.metrics = Metrics()

    @property
    def running(self) -> bool:
        return self.hop is not None

    async def start(self) -> None:
        """On its own addresses. ConfigError for options that do not fit."""
        if self.hop is not None:
            return
        network = OnTime if self.kind == "proxy" else FaultyNet
        net = network(self._clock, self._random, Known(self._clock))
        skip = self.config.access_log_skip if isinstance(self.config, HttpOptions) else ()
        net.observers.append(self._logs.observer(self.name, self._clock, skip))
        self.net, self.metrics = net, Metrics()
        parts: dict[str, Any] = {
            "clock": self._clock, "random": self._random, "net": net, "metrics": self.metrics,
            "state_dir": self._state_dir,
        }  # fmt: skip
        if any(one.socket.fileno() < 0 for one in self._sockets.by_name[self.name]):
            self._sockets.rebind(self.name)
        try:
            if self.kind == "appserver" and self._app.target is not None:
                hop = apps.hop(self._app, self.config, **parts)
            else:
                hop = registry.load(self.kind).build(self.config, **parts)
            if self.kind == "dns_server":
                # the log of questions has a form of its own
                hop.query_log.lines = self._logs.line_log(self.name)  # type: ignore[attr-defined]
            self.hop = hop
            await hop.start(self._sockets.by_name[self.name])
        except BaseException:
            await self.kill()
            raise

    async def kill(self) -> None:
        """At once: its connections are reset, its listeners refuse."""
        hop, net = self.hop, self.net
        self.hop = self.net = None
        try:
            if hop is not None:
                await hop.stop()
        finally:
            if net is not None:
                await net.close()
            self._sockets.close([self.name])

    def readiness(self) -> Readiness:
        return self.hop.readiness() if self.hop is not None else Readiness(False, "it does not run")

    @property
    def in_flight(self) -> int:
        """Requests that it is answering."""
        hop: Any = self.hop
        hop = getattr(hop, "_serving", None) or hop  # an app's hop stands behind its loader
        context = getattr(hop, "context", None)
        return int(context.in_flight) if context is not None else 0

    @property
    def unfinished(self) -> bool:
        """Whether its app still does something, answered or not."""
        if self.hop is None or self.kind != "appserver":
            return False
        stats = self.hop.stats()
        return bool(stats.get("app_tasks") or stats.get("threads", {}).get("busy"))

    def has(self, method: bytes, page: str) -> bool:
        """Whether its admin endpoint has that page."""
        return self.hop is not None and (method, page.encode()) in self.hop.routes()

    async def ask(self, method: bytes, path: str, content: bytes = b"") -> Response:
        """What its admin endpoint would answer. LookupError when it has no such page."""
        if self.hop is None:
            raise LookupError(f"{self.name} does not run")
        page = path.partition("?")[0].encode()
        handler = self.hop.routes().get((method, page))
        if handler is None:
            raise LookupError(f"{self.name} has no {method.decode()} {page.decode()}")
        answer = handler(Request(method, path.encode("ascii"), [], authority=b"localhost", body=content))
        return answer if isinstance(answer, Response) else await answer

    def effective(self) -> dict[str, Any]:
        """Every option with its value, secrets hidden."""
        return dict(flags.effective(self.config))

    def _configured(self, config: HopOptions) -> HopOptions:
        changes: dict[str, Any] = {"access_log": "off", "admin": "", "state_dir": str(self._state_dir)}
        if self.kind == "appserver":
            changes["workers"] = 0
        elif self.kind == "cdn_edge":
            changes["workers"] = 1  # all of a WebStack is one process
        if isinstance(config, HttpOptions) and self._plan.tls and not config.cert:
            hosts = [listen.host for listen in self._plan.listen if listen.scheme in ("https", "tls")]
            names = list(dict.fromkeys([*config.server_names, "localhost"]))
            cert, key = self._authority.issue(self.name, names, list(dict.fromkeys(["127.0.0.1", *hosts])))
            changes |= {"cert": (cert,), "key": (key,)}
        return msgspec.structs.replace(config, **changes)


class Members:
    """All of them, in the order of the path."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._by_name = {member.name: member for member in members}

    def __iter__(self) -> Any:
        return iter(self._by_name.values())

    def __getitem__(self, name: str) -> Member:
        if name not in self._by_name:
            raise KeyError(f"no hop is called {name!r}; there is {', '.join(self._by_name)}")
        return self._by_name[name]

    def of(self, kind: str) -> list[Member]:
        return [member for member in self if member.kind == kind]

    async def start(self) -> None:
        """From the inside out: who is asked is there before who asks."""
        for member in reversed(list(self)):
            await member.start()

    async def stop(self) -> None:
        """From the outside in. All of them, whatever one of them raises; the first error is raised then."""
        errors: list[BaseException] = []
        for member in self:
            try:
                await member.kill()
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]


def zone_files(plan: StackPlan, state_dir: Path) -> None:
    """What the plan wants written before the hops start."""
    for hop in plan.hops:
        for name, text in hop.files.items():
            path = state_dir / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
