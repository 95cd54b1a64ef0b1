"""The WSGI environ of one request (PEP 3333, "environ Variables"; RFC 3875 §4.1)."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote_to_bytes

from appserver.rules.scope import forwarded_scheme
from stack.http.message import Request

Environ = dict[str, Any]

_PROTOCOLS: Final = {b"1.0": "HTTP/1.0", b"1.1": "HTTP/1.1", b"2": "HTTP/2.0"}
_PORTS: Final = {"http": "80", "https": "443"}


def environ(request: Request, client: str, *, root_path: str) -> Environ:
    """All but what is an object of the server. `client` is the address that trusted peers vouch for.

    Text is bytes decoded as Latin-1 (PEP 3333, "Unicode Issues"): an app that wants UTF-8 encodes and decodes again.
    """
    raw_path, _, query = request.target.partition(b"?")
    peer = request.peer
    scheme = request.scheme
    if peer is not None and peer.trusted:
        scheme = forwarded_scheme(request.fields, client) or scheme
    url_scheme = "https" if scheme == b"https" else "http"
    authority = request.authority.decode("latin-1")
    if authority:
        name, port = _split(authority)
    else:  # HTTP/1.0 without Host: where the connection ended
        name, port = (peer.local[0], str(peer.local[1])) if peer is not None else ("", "")
    found: Environ = {
        "REQUEST_METHOD": request.method.decode("latin-1"),
        "SCRIPT_NAME": root_path.encode().decode("latin-1"),
        # `*` (RFC 9110 §7.1) is no path
        "PATH_INFO": unquote_to_bytes(raw_path).decode("latin-1") if raw_path.startswith(b"/") else "",
        "QUERY_STRING": query.decode("latin-1"),
        "REQUEST_URI": request.target.decode("latin-1"),
        "SERVER_NAME": name or "localhost",
        "SERVER_PORT": port or _PORTS[url_scheme],
        "SERVER_PROTOCOL": _PROTOCOLS.get(request.version, "HTTP/1.1"),
        "REMOTE_ADDR": client,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": url_scheme,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,  # reading ends at the content's end, also without Content-Length
    }
    if peer is not None and client == peer.address:  # what is forwarded names an address without a port
        found["REMOTE_PORT"] = str(peer.port)
    _add_fields(found, request)
    return found


def _add_fields(found: Environ, request: Request) -> None:
    if request.authority:
        found["HTTP_HOST"] = request.authority.decode("latin-1")
    for name, value in request.fields:
        if name == b"content-type":
            found["CONTENT_TYPE"] = value.decode("latin-1")
        elif name == b"content-length":
            found["CONTENT_LENGTH"] = value.decode("latin-1")
        elif b"_" not in name and name != b"proxy":
            # X_Forwarded_For would pass for X-Forwarded-For; HTTP_PROXY is a setting of many clients (CVE-2016-5385)
            key = "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
            text = value.decode("latin-1")
            if key in found:
                # RFC 9110 §5.3; RFC 9113 §8.2.3 for the crumbs of a cookie
                text = found[key] + ("; " if name == b"cookie" else ", ") + text
            found[key] = text
    if "CONTENT_LENGTH" not in found and isinstance(request.body, bytes) and request.body:
        found["CONTENT_LENGTH"] = str(len(request.body))


def _split(authority: str) -> tuple[str, str]:
    """Host and port; an IPv6 address without its brackets. The port is empty where none is given."""
    host, colon, port = authority.rpartition(":")
    if not colon or "]" in port:
        host, port = authority, ""
    return host.removeprefix("[").removesuffix("]"), port
