"""An origin as a process of its own, to be killed: `python dying_origin.py PORT GENERATION WAY`.

`WAY` is how it answers: `whole`, `503`, or as one that dies: `close`, `half-head`, `half-content`, `silent`. The path says
what it writes in Cache-Control.
"""

from __future__ import annotations

import socket
import sys
import threading
from typing import Final

SAID: Final = {
    b"/while": b"max-age=0, stale-while-revalidate=600",
    b"/error": b"max-age=0, stale-if-error=600",
    b"/plain": b"max-age=0",
    b"/must": b"max-age=0, must-revalidate",
    b"/shared": b"s-maxage=0",
}
"""Stale at once, so that nobody has to wait."""


def main(port: int, generation: bytes, way: str) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        print("listening", flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection, generation, way), daemon=True).start()


def serve(connection: socket.socket, generation: bytes, way: str) -> None:
    with connection, connection.makefile("rb") as reading:
        while line := reading.readline():
            path = line.split()[1]
            while reading.readline().strip():
                pass
            status = b"503 Service Unavailable" if way == "503" else b"200 OK"
            content = b"%b of generation %b" % (path, generation)
            head = b'HTTP/1.1 %b\r\nCache-Control: %b\r\nETag: "%b"\r\nContent-Length: %d\r\n\r\n' % (
                status, SAID[path], generation, len(content),
            )  # fmt: skip
            whole = head + content
            if way == "close":
                return
            if way == "silent":
                reading.readline()
                return
            connection.sendall(
                {"half-head": head[: len(head) // 2], "half-content": whole[: -len(content) // 2]}.get(way, whole)
            )
            if way.startswith("half"):
                return


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2].encode(), sys.argv[3])
