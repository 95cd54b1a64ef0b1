"""An open loop: requests leave at their times whether answers have come or not.

Latency counts from the time at which a request was due: one that had to wait for a free connection has waited
(no coordinated omission). `python -m tests.bench.openloop URL --rate N --seconds N` prints JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import json
import select
import socket
import sys
import time
from urllib.parse import urlsplit

from tests.bench.rounds import percentile

_PR_SET_TIMERSLACK = 29


class Connection:
    """One request at a time; `due` is when the one in flight should have left."""

    __slots__ = ("_buffer", "due", "sock")

    def __init__(self, host: str, port: int) -> None:
        self.sock = socket.create_connection((host, port), timeout=5)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due = 0.0
        self._buffer = b""

    def fileno(self) -> int:
        return self.sock.fileno()

    def answered(self) -> int | None:
        """The status once the whole response is here; ValueError for what cannot be measured."""
        data = self.sock.recv(256 * 1024)
        if not data:
            raise ValueError("the connection was closed")
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = self._buffer[:end].lower()
        at = head.find(b"\r\ncontent-length:")
        if at < 0:
            raise ValueError("a response without Content-Length")
        if len(self._buffer) < end + 4 + int(head[at + 17 :].split(b"\r\n", 1)[0]):
            return None
        self._buffer = b""
        return int(head[9:12])


def run(url: str, *, rate: float, seconds: float, connections: int) -> dict[str, object]:
    """Latencies in microseconds, and how many requests went wrong."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    idle = [Connection(parts.hostname, parts.port) for _ in range(connections)]
    busy: list[Connection] = []
    latencies: list[float] = []
    total, sent, faults = int(rate * seconds), 0, 0
    clock = time.perf_counter
    start = clock() + 0.05
    give_up = start + seconds + 10
    while (sent < total or busy) and clock() < give_up:
        while sent < total and idle and (due := start + sent / rate) <= clock():
            connection = idle.pop()
            connection.due = due
            connection.sock.send(request(parts.path, sent))
            busy.append(connection)
            sent += 1
        wait = 0.1 if sent == total or not idle else max(0.0, start + sent / rate - clock())
        for connection in select.select(busy, (), (), wait)[0]:
            try:
                status = connection.answered()
            except (ValueError, OSError) as error:
                sys.stderr.write(f"{error}\n")
                connection.sock.close()
                busy.remove(connection)  # for good: what it did not answer is counted at the end
                continue
            if status is not None:
                latencies.append((clock() - connection.due) * 1e6)
                faults += not 200 <= status < 300
                busy.remove(connection)
                idle.append(connection)
        if not idle and not busy:
            break  # every connection is lost
    for connection in (*idle, *busy):
        connection.sock.close()
    return {"sent": sent, "faults": faults + total - len(latencies), "latencies": latencies}


def request(path: str, number: int) -> bytes:
    return (
        b"GET %b%d HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:%d) Gecko/20100101\r\n"
        b"Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\nAccept-Language: en-GB,en;q=0.7\r\n"
        b"Accept-Encoding: gzip, br\r\nX-Request-ID: %08x\r\n\r\n"
    ) % (path.encode(), number % 100, number % 997, number * 2654435761 % 4294967296)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.openloop", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--rate", type=float, default=2000)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--connections", type=int, default=50)
    options = parser.parse_args()
    with contextlib.suppress(OSError, AttributeError):  # Linux: wake within a microsecond, not fifty
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1000)
    gc.disable()
    found = run(options.url, rate=options.rate, seconds=options.seconds, connections=options.connections)
    latencies = found.pop("latencies")
    assert isinstance(latencies, list)
    for name, part in (("p50", 0.5), ("p99", 0.99)):
        found[name] = round(percentile(latencies, part), 1) if latencies else None
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
