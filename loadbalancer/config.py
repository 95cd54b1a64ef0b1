"""What a load balancer is configured with, and how backends and checks are written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from msgspec import Meta

from stack.config.base import Count, HttpOptions, PoolLimits, Seconds, UpstreamTimeouts
from stack.errors import ConfigError

MAX_WEIGHT: Final = 100
_PORTS: Final = {"http": 80, "https": 443, "h2c": 80}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_WRITTEN: Final = "wanted [NAME=]http://HOST:PORT, https or h2c, such as proxy-1=https://127.0.0.1:9441"


class Config(HttpOptions, frozen=True, kw_only=True):
    """An L7 load balancer."""

    backend: Annotated[
        tuple[str, ...],
        Meta(
            description=(
                "Backend, as [NAME=]http://HOST:PORT, https or h2c (HTTP/2 in the clear). Its name stands in logs and "
                "metrics, and is HOST:PORT unless given. Repeats."
            )
        ),
    ] = ()
    weight: Annotated[
        tuple[str, ...],
        Meta(
            description=(
                "A backend's share of requests, as NAME=N from 0 to 100; 1 unless given, 0 for no new requests. "
                "Repeats."
            )
        ),
    ] = ()
    balance: Annotated[
        Literal["round-robin", "least-connections"],
        Meta(
            description=(
                "How a backend is chosen: each in turn by weight, or the one with the fewest requests in flight for "
                "its weight."
            )
        ),
    ] = "round-robin"
    check: Annotated[
        str,
        Meta(
            description=(
                "Health check of backends: none, tcp (it accepts, and speaks TLS if https), or http:/PATH (it answers "
                "2xx or 3xx)."
            )
        ),
    ] = "tcp"
    check_host: Annotated[str, Meta(description="Host of http checks. Empty: the backend's host and port.")] = ""
    check_interval: Annotated[Seconds, Meta(description="Between two checks of a backend.")] = 2.0
    check_fast: Annotated[
        Seconds,
        Meta(
            description=(
                "Between two checks while a backend is starting or in doubt, so that it leaves and returns soon."
            )
        ),
    ] = 0.25
    check_timeout: Annotated[Seconds, Meta(description="A check that takes longer has failed.")] = 1.0
    check_rise: Annotated[
        int, Meta(ge=1, description="Checks passed in a row that bring a backend back; the first check alone decides.")
    ] = 2
    check_fall: Annotated[int, Meta(ge=1, description="Checks failed in a row that take a backend out.")] = 3
    passive_fall: Annotated[
        int,
        Meta(
            ge=1,
            description=(
                "Requests in a row that fail on their way to or from a backend and take it out. A refused connection "
                "or failed TLS does so at once."
            ),
        ),
    ] = 3
    passive_hold: Annotated[
        Seconds,
        Meta(
            description="With --check none: how long a backend that was taken out stays out before it is tried again."
        ),
    ] = 10.0
    retries: Annotated[
        Count,
        Meta(
            description=(
                "Further attempts of one request, each on another backend: after a failed connection; of safe methods "
                "also after an answer 502, 503 or 504."
            )
        ),
    ] = 2
    panic: Annotated[
        bool, Meta(description="When every backend is down, try them nevertheless instead of answering 503 at once.")
    ] = True
    backend_ca: Annotated[
        str,
        Meta(
            description=(
                "Authority (PEM) that https backends are verified against. Empty: the local CA of the state "
                "directory; system: the system's authorities."
            )
        ),
    ] = ""
    backend_protocol: Annotated[
        Literal["h1", "h2", "auto"],
        Meta(
            description="Protocol offered to https backends by ALPN. HTTP/1.1 costs a quarter of HTTP/2 between hops."
        ),
    ] = "h1"
    source: Annotated[str, Meta(description="Local IP address to connect to backends from. Empty: any.")] = ""
    backend_pool: PoolLimits = PoolLimits()
    backend_timeouts: UpstreamTimeouts = UpstreamTimeouts()


@dataclass(frozen=True, slots=True)
class BackendSpec:
    name: str
    scheme: Literal["http", "https", "h2c"]
    host: str
    port: int
    weight: int = 1

    @property
    def authority(self) -> str:
        """`host:port`, with brackets around IPv6 (RFC 3986 §3.2.2)."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def address(self) -> str:
        return f"{self.scheme}://{self.authority}"


@dataclass(frozen=True, slots=True)
class CheckSpec:
    kind: Literal["none", "tcp", "http"]
    path: str = ""


def parse_backends(specs: Iterable[str], weights: Sequence[str] = ()) -> tuple[BackendSpec, ...]:
    """ConfigError for one that is not well-formed, for a name given twice, and when there is none."""
    found: dict[str, BackendSpec] = {}
    for text in specs:
        spec = _backend(text)
        if spec.name in found:
            raise ConfigError(f"--backend {text}: there is another backend {spec.name}; give each a name of its own")
        found[spec.name] = spec
    if not found:
        raise ConfigError(f"a load balancer needs a --backend; {_WRITTEN}")
    for text in weights:
        name, mark, number = text.rpartition("=")
        if not mark or not (number.isascii() and number.isdigit()) or int(number[:4]) > MAX_WEIGHT:
            raise ConfigError(f"--weight {text}: wanted NAME=N with N from 0 to {MAX_WEIGHT}")
        if name not in found:
            raise ConfigError(f"--weight {text}: no backend is called {name!r}; there is {', '.join(found)}")
        known = found[name]
        found[name] = BackendSpec(known.name, known.scheme, known.host, known.port, int(number))
    if not any(spec.weight for spec in found.values()):
        raise ConfigError("--weight: every backend has weight 0, so none would get a request")
    return tuple(found.values())


def _backend(text: str) -> BackendSpec:
    name, mark, url = text.partition("=")
    if not mark or "://" in name:
        name, url = "", text
    try:
        parts = urlsplit(url.strip())
        scheme, host, port = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"--backend {text}: {error}; {_WRITTEN}") from None
    if scheme not in _PORTS or not host:
        raise ConfigError(f"--backend {text}: {_WRITTEN}")
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
        raise ConfigError(f"--backend {text}: only scheme, host and port; paths pass through as they are")
    spec = BackendSpec(name, scheme, host, port if port is not None else _PORTS[scheme])  # type: ignore[arg-type]
    if not name:
        name = spec.authority
    elif not _NAME.fullmatch(name):
        raise ConfigError(f"--backend {text}: a name is letters, digits, dot, dash, underscore; {name!r} is not")
    return BackendSpec(name, spec.scheme, spec.host, spec.port)


def parse_check(text: str) -> CheckSpec:
    """`none`, `tcp` or `http:/path`."""
    if text == "none":
        return CheckSpec("none")
    if text == "tcp":
        return CheckSpec("tcp")
    kind, _, path = text.partition(":")
    if kind == "http" and path.startswith("/") and path.isascii() and not re.search(r"[\s#\x00-\x1f\x7f]", path):
        return CheckSpec("http", path)
    raise ConfigError(f"--check {text}: wanted none, tcp or http:/PATH, such as http:/health")
