"""`python -m stack.hop.ask /-/ready`: one question to the admin endpoint of a hop, from beside it.

Exit status 0 for a 2xx, 1 otherwise. It is the health check of containers, so it imports next to nothing; and what
`docker compose exec lb-a python -m stack.hop.ask -X POST /-/backends/proxy-1/drain` runs.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping, Sequence

USUAL = "http://127.0.0.1:8100"
"""The endpoint, unless HOPSTACK_ADMIN says another."""
PATIENCE = 2.5
"""Seconds for each step: less than a health check is given."""
LONGEST = 16 << 20
"""Bytes of an answer."""


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    method, rest = ("GET", list(argv))
    if rest[:1] == ["-X"] and len(rest) > 1:
        method, rest = rest[1].upper(), rest[2:]
    if len(rest) != 1 or not rest[0].startswith("/") or not rest[0].isascii() or not rest[0].isprintable():
        sys.stderr.write("usage: python -m stack.hop.ask [-X METHOD] /-/ready; HOPSTACK_ADMIN says where\n")
        return 2
    admin = environ.get("HOPSTACK_ADMIN") or USUAL
    try:
        status, content = ask(admin, method, rest[0].replace(" ", "%20"))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{admin}: {error}\n")
        return 1
    sys.stdout.buffer.write(content)
    sys.stdout.flush()
    return 0 if 200 <= status < 300 else 1


def ask(admin: str, method: str, target: str, *, patience: float = PATIENCE) -> tuple[int, bytes]:
    """The status and the content. OSError and ValueError say why there is none."""
    scheme, _, authority = admin.rstrip("/").partition("://")
    host, _, port = authority.rpartition(":")
    if scheme != "http" or not port.isdigit():
        raise ValueError("wanted http://127.0.0.1:PORT")
    # HTTP/1.0: the answer ends with the connection, and is never chunked (RFC 9112 §6.1)
    asked = f"{method} {target} HTTP/1.0\r\nHost: {authority}\r\nContent-Length: 0\r\n\r\n"
    host = host.strip("[]")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as connection:
        connection.settimeout(patience)
        # as bytes: text would load the tables of international names, a fifth of the whole run
        connection.connect((host.encode("ascii"), int(port)))
        connection.sendall(asked.encode("ascii"))
        parts: list[bytes] = []
        size = 0
        while (data := connection.recv(65536)) and size < LONGEST:
            parts.append(data)
            size += len(data)
    head, mark, content = b"".join(parts).partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    if not mark or not words[0].startswith(b"HTTP/1.") or len(words) < 2 or not words[1].isdigit():
        raise ValueError("that is no answer in HTTP")
    return int(words[1]), content


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
