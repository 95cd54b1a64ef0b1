"""The admin endpoint of one process: what it is, how it does, and what may be changed. Loopback only.

Whatever runs on this machine may ask, a web page in its browser may not: Host must be a loopback name (DNS rebinding),
and a change with an Origin must come from this very endpoint.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Any, Final

from stack.clock import Clock
from stack.config.base import Limits, Timeouts
from stack.config.listen import address
from stack.errors import ClientError, ConfigError, HopError
from stack.faults.registry import Faults
from stack.hop.answers import SAVED, as_json, text
from stack.hop.certificates import Certificates
from stack.hop.fault_pages import fault_pages
from stack.hop.hop import AdminHandler, Hop
from stack.http import problem
from stack.http.message import Field, Request, Response
from stack.http.trust import Trust
from stack.net.context import Context
from stack.net.server import Server
from stack.net.tasks import Tasks
from stack.telemetry.exchange import Exchange
from stack.telemetry.metrics import Metrics

__all__ = ["Admin", "AdminService", "as_json", "text"]

_READS: Final = (b"GET", b"HEAD")


class Forbidden(ClientError):
    status, proxy_status, title = 403, "", "The admin endpoint does not take this request"


class NoSuchPage(ClientError):
    status, proxy_status, title = 404, "", "The admin endpoint has no such page"


class NotAllowed(ClientError):
    status, proxy_status, title = 405, "", "The method is not for this page"


class AdminService:
    """`Service` over one hop: /-/ready, /-/live, /-/stats, /-/config, /-/faults, /metrics, and the hop's own routes.

    A path that ends with `/*` is for any name in the star's place.
    """

    def __init__(self, hop: Hop, *, metrics: Metrics, config: Callable[[], Mapping[str, Any]]) -> None:
        self._hop = hop
        self._metrics = metrics
        self._config = config
        self.local: tuple[str, int] = ("", 0)
        """The address it is bound to: a Host that names it is right."""
        self._routes: dict[bytes, dict[bytes, AdminHandler]] = {}
        faults = getattr(hop, "faults", None)
        pages = fault_pages(faults) if isinstance(faults, Faults) else {}
        certificates = getattr(hop, "certificates", None)
        pages = {**pages, **(certificates.pages() if isinstance(certificates, Certificates) else {})}
        for (method, path), handler in {**self._own(), **pages, **hop.routes()}.items():
            self._routes.setdefault(path, {})[method] = handler

    def _own(self) -> dict[tuple[bytes, bytes], AdminHandler]:
        return {
            (b"GET", b"/-/ready"): self._ready,
            (b"GET", b"/-/live"): lambda _: text("alive\n"),
            (b"GET", b"/-/stats"): lambda _: as_json(self._hop.stats()),
            (b"GET", b"/-/config"): lambda _: as_json(self._config()),
            (b"GET", b"/metrics"): lambda _: Response(
                200, [*SAVED, (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")],
                self._metrics.text().encode(),
            ),
        }  # fmt: skip

    def handle(self, request: Request, exchange: Exchange) -> Response | Awaitable[Response]:
        try:
            return self._handler(request)(request)
        except (Forbidden, NoSuchPage, NotAllowed) as error:
            fields: list[Field] = []
            if isinstance(error, NotAllowed):
                fields = [(b"allow", self._allowed(request.path))]  # RFC 9110 §15.5.6: MUST say which are
            accept = request.get(b"accept")
            return problem.response(
                error, hop=self._hop.name, accept=accept, request_id=exchange.request_id, fields=fields
            )

    async def page(self, method: str, target: str, content: str) -> tuple[int, str]:
        """What a worker answers its master, who has judged who asks: status and content, as latin-1."""
        request = Request(
            method.encode(), target.encode("latin-1"), [], authority=b"localhost", body=content.encode("latin-1")
        )
        try:
            answer = self._handler(request)(request)
            response = answer if isinstance(answer, Response) else await answer
        except HopError as error:
            response = problem.response(error, hop=self._hop.name, accept=b"application/json", request_id=b"")
        assert isinstance(response.body, bytes)
        return response.status, response.body.decode("latin-1")

    def _handler(self, request: Request) -> AdminHandler:
        if not self._is_local(request.authority):
            raise Forbidden("Host must be the loopback address that this endpoint is bound to.")
        path = request.path
        methods = self._routes.get(path) or self._routes.get(path[: path.rfind(b"/")] + b"/*")
        if methods is None:
            raise NoSuchPage(f"Pages: {', '.join(sorted(path.decode() for path in self._routes))}")
        method = b"GET" if request.method == b"HEAD" else request.method
        handler = methods.get(method)
        if handler is None:
            raise NotAllowed
        if request.method not in _READS:
            origin = request.get(b"origin")
            if origin is not None and origin != b"%b://%b" % (request.scheme, request.authority):
                raise Forbidden("A page of another origin may not change this process.")
            if request.get(b"sec-fetch-site") not in (None, b"same-origin", b"none"):
                raise Forbidden("A page of another origin may not change this process.")
        return handler

    def _allowed(self, path: bytes) -> bytes:
        methods = set(self._routes.get(path) or self._routes[path[: path.rfind(b"/")] + b"/*"])
        return b", ".join(sorted(methods | {b"HEAD"} if b"GET" in methods else methods))

    def _is_local(self, authority: bytes) -> bool:
        host, _, port = authority.decode("latin-1").rpartition(":")
        if not port.isdigit():
            host = authority.decode("latin-1")
        host = host.strip("[]").lower()
        if host in ("localhost", self.local[0]) or host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            # HTTP/1.0 without Host: no browser sends that
            return not authority

    def _ready(self, _: Request) -> Response:
        readiness = self._hop.readiness()
        return text("ready\n") if readiness.ready else text(f"not ready: {readiness.reason}\n", status=503)


class Admin:
    """The service on its own listener and the project's own engine."""

    def __init__(self, service: AdminService, name: str, *, clock: Clock, random: Random, tasks: Tasks) -> None:
        self._service = service
        self._server = Server(
            Context(
                service, name=name, clock=clock, random=random, tasks=tasks,
                limits=Limits(connections=64), timeouts=Timeouts(drain=1.0), trust=Trust(()),
            )
        )  # fmt: skip

    async def start(self, bound: socket.socket) -> str:
        """Its URL. ConfigError off loopback: who reaches it may change the process."""
        host, port = bound.getsockname()[:2]
        if not ipaddress.ip_address(host).is_loopback:
            raise ConfigError(f"--admin {address(host, port)}: the admin endpoint is for loopback only, as 127.0.0.1:0")
        self._service.local = (host, port)
        await self._server.listen(bound)
        return f"http://{address(host, port)}"

    async def stop(self) -> None:
        await self._server.close()
