"""A TLS handshake in memory."""

from __future__ import annotations

import contextlib
import ssl
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hands:
    client: ssl.SSLObject
    server: ssl.SSLObject


def shake_hands(
    client: ssl.SSLContext, server: ssl.SSLContext, *, name: str | None = None, session: ssl.SSLSession | None = None
) -> Hands:
    """Raises what either side raises. The client has read the server's tickets when it returns."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=name, session=session)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (ours, theirs):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    with contextlib.suppress(ssl.SSLWantReadError):
        ours.read(1)
    return Hands(ours, theirs)
