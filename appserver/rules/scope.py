"""The ASGI scope of one request (ASGI HTTP 2.4, "HTTP Connection Scope")."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from stack.http.fields import split_list, split_params
from stack.http.forwarding import MISLEADING
from stack.http.message import Fields, Request, combined
from stack.http.trust import node_address

Scope = MutableMapping[str, Any]

ASGI: Final = {"version": "3.0", "spec_version": "2.4"}
"""2.4: `send` raises OSError once the client has gone."""

_SCHEMES: Final = {b"http": "http", b"https": "https"}
_METHODS: Final = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")}
_VERSIONS: Final = {b"1.1": "1.1", b"1.0": "1.0", b"2": "2"}


def http_scope(request: Request, client: str, *, root_path: str, raw_root: bytes, state: dict[str, Any]) -> Scope:
    """`client` is the address that trusted peers vouch for; `raw_root` is `root_path`, percent-encoded.

    `path` includes `root_path`, `raw_path` is as it came; both are without the query.
    """
    raw_path, _, query = request.target.partition(b"?")
    peer = request.peer
    if peer is None:
        address, server, scheme = None, None, request.scheme
    else:
        server = peer.local
        scheme = forwarded_scheme(request.fields, client) or request.scheme if peer.trusted else request.scheme
        # What is forwarded names an address without a port: 0 then.
        address = (client, peer.port if client == peer.address else 0)
    headers = [field for field in request.fields if field[0] not in MISLEADING]
    if request.authority:
        headers.insert(0, (b"host", request.authority))
    path = raw_path.decode("ascii") if b"%" not in raw_path and raw_path.isascii() else decoded(raw_path)
    if root_path:
        path, raw_path = root_path + path, raw_root + raw_path
    return {
        "type": "http",
        "asgi": ASGI,
        "http_version": _VERSIONS[request.version],
        "method": _METHODS.get(request.method) or request.method.decode("ascii"),
        "scheme": _SCHEMES.get(scheme, "http"),
        "path": path,
        "raw_path": raw_path,
        "query_string": query,
        "root_path": root_path,
        "headers": headers,
        "client": address,
        "server": server,
        "state": state.copy(),
        "extensions": {"http.response.trailers": {}},
    }


def decoded(raw_path: bytes) -> str:
    """Percent-decoded, read as UTF-8; what is not UTF-8 becomes U+FFFD and stays in `raw_path`."""
    return unquote_to_bytes(raw_path).decode("utf-8", "replace")


def forwarded_scheme(fields: Fields, client: str) -> bytes | None:
    """The client's scheme as a trusted peer tells it: X-Forwarded-Proto, else Forwarded (RFC 7239 §5.4).

    Of several values of the first the last counts: the trusted peer wrote it. Of the second, the nearest element
    about `client` counts.
    """
    proto = combined(fields, b"x-forwarded-proto")
    if proto is not None:
        last = proto.rpartition(b",")[2].strip(b" \t").lower()
        return last if last in _SCHEMES else None
    forwarded = combined(fields, b"forwarded")
    if forwarded is not None:
        for element in reversed(split_list(forwarded)):
            params = split_params(element)
            if node_address(params.get(b"for", b"")) == client:
                proto = params.get(b"proto", b"").lower()
                return proto if proto in _SCHEMES else None
    return None
