"""What the field lists of HTTP/2 may hold, and what they mean (RFC 9113 §8). Checked before anything is forwarded."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from stack.errors import BadRequest, HeadTooLarge, HopError, MethodRefused, TargetTooLong
from stack.http.fields import COMMON_NAMES
from stack.http.h1 import MAX_LENGTH, valid_authority
from stack.http.message import Field, FieldBlock, Fields
from stack.http.request_line import origin_form
from stack.http.trailers import NOT_IN_TRAILERS

OVERHEAD: Final = 32
"""What each field adds to the size of a list besides its bytes (RFC 9113 §6.5.2)."""

CONNECTION_SPECIFIC: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)
"""RFC 9113 §8.2.2."""

NOT_IN_CONNECT: Final = frozenset({b"content-length", b"expect", b"sec-websocket-key", b"sec-websocket-accept"})
"""A tunnel has no content, and over HTTP/2 a WebSocket handshake has no key (RFC 8441 §5)."""

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")  # RFC 9110 §5.1 token, RFC 9113 §8.2: no upper case
_VALUE = re.compile(  # RFC 9110 §5.5: no control characters; RFC 9113 §8.2.1: no white space at either end
    rb"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?"
)
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PATH = re.compile(rb"/[\x21\x22\x24-\x7e]*")  # no space, no control character, no fragment: as in HTTP/1.1
_DIGITS = re.compile(rb"[0-9]{1,19}")
_STATUS = re.compile(rb"[1-9][0-9]{2}")
_SPECIAL: Final = CONNECTION_SPECIFIC | {b"content-length", b"cookie", b"expect", b"host", b"priority", b"te"}


class Malformed(Exception):
    """A stream error of type PROTOCOL_ERROR (RFC 9113 §8.1.1)."""


class RequestHead:
    """A request's field list, taken apart. `length` is what content-length says, None without one."""

    __slots__ = (
        "authority", "expects_continue", "fields", "length", "method", "priority", "protocol", "scheme", "target",
    )  # fmt: skip

    def __init__(self, method: bytes, scheme: bytes, authority: bytes, target: bytes, fields: Fields) -> None:
        self.method = method
        self.scheme = scheme
        self.authority = authority
        self.target = target
        self.fields = fields
        self.length: int | None = None
        self.expects_continue = False
        self.priority: bytes | None = None
        """RFC 9218 §5."""
        self.protocol: bytes | None = None
        """Of an extended CONNECT (RFC 8441 §4)."""


def request_head(received: Fields, *, max_head: int, max_fields: int, max_target: int) -> RequestHead:
    """Raises Malformed for a stream error, and a HopError for what is well-formed and refused (414, 417, 431, 501)."""
    method, scheme, authority, path, protocol, start = _request_pseudo(received)
    fields: Fields = []
    head = RequestHead(method, scheme, authority or b"", path or b"", fields)
    head.protocol = protocol
    host: bytes | None = None
    crumb = -1
    size = 0
    for i in range(start, len(received)):
        name, value = received[i]
        size += len(name) + len(value) + OVERHEAD
        if name not in COMMON_NAMES and not _NAME.fullmatch(name):
            raise Malformed(_bad_name(name))
        if not _VALUE.fullmatch(value):
            raise Malformed(f"the value of {name.decode()} holds what it may not")
        if name not in _SPECIAL:
            fields.append((name, value))
        elif name == b"cookie":
            if crumb >= 0:  # RFC 9113 §8.2.3
                fields[crumb] = (name, fields[crumb][1] + b"; " + value)
            else:
                crumb = len(fields)
                fields.append((name, value))
        elif name == b"host":
            if host is not None:
                raise Malformed("two Host fields")
            host = value
        elif name == b"content-length":
            if head.length is not None:
                raise Malformed("two content-length fields")
            head.length = _length(value)
            fields.append((name, value))
        elif name == b"te":
            if value.lower() != b"trailers":
                raise Malformed("te says more than trailers")
            fields.append((name, value))
        elif name == b"priority":  # a list-valued field (RFC 9110 §5.3)
            head.priority = value if head.priority is None else head.priority + b", " + value
            fields.append((name, value))
        elif name == b"expect":
            head.expects_continue = value.lower() == b"100-continue"
            fields.append((name, value))
            if not head.expects_continue:
                raise HopError("Only Expect: 100-continue can be met.", status=417)
        else:
            raise Malformed(f"the connection-specific field {name.decode()}")
    _target(head, authority, host, path, has_scheme=bool(scheme))
    # RFC 6585 §5: the list is well-formed, and more than is taken
    if len(received) - start > max_fields:
        raise HeadTooLarge(f"The request has {len(received) - start} fields; at most {max_fields} are taken.")
    if size + len(head.target) + len(head.authority) > max_head:
        raise HeadTooLarge(f"The head has more than {max_head} bytes.")
    if len(head.target) > max_target:
        raise TargetTooLong(f"The target has {len(head.target)} bytes; at most {max_target} are taken.")
    return head


