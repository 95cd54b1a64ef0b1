"""The line between a process and its master: newline-delimited JSON over an inherited socket pair.

Child to master: {"event": "listening" | "ready" | "not-ready" | "stopping" | "failed", ...}.
Either to the other: {"ask": "stats", "id": 1, "given": [...]}, answered {"reply": 1, "value": ...}. An unknown event is
passed over and an unknown question answered with null, so that either end may be the newer one. End of file on either
side says that the other is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, cast

import msgspec

from stack.net.tasks import Tasks

log = logging.getLogger("hopstack.control")

VARIABLE: Final = "HOPSTACK_CONTROL_FD"
LIMIT: Final = 8 << 20
"""Bytes of one message; stats of a busy process are some 100 KiB."""

_encode = msgspec.json.Encoder().encode


class Channel(asyncio.Protocol):
    """One end. `received` gets each message, `ended` is called once when the other end is gone."""

    def __init__(self, received: Callable[[dict[str, Any]], object], ended: Callable[[], object]) -> None:
        self._received, self._ended = received, ended
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if b"\n" not in data:
            if len(self._buffer) > LIMIT and self._transport is not None:
                self._transport.abort()
            return
        *lines, rest = self._buffer.split(b"\n")
        self._buffer = bytearray(rest)
        for line in lines:
            try:
                message = msgspec.json.decode(line, type=dict[str, Any])
            except msgspec.MsgspecError:
                log.warning("not a message: %r", bytes(line[:80]))
                continue
            self._received(message)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._ended()

    def send(self, message: Mapping[str, Any]) -> None:
        if self._transport is not None:
            self._transport.write(_encode(message) + b"\n")

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Control:
    """The child's end. Without a master it does nothing, so that nobody need ask whether there is one."""

    def __init__(self, fd: int | None) -> None:
        self._socket: socket.socket | None = None
        self._channel: Channel | None = None
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._questions = 0
        if fd is not None:
            with contextlib.suppress(OSError):  # the number is stale: the variable was inherited, the socket was not
                self._socket = socket.socket(fileno=fd)
                self._socket.setblocking(False)
                os.set_inheritable(fd, False)

    @classmethod
    def inherited(cls, environ: Mapping[str, str]) -> Control:
        text = environ.get(VARIABLE, "")
        return cls(int(text) if text.isascii() and text.isdigit() else None)

    @property
    def has_master(self) -> bool:
        return self._socket is not None

    async def open(
        self, asks: Mapping[str, Callable[..., Any]], ended: Callable[[], object], tasks: Tasks | None = None
    ) -> None:
        """From now on answer the master's questions, and call `ended` when it is gone.

        `tasks`: where answers that have to be awaited are worked out.
        """
        if self._socket is None:
            return

        def received(message: dict[str, Any]) -> None:
            if "reply" in message:
                waiting = self._asked.pop(message["reply"], None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(message.get("value"))
            elif "ask" in message and self._channel is not None:
                ask = asks.get(str(message["ask"]))
                value = None if ask is None else ask(*message.get("given", ()))
                if tasks is not None and isinstance(value, Awaitable):
                    tasks.spawn(answer(self._channel, message.get("id"), value), name=f"answer {message['ask']}")
                else:
                    self._channel.send({"reply": message.get("id"), "value": value})

        loop = asyncio.get_running_loop()
        _, self._channel = await loop.create_unix_connection(lambda: Channel(received, ended), sock=self._socket)

    async def ask(self, what: str, *given: Any) -> Any:
        """The master's answer; None where it has none. Whoever asks says how long to wait."""
        if self._channel is None:
            return None
        self._questions += 1
        number = self._questions
        waiting = self._asked[number] = asyncio.get_running_loop().create_future()
        self._channel.send({"ask": what, "id": number, "given": given})
        try:
            return await waiting
        finally:
            self._asked.pop(number, None)

    def tell(self, event: str, **details: Any) -> None:
        """Before `open` too: a process that cannot even start has a reason to give."""
        message = {"event": event, **details}
        if self._channel is not None:
            self._channel.send(message)
        elif self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.send(_encode(message) + b"\n")

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()


async def answer(channel: Channel, number: Any, value: Awaitable[Any]) -> None:
    """Send what it comes to; null where that goes wrong."""
    try:
        said = await value
    except Exception as error:
        log.error("a question could not be answered: %s: %s", type(error).__name__, error)
        said = None
    channel.send({"reply": number, "value": said})
