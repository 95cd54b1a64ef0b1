"""Responses as servers sent them, and the traces that they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stack.http.message import Fields
from stack.trace.model import Span, Trace
from stack.trace.waterfall import from_response, without_response

ID = "bef9d8c656c131f2436b5dc558424b66"


def fields(text: str) -> Fields:
    """Field lines, as in a response."""
    pairs = (line.strip().split(": ", 1) for line in text.strip().splitlines() if line.strip())
    return [(name.encode(), value.encode("latin-1")) for name, value in pairs]


def span(kind: str, start: float, took: float, decision: str, *, name: str = "", error: bool = False) -> Span:
    return Span(name or kind, kind, start, took, took, decision, busy=((start, took),), error=error)


DNS = (
    span("dns", 0.0, 0.6, "A shop.test: referral to test", name="dns-root"),
    span("dns", 0.6, 0.5, "A shop.test: referral to shop.test", name="dns-tld"),
    span("dns", 1.1, 0.7, "A shop.test: 127.0.1.1 +1, ttl 60", name="dns-shop"),
)
BEFORE = (
    *DNS,
    span("tcp", 1.8, 0.3, "connected to 127.0.1.1:8443"),
    span("tls", 2.1, 2.9, "TLS 1.3, h2, shop.test verified"),
)


def made(text: str, **changed: Any) -> Trace:
    """A GET of the shop's page with DNS, TCP and TLS before it: 5 ms, then 10 until the head, 0.4 more to the end."""
    given: dict[str, Any] = {
        "method": "GET",
        "url": "https://shop.test:8443/products/shoes",
        "status": 200,
        "fields": fields(text),
        "sent_ms": 5.0,
        "first_ms": 15.0,
        "last_ms": 15.4,
        "before": BEFORE,
        "protocol": "HTTP/2",
        "address": "127.0.1.1:8443",
        "size": 2492,
    }
    return from_response(**given | changed)


