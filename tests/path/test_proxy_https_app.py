"""An app behind https is verified: by its authority it is reached, by another one it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack.http.message import Request, Response
from stack.net import ca
from stack.net.tls import server_context
from stack.telemetry.exchange import Exchange
from tests.proxy.processes import proxy
from tests.support.wire import serving

pytestmark = pytest.mark.needs("curl")


def app(request: Request, exchange: Exchange) -> Response:
    return Response(200, [(b"content-type", b"text/plain")], request.scheme)


async def test_the_app_is_verified(tmp_path: Path) -> None:
    home, theirs = tmp_path / "home", tmp_path / "theirs"
    for directory in (home, theirs):
        directory.mkdir()
        ca.ensure(directory)
    context = server_context(*ca.issue(theirs, "app-1", ["localhost"], ["127.0.0.1"]))
    async with serving(app, tls=context) as (service, _):
        right = ("--upstream-ca", str(ca.ca_path(theirs)))
        async with proxy(service.port, *right, home=home, scheme="https") as front:
            assert (await front.curl("/")).body == b"https"
        wrong = ("--upstream-ca", str(ca.ca_path(home)))
        async with proxy(service.port, *wrong, home=home, scheme="https", ready=False) as front:
            reply = await front.curl("/")
            assert reply.status == 502
            assert reply.fields["proxy-status"].startswith("proxy-1;error=tls_certificate_error")
