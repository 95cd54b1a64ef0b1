"""A backend as a process of its own, to be killed: `python backend_process.py FD NAME`. Standard library only.

`GET /health` is 200, `/slow` takes 50 ms, anything else answers at once with the backend's name.
"""

from __future__ import annotations

import asyncio
import socket
import sys


async def serve(fd: int, name: str) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.split(b" ", 2)[1].startswith(b"/slow"):
                    await asyncio.sleep(0.05)
                body = name.encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    listener = socket.socket(fileno=fd)
    listener.listen(512)
    server = await asyncio.start_server(accept, sock=listener)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
