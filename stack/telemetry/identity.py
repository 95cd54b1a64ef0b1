"""Who a request is: its id, its trace, its client. Carried over from trusted peers, made anew otherwise."""

from __future__ import annotations

import re
from binascii import hexlify
from random import Random

from stack.http.forwarding import outbound
from stack.http.message import Request
from stack.http.trust import Trust
from stack.telemetry.exchange import Exchange

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:+/=-]{1,128}")
_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)


def identify(exchange: Exchange, request: Request, trust: Trust, random: Random) -> None:
    """Fill in the exchange's ids and client.

    W3C Trace Context §3.2: version ff and all-zero ids are invalid, version 00 has nothing behind its flags; an
    invalid traceparent is as good as none. Every hop is a span of its own.
    """
    peer = request.peer
    digits = hexlify(random.getrandbits(192).to_bytes(24, "little"))
    exchange.span_id = digits[:16]
    if peer is not None and peer.trusted:
        request_id = request.get(b"x-request-id")
        traceparent = request.get(b"traceparent")
        exchange.client = trust.client(peer.address, request.fields)
        if request_id is not None and _REQUEST_ID.fullmatch(request_id):
            exchange.request_id = request_id
        if traceparent is not None:
            _continue(exchange, traceparent)
    elif peer is not None:
        exchange.client = peer.address
    if not exchange.trace_id:
        exchange.trace_id = digits[16:]
    if not exchange.request_id:
        # the trace's id serves as the request's: one thing to grep for
        exchange.request_id = exchange.trace_id


def _continue(exchange: Exchange, traceparent: bytes) -> None:
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None:
        return
    version, trace_id, parent, flags, rest = match.groups()
    if version == b"ff" or (version == b"00" and rest) or not trace_id.strip(b"0") or not parent.strip(b"0"):
        return
    exchange.trace_id, exchange.parent_span, exchange.sampled = trace_id, parent, bool(int(flags, 16) & 1)


def traceparent(exchange: Exchange) -> bytes:
    """What this hop sends inwards: its own span as the parent of the next."""
    return b"00-%b-%b-%b" % (exchange.trace_id, exchange.span_id, b"01" if exchange.sampled else b"00")


def onward(request: Request, exchange: Exchange, pseudonym: bytes) -> Request:
    """The request as it goes to the next hop, with this exchange's ids and client. Raises what `outbound` raises."""
    return outbound(
        request,
        pseudonym=pseudonym,
        client=exchange.client,
        request_id=exchange.request_id,
        traceparent=traceparent(exchange),
        trusted=request.peer is not None and request.peer.trusted,
    )
