"""docs/observability.md: its example runs, and its table names every key of the log."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from random import Random

from stack.clock import SystemClock, VirtualClock
from stack.http.message import Peer, Request, TlsInfo
from stack.telemetry.access_log import AccessLog
from stack.telemetry.exchange import Exchange
from stack.telemetry.exporter import LAST, QUEUE
from stack.telemetry.otlp import Finished, Spans

DOC = (Path(__file__).parents[1] / "docs" / "observability.md").read_text()


def exchange() -> Exchange:
    clock = VirtualClock()
    peer = Peer("127.0.0.1", 1, tls=TlsInfo("TLSv1.3", "", "", ""))
    one = Exchange("edge-fra", clock.now, Request(b"GET", b"/x?q=1", [], authority=b"shop.test", peer=peer))
    one.trace_id, one.span_id, one.request_id, one.sampled = b"a" * 32, b"b" * 16, b"r-1", True
    one.upstream, one.attempts, one.proxy_status, one.detail = "lb-a", 1, "connection_refused", "x"
    one.faults, one.termination, one.status = ("slow",), "injected", 200
    one.mark("lookup", "uri-miss")
    return one


def test_every_key_of_the_log_is_in_the_table() -> None:
    table = DOC.partition("## Access log")[2].partition("## Metrics")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    documented = [key for row in rows for key in re.findall(r"`(\w+)`", row)]
    logged = json.loads(AccessLog("off", hop="edge-fra", clock=VirtualClock()).line(exchange()))
    tunnel = exchange()
    assert tunnel.request is not None
    tunnel.request.upgrade, tunnel.status = b"websocket", 101
    logged |= json.loads(AccessLog("off", hop="edge-fra", clock=VirtualClock()).line(tunnel))
    assert set(documented) == set(logged)
    assert len(documented) == len(set(documented))


def test_the_example_prints_spans(tmp_path: Path) -> None:
    [code] = re.findall(r"```python\n(.*?)```", DOC, re.DOTALL)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert "4318" in code
    file = tmp_path / "spans.py"
    file.write_text(code.replace("4318", str(port)))
    process = subprocess.Popen([sys.executable, "-u", str(file)], stdout=subprocess.PIPE, text=True)
    try:
        spans = Spans("edge-fra", kind="cdn_edge", instance="edge-fra", version="1", random=Random(1))
        message = spans.request([Finished(exchange(), 1000.5, SystemClock().time())])
        for _ in range(100):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/traces", message, timeout=10).read()
                break
            except OSError:
                asyncio.run(SystemClock().sleep(0.05))
        assert process.stdout is not None
        printed = [process.stdout.readline().split() for _ in range(2)]
    finally:
        process.kill()
        process.wait()
    assert printed[0] == ["aaaaaaaa", "edge-fra", "500.000", "ms", "GET"]
    assert printed[1][-2:] == ["lookup", "uri-miss"]


def test_the_figures_are_those_of_the_code() -> None:
    assert f"queue of {QUEUE} requests" in DOC
    assert f"at most {LAST:g} s" in DOC
