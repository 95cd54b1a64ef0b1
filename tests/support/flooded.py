"""A real edge under attack: what the attack cost it, what it said, and whether others were served meanwhile."""

from __future__ import annotations

import contextlib
import http.client
import os
import select
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hyperframe.frame import GoAwayFrame, HeadersFrame, RstStreamFrame

from tests.support.h2_peer import PREFACE, Wire, frames

ROOT = Path(__file__).parents[2]
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
FRAMES, BYTES, SECONDS = 20_000, 32 * 1024 * 1024, 6.0
"""An attack ends here at the latest."""


class Origin(socketserver.ThreadingTCPServer):
    """`/hang` is never answered, everything else at once and for a long time."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 512

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.hanging = 0
        self.most_hanging = 0
        self.lock = threading.Lock()

    def calm(self) -> None:
        """Until nobody hangs any more; the count begins anew."""
        until = time.monotonic() + 10
        while self.hanging and time.monotonic() < until:
            time.sleep(0.01)
        assert self.hanging == 0, "the edge has given up nothing"
        self.most_hanging = 0

    def count(self, more: int) -> None:
        with self.lock:
            self.hanging += more
            self.most_hanging = max(self.most_hanging, self.hanging)


class _Answers(socketserver.StreamRequestHandler):
    server: Origin

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            while line := self.rfile.readline():
                while self.rfile.readline() not in (b"\r\n", b""):
                    pass
                if b"/hang" in line:
                    self.server.count(1)
                    try:
                        self.rfile.read(1)  # until the edge gives up
                    finally:
                        self.server.count(-1)
                    return
                body = b"x" * (65536 if b"/large" in line else 100)
                head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: %d\r\n\r\n" % len(body)
                self.wfile.write(head + body)


@dataclass
class Outcome:
    """Of one attack."""

    code: int | None = None
    """Of GOAWAY."""
    reason: bytes = b""
    closed: bool = False
    resets: dict[int, int] = field(default_factory=dict)
    heads: list[int] = field(default_factory=list)
    """Statuses."""
    sent: int = 0
    """Frames."""
    took: float = 0.0
    cpu: float = 0.0
    """Seconds of the edge."""
    grown: int = 0
    """Bytes of the edge's resident memory at the worst moment."""
    slowest: float = 0.0
    """Seconds that another client waited for one answer at most."""
    served: int = 0


class Attack(Wire):
    """One connection of the attacker's."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.outcome = Outcome()
        self._rest = b""
        self._began = time.monotonic()

    def start(self, settings: dict[int, int] | None = None) -> None:
        self.socket.sendall(PREFACE + self.settings(settings) + self.settings(ack=True))
        self.socket.setblocking(False)

    def flood(self, pieces: Iterable[bytes], *, reads: bool = True) -> None:
        """Send each piece, some frames, until the edge has had enough or the bounds are reached."""
        sent = 0
        for batch in _batches(pieces):
            left = memoryview(b"".join(batch))
            while left and not self.outcome.closed:
                if time.monotonic() - self._began > SECONDS:
                    return
                readable, writable, _ = select.select([self.socket] if reads else [], [self.socket], [], 0.2)
                if readable:
                    self._read()
                if writable and not self.outcome.closed:
                    try:
                        taken = self.socket.send(left)
                    except OSError:
                        self.outcome.closed = True
                    else:
                        left = left[taken:]
                        sent += taken
            self.outcome.sent += len(batch)
            if self.outcome.closed or self.outcome.sent >= FRAMES or sent >= BYTES:
                break

    def wait(self, seconds: float, enough: Callable[[], bool] = lambda: False) -> None:
        """Read until the edge closes, or it is enough, or so long."""
        until = time.monotonic() + seconds
        while not self.outcome.closed and not enough() and (left := until - time.monotonic()) > 0:
            if select.select([self.socket], [], [], left)[0]:
                self._read()

    def _read(self) -> None:
        try:
            data = self.socket.recv(262144)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.outcome.closed = True
        outcome = self.outcome
        found, self._rest = frames(self._rest + data)
        for frame in found:
            if isinstance(frame, GoAwayFrame):
                outcome.code, outcome.reason = int(frame.error_code), frame.additional_data
            elif isinstance(frame, RstStreamFrame):
                outcome.resets[frame.error_code] = outcome.resets.get(frame.error_code, 0) + 1
            elif isinstance(frame, HeadersFrame):
                outcome.heads.append(int(dict(self.decoder.decode(frame.data, raw=True))[b":status"]))

    def end(self) -> Outcome:
        self.outcome.took = time.monotonic() - self._began
        self.socket.close()
        return self.outcome


def _batches(pieces: Iterable[bytes], size: int = 100) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    for piece in pieces:
        batch.append(piece)
        if len(batch) == size or sum(map(len, batch[-1:])) > 8192:
            yield batch
            batch = []
    if batch:
        yield batch


class Edge:
    """The process, and a second client of it."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, origin: Origin) -> None:
        self.process, self.port, self.origin = process, port, origin
        self._stop = threading.Event()

    @contextlib.contextmanager
    def attacked(self, settings: dict[int, int] | None = None) -> Iterator[Attack]:
        """One attack; afterwards its outcome has the figures."""
        attack = Attack(self.port)
        cpu, memory = self._cpu(), self._resident()
        seen: list[tuple[float, int]] = []
        stop = threading.Event()
        other = threading.Thread(target=self._other, args=(stop, seen))
        other.start()
        try:
            attack.start(settings)
            yield attack
        finally:
            outcome = attack.end()
            stop.set()
            other.join()
            outcome.cpu = self._cpu() - cpu
            outcome.grown = max(resident for _, resident in seen) - memory
            outcome.slowest = max(waited for waited, _ in seen)
            outcome.served = len(seen)

    def _other(self, stop: threading.Event, seen: list[tuple[float, int]]) -> None:
        """Asks all the time, once at least, and looks at the edge's memory."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        while True:
            began = time.monotonic()
            try:
                client.request("GET", "/page")
                answer = client.getresponse()
                whole = answer.status == 200 and len(answer.read()) == 100
            except OSError:
                whole = False
            seen.append((time.monotonic() - began if whole else 999.0, self._resident()))
            if stop.wait(0.02):
                break
        client.close()

    def _cpu(self) -> float:
        stat = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / TICK

    def _resident(self) -> int:
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE


@contextlib.contextmanager
def flooded_edge(home: Path, *flags: str) -> Iterator[Edge]:
    """Started on a free port; warmed up, so that what grows later is the attacks' doing."""
    with Origin() as origin, socket.create_server(("127.0.0.1", 0)) as sock:
        threading.Thread(target=origin.serve_forever, daemon=True).start()
        port = sock.getsockname()[1]
        process = subprocess.Popen(
            [
                sys.executable, "-m", "cdn_edge", "--listen", f"http+fd://{sock.fileno()}",
                "--origin", f"http://127.0.0.1:{origin.server_address[1]}", "--access-log", "off", *flags,
            ],
            cwd=ROOT, pass_fds=[sock.fileno()], env={**os.environ, "HOPSTACK_HOME": str(home)},
        )  # fmt: skip
        try:
            edge = Edge(process, port, origin)
            for _ in range(3):
                with edge.attacked() as warm:
                    paths = (b"/page", b"/large", b"/hang")
                    fields = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"shop.test")]
                    warm.flood(warm.headers(2 * i + 1, [*fields, (b":path", paths[i % 3])]) for i in range(90))
                    warm.wait(0.5)
            assert process.poll() is None
            yield edge
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            origin.shutdown()
