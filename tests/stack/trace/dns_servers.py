"""Name servers on loopback addresses of their own and one port, over UDP and TCP, for a walk through real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from tests.support.dns_network import respond, zones

Server = Callable[[bytes, bool], bytes | None]
"""A message and whether it came over TCP; None for no answer."""


def authority(**texts: str) -> Server:
    """`zone name=text`; the root's name is written `root`."""
    served = zones({"." if name == "root" else name.replace("_", "."): text for name, text in texts.items()})
    return lambda message, stream: respond(served, message, stream=stream)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: Server) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        if (response := self._server(data, False)) is not None:
            self._transport.sendto(response, addr)


@asynccontextmanager
async def serving(servers: Mapping[str, Server]) -> AsyncIterator[int]:
    """The port of all of them."""
    for _ in range(20):
        port = _free()
        async with AsyncExitStack() as held:
            try:
                for address, server in servers.items():
                    await _serve(held, address, port, server)
            except OSError:
                continue
            yield port
            return
    raise RuntimeError("no port that is free on all addresses")


async def _serve(held: AsyncExitStack, address: str, port: int, server: Server) -> None:
    loop = asyncio.get_running_loop()

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            size = int.from_bytes(await reader.readexactly(2), "big")
            response = server(await reader.readexactly(size), True)
            if response is not None:
                writer.write(len(response).to_bytes(2, "big") + response)
                await writer.drain()
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(server), local_addr=(address, port))
    held.callback(transport.close)
    listener = await asyncio.start_server(stream, address, port)
    held.callback(listener.close)


def _free() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
