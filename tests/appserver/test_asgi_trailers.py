"""Trailers of an ASGI application (its extension http.response.trailers): scripted apps, no sockets."""

from __future__ import annotations

import pytest

from appserver.asgi import Message
from stack.clock import settle
from stack.errors import HopError
from tests.appserver.test_asgi import START, Ask, ask, body, pieces, script, tasks

__all__ = ["ask", "tasks"]  # fixtures

TRAILERS = {"type": "http.response.trailers", "headers": [(b"Grpc-Status", b"0")]}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param([body(b"whole")], id="whole"),
        pytest.param([body(b"who", True), body(b"le")], id="pieces"),
        pytest.param([body(b"whole", True), body()], id="empty-end"),
    ],
)
async def test_trailers_follow_the_content(ask: Ask, content: list[Message]) -> None:
    """ASGI's extension http.response.trailers."""
    more = {"type": "http.response.trailers", "headers": [(b"x-first", b"1")], "more_trailers": True}
    answer = await ask(script({**START, "trailers": True}, *content, more, TRAILERS))
    assert b"".join(await pieces(answer.body)) == b"whole"
    assert answer.trailers == [(b"x-first", b"1"), (b"grpc-status", b"0")]


async def test_trailers_of_what_has_no_content(ask: Ask) -> None:
    answer = await ask(script({**START, "trailers": True}, body(b"whole"), TRAILERS), method=b"HEAD")
    assert await pieces(answer.body) == []


async def test_trailers_that_were_announced_and_do_not_come_cut_the_response(ask: Ask) -> None:
    answer = await ask(script({**START, "trailers": True}, body(b"whole")))
    with pytest.raises(HopError):
        await pieces(answer.body)


async def test_trailers_that_were_not_announced_are_the_app_s_fault(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    answer = await ask(script(START, body(b"whole"), TRAILERS))
    assert answer.body == b"whole"
    await settle()
    assert "'http.response.trailers' was sent after the response's end" in caplog.text
