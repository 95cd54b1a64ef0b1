"""Other people's name servers, each a child process on a port of its own."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import find
from tests.support.dns_worlds import World, to_text


def _files(world: World, directory: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for number, zone in enumerate(world):
        path = directory / f"{number}.zone"
        path.write_text(zone.text())
        found[to_text(zone.origin)] = path
    return found


def _nsd(directory: Path, zones: Mapping[str, Path], port: int, more: str) -> list[str]:
    text = f"""
server:
  ip-address: 127.0.0.1@{port}
  do-ip6: no
  username: ""
  chroot: ""
  zonesdir: "{directory}"
  database: ""
  pidfile: "{directory}/nsd.pid"
  xfrdfile: "{directory}/xfrd.state"
  zonelistfile: "{directory}/zone.list"
  xfrdir: "{directory}"
  logfile: "{directory}/nsd.log"
  server-count: 1
  ipv4-edns-size: 4096
  rrl-ratelimit: 0
  zonefiles-write: 0
{more}
remote-control:
  control-enable: no
"""
    for name, path in zones.items():
        text += f'zone:\n  name: "{name}"\n  zonefile: "{path}"\n'
    (directory / "nsd.conf").write_text(text)
    return ["nsd", "-d", "-c", str(directory / "nsd.conf")]


def _knot(directory: Path, zones: Mapping[str, Path], port: int, more: str) -> list[str]:
    text = f"""
server:
    listen: 127.0.0.1@{port}
    rundir: {directory}
    udp-max-payload: 4096
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: {directory}
log:
  - target: stderr
    any: warning
template:
  - id: default
    storage: {directory}
    zonefile-sync: -1
    journal-content: none
    semantic-checks: off
{more}
zone:
"""
    for name, path in zones.items():
        text += f'  - domain: "{name}"\n    file: {path}\n'
    (directory / "knot.conf").write_text(text)
    return ["knotd", "-c", str(directory / "knot.conf")]


def _bind(directory: Path, zones: Mapping[str, Path], port: int, more: str) -> list[str]:
    text = f"""options {{ directory "{directory}"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
recursion no; {more} pid-file "{directory}/named.pid"; session-keyfile "{directory}/session.key"; max-udp-size 4096;
check-names primary ignore; allow-query {{ any; }}; notify no; check-integrity no;
edns-udp-size 4096; dnssec-validation no; minimal-responses yes; empty-zones-enable no; }};
controls {{ }};
"""
    for name, path in zones.items():
        text += f'zone "{name}" {{ type primary; file "{path}"; }};\n'
    (directory / "named.conf").write_text(text)
    return ["named", "-g", "-c", str(directory / "named.conf"), "-n", "1"]


def _ours(directory: Path, zones: Mapping[str, Path], port: int, more: str) -> list[str]:
    served = [argument for name, path in zones.items() for argument in ("--zone", f"{name}={path}")]
    options = ["--access-log", "off", "--state-dir", str(directory), "--nsid", "ours"]
    return [sys.executable, "-m", "dns_server", "--listen", f"dns://127.0.0.1:{port}", *options, *served, *more.split()]


_KINDS = {"hopstack": _ours, "nsd": _nsd, "knotd": _knot, "named": _bind}


def _free_port() -> int:
    """Free over UDP and TCP."""
    for _ in range(50):
        with socket.socket() as stream, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            stream.bind(("127.0.0.1", 0))
            port: int = stream.getsockname()[1]
            try:
                datagrams.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no port is free over UDP and TCP")


@contextmanager
def served(kind: str, world: World, directory: Path, more: str = "") -> Iterator[tuple[str, int]]:
    """One of hopstack, nsd, knotd, named with these zones; its address. `more`: options of the server itself, as it
    writes them; Knot takes them before its zones."""
    directory.mkdir(parents=True, exist_ok=True)
    for attempt in range(3):
        port = _free_port()
        process = _start(kind, world, directory, port, more)
        try:
            _wait(process, port, world, directory)
        except Exception as error:
            _stop(process)
            if attempt == 2 or "in use" not in str(error):  # else somebody took the port in between
                raise
        else:
            break
    try:
        yield "127.0.0.1", port
    finally:
        _stop(process)


def _start(kind: str, world: World, directory: Path, port: int, more: str) -> subprocess.Popen[bytes]:
    command = _KINDS[kind](directory, _files(world, directory), port, more)
    program = find(command[0])
    assert program is not None
    with (directory / "stderr").open("wb") as errors:
        return subprocess.Popen(
            [program, *command[1:]], stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, cwd=directory,
            env={**os.environ, "TZ": "UTC"},
        )  # fmt: skip


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, world: World, directory: Path) -> None:
    from tests.support.dns_reading import read

    until = time.monotonic() + 20
    waiting = [query(zone.origin, 6) for zone in world]
    while waiting:
        said = ask(("127.0.0.1", port), [waiting[0]], patience=0.2)[0]
        if said is not None:
            response = read(said)
            if response.rcode == 0 and (response.answer or said[2] & 2):  # or sends us to TCP
                waiting.pop(0)
                continue
        time.sleep(0.02)
        if process.poll() is not None or time.monotonic() > until:
            logs = [path for path in (directory / "stderr", directory / "nsd.log") if path.exists()]
            text = "".join(path.read_text(errors="replace") for path in logs)
            raise RuntimeError(f"{process.args!r} does not serve {waiting[0]!r}:\n{text[-3000:]}")


def query(name: Sequence[bytes], type: int, *, payload: int = 4096) -> bytes:
    wire = b"".join(bytes((len(label),)) + label for label in name) + b"\0"
    opt = b"\0\0\x29" + payload.to_bytes(2, "big") + b"\0\0\0\0\0\0" if payload else b""
    return b"\0\0\0\0\0\1\0\0\0\0\0" + bytes((1 if opt else 0,)) + wire + type.to_bytes(2, "big") + b"\0\1" + opt


def ask(address: tuple[str, int], queries: Sequence[bytes], *, patience: float = 3.0) -> list[bytes | None]:
    """Each query's response over UDP, in order; None after `patience` seconds of silence, and after asking again."""
    found: list[bytes | None] = [None] * len(queries)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(address)
        sock.setblocking(False)
        for _ in range(4):
            open_ = [number for number, answer in enumerate(found) if answer is None]
            for start in range(0, len(open_), 32):
                batch = set(open_[start : start + 32])
                for number in batch:
                    sock.send((number & 0xFFFF).to_bytes(2, "big") + queries[number][2:])
                while batch and select.select([sock], [], [], patience)[0]:
                    try:
                        message = sock.recv(65535)
                    except ConnectionRefusedError:
                        break
                    low = int.from_bytes(message[:2], "big")
                    for number in batch:
                        if number & 0xFFFF == low:
                            found[number] = message
                            batch.discard(number)
                            break
    return found
