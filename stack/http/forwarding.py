"""A message on its way through (RFC 9110 §7.6): what one connection owns comes off, then what this hop says goes on.

Nothing a hop adds can be named in Connection and lost, because stripping comes first.
"""

from __future__ import annotations

from itertools import product
from typing import Final

from stack.errors import ClientError, LoopDetected
from stack.http.fields import quote, split_list, split_params, tokens
from stack.http.message import Fields, Request, Response
from stack.http.trust import node_address, plain_nodes

# RFC 9110 §7.6.1, and the fields that HTTP/2 forbids (RFC 9113 §8.2.2). TE goes with them, and what it says of
# trailers is said anew: they pass.
_HOP_BY_HOP: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade", b"http2-settings"}
)
# §11.7: credentials and challenges between a client and its next proxy
_REQUEST_ONLY: Final = frozenset({b"proxy-authorization"})
_RESPONSE_ONLY: Final = frozenset({b"proxy-authenticate", b"proxy-authentication-info"})

CLIENT_CERT: Final = (b"client-cert", b"client-cert-chain")
"""The client's certificate, as the hop that ended TLS says (RFC 9440 §2)."""

VOUCHED: Final = frozenset(
    {
        *CLIENT_CERT,  # RFC 9440 §2.4: only the hop that ended TLS may say so
        # who the client is
        b"cf-connecting-ip",
        b"client-ip",
        b"fastly-client-ip",
        b"true-client-ip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"x-originating-ip",
        b"x-real-ip",
        b"x-remote-addr",
        b"x-remote-ip",
        # what it asked for: frameworks and gateways take these for the host, the scheme, the path or the method
        b"cf-visitor",
        b"cloudfront-forwarded-proto",
        b"front-end-https",
        b"x-arr-ssl",
        b"x-envoy-original-path",
        b"x-forwarded",
        b"x-forwarded-by",
        b"x-forwarded-https",
        b"x-forwarded-method",
        b"x-forwarded-path",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"x-forwarded-protocol",
        b"x-forwarded-scheme",
        b"x-forwarded-server",
        b"x-forwarded-ssl",
        b"x-forwarded-uri",
        b"x-host",
        b"x-http-host-override",
        b"x-https",
        b"x-ms-original-url",
        b"x-original-host",
        b"x-original-uri",
        b"x-original-url",
        b"x-replaced-path",
        b"x-rewrite-url",
        b"x-scheme",
        b"x-script-name",
        b"x-url-scheme",
        # what frameworks tell themselves
        b"x-accel-mapping",  # Rack: where files lie
        b"x-invoke-path",  # Next.js: which page, with which status, past which middleware
        b"x-invoke-query",
        b"x-invoke-status",
        b"x-matched-path",
        b"x-middleware-subrequest",
        b"x-now-route-matches",
        b"x-sendfile-type",
    }
)
"""Claims that only a trusted peer may make. They pass unchanged from one."""

REWRITTEN: Final = frozenset(
    {
        b"forwarded",
        b"traceparent",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-request-id",
    }
)

_FRAMED: Final = frozenset({b"content-length", b"transfer-encoding"})
"""How the content is delimited: with `_` it is for nobody but an application that would be misled."""


def _underscored(name: bytes) -> set[bytes]:
    """All spellings of a name with `_` for some `-`: what an application that maps both alike takes for the name."""
    return {b"".join(letters) for letters in product(*((b"-", b"_") if c == 0x2D else (bytes([c]),) for c in name))}


MISLEADING: Final = frozenset(
    {b"proxy"}  # CVE-2016-5385: CGI turns it into HTTP_PROXY
    | {
        spelling
        for name in VOUCHED | REWRITTEN | _FRAMED | {b"tracestate"}
        for spelling in _underscored(name)
        if b"_" in spelling
    }
)
"""Dropped from every request, whoever sends it."""
_SPECIAL: Final = _HOP_BY_HOP | _REQUEST_ONLY | REWRITTEN | MISLEADING | {b"max-forwards", b"tracestate"}
_SPECIAL_UNLESS_TRUSTED: Final = _SPECIAL | VOUCHED
_DROPPED_FROM_RESPONSE: Final = _HOP_BY_HOP | _RESPONSE_ONLY
STAYS_BEHIND: Final = _DROPPED_FROM_RESPONSE | {b"via"}
"""Names that no response is passed on with as it came."""
_RARE: Final = frozenset({b"via", b"te", b"connection", b"max-forwards"})
NOTED: Final = _SPECIAL_UNLESS_TRUSTED | STAYS_BEHIND
"""Every name that there is a rule for here."""

