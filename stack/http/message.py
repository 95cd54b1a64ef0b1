"""One message model for HTTP/1.1 and HTTP/2: what hops read, rewrite and answer with (RFC 9110 §6).

Bytes throughout. Field names are in lower case, made so once, at the door. What belongs to one connection is not in
`fields`: the engine removes Host (it is `authority`), Transfer-Encoding and Trailer framing, and the pseudo-fields.
`content-length` stays: it describes the content, and a response to HEAD or a 304 carries it without a body.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Final, Protocol

from stack.http.authorities import Authorities

Field = tuple[bytes, bytes]
Fields = list[Field]

SAFE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE"})
"""RFC 9110 §9.2.1."""
IDEMPOTENT: Final = SAFE | {b"PUT", b"DELETE"}
"""RFC 9110 §9.2.2."""


class BodyStream(Protocol):
    """Content on its way: iterate once, with backpressure; `aclose` tells the sender that nobody reads on.

    An async generator is one. Iterating may raise a HopError (ResponseIncomplete, ClientGone, RequestTimeout ...).
    """

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    def __anext__(self) -> Awaitable[bytes]: ...

    async def aclose(self) -> None: ...


Body = bytes | BodyStream
"""`b""` is no content."""


class Peer:
    """The other end of one downstream connection. One object a connection, shared by its requests."""

    __slots__ = ("address", "authorities", "local", "port", "said", "tls", "trusted", "wire")

    def __init__(
        self,
        address: str,
        port: int,
        *,
        local: tuple[str, int] = ("", 0),
        tls: TlsInfo | None = None,
        trusted: bool = False,
    ) -> None:
        self.address = address
        self.wire = address.encode("latin-1", "replace")
        """The address as bytes: every request that is forwarded names it."""
        self.port = port
        self.local = local
        self.tls = tls
        self.authorities: Authorities | None = None
        """The only ones that may be asked for on this connection; None for any."""
        self.trusted = trusted
        """Whether its Forwarded, X-Forwarded-*, X-Request-ID and traceparent are believed."""
        self.said: tuple[bytes, bytes, bytes, bytes] | None = None
        """The last element of Forwarded about it, behind the host, scheme and pseudonym that it is for."""


class TlsInfo:
    """What the handshake settled on: `version` such as "TLSv1.3", `cipher`, `server_name` (SNI), `alpn`."""

    __slots__ = ("alpn", "cipher", "client", "server_name", "version")

    def __init__(
        self, version: str, cipher: str, server_name: str, alpn: str, client: ClientCertificate | None = None
    ) -> None:
        self.version, self.cipher, self.server_name, self.alpn = version, cipher, server_name, alpn
        self.client = client
        """Verified; None when the client showed none."""


class ClientCertificate:
    """The certificate that a client has shown and the listener has verified."""

    __slots__ = ("field", "names", "subject")

    def __init__(self, der: bytes, subject: str, names: tuple[str, ...]) -> None:
        self.subject = subject
        """`CN=tester,O=Shop`."""
        self.names = names
        """Of its subjectAltName, whatever their kind."""
        self.field = b":" + b64encode(der) + b":"
        """The value of Client-Cert (RFC 9440 §2.1): a byte sequence of structured fields."""


class Request:
    """A request as it came in (treat as frozen) or as it goes out (made by `stack.http.forwarding`)."""

    __slots__ = (
        "authority", "body", "fields", "interim", "method", "noted", "peer", "scheme", "target", "trailers", "upgrade",
        "version",
    )  # fmt: skip

    def __init__(
        self,
        method: bytes,
        target: bytes,
        fields: Fields,
        *,
        authority: bytes,
        scheme: bytes = b"http",
        version: bytes = b"1.1",
        body: Body = b"",
        trailers: Fields | None = None,
        peer: Peer | None = None,
        interim: Callable[[int, Fields], None] | None = None,
        upgrade: bytes | None = None,
    ) -> None:
        self.method = method
        self.target = target
        """Origin-form (`/path?query`), or `*` for OPTIONS; an absolute-form target was taken apart at the door."""
        self.fields = fields
        self.authority = authority
        """Host and optional port as sent; empty only for HTTP/1.0 without Host."""
        self.scheme = scheme
        """`http` or `https`: of this connection."""
        self.version = version
        """`1.0`, `1.1` or `2`: the sender's."""
        self.body = body
        self.trailers: Fields = [] if trailers is None else trailers
        """Filled in place by the time the body has ended."""
        self.peer = peer
        self.interim = interim
        """Call with (status, fields) to send an interim response (102, 103) ahead of the final one."""
        self.noted: Fields | None = None
        """Those of `fields` that `stack.http.forwarding` has a rule for, where they are known (`NOTED`)."""
        self.upgrade = upgrade
        """The protocol that a tunnel is asked for, as `websocket` (RFC 9110 §7.8; RFC 8441 with the method GET); None
        for an ordinary request. The service takes it with a Response 101 whose content is what comes back through the
        tunnel; `body` then is what the client sends into it. Any other response refuses it."""

    @property
    def path(self) -> bytes:
        return self.target.partition(b"?")[0]

    @property
    def query(self) -> bytes | None:
        """None without `?`; an empty query is not the same as none."""
        _, mark, query = self.target.partition(b"?")
        return query if mark else None

    def get(self, name: bytes) -> bytes | None:
        return get(self.fields, name)

    def __repr__(self) -> str:
        line = b"%b %b%b" % (self.method, self.authority, self.target)
        return f"<Request {line.decode('latin-1')}>"


