"""The request line of RFC 9112 §3: what is one, what may become one, and what else is sent to a port."""

from __future__ import annotations

import re
from typing import Final

from stack.errors import BadRequest, HeadTooLarge, HopError, TargetTooLong

MAX_METHOD: Final = 64
"""Bytes of a method; the longest registered one has 17."""

_TCHAR = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_TARGET = rb"[\x21\x22\x24-\x7e]"
"""Printable ASCII but `#`: RFC 3986 allows less, and browsers send all of it."""
request_line = re.compile(rb"(%b{1,%d}) (%b+) HTTP/(\d)\.(\d)" % (_TCHAR, MAX_METHOD, _TARGET)).fullmatch
"""Method, target and the two digits of the version; None for what is no request line."""
_WITHOUT_VERSION = re.compile(rb"%b+ %b+" % (_TCHAR, _TARGET))
_BEGUN = re.compile(rb"%b{1,%d}(?: (?:%b+(?: [HTP/0-9.]{0,8}\r?)?)?)?" % (_TCHAR, MAX_METHOD, _TARGET))
_BARE = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)|\0")
_METHOD = re.compile(_TCHAR + rb"+")
_BEGINNING: Final = 256
"""Bytes of an unfinished line that are looked at each time that more of it comes."""

_FOREIGN: Final = (
    # beginnings of what is sent to a wrong port, and what to say of it
    (b"\x16\x03", "This is a TLS handshake, and the port speaks HTTP in the clear."),
    (b"SSH-", "This is SSH; the port speaks HTTP."),
    (b"PROXY ", "This is the PROXY protocol, which is not expected here."),
)


def origin_form(target: bytes) -> bool:
    """Whether a target that begins with `/` can be passed on (its bytes are those of `request_line`).

    A `\\` in the path is no URI (RFC 3986 §3.3), and some take it for `/`; `%00` in the path ends it for some.
    """
    if b"\\" not in target and b"%00" not in target:
        return True
    path = target.partition(b"?")[0]
    return b"\\" not in path and b"%00" not in path


def unfinished(data: bytes, seen: int = 0) -> HopError | None:
    """`data` begins a head that has not ended: why nothing can come of it, or None.

    A client that speaks something else often waits for an answer to its first line. `seen` bytes were found good
    before: a head that comes byte by byte is not looked at as often as it has bytes.
    """
    start = seen - 1 if seen and len(data) >= _BEGINNING else 0
    end = data.find(b"\r\n", start)
    if end < 0:
        if not start:
            return bad_request_line(data) if _BEGUN.fullmatch(data) is None else None
    elif end + 2 > seen and data.find(b"\r\n") == end and request_line(data[:end]) is None:
        return bad_request_line(data[:end])
    if _BARE.search(data, max(0, seen - 1)):
        return BadRequest("A line does not end with CR LF, or holds a NUL.")  # RFC 9112 §2.2
    return None


def too_large(data: bytes, limit: int, max_target: int) -> HopError:
    """`data` begins a head of more than `limit` bytes: whether the target is to blame (RFC 9112 §3: 414)."""
    line = data[: limit + 2].partition(b"\r\n")[0]
    method, space, rest = line.partition(b" ")
    if space and _METHOD.fullmatch(method) and len(rest.partition(b" ")[0]) > max_target:
        return TargetTooLong(f"The target has more than {max_target} bytes.")
    return HeadTooLarge(f"The head has more than {limit} bytes.")


def bad_request_line(line: bytes) -> HopError:
    """What is wrong with a line that is no request line."""
    for beginning, text in _FOREIGN:
        if line.startswith(beginning):
            return BadRequest(text)
    if (method := _METHOD.match(line)) is not None and method.end() > MAX_METHOD:
        # RFC 9112 §3: longer than any that is implemented
        return HopError(f"A method of more than {MAX_METHOD} bytes is not served here.", status=501)
    if _WITHOUT_VERSION.fullmatch(line):
        return BadRequest("The request line has no version; HTTP/0.9 is not spoken here.")
    return BadRequest("The request line is not `METHOD TARGET HTTP/1.1`.")
