"""What a load balancer is configured with, and how backends and checks are written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from msgspec import Meta

from stack.config.base import Count, HttpOptions, PoolLimits, Seconds, UpstreamTimeouts
from stack.config.upstream import UpstreamSpec, parse_upstream
from stack.errors import ConfigError
from stack.http.statuses import PATTERN, WANTED

MAX_WEIGHT: Final = 100
_EXAMPLE: Final = "proxy-1=https://127.0.0.1:9441"


class BackendTimeouts(UpstreamTimeouts, frozen=True, kw_only=True):
    """A time-out for every phase of the next hop's side. A backend's own 504 comes before this hop's."""

    head: Annotated[Seconds, Meta(description="End of the request to end of the response's head; answered 504.")] = 65.0
    total: Annotated[
        Seconds,
        Meta(
            description="All attempts of one request, to a response's head: no further one is begun after it, and one "
            "that waits then is answered 504."
        ),
    ] = 90.0


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
                "Health check of backends: none, tcp (it accepts, and speaks TLS if https), or http:/PATH (its answer "
                "has a status of --check-status)."
            )
        ),
    ] = "tcp"
    check_status: Annotated[
        tuple[Annotated[str, Meta(pattern=PATTERN, extra={"wanted": WANTED})], ...],
        Meta(description="Statuses with which an http check is passed, as 200-399 or 204. Repeats."),
    ] = ("200-399",)
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
    backend_cert: Annotated[
        str, Meta(description="Certificate (PEM) shown to https backends that ask for a client's. Empty: none.")
    ] = ""
    backend_key: Annotated[str, Meta(description="Private key (PEM) of --backend-cert.")] = ""
    backend_server_name: Annotated[
        str, Meta(description="Name that all https backends are asked and verified for. Empty: each one's own host.")
    ] = ""
    backend_protocol: Annotated[
        Literal["h1", "h2", "auto"],
        Meta(description="Protocol offered to https backends by ALPN. HTTP/1.1 costs a third of HTTP/2 between hops."),
    ] = "h1"
    source: Annotated[str, Meta(description="Local IP address to connect to backends from. Empty: any.")] = ""
    backend_pool: PoolLimits = PoolLimits()
    backend_timeouts: BackendTimeouts = BackendTimeouts()


@dataclass(frozen=True, slots=True)
class BackendSpec(UpstreamSpec):
    weight: int = 1


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
        raise ConfigError(f"a load balancer needs a --backend [NAME=]http://HOST:PORT, such as {_EXAMPLE}")
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
    given = parse_upstream(text, option="--backend", example=_EXAMPLE)
    return BackendSpec(given.name or given.authority, given.scheme, given.host, given.port)


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
