"""WebSocket's handshake as an app server answers it: scope, subprotocols, permessage-deflate (RFC 6455, RFC 7692)."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from appserver.rules.outgoing import response_fields
from appserver.rules.scope import Scope
from stack.http.fields import split_list, tokens
from stack.http.message import Fields, Request, combined

VERSION: Final = b"13"
WINDOW: Final = 12
"""Bits of the windows that are agreed on where we may choose: 4 KiB of history take 110 KiB less than 32 do."""
_BITS = re.compile(rb"[89]|1[0-5]")
_FLAGS: Final = frozenset({b"server_no_context_takeover", b"client_no_context_takeover"})
_WINDOWS: Final = frozenset({b"server_max_window_bits", b"client_max_window_bits"})


def websocket_scope(http: Scope, request: Request) -> Scope:
    """Of the scope that the request would have had (ASGI, "WebSocket Connection Scope")."""
    http["type"] = "websocket"
    http["scheme"] = "wss" if http["scheme"] == "https" else "ws"
    del http["method"]
    offered = combined(request.fields, b"sec-websocket-protocol")
    http["subprotocols"] = [name.decode("latin-1") for name in split_list(offered or b"")]
    http["extensions"] = {"websocket.http.response": {}}
    return http


def right_version(request: Request) -> bool:
    """RFC 6455 §4.2.1: 13 is the only one."""
    return [value for name, value in request.fields if name == b"sec-websocket-version"] == [VERSION]


def accept_fields(headers: Any, subprotocol: Any) -> Fields:
    """What the app adds to the 101. ValueError for what only the server may say."""
    fields, length = response_fields(headers)
    for name, _ in fields:
        if name.startswith(b"sec-websocket-"):
            raise ValueError(f"websocket.accept has the header {name.decode()}; `subprotocol` says which one is spoken")
    if length >= 0:
        fields = [field for field in fields if field[0] != b"content-length"]
    if subprotocol is not None:
        wire = str(subprotocol).encode("ascii", "replace")
        if tokens(wire) != [wire.lower()]:
            raise ValueError(f"websocket.accept has the subprotocol {subprotocol!r}: that is no token")
        fields.append((b"sec-websocket-protocol", wire))
    return fields


class Agreed(NamedTuple):
    """permessage-deflate as it will be spoken (RFC 7692 §7.1)."""

    server_bits: int
    client_bits: int
    server_forgets: bool
    client_forgets: bool
    field: bytes
    """The value of Sec-WebSocket-Extensions."""


def deflate(request: Request) -> Agreed | None:
    """The first offer that can be taken; None: messages go as they are."""
    for offer in split_list(combined(request.fields, b"sec-websocket-extensions") or b""):
        if (agreed := _agree(offer)) is not None:
            return agreed
    return None


def _agree(offer: bytes) -> Agreed | None:
    """RFC 7692 §7.1: an offer with a parameter that is unknown, repeated or of no such value is declined."""
    name, *parts = [part.strip(b" \t") for part in offer.split(b";")]
    if name.lower() != b"permessage-deflate":
        return None
    params: dict[bytes, bytes | None] = {}
    for part in parts:
        key, mark, value = part.partition(b"=")
        value = value.strip(b' \t"')
        key = key.strip(b" \t").lower()
        if key in params or (key not in _FLAGS and key not in _WINDOWS) or (key in _FLAGS and mark):
            return None
        if key in _WINDOWS and mark and not _BITS.fullmatch(value):
            return None
        params[key] = value if mark else None
    if b"server_max_window_bits" in params and params[b"server_max_window_bits"] is None:
        return None
    server = min(WINDOW, int(params.get(b"server_max_window_bits") or WINDOW))
    client = 15
    if b"client_max_window_bits" in params:
        client = min(WINDOW, int(params[b"client_max_window_bits"] or WINDOW))
    if min(server, client) < 9:
        return None  # zlib knows no raw window of 8 bits
    said = [b"permessage-deflate", *(flag for flag in sorted(_FLAGS) if flag in params)]
    said.append(b"server_max_window_bits=%d" % server)
    if b"client_max_window_bits" in params:
        said.append(b"client_max_window_bits=%d" % client)
    server_forgets, client_forgets = (b"%b_no_context_takeover" % side in params for side in (b"server", b"client"))
    return Agreed(server, client, server_forgets, client_forgets, b"; ".join(said))