MISS = f"""
content-encoding: br
server-timing: app-1.app;dur=0.3;desc="asking", app-1.db;dur=0.8;desc="asked", app-1.app;dur=0.6;desc="answered"
vary: Accept-Encoding
server-timing: proxy-1.route;dur=0.2;desc="app", proxy-1.forward;dur=2.3;desc="answered", proxy-1.compress;dur=0.1;desc="br"
server-timing: lb-a.choose;dur=0.2;desc="chosen", lb-a.attempt;dur=6.4;desc="answered";to="proxy-1"
cache-status: edge-fra; fwd=uri-miss; fwd-status=200; stored; ttl=59
x-request-id: {ID}
server-timing: edge-fra.lookup;dur=0.2;desc="uri-miss", edge-fra.fetch;dur=8.0;desc="fetched", edge-fra.store;dur=0.4;desc="stored"
"""
HIT = f"""
cache-status: edge-fra; hit; ttl=42
age: 17
x-request-id: {ID}
server-timing: edge-fra.lookup;dur=0.1;desc="hit"
"""
RETRIED = f"""
server-timing: app-3.app;dur=1.0;desc="answered"
server-timing: proxy-3.route;dur=0.1;desc="app", proxy-3.forward;dur=1.8;desc="answered", proxy-3.compress;dur=0.1;desc="small"
server-timing: lb-a.choose;dur=0.1;desc="chosen", lb-a.attempt;dur=0.5;desc="refused";to="proxy-1", lb-a.attempt;dur=2.0;desc="bad-status";to="proxy-2", lb-a.attempt;dur=4.0;desc="answered";to="proxy-3"
cache-status: edge-fra; fwd=uri-miss; fwd-status=200; detail=no-store
x-request-id: {ID}
server-timing: edge-fra.lookup;dur=0.1;desc="uri-miss", edge-fra.fetch;dur=7.6;desc="fetched", edge-fra.store;dur=0.1;desc="no-store"
"""
FAULT = f"""
server-timing: app-1.app;dur=1.0;desc="answered"
server-timing: proxy-1.route;dur=0.1;desc="app", proxy-1.forward;dur=1.8;desc="answered", proxy-1.compress;dur=0.1;desc="small"
server-timing: lb-a.choose;dur=0.1;desc="chosen", lb-a.fault;dur=4.0;desc="latency", lb-a.attempt;dur=3.0;desc="answered";to="proxy-1"
cache-status: edge-fra; fwd=uri-miss; fwd-status=200; detail=private
x-request-id: {ID}
server-timing: edge-fra.lookup;dur=0.1;desc="uri-miss", edge-fra.fetch;dur=8.0;desc="fetched", edge-fra.store;dur=0.1;desc="private"
"""
REFUSED = f"""
cache-control: no-store
proxy-status: edge-fra; error=connection_refused
content-type: application/problem+json
cache-status: edge-fra; fwd=uri-miss; detail=connection_refused
x-request-id: {ID}
server-timing: edge-fra.lookup;dur=0.2;desc="uri-miss", edge-fra.fetch;dur=3.0;desc="failed"
"""
NO_BACKEND = f"""
proxy-status: lb-a; error=destination_unavailable
server-timing: lb-a.choose;dur=0.2;desc="none"
cache-status: edge-fra; fwd=uri-miss; fwd-status=503; detail=status
x-request-id: {ID}
server-timing: edge-fra.lookup;dur=0.2;desc="uri-miss", edge-fra.fetch;dur=3.0;desc="fetched", edge-fra.store;dur=0.1;desc="status"
"""
STATIC = f"""
server-timing: proxy-2.route;dur=0.2;desc="static", proxy-2.serve;dur=0.3;desc="precompressed", proxy-2.compress;dur=0.1;desc="encoded"
server-timing: lb-a.choose;dur=0.2;desc="chosen", lb-a.attempt;dur=2.0;desc="answered";to="proxy-2"
cache-status: edge-fra; fwd=stale; fwd-status=304; ttl=3599
x-request-id: {ID}
server-timing: edge-fra.lookup;dur=0.2;desc="stale", edge-fra.fetch;dur=3.0;desc="revalidated", edge-fra.store;dur=0.1;desc="stored"
"""
FOREIGN_APP = f"""
server-timing: db;dur=53.2;desc="4 queries", total
server-timing: proxy-1.route;dur=0.2;desc="app", proxy-1.forward;dur=2.3;desc="answered", proxy-1.compress;dur=0.1;desc="type"
server-timing: lb-a.choose;dur=0.2;desc="chosen", lb-a.attempt;dur=6.4;desc="answered";to="proxy-1"
cache-status: edge-fra; fwd=method; fwd-status=200; detail=method
x-request-id: {ID}
server-timing: edge-fra.lookup;dur=0.2;desc="method", edge-fra.fetch;dur=8.0;desc="fetched", edge-fra.store;dur=0.4;desc="method"
"""
FOREIGN = """
server: nginx
content-type: text/html
"""
REDIRECT = f"""
location: https://shop.test:8443/cart
{HIT}
"""

TRACES: Mapping[str, Callable[[], Trace]] = {
    "miss": lambda: made(MISS),
    "hit": lambda: made(HIT, before=(), sent_ms=0.0, first_ms=0.8, last_ms=0.9, reused=True),
    "retried": lambda: made(RETRIED),
    "fault": lambda: made(FAULT),
    "refused": lambda: made(REFUSED, status=502, size=158),
    "no-backend": lambda: made(NO_BACKEND, status=503, size=158),
    "revalidated": lambda: made(STATIC),
    "foreign-app": lambda: made(FOREIGN_APP, method="POST"),
    "foreign": lambda: made(
        FOREIGN,
        url="http://localhost:3000/",
        before=(span("tcp", 0.0, 0.3, "connected to 127.0.0.1:3000"),),
        sent_ms=0.3,
        first_ms=10.3,
        last_ms=10.7,
        protocol="HTTP/1.1",
        address="127.0.0.1:3000",
    ),
    "redirect": lambda: made(REDIRECT, status=303, size=0),
    "cut": lambda: made(MISS, error="the response broke off (closed within the content)", size=1024),
    "nxdomain": lambda: without_response(
        method="GET",
        url="https://nope.shop.test:8443/",
        spans=(*DNS[:2], span("dns", 1.1, 0.7, "A nope.shop.test: NXDOMAIN", name="dns-shop", error=True)),
        total_ms=1.9,
        error="nope.shop.test does not exist, says dns-shop (NXDOMAIN)",
    ),
    "timeout": lambda: without_response(
        method="GET",
        url="https://shop.test:8443/slow?" + "x" * 90,
        spans=(*BEFORE, span("http", 5.0, 2000.0, "sent; no response", error=True)),
        total_ms=2005.0,
        error="waiting for the response took more than 2 s",
        address="127.0.1.1:8443",
    ),
}
