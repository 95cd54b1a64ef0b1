"""What is measured, started in a directory of its own: our hops, and their peers configured alike."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import trustme

from tests.bench import peers, quota

NAME = "bench.test"


def free_port() -> int:
    with contextlib.closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def connects(port: int) -> bool:
    with contextlib.closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def hop_argv(kind: str, name: str, folder: Path, *listen: str) -> list[str]:
    argv = [sys.executable, "-m", kind, "--name", name, "--state-dir", str(folder), "--limits-requests", "0"]
    return [*argv, "--listen", *listen]


class Servers:
    """Starts them; `close` ends them all. Each start returns the process's id and its port."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._running: list[subprocess.Popen[bytes]] = []
        self._groups: list[Path] = []
        self._certificate: tuple[Path, Path] | None = None
        (home / "www").mkdir()
        for name, size in (("page.html", 1024), ("16k", 16 * 1024), ("64k", 64 * 1024), ("1m", 1024 * 1024)):
            (home / "www" / name).write_bytes(b"x" * size)

    @property
    def certificate(self) -> tuple[Path, Path]:
        """Chain and key (ECDSA P-256), the same for both sides."""
        if self._certificate is None:
            issued = trustme.CA().issue_cert(NAME, "127.0.0.1")
            chain, key = self.home / "cert.pem", self.home / "key.pem"
            chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
            key.write_bytes(issued.private_key_pem.bytes())
            self._certificate = chain, key
        return self._certificate

    def nginx(self, name: str, body: str, origin: int = 1) -> tuple[int, int]:
        port, folder = free_port(), self.folder(name)
        (folder / "www").symlink_to(self.home / "www")
        cert, key = self.certificate if "{cert}" in body else ("", "")
        body = body.format(dir=folder, port=port, cert=cert, key=key)
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(peers.NGINX.format(dir=folder, origin=origin, body=body, user=user))
        return self.start(name, ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")], port), port

    def haproxy(self, name: str, origin: int) -> tuple[int, int]:
        port, folder = free_port(), self.folder(name)
        (folder / "haproxy.cfg").write_text(peers.HAPROXY.format(port=port, origin=origin))
        return self.start(name, ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")], port), port

    def varnish(self, name: str, origin: int, size: str) -> tuple[tuple[int, int], int]:
        """varnishd and varnishncsa, which writes its access log."""
        port, folder = free_port(), self.folder(name)
        (folder / "vcl").write_text(peers.VARNISH.format(origin=origin))
        argv = ["varnishd", "-F", "-n", str(folder / "work"), "-a", f"127.0.0.1:{port}", "-f", str(folder / "vcl")]
        argv += ["-s", f"malloc,{size}", "-p", "thread_pools=1", "-j", "none"]
        server = self.start(name, argv, port)
        log = folder / "access.log"
        argv = ["varnishncsa", "-n", str(folder / "work"), "-w", str(log), "-t", "10"]
        return (server, self.start(f"{name}-log", argv, port, ready=lambda _: log.exists())), port

    def hop(self, kind: str, name: str, *flags: str, tls: bool = False) -> tuple[int, int]:
        """One of ours, with every default but the log's path and no limit of requests for a connection."""
        port, folder = free_port(), self.folder(name)
        listen = [f"http://127.0.0.1:{port}"]
        if tls:
            cert, key = self.certificate
            listen = [f"https://127.0.0.1:{port}", "--cert", str(cert), "--key", str(key)]
        log = str(folder / "access.log")
        return self.start(name, hop_argv(kind, name, folder, *listen, "--access-log", log, *flags), port), port

    def appserver(self, name: str) -> tuple[int, int]:
        return self.hop("appserver", name, "--app", "tests.bench.asgi_app:app")

    def uvicorn(self, name: str) -> tuple[int, int]:
        port = free_port()
        argv = [sys.executable, "-m", "uvicorn", "tests.bench.asgi_app:app", "--port", str(port), "--access-log"]
        return self.start(name, [*argv, "--loop", "uvloop", "--http", "httptools"], port), port

    def granian(self, name: str) -> tuple[int, int]:
        port = free_port()
        argv = [sys.executable, "-m", "granian", "tests.bench.asgi_app:app", "--port", str(port), "--access-log"]
        return self.start(name, [*argv, "--interface", "asgi", "--loop", "uvloop", "--workers", "1"], port), port

    def folder(self, name: str) -> Path:
        folder = self.home / name
        folder.mkdir(exist_ok=True)
        return folder

    def start(
        self, name: str, argv: list[str], port: int, *, within: float = 30, ready: Callable[[int], bool] = connects
    ) -> int:
        environ = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin"}
        with (self.home / f"{name}.out").open("wb") as out:
            process = subprocess.Popen(argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=environ)
        self._running.append(process)
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            if process.poll() is not None:
                break
            if ready(port):
                return process.pid
            time.sleep(0.05)
        said = (self.home / f"{name}.out").read_text(errors="replace")[-2000:]
        raise SystemExit(f"{name} did not start: {said}")

    def stop(self, pid: int) -> None:
        """End one before the others."""
        [process] = [process for process in self._running if process.pid == pid]
        process.terminate()
        process.wait(30)

    def limit(self, pid: int, percent: int) -> None:
        """Let a process have that much of one core."""
        try:
            self._groups.append(quota.limit(pid, percent))
        except quota.NoQuota as error:
            raise SystemExit(str(error)) from None

    def close(self) -> None:
        for process in reversed(self._running):
            process.terminate()
        for process in self._running:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for group in self._groups:
            with contextlib.suppress(OSError):
                group.rmdir()


@contextlib.contextmanager
def servers(home: Path) -> Iterator[Servers]:
    started = Servers(home)
    try:
        yield started
    finally:
        started.close()
