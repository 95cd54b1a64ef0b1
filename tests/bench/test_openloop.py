"""The open loop: what leaves when, and from when latency counts."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.bench.openloop import run
from tests.bench.rounds import percentile

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@contextlib.contextmanager
def server(answer: bytes, *, stall: float = 0.0) -> Iterator[str]:
    """Answers on each connection, the first request of all only after `stall` seconds."""
    stalled = threading.Event()
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def serve(sock: socket.socket) -> None:
            with contextlib.closing(sock), contextlib.suppress(OSError):
                while sock.recv(4096):
                    if stall and not stalled.is_set():
                        stalled.set()
                        time.sleep(stall)
                    sock.sendall(answer)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/page"


def test_every_request_is_sent_and_timed() -> None:
    with server(ANSWER) as url:
        found = run(url, rate=200, seconds=0.5, connections=4)
    assert (found["sent"], found["faults"]) == (100, 0)
    assert isinstance(found["latencies"], list)
    assert len(found["latencies"]) == 100


def test_a_request_that_waits_for_a_connection_has_waited() -> None:
    """One connection whose first answer takes 0.3 s: all that were due meanwhile were late, and say so."""
    with server(ANSWER, stall=0.3) as url:
        found = run(url, rate=100, seconds=0.5, connections=1)
    latencies = found["latencies"]
    assert isinstance(latencies, list)
    assert (found["faults"], len(latencies)) == (0, 50)
    assert percentile(latencies, 0.5) > 20_000
    assert sum(one > 50_000 for one in latencies) >= 20


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
    ids=["status", "no-length"],
)
def test_what_is_no_answer_is_counted(answer: bytes) -> None:
    with server(answer) as url:
        found = run(url, rate=100, seconds=0.1, connections=2)
    assert found["faults"] == 10
