"""The HTTP/1.1 messages of RFC 9112: heads in and out, and how their content is delimited. Bytes in, values out.

The start line is one pattern, field lines are read in `field_lines`; framing is decided here.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from operator import itemgetter
from typing import Final

from stack.errors import (
    BadRequest,
    HeadTooLarge,
    HopError,
    MethodRefused,
    Misdirected,
    ResponseMalformed,
    TargetTooLong,
)
from stack.http.field_lines import FRAMING, FieldParser
from stack.http.fields import COMMON_NAMES, TOKEN, split_list, tokens
from stack.http.forwarding import STAYS_BEHIND
from stack.http.message import IDEMPOTENT, Field, FieldBlock, Fields, Request, Response, combined
from stack.http.reason import PHRASES
from stack.http.request_line import bad_request_line, origin_form, request_line

CLOSE: Final = -1
CHUNKED: Final = -2
"""Framing: these two, or the content's length in bytes."""

MAX_LENGTH: Final = 2**62

_status_line = re.compile(rb"HTTP/1\.(\d) (\d{3})(?: ([\t \x21-\x7e\x80-\xff]*))?").fullmatch
_ABSOLUTE = re.compile(rb"([A-Za-z][A-Za-z0-9+.\-]*)://([^/?#]*)([^#]*)")
_AUTHORITY = re.compile(
    # RFC 3986 §3.2.2 reg-name, IPv4 or bracketed IP literal, and an optional port; RFC 9110 §4.2.4: no userinfo
    rb"(?:(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+"
    rb"|\[(?:([0-9A-Fa-f:.]+)|[Vv][0-9A-Fa-f]+\.[A-Za-z0-9\-._~!$&'()*+,;=:]+)\])(?::([0-9]*))?"
)

_REFUSED: Final = frozenset({b"CONNECT", b"TRACE"})
_KEEP_ALIVE: Final = (b"keep-alive", b"Keep-Alive")
"""Connection as nearly all write it."""
_NONE: Final[frozenset[bytes]] = frozenset()
_NEVER_NOMINATED: Final = FRAMING | {
    b"close", b"http2-settings", b"keep-alive", b"proxy-connection", b"te", b"upgrade", b"via"
}  # fmt: skip
"""Connection options, and fields that `stack.http.forwarding` looks after."""

_VISIBLE: Final = bytes(range(0x21, 0x7F))
_line = b": ".join
_name = itemgetter(0)
STATUS_LINES: Final = {status: b"HTTP/1.1 %d %b\r\n" % (status, phrase.encode()) for status, phrase in PHRASES.items()}
_STATUSES: Final = {line[:-2]: status for status, line in STATUS_LINES.items()}


class RequestHead(Request):
    """A request whose head is all that is known of it; `scheme` is empty where the target does not give one.

    `framing` is CHUNKED or a length; a request never runs to the close. `asks_upgrade`: Connection names Upgrade
    (RFC 9110 §7.8), and this is not HTTP/1.0.
    """

    __slots__ = ("asks_upgrade", "expects_continue", "framing", "keep_alive")

    def __init__(self, method: bytes, target: bytes, version: bytes, fields: Fields) -> None:
        # not through the other `__init__`: one is made for every request
        self.method, self.target, self.version, self.fields = method, target, version, fields
        self.authority = self.scheme = self.body = b""
        self.peer = self.interim = self.upgrade = self.noted = None
        self.trailers = []
        self.framing = 0
        self.keep_alive = version == b"1.1"
        self.expects_continue = self.asks_upgrade = False