_FRAMING: Final = frozenset({b"content-length"})
"""Fields that stay even where Connection names them: without them the content would have no end."""
_NAMES_NOTHING: Final = frozenset({b"keep-alive", b"close", b"Keep-Alive", b"Close", b""})
"""Connection as nearly every sender writes it: no field behind it but those that go anyhow."""
_OBFUSCATED: Final = bytes(c if (c < 0x80 and chr(c).isalnum()) or c in b"._-" else 0x5F for c in range(256))
"""To the alphabet of an obfuscated node name (RFC 7239 §6.3)."""


class FinalRecipient(ClientError):
    """Max-Forwards is 0: this hop answers in place of the origin (RFC 9110 §7.6.2). No fault of anybody's.

    `stack.http.problem` makes the answer: OPTIONS with this hop's Allow; TRACE is not supported, because it would
    show the client what the hops before this one have added.
    """

    status, proxy_status, title = 204, "", "Max-Forwards has run out at this hop"

    def __init__(self, method: bytes) -> None:
        super().__init__(status=204 if method == b"OPTIONS" else 405)


def outbound(
    request: Request, *, pseudonym: bytes, client: str, request_id: bytes, traceparent: bytes, trusted: bool
) -> Request:
    """The request for the next hop; `request` is left as it is, its body and trailers are shared.

    `pseudonym` is this hop's name in Via, `client` the address that the exchange found, `trusted` whether the peer's
    word about its own client is believed. Raises LoopDetected, FinalRecipient.
    """
    special = _SPECIAL if trusted else _SPECIAL_UNLESS_TRUSTED
    noted = request.fields if request.noted is None else request.noted
    claims: dict[bytes, bytes] = {}
    for name, value in noted:
        if name in special:
            claims[name] = claims[name] + b", " + value if name in claims else value
    kept = [field for field in request.fields if field[0] not in claims] if claims else request.fields[:]
    via: bytes | None = None
    if not _RARE.isdisjoint(claims):
        via = _looked_after(request, claims, kept, pseudonym)
    proto, host, peer = request.scheme, request.authority, request.peer
    address = (client.encode("latin-1", "replace") if peer is None else peer.wire) or b"unknown"
    if peer is None:
        forwarded = _element(address, host, proto, pseudonym)
    else:
        said = peer.said
        if said is None or said[0] != host or said[1] != proto or said[2] != pseudonym:
            said = peer.said = (host, proto, pseudonym, _element(address, host, proto, pseudonym))
        forwarded = said[3]
    if trusted and claims:
        forwarded, address, proto, host = _extended(claims, client, forwarded, address, proto, host)
        # W3C Trace Context §3.3: tracestate belongs to the traceparent it came with
        if b"tracestate" in claims and traceparent[3:35] == claims.get(b"traceparent", b"")[3:35]:
            kept.append((b"tracestate", claims[b"tracestate"]))
    received = request.version + b" " + pseudonym
    kept += (
        (b"via", received if via is None else via + b", " + received),
        (b"forwarded", forwarded),
        (b"x-forwarded-for", address),
        (b"x-forwarded-proto", proto),
        (b"x-request-id", request_id),
        (b"traceparent", traceparent),
    )
    if host:
        kept.append((b"x-forwarded-host", host))
    if not trusted and peer is not None and peer.tls is not None and peer.tls.client is not None:
        kept.append((CLIENT_CERT[0], peer.tls.client.field))
    return Request(
        request.method,
        request.target,
        kept,
        authority=request.authority,
        scheme=request.scheme,
        body=request.body,
        trailers=request.trailers,
        interim=request.interim,
        upgrade=request.upgrade,
    )


def _looked_after(request: Request, claims: dict[bytes, bytes], kept: Fields, pseudonym: bytes) -> bytes | None:
    """What most requests have none of: Via so far, which is returned; Connection's names, TE and Max-Forwards."""
    via = claims.get(b"via")
    if via is not None and pseudonym in via and _passed(via, pseudonym):
        raise LoopDetected(f"{pseudonym.decode('latin-1')} is already named in Via")
    trailers = b"te" in claims and b"trailers" in tokens(claims[b"te"])
    connection = claims.get(b"connection")
    if connection is not None and connection not in _NAMES_NOTHING:
        named = set(tokens(connection)) - _FRAMING
        kept[:] = [field for field in kept if field[0] not in named]
        for name in named:
            claims.pop(name, None)
        via = claims.get(b"via")
    if trailers:
        # RFC 9110 §10.1.4; HTTP/2 leaves `connection` out, and a gRPC server insists on the rest
        kept += ((b"te", b"trailers"), (b"connection", b"te"))
    if b"max-forwards" in claims:
        kept.append((b"max-forwards", _one_less(request.method, claims[b"max-forwards"])))
    return via


