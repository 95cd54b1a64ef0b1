"""A cache is filled before it is measured: every object asked for once, and what it then answers must be hits."""

from __future__ import annotations

import re
import socket
import ssl
from typing import Final
from urllib.parse import urlsplit

HOST: Final = "bench.test"
"""As `varied.lua` asks for it."""
_TOGETHER: Final = 100
_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3}) ")


def fill(url: str, pages: int) -> None:
    """Ask for `url` with 0 to `pages` - 1 behind it. SystemExit when one is not answered with 200."""
    for start in range(0, pages, _TOGETHER):
        wanted = range(start, min(start + _TOGETHER, pages))
        statuses = _STATUS.findall(_asked(url, wanted))
        if statuses != [b"200"] * len(wanted):
            raise SystemExit(f"{url}: {len(wanted)} pages were asked for, and answered with {statuses}")


def is_hit(url: str) -> bool:
    """By X-Cache, or by the two ids in Varnish's X-Varnish."""
    head = _asked(f"{url}", range(1)).partition(b"\r\n\r\n")[0].lower()
    return b"x-cache: hit" in head or re.search(rb"x-varnish: \d+ \d+", head) is not None


def _asked(url: str, pages: range) -> bytes:
    """All answers, of pipelined requests on one connection."""
    place = urlsplit(url)
    requests = [f"GET {place.path}{page} HTTP/1.1\r\nHost: {HOST}\r\nAccept-Encoding: gzip, br\r\n" for page in pages]
    requests[-1] += "Connection: close\r\n"
    with socket.create_connection((str(place.hostname), place.port or 80), 30) as plain:
        connection = _encrypted(plain) if place.scheme == "https" else plain
        connection.sendall("".join(f"{request}\r\n" for request in requests).encode())
        answers = []
        while piece := connection.recv(1 << 18):
            answers.append(piece)
        return b"".join(answers)


def _encrypted(plain: socket.socket) -> socket.socket:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(plain, server_hostname=HOST)
