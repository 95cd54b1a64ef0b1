"""Server-sent events: each arrives through all hops, TLS and compression while the next is not even sent."""

from __future__ import annotations

import asyncio
import re
import statistics
import time
from collections.abc import Callable

import pytest

from tests.path.test_proxy_streaming import unbr, ungzip, unzstd
from tests.support.site import EDGE, Site

pytestmark = pytest.mark.needs("curl")

MEDIAN = 0.05
"""Seconds that half of the events may take at most."""
WORST = 1.0
"""A machine that does other things now and then does them between an event and its arrival."""


@pytest.fixture
def running(sockets: Site) -> Site:
    return sockets


def as_it_is() -> Callable[[bytes], bytes]:
    return lambda data: data


@pytest.mark.parametrize(
    ("version", "coding", "decoder"),
    [
        ("--http1.1", "zstd", unzstd),
        ("--http1.1", "gzip", ungzip),
        ("--http2", "br", unbr),
        ("--http2", "gzip", ungzip),
        ("--http2", "identity", as_it_is),
    ],
)
async def test_each_event_arrives_within_50_ms(
    running: Site, version: str, coding: str, decoder: Callable[[], Callable[[bytes], bytes]]
) -> None:
    stack = running.stack
    client = await asyncio.create_subprocess_exec(
        "curl", "-sS", "--no-buffer", version, "--max-time", "30", "--cacert", str(stack.ca),
        "--resolve", f"site.test:{stack.https}:{EDGE}", "--header", f"accept-encoding: {coding}",
        stack.url("/events?count=16&every=0.1"),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert client.stdout is not None
    decode = decoder()
    text, took = "", []
    async with asyncio.timeout(30):
        while data := await client.stdout.read(4096):
            now = time.time()
            text += decode(data).decode()
            sent = re.findall(r"data: ([0-9.]+)\n\n", text)
            took += [now - float(each) for each in sent[len(took) :]]
        assert await client.wait() == 0
    assert len(took) == 16
    assert statistics.median(took) < MEDIAN
    assert max(took) < WORST
