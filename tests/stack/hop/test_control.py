from __future__ import annotations

import asyncio
import socket
from typing import Any

from stack.clock import eventually
from stack.hop.control import VARIABLE, Channel, Control
from stack.net.tasks import Tasks


async def joined(received: list[dict[str, Any]], ended: asyncio.Event) -> tuple[Channel, int]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    loop = asyncio.get_running_loop()
    _, channel = await loop.create_unix_connection(lambda: Channel(received.append, ended.set), sock=ours)
    return channel, theirs.detach()


async def test_events_go_up_and_questions_come_down() -> None:
    received: list[dict[str, Any]] = []
    gone, ended = asyncio.Event(), asyncio.Event()
    channel, fd = await joined(received, gone)
    control = Control.inherited({VARIABLE: str(fd)})
    assert control.has_master
    control.tell("listening", listen=["http://127.0.0.1:1"])  # before there is a loop's transport
    await control.open({"stats": lambda: {"n": 1}}, ended.set)
    control.tell("ready", ready_ms=5)
    channel.send({"ask": "the-unknown", "id": 1})
    channel.send({"ask": "stats", "id": 2})
    channel.send({"tell": "something new"})
    await eventually(lambda: len(received) == 4)
    assert received == [
        {"event": "listening", "listen": ["http://127.0.0.1:1"]},
        {"event": "ready", "ready_ms": 5},
        {"reply": 1, "value": None},
        {"reply": 2, "value": {"n": 1}},
    ]
    channel.close()
    async with asyncio.timeout(5):
        await ended.wait()
        await gone.wait()


async def test_messages_come_in_pieces_and_what_is_none_is_passed_over() -> None:
    received: list[dict[str, Any]] = []
    channel = Channel(received.append, lambda: None)
    for piece in (b'{"a":', b"1}\n{", b'"b":2}\nnonsense\n[]\n', b'{"c":3}\n'):
        channel.data_received(piece)
    assert received == [{"a": 1}, {"b": 2}, {"c": 3}]


async def test_without_a_master_it_does_nothing() -> None:
    for environ in ({}, {VARIABLE: ""}, {VARIABLE: "x"}, {VARIABLE: "99999"}):
        control = Control.inherited(environ)
        assert not control.has_master
        await control.open({}, lambda: None)
        control.tell("ready")
        control.close()


async def test_questions_go_up_and_answers_may_take_their_time() -> None:
    received: list[dict[str, Any]] = []
    gone, ended = asyncio.Event(), asyncio.Event()
    channel, fd = await joined(received, gone)
    control, tasks = Control.inherited({VARIABLE: str(fd)}), Tasks()

    async def doubled(number: int) -> int:
        if number < 0:
            raise ValueError("below zero")
        return 2 * number

    await control.open({"double": doubled}, ended.set, tasks)
    channel.send({"ask": "double", "id": 1, "given": [21]})
    channel.send({"ask": "double", "id": 2, "given": [-1]})
    await eventually(lambda: len(received) == 2)
    assert received == [{"reply": 1, "value": 42}, {"reply": 2, "value": None}]
    asked = asyncio.ensure_future(control.ask("begin", "x"))
    await eventually(lambda: len(received) == 3)
    assert received[2]["ask"] == "begin"
    assert received[2]["given"] == ["x"]
    channel.send({"reply": received[2]["id"], "value": [True]})
    assert await asked == [True]
    channel.close()
    async with asyncio.timeout(5):
        await ended.wait()
    assert await Control(None).ask("begin") is None