_LINE: Final = b": ".join


class FieldBlock:
    """Fields that are sent many times: kept as HTTP/1.1 field lines, serialised once, and as pairs where they are asked
    for.
    """

    __slots__ = ("_fields", "dated", "length", "wire")

    def __init__(self, fields: Iterable[Field]) -> None:
        self._fields: Fields | None = list(fields)
        self.dated = get(self._fields, b"date") is not None
        self.length = get(self._fields, b"content-length")
        """These two are asked of every response that is sent."""
        self.wire = b"\r\n".join([*map(_LINE, self._fields), b""])

    @classmethod
    def of_wire(cls, wire: bytes, *, dated: bool, length: bytes | None) -> FieldBlock:
        """What a block was made of, from its `wire`: the pairs are read from it when somebody wants them."""
        block = cls.__new__(cls)
        block._fields, block.dated, block.length, block.wire = None, dated, length, wire
        return block

    @property
    def fields(self) -> Fields:
        fields = self._fields
        if fields is None:
            lines = self.wire.split(b"\r\n")
            lines.pop()
            fields = self._fields = [(name, value) for name, _, value in [line.partition(b": ") for line in lines]]
        return fields

    def extended(self, fields: Fields) -> FieldBlock:
        """The same with `fields`, no Date or Content-Length among them, behind its own."""
        wire = self.wire + b"".join([b"%b: %b\r\n" % field for field in fields])
        more = FieldBlock.of_wire(wire, dated=self.dated, length=self.length)
        if self._fields is not None:
            more._fields = self._fields + fields
        return more

    def get(self, name: bytes) -> bytes | None:
        return get(self.fields, name)


class Response:
    """A final response. The engine frames it: `content-length` from a bytes body, else chunked or h2 DATA.

    101 opens a tunnel: only for a request with `upgrade`, and with a stream for a body (`stack.net.tunnel`).

    `block`, if given, is sent before `fields`: the stored part of a response whose other fields change each time.
    The engine adds Date, X-Request-ID and this hop's Server-Timing when they are missing.
    """

    __slots__ = ("block", "body", "fields", "plain", "status", "trailers", "version")

    def __init__(
        self,
        status: int,
        fields: Fields,
        body: Body = b"",
        *,
        trailers: Fields | None = None,
        block: FieldBlock | None = None,
        version: bytes = b"1.1",
    ) -> None:
        self.status = status
        self.fields = fields
        self.body = body
        self.trailers: Fields = [] if trailers is None else trailers
        """Filled in place by the time the body has ended."""
        self.block = block
        self.plain = False
        """Known to have no field that `stack.http.forwarding` has a rule for."""
        self.version = version
        """`1.0`, `1.1` or `2`: what the next hop spoke, for Via."""

    def get(self, name: bytes) -> bytes | None:
        value = get(self.fields, name)
        return self.block.get(name) if value is None and self.block is not None else value

    def __repr__(self) -> str:
        return f"<Response {self.status}>"


def get(fields: Iterable[Field], name: bytes) -> bytes | None:
    """The first value of a field; `name` in lower case."""
    for key, value in fields:
        if key == name:
            return value
    return None


def combined(fields: Iterable[Field], name: bytes) -> bytes | None:
    """All field lines of a name as one list-valued field (RFC 9110 §5.3)."""
    values = [value for key, value in fields if key == name]
    return b", ".join(values) if values else None


def without(fields: Iterable[Field], *names: bytes) -> Fields:
    return [field for field in fields if field[0] not in names]


def replaced(fields: Iterable[Field], name: bytes, value: bytes) -> Fields:
    """All lines of `name` give way to one, at the end."""
    return [*(field for field in fields if field[0] != name), (name, value)]


def unmeasured(response: Response) -> None:
    """No Content-Length with 204 (RFC 9110 §8.6), nor another than 0 with 205 (§15.3.6), whoever gave it."""
    if response.status not in (204, 205):
        return
    if response.block is not None:
        response.fields, response.block = response.block.fields + response.fields, None
    if get(response.fields, b"content-length") is not None:
        response.fields = without(response.fields, b"content-length")


def has_no_content(method: bytes, status: int) -> bool:
    """Whether a response is sent without content (RFC 9110 §6.4.1, §15.3.6)."""
    return method == b"HEAD" or status in (204, 205, 304) or status < 200
