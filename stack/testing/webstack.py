"""`WebStack`: the whole path in the loop of a test, on free ports and a clock that the test moves."""

from __future__ import annotations

import asyncio
import contextlib
import math
import shutil
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from stack.clock import SystemClock
from stack.config.listen import Listen, address
from stack.errors import ConfigError
from stack.hop import registry
from stack.net.loopback import has_many_addresses
from stack.net.tasks import Tasks
from stack.plan.document import Document
from stack.plan.make import make_plan
from stack.plan.model import StackPlan
from stack.testing import apps, cached, faults
from stack.testing.backends import Backends, samples
from stack.testing.calls import Calls, Late
from stack.testing.certificates import Authority
from stack.testing.client import Client, Target
from stack.testing.clock import Begun, StackClock
from stack.testing.journal import Logs
from stack.testing.lookup import resolving
from stack.testing.members import Member, Members, zone_files
from stack.testing.records import Records
from stack.testing.response import Response
from stack.testing.sections import listens, merged
from stack.testing.sockets import Sockets
from stack.testing.stream import Streaming
from stack.testing.verbs import Verbs
from stack.trace.model import Trace

if TYPE_CHECKING:
    from stack.testing.sync import SyncWebStack

T = TypeVar("T")

NAME: Final = "app.test"
"""The site's name for an app of one's own."""
DEADLINE: Final = 10.0
START: Final = 30.0
"""Seconds of the machine's time until all hops are ready; the app's own start is among it."""
STEP: Final = 0.05
"""Seconds of the stack's time between two looks at whether it is ready."""
WARM: Final = 120.0
"""Seconds of the stack's time that it may take to be ready: a stack in which a check never passes is an error."""
KEPT: Final = 100
"""Responses that are kept for what a failing test prints."""
GRACE: Final = 1.0
"""Seconds of the machine's time that the app's background work has at the end."""
LOOK: Final = 0.005
_NOT_RUNNING: Final = (
    "the stack does not run: use it in `async with WebStack(app) as web:`; that of the fixture webstack runs in async "
    "tests, and in async fixtures that ask for it"
)
_STOPPED: Final = "the stack was stopped; make another WebStack"
_AT_START: Final = frozenset({"name", "kinds", "plan", "logs", "backends", "_members", "_sockets", "_authority"})
"""What a stack has from its start on."""


