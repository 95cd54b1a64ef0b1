"""How a command asks the running supervisor: a Unix socket in the state directory, for its owner alone.

One question a connection, a JSON object on a line; answered by any number of `{"say": "..."}` while it is at work, and
at last by one object with `outcome`. An end of file before that says that the supervisor is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

log = logging.getLogger("hopstack.channel")

NAME: Final = "control"
LIMIT: Final = 1 << 20
"""Bytes of a question."""
PATIENCE: Final = 300.0
"""Seconds that a command waits for an answer: more than a reload may take."""

Say = Callable[[str], object]
Answer = Callable[[Mapping[str, Any], Say], Awaitable[Mapping[str, Any]]]


class Server:
    """The supervisor's end."""

    def __init__(self, directory: Path, answer: Answer) -> None:
        self._directory = directory
        self._answer = answer
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """OSError where the file system knows no sockets."""
        bound = _bound(self._directory)
        self._server = await asyncio.start_unix_server(self._asked, sock=bound, limit=LIMIT)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _asked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def send(message: Mapping[str, Any]) -> None:
            if not writer.is_closing():
                writer.write(msgspec.json.encode(message) + b"\n")

        try:
            question = msgspec.json.decode(await reader.readline(), type=dict[str, Any])
            send(await self._answer(question, lambda text: send({"say": text})))
            await writer.drain()
        except (msgspec.MsgspecError, ValueError):
            send({"outcome": "refused", "problems": ["not a question: wanted a JSON object on one line"]})
        except OSError as error:  # whoever asked has gone
            log.info("nobody hears the answer: %s", error)
        finally:
            writer.close()


class NotHeard(Exception):
    """There is no supervisor to ask, or it ended before it had answered."""


def ask(directory: Path, question: Mapping[str, Any], say: Say, *, patience: float = PATIENCE) -> dict[str, Any]:
    """The outcome; `say` gets what is told before. NotHeard."""
    try:
        with _connected(directory) as connection:
            connection.settimeout(patience)
            connection.sendall(msgspec.json.encode(question) + b"\n")
            with connection.makefile("rb") as lines:
                for line in lines:
                    message = msgspec.json.decode(line, type=dict[str, Any])
                    if "outcome" in message:
                        return message
                    say(str(message.get("say", "")))
    except (OSError, msgspec.MsgspecError) as error:
        raise NotHeard(str(error)) from None
    raise NotHeard("it ended before it had answered")


def _bound(directory: Path) -> socket.socket:
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        with _inside(directory):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(NAME)  # of a supervisor that was killed: the lock says that none runs now
            one.bind(NAME)
    except OSError:
        one.close()
        raise
    finally:
        os.umask(mask)
    one.listen(16)
    one.setblocking(False)
    return one


def _connected(directory: Path) -> socket.socket:
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _inside(directory):
            one.connect(NAME)
    except OSError:
        one.close()
        raise
    return one


@contextlib.contextmanager
def _inside(directory: Path) -> Iterator[None]:
    """A socket's path has 107 bytes at most (104 on macOS), a state directory's may be longer: name it from within."""
    here = os.open(".", os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.chdir(directory)
        try:
            yield
        finally:
            os.fchdir(here)
    finally:
        os.close(here)
