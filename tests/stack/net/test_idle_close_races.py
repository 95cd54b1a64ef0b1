"""A server that closes its idle connection as a client sends on it: every order of what can happen."""

from __future__ import annotations

import asyncio
import itertools
from typing import Literal

import pytest

from stack.clock import settle
from stack.errors import ClosedEarly
from tests.stack.net.test_conversations import Content, Pair, Plan

MOVES = ("close", "send", "up", "down")
"""The server closes, the client sends, what the client wrote arrives, what the server wrote arrives."""
ORDERS = [order for order in itertools.permutations(MOVES) if order.index("send") < order.index("up")]
WHOLE = Content([], "whole", [])


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
@pytest.mark.parametrize("method", [b"GET", b"POST"])
@pytest.mark.parametrize("protocol", ["h1", "h2"])
async def test_a_request_and_a_close_that_cross(
    protocol: Literal["h1", "h2"], method: bytes, order: tuple[str, ...]
) -> None:
    """RFC 9110 9.2.2: what may be repeated is answered; a POST is answered once, or refused and not done twice."""
    pair = Pair(protocol, [Plan(method, [], WHOLE, 200, [], WHOLE, "first", False, "", 0)] * 2, 1)
    try:
        opened = asyncio.ensure_future(pair.ask(0))
        await settle()
        await pair.flow()
        assert (await opened)[0] == 200
        [link] = pair.net.links
        asked: asyncio.Future[object] | None = None
        for move in order:
            if move == "close":
                before = link.server.closing
                pair.clock._now += 100  # for the server alone: its client would close first
                link.server.protocol.expire()  # type: ignore[attr-defined]
                pair.clock._now -= 100
                assert link.server.closing or before or pair.begun.count(1)
            elif move == "send":
                asked = asyncio.ensure_future(pair.ask(1))
            elif move == "up":
                link.move(link.client, 10**6)
            else:
                link.move(link.server, 10**6)
            await settle(3)
        await pair.flow()
        assert asked is not None
        try:
            outcome: object = await asyncio.wait_for(asked, 5)
        except ClosedEarly as error:
            outcome = error
        answered = isinstance(outcome, tuple)
        assert pair.begun.count(1) == int(answered), "done and not answered, or more than once"
        assert answered or (method == b"POST" and protocol == "h1")
        if order.index("down") < order.index("send") and order.index("close") < order.index("down"):
            assert answered, "the close was known before the request was sent"
        await pair.close()
    finally:
        del asyncio.get_running_loop().create_connection  # type: ignore[attr-defined]
