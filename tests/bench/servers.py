"""What is measured: our hops and their peers, configured alike, each with its access log on."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

NGINX = """
worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log error; daemon off; master_process on; user root;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 75; types {{ text/html html; }} default_type text/html;
  log_format json escape=json '{{"time":"$time_iso8601","request_id":"$request_id","client":"$remote_addr",'
    '"method":"$request_method","host":"$host","path":"$request_uri","proto":"$server_protocol","status":$status,'
    '"bytes":$body_bytes_sent,"ms":$request_time,"upstream":"$upstream_addr","cache":"$upstream_cache_status",'
    '"agent":"$http_user_agent"}}';
  sendfile on; tcp_nodelay on;
  upstream origin {{ server 127.0.0.1:{origin}; keepalive 64; keepalive_requests 1000000000; }}
  {body}
}}
"""

ORIGIN = """
  server {{ listen 127.0.0.1:{port} backlog=4096; root {dir}/www; location / {{ try_files /page.html =404; etag on;
    add_header Cache-Control "public, max-age=3600"; }} }}
"""

CACHE = """
  proxy_cache_path {dir}/cache keys_zone=c:16m;
  server {{ listen 127.0.0.1:{port} backlog=4096; access_log {dir}/access.log json;
    location / {{ proxy_cache c; proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      add_header X-Cache $upstream_cache_status; add_header X-Request-ID $request_id; }} }}
"""

PASS = """
  gzip on; gzip_types text/html; gzip_min_length 1400; gzip_proxied any;
  server {{ listen 127.0.0.1:{port} backlog=4096; access_log {dir}/access.log json;
    location / {{ proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Request-ID $request_id;
      add_header X-Request-ID $request_id; }} }}
"""

HAPROXY = """
global
  nbthread 1
  maxconn 4096
  log stdout format raw local0
defaults
  mode http
  log global
  option httplog
  option forwardfor
  timeout connect 5s
  timeout client 75s
  timeout server 60s
  timeout http-keep-alive 75s
frontend in
  bind 127.0.0.1:{port}
  unique-id-format %[uuid]
  unique-id-header X-Request-ID
  default_backend hosts
backend hosts
  balance roundrobin
  http-reuse always
  option httpchk GET /health
  server a 127.0.0.1:{origin} check inter 2s
  server b 127.0.0.1:{origin} check inter 2s
"""


def free_port() -> int:
    with contextlib.closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Servers:
    """Starts them in a directory; `close` ends them all."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._running: list[subprocess.Popen[bytes]] = []
        (home / "www").mkdir()
        (home / "www" / "page.html").write_bytes(b"x" * 1024)

    def nginx(self, name: str, body: str, origin: int = 1) -> tuple[int, int]:
        port, folder = free_port(), self.home / name
        folder.mkdir()
        if not (folder / "www").exists():
            (folder / "www").symlink_to(self.home / "www")
        text = NGINX.format(dir=folder, origin=origin, body=body.format(dir=folder, port=port))
        (folder / "nginx.conf").write_text(text)
        return self._start(name, ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")], port), port

    def haproxy(self, name: str, origin: int) -> tuple[int, int]:
        port, folder = free_port(), self.home / name
        folder.mkdir()
        (folder / "haproxy.cfg").write_text(HAPROXY.format(port=port, origin=origin))
        return self._start(name, ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")], port), port

    def hop(self, kind: str, name: str, *flags: str) -> tuple[int, int]:
        """One of ours, with every default but the log's path."""
        port, folder = free_port(), self.home / name
        folder.mkdir()
        argv = [
            *(sys.executable, "-m", kind, "--name", name, "--listen", f"http://127.0.0.1:{port}"),
            *("--state-dir", str(folder), "--access-log", str(folder / "access.log")),
            *("--limits-requests", "0"),
            *flags,
        ]
        return self._start(name, argv, port), port

    def _start(self, name: str, argv: list[str], port: int) -> int:
        with (self.home / f"{name}.out").open("wb") as out:
            env = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin"}
            process = subprocess.Popen(argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=env)
        self._running.append(process)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if process.poll() is not None:
                break
            with contextlib.closing(socket.socket()) as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return process.pid
            time.sleep(0.05)
        raise SystemExit(f"{name} did not start: {(self.home / f'{name}.out').read_text()[-2000:]}")

    def close(self) -> None:
        for process in self._running:
            process.terminate()
        for process in self._running:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


@contextlib.contextmanager
def servers(home: Path) -> Iterator[Servers]:
    started = Servers(home)
    try:
        yield started
    finally:
        started.close()
