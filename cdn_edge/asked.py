"""One request that the store does not answer, on its way to the origin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cdn_edge.rules import asking
from cdn_edge.rules.asking import OVERRIDES, Asking
from cdn_edge.rules.key import host
from cdn_edge.stored import Stored
from stack.http.message import Request, without
from stack.telemetry.exchange import Exchange

_ANSWERED_HERE: Final = (b"if-none-match", b"if-modified-since")
"""If-Match and If-Unmodified-Since always go on: they are the origin's to judge (RFC 9111 §4.3.2)."""


@dataclass(slots=True)  # not frozen: one is made for every miss, and that takes three times as long
class Asked:
    key: bytes
    request: Request
    exchange: Exchange
    asking: Asking
    why: str
    """The word after `fwd=` (RFC 9211 §2.2)."""
    stored: Stored | None = None
    """What was selected, but has to be validated, or completed."""
    heard: bool = True
    """Somebody reads the answer: it is not for the store alone."""
    outdated: bool = False
    """What is stored became invalid while the origin was asked (RFC 9111 §4.4): it answers nothing any more."""

    @property
    def dropped(self) -> tuple[bytes, ...]:
        """Of the client's fields what does not go on: conditions, because they are answered here from what comes back,
        and what would make it another method behind this cache's back.
        """
        overrides = OVERRIDES if self.asking.overriding else ()
        return _ANSWERED_HERE + overrides if self.answers_conditions else overrides

    @property
    def answers_conditions(self) -> bool:
        """Whether the client's If-None-Match and If-Modified-Since are.

        Only so does a client with an old copy fill the store. Where the answer can hardly be stored, they save the
        content and go on.
        """
        return self.asking.conditional and (self.storable or self.stored is not None)

    @property
    def certified(self) -> bool:
        """The client has shown a certificate, and the origin is told whose (RFC 9440): to a cache that is as good as
        Authorization.
        """
        peer = self.request.peer
        if peer is None:
            return False
        if peer.trusted:
            return self.request.get(b"client-cert") is not None
        return peer.tls is not None and peer.tls.client is not None

    @property
    def respelt(self) -> bool:
        """See `Asking.respelt`. It goes on as it came, and the origin may write it into what it answers."""
        request = self.request
        return host(request.scheme, request.authority) != request.authority

    @property
    def storable(self) -> bool:
        """Whether the answer may be stored as a whole, as far as it lies in the request."""
        return storable(self.request.method, self.asking)

    @classmethod
    def behind_parts(cls, asked: Asked) -> Asked:
        """For a part of what `asked` is answered with, without what the client wanted of its own."""
        assert asked.stored is not None
        return cls.behind(asked.stored, asked.request, asked.exchange)

    @classmethod
    def behind(cls, stored: Stored, request: Request, exchange: Exchange, *, drop: tuple[bytes, ...] = ()) -> Asked:
        """For `stored` itself, without what the client wanted of its own copy, nor the fields `drop`; part of the same
        trace.
        """
        fields = without(request.fields, *asking.CONDITIONS, b"range", b"if-range", *drop)
        sent = Request(
            b"GET",
            request.target,
            fields,
            authority=host(request.scheme, request.authority),
            scheme=request.scheme,
            version=request.version,
            peer=request.peer,
        )
        own = Exchange(exchange.hop, exchange.now, sent)
        own.request_id, own.client = exchange.request_id, exchange.client
        own.trace_id, own.span_id, own.sampled = exchange.trace_id, exchange.span_id, exchange.sampled
        return cls(stored.key, sent, own, asking.read(fields), "stale", stored, heard=False)


def storable(method: bytes, asked: Asking) -> bool:
    """See `Asked.storable`."""
    return not (asked.authorized or asked.cc.no_store or asked.ranged or method == b"HEAD")
