"""What of an app's response goes on the wire."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from stack.http.message import Fields

_OURS: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"content-length"}
)
_TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
"""What names are made of (RFC 9110 §5.6.2), once they are lower-cased."""


def response_fields(headers: Iterable[Any]) -> tuple[Fields, int]:
    """The fields, lower-cased, and the declared Content-Length, -1 without one. ValueError where they are not right.

    The connection is the server's: what frames or keeps it is left out (RFC 9110 §7.6.1; ASGI: Transfer-Encoding is
    ignored). The engine refuses CR, LF and NUL.
    """
    fields: Fields = []
    length = -1
    for name, value in headers:
        if type(name) is not bytes or type(value) is not bytes:
            name, value = _bytes(name), _bytes(value)
        name = name.lower()
        if name in _OURS:
            if name != b"content-length":
                continue
            if not value.isdigit():
                raise ValueError(f"Content-Length is {value!r}")
            if length >= 0:
                if length != int(value):
                    raise ValueError("there are two Content-Length fields that differ")  # RFC 9110 §8.6
                continue
            length = int(value)
        fields.append((name, value))
    names = [name for name, _ in fields]
    if b"" in names or b"".join(names).translate(None, _TOKEN):  # `transfer-encoding ` would be read as one by some
        bad = next(name for name in names if not name or name.translate(None, _TOKEN))
        raise ValueError(f"a header is called {bad!r}: that is no field name (RFC 9110 §5.1)")
    return fields, length


def _bytes(part: Any) -> bytes:
    if isinstance(part, bytes | bytearray | memoryview):
        return bytes(part)
    raise ValueError(f"a header is of {type(part).__name__}, not bytes: {part!r}")


def status_code(status: Any) -> int:
    """Of WSGI's `"404 Not Found"`. The phrase goes nowhere: HTTP/2 has none, and clients ignore it (RFC 9112 §4)."""
    if type(status) is not str:
        raise ValueError(f"the status is {status!r}, not a str")
    code = status[:3]
    if not (len(code) == 3 and code.isascii() and code.isdigit() and status[3:4] in ("", " ")):
        raise ValueError(f"the status is {status!r}; it begins with three digits")
    if int(code) < 200:
        raise ValueError(f"the status is {status!r}; an interim response is not the app's to send")
    return int(code)
