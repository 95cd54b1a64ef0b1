"""A client of the stack: real sockets, names by the stack's resolver, TLS by its CA, cookies, redirects."""

from __future__ import annotations

import json as json_module
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote, urlencode, urljoin, urlsplit

from stack.clock import SystemClock
from stack.config.base import PoolLimits, UpstreamTimeouts
from stack.config.listen import address
from stack.errors import ConnectRefused, HopError
from stack.http.authorities import host_of
from stack.http.message import Request
from stack.http.message import Response as Got
from stack.net.pool import Pool, Upstream, UpstreamConnection
from stack.net.tls import client_context
from stack.telemetry.exchange import Exchange
from stack.testing.cookies import CookieJar
from stack.testing.fields import Fields
from stack.testing.lookup import Lookup
from stack.testing.response import Response, Timing
from stack.testing.stream import Streamed, Streaming
from stack.testing.verbs import Verbs
from stack.trace.model import Span

if TYPE_CHECKING:
    from stack.testing.webstack import WebStack

R = TypeVar("R", bound=Response)
REDIRECTS: Final = 10
_FOREVER: Final = 3600.0
_PATH: Final = "/%:@!$&'()*+,;=~-._"
_ALPN: Final = {"h2": ("h2", "http/1.1"), "h1": ("http/1.1",)}

Headers = Mapping[str, str] | Iterable[tuple[str, str]]


class NoResponse(ConnectionError):
    """The connection failed before a response came, or within it: then `partial` has what came."""

    partial: Response | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """A URL, taken apart."""

    scheme: str
    host: str
    port: int
    target: str
    authority: str

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


@dataclass(frozen=True, slots=True)
class _Opened:
    """A request that is answered, its content not yet read."""

    method: str
    target: Target
    wire: list[tuple[bytes, bytes]]
    got: Got
    began: float
    first: float
    spans: tuple[Span, ...]
    address: str
    reused: bool


