"""A limit of HTTP/1.1 is the same to the byte however the message comes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stack.config.base import Limits
from stack.http.chunked import MAX_LINE, MAX_TRAILERS, Chunked
from stack.http.field_lines import FieldParser
from stack.http.message import Request, Response
from stack.http.request_line import MAX_METHOD
from stack.telemetry.exchange import Exchange
from tests.support.wire import serving, statuses, talk

LIMITS = Limits(head=2048, target=500, fields=20)
HOST = b"Host: a\r\nConnection: close\r\n"
CHUNKED = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n5"


async def echo(request: Request, exchange: Exchange) -> Response:
    body = request.body if isinstance(request.body, bytes) else b"".join([piece async for piece in request.body])
    return Response(200, [], body)


def head(size: int) -> bytes:
    """`size` without the empty line that ends it."""
    start = b"GET / HTTP/1.1\r\n" + HOST + b"X: "
    return start + b"a" * (size - len(start)) + b"\r\n\r\n"


def target(size: int) -> bytes:
    return b"GET /" + b"a" * (size - 1) + b" HTTP/1.1\r\n" + HOST + b"\r\n"


def fields(count: int) -> bytes:
    return b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n" * (count - 2) + b"\r\n"


def method(size: int) -> bytes:
    return b"M" * size + b" / HTTP/1.1\r\n" + HOST + b"\r\n"


def extension(size: int) -> bytes:
    return CHUNKED + b";a=" + b"b" * (size - 3) + b"\r\nhello\r\n0\r\n\r\n"


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
@pytest.mark.parametrize("above", range(-3, 5))
@pytest.mark.parametrize(
    ("build", "most", "status"),
    [
        pytest.param(head, LIMITS.head, 431, id="6585-5-head"),
        pytest.param(target, LIMITS.target, 414, id="9112-3-target"),
        pytest.param(fields, LIMITS.fields, 431, id="6585-5-fields"),
        pytest.param(method, MAX_METHOD, 501, id="9112-3-method"),
        pytest.param(extension, MAX_LINE, 400, id="9112-7.1.1-extension"),
    ],
)
async def test_the_most_is_taken_and_no_more(
    build: Callable[[int], bytes], most: int, status: int, above: int, bytewise: bool
) -> None:
    async with serving(echo, limits=LIMITS) as (service, _):
        answer = await talk(service.port, build(most + above), bytewise=bytewise, half_close=False)
    assert statuses(answer) == [status if above > 0 else 200]


@pytest.mark.parametrize("above", [0, 1])
@pytest.mark.parametrize("late", range(8))
def test_the_end_of_a_trailer_section_may_come_late(above: int, late: int) -> None:
    data = b"0\r\nX: " + b"a" * (MAX_TRAILERS + above - 3) + b"\r\n\r\n"
    chunked = Chunked(FieldParser())

    def feed() -> None:
        for part in (data[: len(data) - late], data[len(data) - late :]):
            if part:
                chunked.feed(part)

    if above:
        with pytest.raises(ValueError, match="too large"):
            feed()
    else:
        feed()
        assert chunked.done
