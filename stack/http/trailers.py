"""What has no place behind the content (RFC 9110 §6.5.1). It is dropped, and never merged into the head."""

from __future__ import annotations

from typing import Final

from stack.http.forwarding import MISLEADING, REWRITTEN, VOUCHED

NOT_IN_TRAILERS: Final = frozenset(
    # framing, routing, authentication, request modifiers, response control, content format
    {
        b"transfer-encoding", b"content-length", b"host", b"trailer", b"te", b"connection", b"upgrade", b"keep-alive",
        b"proxy-connection", b"authorization", b"proxy-authorization", b"proxy-authenticate", b"www-authenticate",
        b"set-cookie", b"cookie", b"content-encoding", b"content-type", b"content-range", b"cache-control", b"expires",
        b"age", b"date", b"location", b"retry-after", b"vary", b"warning", b"expect", b"max-forwards", b"pragma",
        b"range", b"tracestate",
        b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range",
    }
    # a next hop that merges trailers would take a client's for ours
    | REWRITTEN | VOUCHED | MISLEADING
)  # fmt: skip