class WebStack(Verbs):
    """`async with WebStack(app, replicas=3, edges=["fra", "nrt"]) as web: r = await web.get("/x")`.

    `app`: an ASGI or WSGI callable, an aiohttp Application, a factory of one (called for each replica),
    "package.module:attribute", the URL of a server that runs, a list of such, or None for the demo shop.
    `config`: a stack.toml; `sections` are its tables and top-level keys, and win over it: `cache={"size": "1M"}`,
    `balancers={"a": {"retries": 0}}`, `health="/up"`.
    `deadline`: seconds of the machine's time for each call. `time`: Unix time at which the stack's clock begins.
    `seed`: of everything that is drawn by lot.
    """

    def __init__(
        self,
        app: Any = None,
        *,
        replicas: int | None = None,
        edges: Sequence[str] | Mapping[str, Any] | None = None,
        name: str | None = None,
        config: str | Path | None = None,
        deadline: float = DEADLINE,
        time: float | None = None,
        seed: int = 0,
        **sections: Any,
    ) -> None:
        self._app = app
        self._given: dict[str, Any] = {"replicas": replicas, "name": name}
        self._edges = edges
        self._config, self._sections = config, sections
        self._deadline = deadline
        self.clock = StackClock(time=time)
        self._machine = SystemClock()
        self.random = Random(seed)  # noqa: S311 - repeatable, that is the point
        self.tasks = Tasks()
        self.started = False
        self.calls = Calls(self.clock, self.tasks, deadline)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._clients: list[Client] = []
        self.responses: list[Response] = []
        """The last ones, oldest first."""
        self._own: Client | None = None
        self.graceful = True
        """Whether `stop` waits for the app's background work; not when the test has failed."""

    def __repr__(self) -> str:
        state = "runs" if self._loop is not None else "was stopped" if self.started else "does not run"
        return f"<WebStack {vars(self).get('name', 'without a name')}: {state}>"

    def sync(self) -> SyncWebStack:
        """The same for tests that do not await: `with WebStack(app).sync() as web: web.get("/")`."""
        from stack.testing.sync import SyncWebStack

        return SyncWebStack(self)

    # Start and end.

    async def __aenter__(self) -> WebStack:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.graceful = error is None
        await self.stop()

    async def start(self) -> None:
        """Returns when every hop is ready. ConfigError for what cannot be built, with everything released again."""
        if self.started:
            raise RuntimeError("this stack runs already" if self._loop is not None else _STOPPED)
        loop = _asyncio_loop()
        self.started = True
        self.clock.begin()
        self.logs = Logs()
        self._state_dir = Path(tempfile.mkdtemp(prefix="webstack-"))
        self._sockets = Sockets()
        self._members = Members([])
        try:
            async with self._machine.timeout(START):
                await self._start()
            self._loop = loop
        except BaseException as error:
            await self.stop()
            if isinstance(error, TimeoutError):
                raise Late(f"the stack was not ready within {START:g} s: {self._unready()}") from None
            raise

    async def _start(self) -> None:
        app = apps.given(self._app)
        plan = self._planned(app)
        self.plan = plan
        self.name = plan.name
        self.kinds = {hop.name: hop.kind for hop in plan.hops}
        self.logs.expect(self.kinds)
        self._authority = authority = Authority(plan.name)
        authority.lend(self._state_dir)
        zone_files(plan, self._state_dir)
        self._members = Members(
            [
                Member(
                    hop,
                    app=apps.of(hop, app, self.clock),
                    clock=self.clock,
                    random=Random(self.random.random()),  # noqa: S311
                    state_dir=self._state_dir,
                    authority=authority,
                    sockets=self._sockets,
                    logs=self.logs,
                )
                for hop in plan.hops
            ]
        )
        self.calls.members = self._members
        self.backends = Backends(self._members, self._begin)
        self.clock.load = lambda: sum(member.in_flight for member in self._members)
        await self._members.start()
        await self._ready()

    def _planned(self, app: apps.Given) -> StackPlan:
        """Once to know the hops, and once with the addresses that they got."""
        given = {**self._given, **app.keys}
        if given["name"] is None and self._config is None and app.keys:
            given["name"] = NAME
        document = Document({}) if self._config is None else Document.read(self._config)
        values = merged(document.values, self._sections)
        if self._edges is not None:
            known = values.get("edges", {})
            own = self._edges if isinstance(self._edges, Mapping) else {}
            values["edges"] = {edge: merged(known.get(edge, {}), own.get(edge, {})) for edge in self._edges}
        document = Document(values, document.name, document.directory, document.lines)
        many = has_many_addresses()

        def plan(document: Document) -> StackPlan:
            return make_plan(
                document, kinds=registry, state_dir=self._state_dir, environ={}, many_addresses=many, given=given
            )

        first = plan(document)
        self._sockets.bind(first)
        found = listens(first, self._sockets)
        return plan(Document(merged(values, found), document.name, document.directory, document.lines))

    async def _ready(self) -> None:
        """Nothing is asked before every hop can answer: the first checks take some of the stack's time."""
        began = self.clock.now()
        while not all(member.readiness().ready for member in self._members):
            if self.clock.now() - began > WARM:
                raise ConfigError(f"the stack does not become ready: {self._unready()}")
            await self.clock.advance(STEP)
        # on a whole second again: what is fresh for a minute has 60 s left, and not 59
        await self.clock.advance_to(float(math.ceil(self.clock.now() - 1e-6)))

    def _unready(self) -> str:
        states = {member.name: member.readiness() for member in self._members}
        found = [f"{name}: {state.reason}" for name, state in states.items() if not state.ready]
        return "; ".join(found) or "all hops are"

    async def stop(self) -> None:
        """Everything is released: tasks, sockets, files. Late if the app's shutdown does not end.

        Whoever is cancelled meanwhile is so after it: an anyio scope cancels every await in it, again and again.
        """

        async def stopped() -> Exception | None:
            try:
                await self._stop()
            except Exception as error:
                return error
            return None

        stopping = Tasks().spawn(stopped(), name="stop")
        cancelled: asyncio.CancelledError | None = None
        while not stopping.done():
            try:
                await asyncio.wait([stopping])
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled
        if (wrong := stopping.result()) is not None:
            raise wrong

    async def _stop(self) -> None:
        self._loop = None
        hurried: list[bool] = []

        async def hurry() -> None:
            await self._machine.sleep(self._deadline)
            hurried.append(True)
            while True:  # the time-outs of the app's shutdown are the stack's, one hop after the other
                await self.clock.advance_to(self.clock.now() + STEP)

        try:
            for client in self._clients:
                await client.close()
            await self.tasks.close()
            await self.clock.close()
            if self.graceful:
                await self._finished()
            self.tasks.spawn(hurry(), name="hurry")
            await self._members.stop()
        finally:
            await self.tasks.close()
            self._sockets.close()
            shutil.rmtree(self._state_dir, ignore_errors=True)
        if hurried:
            raise Late(f"the stack did not stop within {self._deadline:g} s: the app's shutdown waits for something")

    async def _finished(self) -> None:
        """What the app goes on with after its responses has a moment to end: background tasks, `close()` of WSGI."""
        until = self._machine.now() + GRACE
        while any(member.unfinished for member in self._members) and self._machine.now() < until:
            await self._machine.sleep(LOOK)

    # Requests.

    async def request(self, method: str, url: str = "/", **how: Any) -> Response:
        """As `Client.request`, by a client of the stack's own."""
        return await self._me().request(method, url, **how)

    def stream(self, method: str, url: str = "/", **how: Any) -> Streaming:
        """As `Client.stream`: `async with web.stream("GET", "/events") as r: async for line in r.lines()`."""
        return self._me().stream(method, url, **how)

    def client(self, **how: Any) -> Client:
        """Another user: cookies, memory of names and connections of its own. Takes edge, http, headers, cookies.

        May be made before the stack runs, as by a fixture that is not async.
        """
        client = Client(self, **how)
        self._clients.append(client)
        return client

    # What is ordered.

    def fault(self, on: str, **kinds: Any) -> faults.Ordered:
        """Inject a fault: `web.fault("lb-a>proxy-2", latency=0.2, share=0.5)`. In a `with` it ends with the block."""
        self._running()
        return faults.order(self._members, on, kinds)

    @property
    def dns(self) -> Records:
        """The records of the stack's name servers: `await web.dns.set("api", "A", "192.0.2.1")`."""
        self._running()
        return Records(self._members, self.name, self._clients)

    def clear_faults(self) -> None:
        for member in self._members:
            if member.net is not None:
                member.net.faults.clear()

    async def purge(self, url: str) -> int:
        """Throw away what the edges have stored under a URL or path, all its variants; how many there were."""
        self._running()
        await self.calls.caught_up()
        return await cached.purge(self._members.of("cdn_edge"), url, self._at)

    async def explain(
        self, url: str, *, headers: Mapping[str, str] | None = None, method: str = "GET", edge: str = ""
    ) -> dict[str, Any]:
        """What a request would come to at an edge, and why, as `hopstack explain --json` has it. Changes nothing."""
        self._running()
        await self.calls.caught_up()
        name = self.edge_name(edge).removesuffix(f".{self.name}") if edge else self._first_edge()
        return await cached.explain(self._members[name], url, self._at, method=method, headers=headers or {})

    def _at(self, edge: str, url: str) -> str:
        return url if "://" in url else self.url(url, edge=edge)

    def kill(self, hop: str) -> Begun:
        """Any hop, as `backends[...].kill()`: an edge, a balancer, the resolver."""
        return self._begin(self._members[hop].kill, f"{hop}.kill")

    def revive(self, hop: str) -> Begun:
        """After `kill`."""
        return self._begin(self._members[hop].start, f"{hop}.start")

    # What may be looked at.

    @property
    def trace(self) -> Trace:
        """Of the last response."""
        if not self.responses:
            raise LookupError("nothing was asked yet")
        return self.responses[-1].trace

    def metrics(self, hop: str) -> dict[str, float]:
        """By sample: `hopstack_requests_total{hop="app-1",method="GET",status="2xx"}`."""
        return samples(self._members[hop])

    def stats(self, hop: str) -> dict[str, Any]:
        """What its `/-/stats` has."""
        member = self._members[hop]
        return member.hop.stats() if member.hop is not None else {}

    def config(self, hop: str) -> dict[str, Any]:
        """Every option of a hop with its value, secrets hidden."""
        return self._members[hop].effective()

    # For other clients: requests, httpx, curl.

    def url(self, path: str = "/", *, scheme: str = "https", edge: str | None = None) -> str:
        """`https://app.test:40001/x`. The name is known to the stack's DNS alone."""
        if path and not path.startswith("/"):
            raise ValueError(f"{path!r}: wanted a path, as /products")
        return self._base(scheme, self.edge_name(edge).removesuffix(f".{self.name}") if edge else "") + path

    @property
    def ca_path(self) -> str:
        """The authority (PEM) that the edges' certificates are by."""
        return str(self._authority.path)

    def ssl_context(self) -> ssl.SSLContext:
        """Verifies against the stack's authority."""
        return ssl.create_default_context(cafile=self.ca_path)

    @property
    def dns_address(self) -> tuple[str, int]:
        """Of the resolver, UDP and TCP."""
        place = self._place("resolver", "dns")
        return place.host, place.port

    @property
    def doh_url(self) -> str:
        """DNS over HTTPS (RFC 8484), by the same authority."""
        return f"https://localhost:{self._place('resolver', 'https').port}/dns-query"

    def resolving(self) -> contextlib.AbstractContextManager[None]:
        """`with web.resolving():` requests, httpx, urllib and aiohttp find the stack's names, by its own DNS.

        A blocking one of them must be in another thread than the stack's loop.
        """
        return resolving(self.name, self.dns_address)

    def address(self, hop: str, scheme: str | None = None) -> tuple[str, int]:
        """Where a hop listens: `web.address("edge-fra", "https")`."""
        self._members[hop]
        place = self._place(hop, scheme)
        return place.host, place.port

    # What its client asks.

    def port(self, scheme: str, host: str) -> int:
        """Of a URL without one: that of the edges for the stack's names, else the scheme's own."""
        if host == self.name or host.endswith(f".{self.name}"):
            return self._place(self._first_edge(), scheme).port
        return 443 if scheme == "https" else 80

    def port_of(self, target: Target, host: str) -> int:
        return target.port

    def edge_name(self, edge: str) -> str:
        name = f"edge-{edge.removeprefix('edge-')}"
        if name not in self.kinds:
            known = ", ".join(hop.removeprefix("edge-") for hop in self.kinds if self.kinds[hop] == "cdn_edge")
            raise ValueError(f"edge={edge!r}: there is no such edge; there is {known}")
        return f"{name}.{self.name}"

    def name_of(self, host: str, port: int) -> str:
        for name, places in self._sockets.addresses.items():
            if any((place.host, place.port) == (host, port) for place in places):
                return name
        return address(host, port)

    def answered(self, response: Response) -> None:
        self.responses.append(response)
        del self.responses[:-KEPT]

    # Within.

    def _begin(self, work: Callable[[], Awaitable[Any]], name: str) -> Begun:
        self._running()
        return self.calls.begin(work, name)

    def _me(self) -> Client:
        self._running()
        if self._own is None:
            self._own = self.client()
        return self._own

    def _running(self) -> None:
        """RuntimeError unless it runs, and in this loop: sockets and tasks of another one would never answer."""
        if self._loop is None:
            raise RuntimeError(_NOT_RUNNING if not self.started else _STOPPED)
        if _asyncio_loop() is not self._loop:
            raise RuntimeError(
                "the stack runs in another event loop: let the fixture that starts it and the test have the same one "
                "(pytest-asyncio: the same loop_scope for both)"
            )

    if not TYPE_CHECKING:  # a type checker is not to believe that a stack has every attribute

        def __getattr__(self, name: str) -> Any:
            if name in _AT_START:
                raise RuntimeError(_NOT_RUNNING)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    async def watched(self, call: Callable[[], Awaitable[T]], **how: Any) -> T:
        """A call with its deadline by the machine's clock."""
        self._running()
        return await self.calls.made(call, **how)

    def _first_edge(self) -> str:
        edges = self._members.of("cdn_edge")
        if not edges:
            raise LookupError("this stack has no edge")
        return edges[0].name

    def _base(self, scheme: str, edge: str) -> str:
        return f"{scheme}://{self.name}:{self._place(edge or self._first_edge(), scheme).port}"

    def _place(self, hop: str, scheme: str | None) -> Listen:
        places = self._sockets.addresses.get(hop, ())
        for place in places:
            if scheme in (None, place.scheme):
                return place
        raise LookupError(f"{hop} does not listen for {scheme}; it does for {', '.join(map(str, places)) or 'nothing'}")


def _asyncio_loop() -> asyncio.AbstractEventLoop:
    """RuntimeError outside of one, as under trio."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "WebStack needs a running asyncio loop; with anyio's plugin let a fixture anyio_backend return 'asyncio', "
            "and without any loop take SyncWebStack"
        ) from None
