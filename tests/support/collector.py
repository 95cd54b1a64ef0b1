"""A stub of an OpenTelemetry collector: what it received, read by the official protobuf messages."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

IDS = ("traceId", "spanId", "parentSpanId")
"""Hexadecimal in OTLP's JSON, where protobuf's own JSON has base64."""


def parsed(message: bytes) -> Any:
    """As ExportTraceServiceRequest. Fails on a field or a type that the protocol does not know."""
    return json_format.ParseDict(_as_protobuf(json.loads(message)), ExportTraceServiceRequest())


def _as_protobuf(value: Any) -> Any:
    if isinstance(value, list):
        return [_as_protobuf(item) for item in value]
    if isinstance(value, dict):
        return {
            key: base64.b64encode(bytes.fromhex(item)).decode() if key in IDS else _as_protobuf(item)
            for key, item in value.items()
        }
    return value


def attributes(holder: Any) -> dict[str, str | int]:
    """Of a span or a resource, as plain values."""
    found = {}
    for item in holder.attributes:
        kind = item.value.WhichOneof("value")
        assert kind in ("string_value", "int_value"), item
        assert item.key not in found, f"{item.key} twice"
        found[item.key] = getattr(item.value, kind)
    return found


@dataclass
class Collector:
    url: str = ""
    messages: list[bytes] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    answers: list[web.Response] = field(default_factory=list)
    """Given in turn; then 200."""
    open: asyncio.Event = field(default_factory=asyncio.Event)
    """Cleared, it answers nobody."""

    @property
    def spans(self) -> list[tuple[str, Any]]:
        """(service.name, span) of all that was received."""
        return [
            (str(attributes(group.resource)["service.name"]), span)
            for message in self.messages
            for group in parsed(message).resource_spans
            for scoped in group.scope_spans
            for span in scoped.spans
        ]

    @property
    def instances(self) -> set[str]:
        """service.instance.id of all that sent."""
        return {
            str(attributes(group.resource)["service.instance.id"])
            for message in self.messages
            for group in parsed(message).resource_spans
        }

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.paths.append(request.path)
        self.heads.append({name.lower(): value for name, value in request.headers.items()})
        await self.open.wait()
        answer = self.answers.pop(0) if self.answers else web.json_response({})
        if answer.status < 300:
            self.messages.append(body)
        return answer


@contextlib.asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    collector = Collector()
    collector.open.set()
    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/{path:.*}", collector._take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield collector
    finally:
        collector.open.set()
        await runner.cleanup()
