"""DNS over HTTPS (RFC 8484): GET ?dns= and POST of a message, as a `Service` on the engine."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Awaitable
from typing import Final
from urllib.parse import parse_qsl

from dns_server.handler import Handler
from dns_server.rules.reply import least_ttl
from stack.errors import BadRequest, ClientError, ContentTooLarge, MethodRefused, NotFound
from stack.http.message import Request, Response
from stack.telemetry.exchange import Exchange

PATH: Final = b"/dns-query"
MESSAGE: Final = b"application/dns-message"
MAX_MESSAGE: Final = 65535
MAX_FIELDS: Final = 16


class NotAMessage(ClientError):
    """The content is something else than a DNS message, or is coded."""

    status, title = 415, "The content is no DNS message"
    fields = ((b"accept", MESSAGE), (b"accept-encoding", b"identity"))  # RFC 9110 §15.5.16


class NoMethod(MethodRefused):
    fields = ((b"allow", b"GET, HEAD, POST"),)


class Doh:
    """Hands messages to the handler of the server. What the answer is, DNS says; the status is 200 for a SERVFAIL too
    (§4.2.1). Nothing is said to scripts of other origins (CORS): pages of the web have no business in this DNS."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    def handle(self, request: Request, exchange: Exchange) -> Response | Awaitable[Response]:
        if request.path != PATH:
            raise NotFound(f"DNS over HTTPS is at {PATH.decode()}")
        if request.method in (b"GET", b"HEAD"):
            return self._answer(_from_query(request), exchange)
        if request.method == b"POST":
            return self._post(request, exchange)
        raise NoMethod("DNS over HTTPS is asked by GET or POST")

    async def _post(self, request: Request, exchange: Exchange) -> Response:
        media_type = (request.get(b"content-type") or b"").partition(b";")[0].strip().lower()
        if media_type != MESSAGE:
            raise NotAMessage(f"The content is to be {MESSAGE.decode()}")
        if (request.get(b"content-encoding") or b"identity").strip().lower() != b"identity":
            raise NotAMessage("The content is to have no coding")
        response = self._answer(await _content(request), exchange)
        return response if isinstance(response, Response) else await response

    def _answer(self, message: bytes, exchange: Exchange) -> Response | Awaitable[Response]:
        found = self._handler.answer(message, exchange.client, "https", exchange)
        if found is None:
            raise BadRequest("The message is no DNS query")
        if isinstance(found, bytes):
            return _response(found)
        assert not isinstance(found, AsyncIterator)  # transfers are for streams of messages
        return _later(found)


async def _later(found: Awaitable[bytes | None]) -> Response:
    message = await found
    if message is None:
        raise BadRequest("The message is no DNS query")
    return _response(message)


def _response(message: bytes) -> Response:
    # RFC 8484 §5.1: fresh no longer than the shortest TTL; an error or an answer without TTL is not to be kept at all
    ttl = least_ttl(message)
    freshness = b"max-age=%d" % ttl if ttl else b"no-store"
    return Response(200, [(b"content-type", MESSAGE), (b"cache-control", freshness)], message)


def _from_query(request: Request) -> bytes:
    """§4.1: base64url without padding, once."""
    try:
        fields = parse_qsl((request.query or b"").decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise BadRequest(f"The query has more than {MAX_FIELDS} fields") from None
    values = [value for name, value in fields if name == "dns"]
    if len(values) != 1:
        raise BadRequest("The query wants one message, as ?dns= in base64url")
    text = values[0].encode("latin-1")
    try:
        if b"=" in text or b"+" in text or b"/" in text:
            raise binascii.Error
        message = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise BadRequest("?dns= is not base64url without padding") from None
    if not message:
        raise BadRequest("?dns= is empty")
    return message


async def _content(request: Request) -> bytes:
    body = request.body
    if isinstance(body, bytes):
        content = body
    else:
        chunks = bytearray()
        async for chunk in body:
            chunks += chunk
            if len(chunks) > MAX_MESSAGE:
                raise ContentTooLarge(f"A DNS message has at most {MAX_MESSAGE} octets")
        content = bytes(chunks)
    if len(content) > MAX_MESSAGE:
        raise ContentTooLarge(f"A DNS message has at most {MAX_MESSAGE} octets")
    return content