class Client(Verbs):
    """One user agent: its own cookies, its own memory of names, its own connections. Made by `web.client()`.

    `edge`: the edge that it is near to (`fra`); None: the first address that DNS gives. `http`: h2 or h1.
    """

    def __init__(
        self, web: WebStack, *, edge: str | None = None, http: str = "h2", headers: Headers = (), cookies: bool = True
    ) -> None:
        if edge is not None and web.started:
            web.edge_name(edge)
        self.web = web
        self._edge, self._http = edge, http
        _alpn(http)
        self._headers = list(_pairs(headers))
        self._machine = SystemClock()
        self._lookup: Lookup | None = None
        self._pools: dict[tuple[str, int, str, str, str], _TimedPool] = {}
        self._keeps_cookies = cookies
        self.cookies = CookieJar(web.clock, self._machine)

    async def request(
        self,
        method: str,
        url: str = "/",
        *,
        headers: Headers = (),
        params: Mapping[str, Any] | None = None,
        data: bytes | str | Mapping[str, Any] | None = None,
        json: Any = None,
        cookies: Mapping[str, str] | None = None,
        edge: str | None = None,
        http: str | None = None,
        follow: bool = False,
        within: float | None = None,
    ) -> Response:
        """One request over real sockets, and its response as a whole.

        `headers`: `Host` among them is what the request says, whatever the connection goes to.
        `url`: a path of the site or a whole URL. `data`: bytes, text, or a mapping for a form. `edge`: the edge to go
        to, whatever DNS says. `within`: seconds of the machine's time, by default the stack's `deadline`.
        Raises NoResponse, NoSuchHost, and Late at the end of `within`.
        """
        url = _with(url, params)
        fields, body = _content(list(_pairs(headers)), data, json)
        return await self.web.watched(
            lambda: self._follow(
                method.upper(), url, fields, body, cookies or {}, edge or self._edge, http or self._http, follow
            ),
            what=f"{method.upper()} {url}",
            within=within,
        )

    def stream(
        self,
        method: str,
        url: str = "/",
        *,
        headers: Headers = (),
        params: Mapping[str, Any] | None = None,
        data: bytes | str | Mapping[str, Any] | None = None,
        json: Any = None,
        cookies: Mapping[str, str] | None = None,
        edge: str | None = None,
        http: str | None = None,
        within: float | None = None,
    ) -> Streaming:
        """`async with web.stream("GET", "/events") as r: async for piece in r`: the content as it comes.

        Takes what `request` takes; redirects are not followed. `within`: seconds for the head, and for each piece.
        """
        said = f"{method.upper()} {url}"
        fields, body = _content(list(_pairs(headers)), data, json)

        async def opened() -> Streamed:
            target = self._target(_with(url, params), edge or self._edge)
            return await self._streamed(
                method.upper(),
                target,
                fields,
                body,
                cookies or {},
                edge or self._edge,
                http or self._http,
                said,
                within,
            )

        return Streaming(
            lambda: self.web.watched(opened, what=said, within=within, settled=False), self.web.calls.settled
        )

    async def close(self) -> None:
        for pool in self._pools.values():
            await pool.close()
        self._pools.clear()

    # One request.

    async def _follow(
        self,
        method: str,
        url: str,
        fields: list[tuple[str, str]],
        body: bytes,
        cookies: Mapping[str, str],
        edge: str | None,
        http: str,
        follow: bool,
    ) -> Response:
        history: list[Response] = []
        while True:
            target = self._target(url, edge)
            response = await self._once(method, target, fields, body, cookies, edge, http, history)
            location = response.headers.get("location")
            if not follow or location is None or response.status not in (301, 302, 303, 307, 308):
                return response
            if len(history) == REDIRECTS:
                raise NoResponse(f"{method} {url}: more than {REDIRECTS} redirects")
            history.append(response)
            url = urljoin(response.url, location)
            fields = [field for field in fields if field[0] != "host"]
            if response.status == 303 or (response.status in (301, 302) and method == "POST"):
                method, body = ("HEAD" if method == "HEAD" else "GET"), b""
                fields = [field for field in fields if field[0] not in ("content-type", "content-length")]

    async def _once(
        self,
        method: str,
        target: Target,
        fields: list[tuple[str, str]],
        body: bytes,
        cookies: Mapping[str, str],
        edge: str | None,
        http: str,
        history: list[Response],
    ) -> Response:
        opened = await self._opened(method, target, fields, body, cookies, edge, http)
        content, broken = await _read(opened.got.body)
        response = self._response(Response, opened, content, history)
        if broken is not None:
            raise _broken_off(response, broken, len(content))
        return response

    async def _streamed(
        self,
        method: str,
        target: Target,
        fields: list[tuple[str, str]],
        body: bytes,
        cookies: Mapping[str, str],
        edge: str | None,
        http: str,
        said: str,
        within: float | None,
    ) -> Streamed:
        opened = await self._opened(method, target, fields, body, cookies, edge, http)
        response = self._response(Streamed, opened, b"", ())
        response.begin(
            opened.got.body,
            lambda what: self.web.calls.step(f"{said}: {what}", within),
            lambda error, came: _broken_off(response, error, came),
            lambda: self._ms(opened.began),
        )
        return response

    def _response(self, kind: type[R], opened: _Opened, content: bytes, history: Sequence[Response]) -> R:
        """What the test is given."""
        got, target = opened.got, opened.target
        timing = Timing(
            opened.spans, sum(span.total_ms for span in opened.spans), opened.first, self._ms(opened.began),
            opened.address, opened.reused,
        )  # fmt: skip
        response = kind(
            method=opened.method, url=f"{target.scheme}://{target.authority}{target.target}", status=got.status,
            headers=Fields(got.fields), raw=content,
            version="HTTP/2" if got.version == b"2" else f"HTTP/{got.version.decode()}",
            timing=timing, logs=self.web.logs, kinds=self.web.kinds, sent=Fields(opened.wire), history=history,
        )  # fmt: skip
        if self._keeps_cookies:
            for line in response.headers.all("set-cookie"):
                self.cookies.store(line, host=target.host, path=target.path)
        self.web.answered(response)
        return response

    async def _opened(
        self,
        method: str,
        target: Target,
        fields: list[tuple[str, str]],
        body: bytes,
        cookies: Mapping[str, str],
        edge: str | None,
        http: str,
    ) -> _Opened:
        """The head of the response. NoResponse where there is none."""
        began = self._moment()
        addresses, spans = await self._addresses(target, edge)
        given = {name for name, _ in fields}
        own = [field for field in self._headers if field[0] not in given]
        hosts = [value for name, value in (*own, *fields) if name == "host"]
        authority = _latin("host", hosts[-1]) if hosts else target.authority.encode("ascii")
        wire = _wire([*own, *fields], self._cookie(target, cookies))
        url = f"{target.scheme}://{target.authority}{target.target}"
        last_error: HopError | None = None
        for host in addresses:
            pool = self._pool(target, host, http, named=host_of(authority) == target.host)
            request = Request(
                method.encode("ascii"), target.target.encode("ascii"), wire, authority=authority,
                scheme=target.scheme.encode("ascii"), body=body,
            )  # fmt: skip
            opened, asked = pool.statistics().opened, self._ms(began)
            try:
                got = await pool.send(request, Exchange("client", self._machine.now, request))
            except ConnectRefused as error:
                last_error = error  # the name may have another address, as browsers try it
                continue
            except HopError as error:
                raise NoResponse(f"{method} {url}: {_said(error)}") from None
            spans += self._connected(pool, opened, asked)
            return _Opened(
                method, target, wire, got, began, self._ms(began), tuple(spans), address(host, pool.upstream.port),
                pool.statistics().opened == opened,
            )  # fmt: skip
        said = _said(last_error) if last_error is not None else "no address"
        raise NoResponse(f"{method} {url}: {said}")

    # Where to.

    def _target(self, url: str, edge: str | None) -> Target:
        if not urlsplit(url).scheme:
            if not url.startswith("/"):
                raise ValueError(f"{url!r}: wanted a path, as /products, or a whole URL, as {self.web.url('/')}")
            url = self.web.url(url, edge=edge)
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r}: wanted an http or https URL")
        host = parts.hostname.lower()
        port = parts.port or self.web.port(parts.scheme, host)
        path = quote(parts.path or "/", safe=_PATH)
        query = "?" + quote(parts.query, safe=_PATH + "?") if parts.query else ""
        return Target(parts.scheme, host, port, path + query, parts.netloc.rpartition("@")[2].lower())

    def forget_names(self) -> None:
        """As after a flush of the machine's own cache of names."""
        if self._lookup is not None:
            self._lookup.forget()

    async def _addresses(self, target: Target, edge: str | None) -> tuple[list[str], list[Span]]:
        """Addresses by DNS, and the line of the waterfall for it. `edge` is looked up by its own name."""
        if _is_address(target.host):
            return [target.host], []
        if self._lookup is None:  # a client may be made before the stack has addresses
            self._lookup = Lookup(self.web.dns_address, self.web.clock, self.web.random)
        found = await self._lookup.addresses(self.web.edge_name(edge) if edge else target.host)
        if found.cached:
            return list(found.addresses), []
        span = Span(
            "dns", "dns", 0.0, found.ms, found.ms, f"resolver: {', '.join(found.addresses)}", busy=((0.0, found.ms),)
        )
        return list(found.addresses), [span]

    def _pool(self, target: Target, host: str, http: str, *, named: bool) -> _TimedPool:
        """`named`: by the host that is asked for. A test of a poisoned Host comes as an attacker does who is not turned
        away with 421: without a server name, by the address."""
        _alpn(http)
        port = self.web.port_of(target, host)
        server_name = target.host if named else host
        key = (target.scheme, port, host, server_name, http)
        if key not in self._pools:
            https = target.scheme == "https"
            self._pools[key] = _TimedPool(
                Upstream(
                    self.web.name_of(host, port),
                    host,
                    port,
                    tls=client_context(self.web.ca_path, alpn=_ALPN[http]) if https else None,
                    server_name=server_name,
                ),
                limits=PoolLimits(connections=1000, idle=100),
                timeouts=_PATIENT,
                clock=self._machine,
                tasks=self.web.tasks,
            )
        return self._pools[key]

    def _cookie(self, target: Target, cookies: Mapping[str, str]) -> str:
        own = self.cookies.header(host=target.host, path=target.path, secure=target.scheme == "https")
        given = "; ".join(f"{name}={value}" for name, value in cookies.items())
        return "; ".join(filter(None, (own, given)))

    def _connected(self, pool: _TimedPool, opened: int, start: float) -> list[Span]:
        """The line of the waterfall for a new connection; `start` in milliseconds since the call began."""
        if pool.statistics().opened == opened:
            return []
        took = pool.connect_ms
        name = "tls" if pool.upstream.tls is not None else "tcp"
        what = "TCP and TLS handshake" if name == "tls" else "TCP handshake"
        return [Span(name, name, start, took, took, what, busy=((start, took),))]

    def _ms(self, began: float) -> float:
        return (self._moment() - began) * 1000

    def _moment(self) -> float:
        """Seconds of the machine's time and, on top, of the stack's, which passes for injected waits only."""
        return self._machine.now() + self.web.clock.now()


