"""The machine's own resolver, for names that no stack of this machine answers for."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading


async def resolve(host: str, port: int) -> list[str]:
    """Addresses in the order of preference. Raises socket.gaierror.

    In a thread that nobody waits for: a resolver that hangs must not hold up the end of the process, as the loop's own
    threads would.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[str]] = loop.create_future()

    def settle(addresses: list[str] | None, error: OSError | None) -> None:
        if found.done():
            return
        if error is not None:
            found.set_exception(error)
        else:
            found.set_result(addresses or [])

    def look_up() -> None:
        addresses: list[str] | None = None
        failed: OSError | None = None
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            addresses = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
        except OSError as error:
            failed = error
        except UnicodeError:
            failed = socket.gaierror(socket.EAI_NONAME, "no host name")
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, addresses, failed)

    threading.Thread(target=look_up, name="getaddrinfo", daemon=True).start()
    return await found