def parse_request(parser: FieldParser, head: bytes, *, max_target: int, max_fields: int) -> RequestHead:
    """`head` runs from the request line to the empty line. Raises a ClientError, or a HopError 501 or 505."""
    lines = head[:-4].split(b"\r\n")
    line = request_line(lines.pop(0))
    if line is None:
        raise bad_request_line(head.partition(b"\r\n")[0])
    method, target, major, minor = line.groups()
    if major != b"1":
        raise HopError("Only HTTP/1.0, HTTP/1.1 and HTTP/2 are spoken here.", status=505)
    if len(target) > max_target:
        raise TargetTooLong(f"The target has {len(target)} bytes; at most {max_target} are taken.")
    if len(lines) > max_fields:
        raise HeadTooLarge(f"The request has {len(lines)} fields; at most {max_fields} are taken.")
    try:
        fields = parser.parse(lines)
    except ValueError as error:
        raise BadRequest(f"The header fields are not well-formed: {error}.") from None
    version = b"1.0" if minor == b"0" else b"1.1"
    found = RequestHead(method, target, version, fields)
    host: bytes | None = None
    length: bytes | None = None
    coding: bytes | None = None
    found.noted = parser.noted
    nominated = _NONE
    for name, value in found.noted:
        if name not in FRAMING:
            continue
        if name == b"host":
            if host is not None:
                raise BadRequest("The request has two Host fields.")  # RFC 9112 §3.2
            host = value
        elif name == b"content-length":
            if length is not None:  # RFC 9112 §6.3 item 5: also two that agree may be refused
                raise BadRequest("The request has two lengths.")
            length = value
        elif name == b"transfer-encoding":
            coding = value if coding is None else coding + b", " + value
        elif name == b"connection":
            nominated |= _persistence(found, value, found.noted)
        elif name == b"expect":
            if value.lower() != b"100-continue":
                raise HopError("Only Expect: 100-continue can be met.", status=417)
            found.expects_continue = True
    if host is not None:
        fields.remove((b"host", host))
    if host is None or host != parser.authority or target[0] != 0x2F or method in _REFUSED or not origin_form(target):
        _request_target(found, host, parser)
    else:
        found.authority = host  # as nearly all are: a path, on a host that was looked at before
    if coding is not None:
        found.fields = [field for field in fields if field[0] != b"transfer-encoding"]
    if coding is not None or length is not None:
        found.framing = _request_framing(version, length, coding)
    if nominated:
        # RFC 9110 §7.6.1: of this connection alone, so nothing that reads on may take it for the request's
        found.fields = [field for field in found.fields if field[0] not in nominated]
        found.noted = [field for field in found.noted if field[0] not in nominated]
    if found.expects_continue and (version == b"1.0" or not found.framing):
        # RFC 9110 §10.1.1: in 1.0 it is ignored, and without content nobody may send it
        found.expects_continue = False
        found.fields = [field for field in found.fields if field[0] != b"expect"]
    return found


def _request_target(head: RequestHead, host: bytes | None, parser: FieldParser) -> None:
    """RFC 9112 §3.2: the four forms of a target, and Host."""
    if host is None:
        if head.version == b"1.1":
            raise BadRequest("An HTTP/1.1 request needs a Host field.")
        host = b""
    elif host and host != parser.authority:
        if not valid_authority(host):
            raise BadRequest("The Host field is not a host and an optional port.")
        parser.authority = host
    head.authority = host
    target = head.target
    if head.method in _REFUSED:
        if head.method == b"TRACE":
            raise MethodRefused("TRACE is not served here.")  # it would show what the hops before this one have added
        raise HopError("CONNECT is not served here.", status=501)
    if target[0] == 0x2F:
        if not origin_form(target):
            raise BadRequest("The target's path holds what is no part of a path.")
        return
    if target == b"*" and head.method == b"OPTIONS":
        return
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None or absolute[1].lower() not in (b"http", b"https"):
        raise BadRequest("The target is neither a path nor an http(s) URL.")
    if not valid_authority(absolute[2]):
        raise BadRequest("The target's authority is not a host and an optional port.")
    head.scheme, head.authority = absolute[1].lower(), absolute[2]
    if parser.scheme is not None and head.scheme != parser.scheme:
        # RFC 9110 §7.4: https only over a connection that is secured for it; and http over such a one would let a
        # client choose what the next hops, and a cache, take for its scheme
        raise Misdirected(f"The target is {head.scheme.decode()}, and this connection is {parser.scheme.decode()}.")
    rest = absolute[3]
    if not rest and head.method == b"OPTIONS":
        head.target = b"*"  # RFC 9112 §3.2.4: of the server as a whole
        return
    head.target = rest if rest.startswith(b"/") else b"/" + rest
    if not origin_form(head.target):
        raise BadRequest("The target's path holds what is no part of a path.")