def _request_pseudo(received: Fields) -> tuple[bytes, bytes, bytes | None, bytes | None, bytes | None, int]:
    """RFC 9113 §8.3: before all other fields, each once, none but the four; with CONNECT also RFC 8441's."""
    method: bytes | None = None
    scheme: bytes | None = None
    authority: bytes | None = None
    path: bytes | None = None
    protocol: bytes | None = None
    count = 0
    for name, value in received:
        if name[:1] != b":":
            break
        count += 1
        if name == b":method" and method is None:
            method = value
        elif name == b":path" and path is None:
            path = value
        elif name == b":scheme" and scheme is None:
            scheme = value
        elif name == b":authority" and authority is None:
            authority = value
        elif name == b":protocol" and protocol is None:
            protocol = value
        else:
            raise Malformed("a pseudo-field that is unknown or repeated")
    if method is None or not _TOKEN.fullmatch(method):
        raise Malformed("no :method, or one that is not a token")
    if protocol is not None and (method != b"CONNECT" or not _TOKEN.fullmatch(protocol)):
        raise Malformed(":protocol without CONNECT, or one that is not a token")
    return method, scheme or b"", authority, path, protocol, count


def _target(
    head: RequestHead, authority: bytes | None, host: bytes | None, path: bytes | None, *, has_scheme: bool
) -> None:
    """RFC 9113 §8.3.1 and, for CONNECT, §8.5."""
    if authority is not None and not valid_authority(authority):
        raise Malformed(":authority is not a host and an optional port")
    if host is not None:
        if not valid_authority(host):
            raise Malformed("Host is not a host and an optional port")
        if authority is not None and host.lower() != authority.lower():
            raise Malformed(":authority and Host differ")
        head.authority = authority or host
    if head.method == b"CONNECT" and head.protocol is None:
        if has_scheme or path is not None or not authority:
            raise Malformed("CONNECT with :scheme or :path, or without :authority")
        raise HopError("CONNECT is not served here.", status=501)
    if head.method == b"TRACE":
        raise MethodRefused("TRACE is not served here.")
    if head.scheme not in (b"http", b"https"):
        raise Malformed("no :scheme, or neither http nor https")
    if not head.authority:
        raise Malformed("neither :authority nor Host")
    if path is None:
        raise Malformed("no :path")
    if not _PATH.fullmatch(path) and not (path == b"*" and head.method == b"OPTIONS"):
        raise Malformed(":path is not a path")
    if not origin_form(path):
        # well-formed for HTTP/2, so it gets an answer: the one of HTTP/1.1
        raise BadRequest("The target's path holds what is no part of a path.")


class ResponseHead:
    """A response's field list, taken apart."""

    __slots__ = ("fields", "length", "status")

    def __init__(self, status: int, fields: Fields, length: int | None) -> None:
        self.status = status
        self.fields = fields
        self.length = length


def response_status(received: Fields) -> int:
    """The value of `:status`, which must come first. Raises Malformed."""
    if not received or received[0][0] != b":status" or not _STATUS.fullmatch(received[0][1]):
        raise Malformed("no :status in front, or not one")
    status = int(received[0][1])
    if status == 101:
        raise Malformed("101 has no meaning in HTTP/2")  # RFC 9113 §8.6
    return status


