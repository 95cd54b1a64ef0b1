"""A hop's client of an OpenTelemetry collector: OTLP over HTTP (opentelemetry-proto, OTLP 1.x §OTLP/HTTP)."""

from __future__ import annotations

from random import Random
from typing import Any, Final

import msgspec

from stack.clock import Clock
from stack.config.base import HttpOptions, PoolLimits, UpstreamTimeouts
from stack.config.collector import parse_collector
from stack.errors import HopError
from stack.http.message import Request, Response
from stack.net import Net
from stack.net.pool import Upstream
from stack.net.tls import client_context
from stack.telemetry.exchange import Exchange
from stack.telemetry.exporter import PAUSE, Exporter, NotTaken
from stack.telemetry.metrics import Metrics
from stack.telemetry.otlp import Sampler, Spans

_GRPC: Final = 4317
_AGAIN: Final = frozenset({429, 502, 503, 504})
_WITHIN: Final = 5.0
"""Seconds for each phase of one message."""
_LONGEST_PAUSE: Final = 5.0
_ANSWER: Final = 64 * 1024


class _Partial(msgspec.Struct, rename="camel"):
    rejected_spans: int | str = 0
    error_message: str = ""


class _Answer(msgspec.Struct, rename="camel"):
    """ExportTraceServiceResponse."""

    partial_success: _Partial | None = None


class Collector:
    """Sends messages over connections of its own; they count in no hop's pool."""

    def __init__(self, url: str, *, hop: str, net: Net) -> None:
        spec, path = parse_collector(url)
        self.name = f"{spec.address}{path}"
        self._hop, self._now = hop, net.clock.now
        self._hint = f" ({_GRPC} is usually OTLP over gRPC; over HTTP it is 4318)" if spec.port == _GRPC else ""
        self._target, self._spec = path.encode("ascii"), spec
        upstream = Upstream(
            "collector",
            spec.host,
            spec.port,
            tls=client_context(None) if spec.scheme == "https" else None,
            protocol="h1",
        )
        self._fields = [
            (b"content-type", b"application/json"),
            (b"user-agent", b"hopstack/%b" % version().encode("ascii")),
        ]
        self._pool = net.pool(
            upstream,
            limits=PoolLimits(connections=1, idle=1, waiting=2),
            timeouts=UpstreamTimeouts(connect=_WITHIN, send=_WITHIN, head=_WITHIN, body=_WITHIN, acquire=_WITHIN),
            linked=False,
        )

    async def __call__(self, message: bytes) -> int:
        request = Request(
            b"POST",
            self._target,
            self._fields,
            authority=self._spec.authority.encode("ascii"),
            scheme=self._spec.scheme.encode("ascii"),
            body=message,
        )
        try:
            response = await self._pool.send(request, Exchange(self._hop, self._now, request))
            content = await _content(response)
        except HopError as error:
            reason = error.private or error.detail or type(error).__name__
            raise NotTaken(f"{reason}{self._hint}", again=True) from None
        if 200 <= response.status < 300:
            return _refused(content)
        reason = f"it answers {response.status}{self._hint}"
        raise NotTaken(reason, again=response.status in _AGAIN, after=_pause(response))


def exporter(
    config: HttpOptions, *, name: str, kind: str, clock: Clock, random: Random, net: Net, metrics: Metrics
) -> Exporter:
    """For a hop with `otlp`. `name` is the hop's, or a worker's as app-1/0."""
    hop = name.partition("/")[0]
    collector = Collector(config.otlp, hop=hop, net=net)
    return Exporter(
        Spans(hop, kind=kind, instance=name, version=version(), random=random),
        collector,
        hop=name,
        collector=collector.name,
        clock=clock,
        metrics=metrics,
        skip=[path for path in config.access_log_skip if path != "none"],
    )


def version() -> str:
    from importlib import metadata  # 10 ms: not for hops that export nothing

    try:
        return metadata.version("hopstack")
    except metadata.PackageNotFoundError:
        return "0"


def sampler(config: HttpOptions) -> Sampler:
    return Sampler(config.otlp_sample)


async def _content(response: Response) -> bytes:
    if isinstance(response.body, bytes):
        return response.body
    content = b""
    async for piece in response.body:
        content += piece
        if len(content) > _ANSWER:
            await response.body.aclose()
            break
    return content


def _refused(content: bytes) -> int:
    """Of a partial success (OTLP §Partial Success). Whatever else a collector answers is taken for full success."""
    try:
        partial = msgspec.json.decode(content, type=_Answer).partial_success
        return max(0, int(partial.rejected_spans)) if partial is not None else 0
    except (msgspec.MsgspecError, ValueError):
        return 0


def _pause(response: Response) -> float:
    """Retry-After in seconds, where the collector says so (OTLP §OTLP/HTTP Throttling)."""
    value: Any = response.get(b"retry-after") or b""
    return min(float(value), _LONGEST_PAUSE) if value.isdigit() else PAUSE
