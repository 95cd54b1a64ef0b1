"""Spans of real processes: one request through the whole stack is one tree at a collector."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

from stack.clock import eventually
from tests.support.collector import attributes, collecting
from tests.support.stack import Stack, free_base

PATH = ("edge-fra", "lb-a", "proxy", "app")


async def test_one_request_is_one_tree_at_a_collector(tmp_path: Path) -> None:
    async with collecting() as collector:
        stack = Stack(tmp_path / "home", free_base())
        stack.env["HOPSTACK_OTLP"] = collector.url
        await asyncio.to_thread(stack.up)
        try:
            await asyncio.to_thread(stack.curl, "/products/shoes?token=abc")

            def servers() -> dict[str, Any]:
                spans = [(hop, span) for hop, span in collector.spans if span.kind == span.SPAN_KIND_SERVER]
                asked = [one for one in spans if attributes(one[1])["url.path"] == "/products/shoes"]
                return {hop.split("-")[0] if hop[0] in "pa" else hop: span for hop, span in asked}

            await eventually(lambda: set(servers()) == set(PATH), within=20)
            found = servers()
        finally:
            await asyncio.to_thread(stack.hopstack, "down")
    chain = [found[hop] for hop in PATH]
    assert len({span.trace_id for span in chain}) == 1
    for before, after in itertools.pairwise(chain):
        assert after.parent_span_id == before.span_id
    steps = {span.name for _, span in collector.spans if span.parent_span_id == chain[-1].span_id}
    assert "db asked" in steps
    workers = [name for name in collector.instances if name.startswith("app-") and name.endswith("/0")]
    assert workers, "a worker is an instance of its service"
    answered = {
        attributes(span).get("http.response.status_code")
        for _, span in collector.spans
        if attributes(span).get("url.path") == "/health"
    }
    assert 200 not in answered, "a check that passes is no request of anybody"