def response_head(received: Fields, *, max_fields: int = 1000) -> ResponseHead:
    """RFC 9113 §8.3.2. Raises Malformed."""
    status = response_status(received)
    fields = received[1:]
    if len(fields) > max_fields:
        raise Malformed(f"{len(fields)} fields")
    length: int | None = None
    for name, value in fields:
        if name not in COMMON_NAMES and not _NAME.fullmatch(name):
            raise Malformed(_bad_name(name))
        if not _VALUE.fullmatch(value):
            raise Malformed(f"the value of {name.decode()} holds what it may not")
        if name in CONNECTION_SPECIFIC:
            raise Malformed(f"the connection-specific field {name.decode()}")
        if name == b"content-length":
            if length is not None:
                raise Malformed("two content-length fields")
            length = _length(value)
    return ResponseHead(status, fields, length)


def trailer_fields(received: Fields, *, max_fields: int) -> Fields:
    """Trailers without what has no place there. Raises Malformed; pseudo-fields are (RFC 9113 §8.1)."""
    if len(received) > max_fields:
        raise Malformed(f"{len(received)} trailer fields")
    for name, value in received:
        if not _NAME.fullmatch(name):
            raise Malformed(_bad_name(name))
        if not _VALUE.fullmatch(value):
            raise Malformed(f"the value of {name.decode()} holds what it may not")
        if name in CONNECTION_SPECIFIC:
            raise Malformed(f"the connection-specific field {name.decode()}")
    return [field for field in received if field[0] not in NOT_IN_TRAILERS]


class Length:
    """Content against content-length (RFC 9113 §8.1.1)."""

    __slots__ = ("expected", "received")

    def __init__(self, expected: int | None) -> None:
        self.expected = expected
        self.received = 0

    def take(self, size: int) -> bool:
        """Whether so much may still come."""
        self.received += size
        return self.expected is None or self.received <= self.expected

    def complete(self) -> bool:
        """Whether the content may end here."""
        return self.expected is None or self.received == self.expected


# What goes out.


def response_list(status: int, block: FieldBlock | None, fields: Iterable[Field], added: Iterable[Field]) -> Fields:
    """The whole field list of a response. ValueError when a value would not be well-formed."""
    stored: Fields = [] if block is None else block.fields
    return _outbound([(b":status", b"%d" % status), *stored, *fields, *added])


def request_list(method: bytes, scheme: bytes, authority: bytes, target: bytes, fields: Iterable[Field]) -> Fields:
    """The whole field list of a request. ValueError when a value would not be well-formed."""
    pseudo = [(b":method", method), (b":scheme", scheme), (b":path", target)]
    if authority:  # RFC 9113 §8.3.1: none is made up
        pseudo.insert(2, (b":authority", authority))
    return _outbound([*pseudo, *(field for field in fields if field[0] != b"host" and _te_is_trailers(field))])


def connect_list(protocol: bytes, scheme: bytes, authority: bytes, target: bytes, fields: Iterable[Field]) -> Fields:
    """An extended CONNECT (RFC 8441 §4). ValueError when a value would not be well-formed."""
    kept = [field for field in fields if field[0] not in NOT_IN_CONNECT]
    return [(b":method", b"CONNECT"), (b":protocol", protocol), *request_list(b"", scheme, authority, target, kept)[1:]]


def trailer_list(fields: Iterable[Field]) -> Fields:
    return _outbound([field for field in fields if field[0] not in NOT_IN_TRAILERS])


def _outbound(fields: Fields) -> Fields:
    """Without connection-specific fields, all values in one look."""
    values = b"".join([value for _, value in fields])
    if b"\n" in values or b"\r" in values or b"\0" in values:
        raise ValueError("a field value holds a line break")
    if any(name in CONNECTION_SPECIFIC for name, _ in fields):
        return [field for field in fields if field[0] not in CONNECTION_SPECIFIC]
    return fields


def _te_is_trailers(field: Field) -> bool:
    return field[0] != b"te" or field[1].lower() == b"trailers"


def _length(value: bytes) -> int:
    if _DIGITS.fullmatch(value) is None or (number := int(value)) > MAX_LENGTH:
        raise Malformed("content-length is not a length")
    return number


def _bad_name(name: bytes) -> str:
    if name[:1] == b":":
        return "a pseudo-field behind other fields"
    return "a field name is not a token in lower case"