def valid_authority(value: bytes) -> bool:
    """A host and an optional port of at most 65535, without userinfo (RFC 9110 §4.2)."""
    found = _AUTHORITY.fullmatch(value)
    if found is None:
        return False
    address, port = found.groups(b"")
    if len(digits := port.lstrip(b"0")) > 5 or int(digits or b"0") > 65535:
        return False
    return not address or _is_ipv6(address)


def _is_ipv6(address: bytes) -> bool:
    try:
        IPv6Address(address.decode("ascii"))
    except ValueError:
        return False
    return True


def _request_framing(version: bytes, length: bytes | None, coding: bytes | None) -> int:
    """RFC 9112 §6.3 for requests."""
    if coding is not None:
        if version == b"1.0":
            raise BadRequest("Transfer-Encoding has no place in HTTP/1.0.")  # §6.1
        if length is not None:
            raise BadRequest("The request has both Content-Length and Transfer-Encoding.")  # §6.3, smuggling
        codings = coding.lower()
        if codings == b"chunked":
            return CHUNKED
        names = split_list(codings)
        if names.count(b"chunked") == 1 and names[-1] == b"chunked":
            raise HopError("Only the transfer coding chunked is known here.", status=501)
        raise BadRequest("The transfer coding does not end with chunked.")
    return 0 if length is None else content_length(length, BadRequest)


def content_length(value: bytes, error: type[HopError]) -> int:
    """Digits only: a list, even of one number repeated, may be refused (RFC 9112 §6.3 item 5) and is."""
    if not value.isdigit() or len(value) > 19 or (number := int(value)) > MAX_LENGTH:
        raise error("Content-Length is not a length.")
    return number


def measures(length: bytes, size: int) -> bool:
    """Whether a Content-Length says that there are `size` bytes."""
    return length.isdigit() and len(length) <= 19 and int(length) == size


class ResponseHead(Response):
    """A response whose head is all that is known of it. `framing` is CHUNKED, CLOSE or a length."""

    __slots__ = ("framing", "keep_alive")

    def __init__(self, status: int, version: bytes, fields: Fields) -> None:
        # not through the other `__init__`: one is made for every response
        self.status, self.version, self.fields = status, version, fields
        self.body = b""
        self.trailers = []
        self.block = None
        self.plain = False
        self.framing = 0
        self.keep_alive = version == b"1.1"


def parse_response(parser: FieldParser, head: bytes, *, method: bytes, max_fields: int = 1000) -> ResponseHead:
    """`head` runs from the status line to the empty line. Raises ResponseMalformed."""
    lines = head[:-4].split(b"\r\n")
    first = lines.pop(0)
    minor = b"1"
    status = _STATUSES.get(first)  # as nearly all are written
    if status is None:
        line = _status_line(first)
        if line is None:
            raise ResponseMalformed(private=f"status line {head[:60]!r}")
        minor, digits, _ = line.groups()
        status = int(digits)
        if status < 100:
            raise ResponseMalformed(private=f"status {status}")
    if len(lines) > max_fields:
        raise ResponseMalformed(private=f"{len(lines)} fields")
    try:
        fields = parser.parse(lines)
    except ValueError as error:
        raise ResponseMalformed(private=f"fields: {error}") from None
    found = ResponseHead(status, b"1.0" if minor == b"0" else b"1.1", fields)
    length: bytes | None = None
    coding: bytes | None = None
    plain = True
    for field in parser.noted:
        name, value = field
        if name == b"content-length":
            if length is not None:
                raise ResponseMalformed(private="two lengths")
            length = value
        elif name == b"transfer-encoding":
            coding = value if coding is None else coding + b", " + value
        elif name == b"connection":
            if value in _KEEP_ALIVE:
                fields.remove(field)  # it says nothing of any other field
            else:
                plain = False
            _persistence(found, value, parser.noted)
        elif name in STAYS_BEHIND:
            plain = False
    found.plain = plain
    if coding is not None:
        found.fields = [field for field in fields if field[0] != b"transfer-encoding"]
    if coding is None and length is not None and status == 200 and method != b"HEAD":
        found.framing = content_length(length, ResponseMalformed)
    else:
        found.framing = _response_framing(found, method, length, coding)
    if found.framing == CLOSE:
        found.keep_alive = False
    return found