class _TimedPool(Pool):
    """Knows how long its last connection took to open."""

    connect_ms = 0.0

    async def _open_one(self, upstream: Upstream) -> UpstreamConnection:
        began = self._clock.now()
        try:
            return await super()._open_one(upstream)
        finally:
            self.connect_ms = (self._clock.now() - began) * 1000


# The call as a whole has a deadline; no phase of it has one of its own.
_PATIENT: Final = UpstreamTimeouts(
    connect=_FOREVER, send=_FOREVER, head=_FOREVER, body=_FOREVER, idle=_FOREVER, acquire=_FOREVER
)


async def _read(body: Any) -> tuple[bytes, HopError | None]:
    """The content, and what broke it off."""
    if isinstance(body, bytes):
        return body, None
    content = bytearray()
    try:
        async for piece in body:
            content += piece
    except HopError as error:
        return bytes(content), error
    finally:
        await body.aclose()
    return bytes(content), None


def _broken_off(response: Response, error: HopError, came: int) -> NoResponse:
    broken = NoResponse(
        f"{response.method} {response.url}: {response.status}, broken off after {came} bytes: {_said(error)}"
    )
    broken.partial = response
    return broken


def _with(url: str, params: Mapping[str, Any] | None) -> str:
    return url + ("&" if "?" in url else "?") + urlencode(params, doseq=True) if params else url


