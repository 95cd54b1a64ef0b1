"""Targets in absolute form: whose word about the scheme is taken (RFC 9110 §7.4)."""

from __future__ import annotations

import asyncio
import ssl

import pytest
import trustme

from stack.http.message import Request, Response
from stack.telemetry.exchange import Exchange
from tests.support.wire import serving, statuses, talk


def hello(request: Request, exchange: Exchange) -> Response:
    return Response(200, [], b"hello")


@pytest.mark.parametrize(("trusted", "status", "scheme"), [((), 421, b""), (("127.0.0.0/8",), 200, b"https")])
async def test_only_a_trusted_peer_chooses_the_scheme(trusted: tuple[str, ...], status: int, scheme: bytes) -> None:
    seen: list[bytes] = []

    def handler(request: Request, exchange: Exchange) -> Response:
        seen.append(request.scheme)
        return Response(200, [])

    async with serving(handler, trusted=trusted) as (service, _):
        answer = await talk(service.port, b"GET https://a.test/x HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert statuses(answer) == [status]
    assert seen == ([scheme] if scheme else [])


async def test_http_over_tls_is_misdirected() -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    async with serving(hello, tls=context) as (service, _):
        for scheme, status in ((b"http", b"421"), (b"https", b"200")):
            reader, writer = await asyncio.open_connection("127.0.0.1", service.port, ssl=client)
            writer.write(b"GET " + scheme + b"://a.test/x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 " + status)
            writer.close()