def _response_framing(head: ResponseHead, method: bytes, length: bytes | None, coding: bytes | None) -> int:
    """RFC 9112 §6.3 for responses."""
    number = None if length is None else content_length(length, ResponseMalformed)
    if method == b"HEAD" or head.status in (204, 304) or head.status < 200:
        return 0
    if coding is not None:
        if length is not None or head.version == b"1.0":
            raise ResponseMalformed(private="Transfer-Encoding with Content-Length or in HTTP/1.0")
        codings = coding.lower()
        if codings == b"chunked":
            return CHUNKED
        if b"chunked" in codings:
            # another coding inside chunked, or something that only looks like it: the content cannot be found
            raise ResponseMalformed(private=f"transfer coding {coding[:60]!r}")
        return CLOSE  # §6.3 item 4: a coding that does not end with chunked is read to the close
    return CLOSE if number is None else number


def _persistence(head: RequestHead | ResponseHead, connection: bytes, noted: Fields) -> frozenset[bytes]:
    """What a Connection field, one of `noted`, says of the connection (RFC 9112 §9.3). Returns the fields it names.

    But those that there is a rule for: they are the connection's in any case, or frame the message.
    """
    if connection in _KEEP_ALIVE and head.version == b"1.1":
        return _NONE
    options = tokens(connection)
    if b"close" in options:
        head.keep_alive = False
    elif head.version == b"1.0" and b"keep-alive" in options:
        head.keep_alive = b"close" not in tokens(combined(noted, b"connection"))  # in whichever line
    if isinstance(head, RequestHead) and head.version == b"1.1" and b"upgrade" in options:
        head.asks_upgrade = True
    return frozenset(options) - _NEVER_NOMINATED


def serialise(fields: list[Field]) -> bytes:
    """Field lines without the empty line. ValueError when one would not be what it says (RFC 9110 §5.1, §5.5)."""
    wire = b"\r\n".join([*map(_line, fields), b""])
    if len(wire) - len(wire.translate(None, b"\r\n\0")) != 2 * len(fields):
        raise ValueError("a field value holds a line break")
    if not COMMON_NAMES.issuperset(map(_name, fields)):
        for name in {*map(_name, fields)} - COMMON_NAMES:
            if TOKEN.fullmatch(name) is None:
                raise ValueError(f"a field is called {name!r}")
    return wire


def response_head(
    status: int, fields: Fields, added: Fields, block: FieldBlock | None = None, framing: bytes = b""
) -> bytes:
    """The whole head; `framing` are field lines that the connection adds. ValueError for what is none."""
    line = STATUS_LINES.get(status)
    if line is None:
        if not 100 <= status <= 999:
            raise ValueError(f"the status is {status}")
        line = b"HTTP/1.1 %d \r\n" % status
    stored = b"" if block is None else block.wire
    return b"".join((line, stored, serialise(fields + added), framing, b"\r\n"))


def request_head(method: bytes, target: bytes, authority: bytes, fields: Fields, framing: bytes = b"") -> bytes:
    """The whole head, Host first (RFC 9110 §7.2). ValueError for what is none: nothing gets out of its place."""
    if method not in IDEMPOTENT and TOKEN.fullmatch(method) is None:
        raise ValueError(f"the method is {method!r}")
    if not target or (target + authority).translate(None, _VISIBLE):
        raise ValueError(f"the target is {target!r} at {authority!r}")
    return b"".join(
        (method, b" ", target, b" HTTP/1.1\r\nhost: ", authority, b"\r\n", serialise(fields), framing, b"\r\n")
    )