def _element(address: bytes, host: bytes, proto: bytes, pseudonym: bytes) -> bytes:
    """RFC 7239 §4; an IPv6 address in brackets, so quoted (§6), without its zone; `by` is an obfuscated name (§6.3)."""
    return b"".join(
        (
            b'for="[' + address.partition(b"%")[0] + b']"' if b":" in address else b"for=" + address,
            b';host="' + _escaped(host) + b'";proto=' if host else b";proto=",
            proto,
            b";by=_",
            pseudonym.translate(_OBFUSCATED),
        )
    )


def inbound(response: Response, *, pseudonym: bytes, date: bytes) -> Response:
    """The response for the hop before, changed in place. `date` is now.

    Server-Timing, Cache-Status and Proxy-Status of the hops behind pass on.
    """
    fields = response.fields
    if response.plain:
        fields.append((b"via", response.version + b" " + pseudonym))
        if b"date" not in dict(fields):
            fields.append((b"date", date))
        if response.status == 204:
            response.fields = [field for field in fields if field[0] != b"content-length"]
        return response
    via = b""
    dated = False
    kept: Fields = []
    connection: list[bytes] = []
    for field in fields:
        name = field[0]
        if name in STAYS_BEHIND:
            if name == b"connection":
                connection.append(field[1])
            elif name == b"via":
                via += field[1] + b", "
        else:
            if name == b"date":
                dated = True
            kept.append(field)
    for value in connection:
        if value not in _NAMES_NOTHING:
            named = set(tokens(value)) - _FRAMING
            kept = [field for field in kept if field[0] not in named]
            dated = dated and b"date" not in named
    kept.append((b"via", via + response.version + b" " + pseudonym))
    if not dated:
        # RFC 9110 §6.6.1: whoever forwards a response without Date adds the time of its arrival
        kept.append((b"date", date))
    if response.status == 204:
        kept = [field for field in kept if field[0] != b"content-length"]  # RFC 9110 §8.6
    response.fields = kept
    return response


def interim_fields(fields: Fields) -> Fields:
    """What of an interim response passes on: nothing of its connection's, and no length (RFC 9110 §8.6, §15.2)."""
    named = {token for name, value in fields if name == b"connection" for token in tokens(value)} | _FRAMING
    return [field for field in fields if field[0] not in _DROPPED_FROM_RESPONSE and field[0] not in named]


def _passed(via: bytes, pseudonym: bytes) -> bool:
    """Whether `pseudonym` is the received-by of an element (RFC 9110 §7.6.3), not merely within one."""
    return any(len(parts := element.split(None, 2)) > 1 and parts[1] == pseudonym for element in via.split(b","))


def _escaped(text: bytes) -> bytes:
    return text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') if b'"' in text or b"\\" in text else text


def _one_less(method: bytes, value: bytes) -> bytes:
    """RFC 9110 §7.6.2; for other methods, and where it is no number, the field passes unchanged."""
    if method not in (b"OPTIONS", b"TRACE") or not value.isdigit():
        return value
    left = int(value[:20])
    if left == 0:
        raise FinalRecipient(method)
    return b"%d" % (left - 1)


def _extended(
    claims: dict[bytes, bytes], client: str, forwarded: bytes, address: bytes, proto: bytes, host: bytes
) -> tuple[bytes, bytes, bytes, bytes]:
    """Forwarded, X-Forwarded-For, -Proto and -Host with a trusted peer's before this hop's own.

    A peer that wrote only one of the two chains gets the other made from it: the next hop may read either.
    """
    chain, plain = claims.get(b"forwarded"), claims.get(b"x-forwarded-for")
    given_proto, given_host = claims.get(b"x-forwarded-proto"), claims.get(b"x-forwarded-host")
    if chain:
        if not plain:
            elements = [split_params(element) for element in split_list(chain)]
            nodes = [node_address(params.get(b"for", b"")) for params in elements]
            plain = b", ".join((node or "unknown").encode("ascii") for node in nodes)
            for params, node in zip(reversed(elements), reversed(nodes), strict=True):
                if node == client:  # what the hop that saw the client said of its request
                    proto, host = params.get(b"proto", proto), params.get(b"host", host)
                    break
    elif plain:
        first, *others = [_node(node) for node in plain_nodes(plain)] or [b"unknown"]
        first = b"for=" + first
        if given_host:
            first += b";host=" + quote(given_host)
        if given_proto:
            first += b";proto=" + quote(given_proto)
        chain = b", for=".join((first, *others))
    return (
        chain + b", " + forwarded if chain else forwarded,
        plain + b", " + address if plain else address,
        given_proto or proto,
        given_host or host,
    )


def _node(address: str | None) -> bytes:
    if address is None:
        return b"unknown"
    return quote(b"[%b]" % address.encode("ascii") if ":" in address else address.encode("ascii"))
