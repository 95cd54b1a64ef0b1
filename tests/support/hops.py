"""One hop in the loop of a test, built as its process builds it, on a port of its own."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from stack.clock import SystemClock
from stack.hop import registry
from stack.hop.hop import Bound
from stack.net import Net
from stack.telemetry.metrics import Metrics
from tests.support.wire import listener


@contextlib.asynccontextmanager
async def hop(kind: str, home: Path, *, scheme: str = "http", **options: Any) -> AsyncIterator[int]:
    """Its port. `options` are fields of the kind's Config."""
    clock = SystemClock()
    net = Net(clock, random.Random(1))
    parts = registry.load(kind)
    config = parts.config(access_log="off", **options)  # type: ignore[call-arg]
    built: Any = parts.build(config, clock=clock, random=net.random, net=net, metrics=Metrics(), state_dir=home)
    sock = listener()
    await built.start([Bound(scheme, sock)])
    try:
        yield int(sock.getsockname()[1])
    finally:
        await built.stop()
        await net.close()
