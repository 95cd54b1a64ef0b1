"""What the words of the path mean: `stack.path.STEPS`, Cache-Status and Proxy-Status in plain language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from stack import cache_words

FORWARDED: Final[Mapping[str, str]] = {
    **{word: said.means for word, said in cache_words.LOOKUP.items()},
    "miss": "nothing that is stored fits this request",
    "partial": "only a part of it was stored",
}
"""Why a cache forwarded a request: `fwd` of RFC 9211 §2.2."""

KEPT: Final[Mapping[str, str]] = {word: said.means for word, said in cache_words.STORE.items() if word != "stored"}
"""Why a response was not stored: the words of the edge's step `store`."""

DETAIL: Final[Mapping[str, str]] = {
    word: said.means
    for words in (cache_words.LOOKUP, cache_words.FETCH)
    for word, said in words.items()
    if word in ("max-stale", "only-if-cached") or word.startswith("stale-")
} | {"disk": "it was not in memory any more, but on disk"}
"""What else a cache says: `detail` of RFC 9211 §2.8, in this project's words."""

ERRORS: Final[Mapping[str, str]] = {
    "dns_timeout": "the next hop's name was not resolved in time",
    "dns_error": "the next hop's name could not be resolved",
    "destination_not_found": "it does not know where to send this request",
    "destination_unavailable": "no backend is available",
    "destination_ip_prohibited": "it may not connect to the next hop's address",
    "destination_ip_unroutable": "there is no route to the next hop",
    "connection_refused": "the next hop refused the connection",
    "connection_terminated": "the next hop closed the connection before it answered",
    "connection_timeout": "the next hop did not accept the connection in time",
    "connection_read_timeout": "the next hop sent nothing in time",
    "connection_write_timeout": "the next hop took nothing in time",
    "connection_limit_reached": "all connections to the next hop are busy",
    "tls_protocol_error": "TLS with the next hop failed",
    "tls_certificate_error": "the next hop's certificate was refused",
    "tls_alert_received": "the next hop ended the TLS handshake with an alert",
    "http_request_error": "the request was at fault",
    "http_request_denied": "it refused the request",
    "http_response_incomplete": "the next hop's response ended early",
    "http_response_timeout": "the next hop did not answer in time",
    "http_protocol_error": "the next hop's response was not well-formed",
    "http_response_header_section_size": "the head of the next hop's response is too large",
    "http_response_header_size": "a field of the next hop's response is too large",
    "http_response_body_size": "the content of the next hop's response is too large",
    "http_response_status_unacceptable": "the status of the next hop's response cannot be used",
    "http_response_transfer_coding": "the next hop's transfer coding cannot be read",
    "http_response_content_coding": "the next hop's content coding cannot be read",
    "http_upgrade_failed": "the next hop did not switch protocols",
    "proxy_internal_response": "it answered itself, for the next hop failed",
    "proxy_internal_error": "it met an error of its own",
    "proxy_configuration_error": "its configuration is at fault",
    "proxy_loop_detected": "the request has passed it before",
}
"""Error types of Proxy-Status: RFC 9209 §2.3."""

ATTEMPT: Final[Mapping[str, str]] = {
    "answered": "answered",
    "refused": "connection refused",
    "timeout": "no answer in time",
    "failed": "failed",
    "bad-status": "answered 5xx",
    "client": "given up by the client",
}
"""What an attempt of the load balancer came to."""

CODING: Final[Mapping[str, str]] = {
    "identity": "identity",
    "small": "identity (small)",
    "type": "identity (type)",
    "encoded": "coded already",
    "no-transform": "identity (no-transform)",
    "status": "identity (status)",
    "range": "identity (range)",
    "head": "no content",
}
"""The content coding that the proxy chose, and why none: its step `compress` where the word is no coding."""