def _said(error: HopError) -> str:
    return error.private or error.detail or type(error).__name__


def _pairs(headers: Headers) -> Iterable[tuple[str, str]]:
    given = headers.items() if isinstance(headers, Mapping) else headers
    return [(name.lower(), str(value)) for name, value in given]


def _wire(fields: Iterable[tuple[str, str]], cookie: str) -> list[tuple[bytes, bytes]]:
    # Host is not among them: it is the authority, in either version
    wire = [(_latin(name, name), _latin(name, value)) for name, value in fields if name != "host"]
    names = [name for name, _ in wire]
    if b"user-agent" not in names:
        wire.append((b"user-agent", b"webstack"))
    if b"accept" not in names:
        wire.append((b"accept", b"*/*"))
    if cookie:
        wire.append((b"cookie", cookie.encode("latin-1")))
    return wire


def _latin(name: str, text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(f"the header {name} holds {text!r}; it takes Latin-1, so quote what is beyond") from None


def _content(
    fields: list[tuple[str, str]], data: bytes | str | Mapping[str, Any] | None, json: Any
) -> tuple[list[tuple[str, str]], bytes]:
    if json is not None and data is not None:
        raise TypeError("data and json are both given; a request has one content")
    if json is not None:
        kind, body = "application/json", json_module.dumps(json).encode()
    elif isinstance(data, Mapping):
        kind, body = "application/x-www-form-urlencoded", urlencode(data, doseq=True).encode()
    elif data is None or isinstance(data, str | bytes | bytearray | memoryview):
        kind, body = "", data.encode() if isinstance(data, str) else bytes(data or b"")
    else:
        raise TypeError(f"data is a {type(data).__name__}: wanted bytes, text, or a mapping for a form")
    if kind and not any(name == "content-type" for name, _ in fields):
        fields.append(("content-type", kind))
    return fields, body


def _alpn(http: str) -> tuple[str, ...]:
    if http not in _ALPN:
        raise ValueError(f"http={http!r}: wanted h1 or h2")
    return _ALPN[http]


def _is_address(host: str) -> bool:
    return host.replace(".", "").isdigit() or ":" in host
