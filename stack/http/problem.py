"""The answer to an error that a hop met: a problem document (RFC 9457), JSON or HTML, with Proxy-Status (RFC 9209)."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterable
from typing import Final

from stack.errors import HopError
from stack.http.forwarding import FinalRecipient
from stack.http.message import Field, Response
from stack.http.negotiation import prefers_html
from stack.http.reason import phrase
from stack.http.structured import Token, item

_RFC_9209: Final = "https://www.rfc-editor.org/rfc/rfc9209#section-2.3."
_TYPES: Final = (
    "dns_timeout",
    "dns_error",
    "destination_not_found",
    "destination_unavailable",
    "destination_ip_prohibited",
    "destination_ip_unroutable",
    "connection_refused",
    "connection_terminated",
    "connection_timeout",
    "connection_read_timeout",
    "connection_write_timeout",
    "connection_limit_reached",
    "tls_protocol_error",
    "tls_certificate_error",
    "tls_alert_received",
    "http_request_error",
    "http_request_denied",
    "http_response_incomplete",
    "http_response_header_section_size",
    "http_response_header_size",
    "http_response_body_size",
    "http_response_trailer_section_size",
    "http_response_trailer_size",
    "http_response_transfer_coding",
    "http_response_content_coding",
    "http_response_timeout",
    "http_upgrade_failed",
    "http_protocol_error",
    "proxy_internal_response",
    "proxy_internal_error",
    "proxy_configuration_error",
    "proxy_loop_detected",
)
_SECTIONS: Final = {error_type: number for number, error_type in enumerate(_TYPES, 1)}
"""Where RFC 9209 §2.3 defines each error type: the page that a problem's `type` leads to."""
_GENERIC: Final = frozenset({"", "http_request_error", "http_request_denied"})
"""Types that say no more than the status does: `about:blank` (RFC 9457 §4.2.1)."""
_FORWARDED_METHODS: Final = b"GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS"
_OWN_PHRASES: Final = {499: "Client Closed Request"}

_STYLE: Final = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:15vh auto 0;padding:0 1.25rem;color:#1f2328;"
    "background:#fff}h1{font-size:1.5rem;line-height:1.25}dl{display:grid;grid-template-columns:max-content 1fr;"
    "gap:.25rem 1rem;color:#57606a}dt{font-weight:600}dd{margin:0;overflow-wrap:anywhere}"
    "@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}dl{color:#9da7b1}}"
)
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
).encode()


def response(
    error: HopError, *, hop: str, accept: bytes | None, request_id: bytes, fields: Iterable[Field] = ()
) -> Response:
    """What the client is told. Never `error.private`, an address or a trace.

    `hop` is this process's name. `fields` are what the status calls for, as Retry-After with 503.
    """
    fields = [*fields, *error.fields]
    if isinstance(error, FinalRecipient):
        fields.append((b"allow", _FORWARDED_METHODS))
        if error.status == 204:
            return Response(204, [(b"cache-control", b"no-store"), *fields])
    name = _phrase(error.status)
    specific = error.proxy_status not in _GENERIC
    title = error.title if specific else name
    detail = error.detail or ("" if specific else error.title)
    answer: list[Field] = [
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        *fields,
    ]
    if error.proxy_status:
        answer.append((b"proxy-status", proxy_status(error, hop)))
    if prefers_html(accept):
        answer += [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-language", b"en"),
            (b"content-security-policy", _POLICY),
        ]
        rows = [("Answered by", hop), ("Request", request_id.decode("latin-1"))]
        if specific:
            rows.insert(1, ("Error", error.proxy_status))
        return Response(error.status, answer, _page(f"{error.status} {name}", title, detail, rows))
    # RFC 9457 §3.1: members in the order of the RFC, then what extends them (§3.2)
    document: dict[str, object] = {"type": _type(error), "title": title, "status": error.status}
    if detail:
        document["detail"] = detail
    document["hop"] = hop
    if specific:
        document["error"] = error.proxy_status
    if request_id:
        document["request_id"] = request_id.decode("latin-1")
    answer.append((b"content-type", b"application/problem+json"))
    return Response(error.status, answer, json.dumps(document, ensure_ascii=False).encode("utf-8", "replace") + b"\n")


def proxy_status(error: HopError, hop: str) -> bytes:
    """`edge-fra; error=connection_refused; details="..."` (RFC 9209 §2)."""
    parameters: dict[str, bool | int | str] = {"error": Token(error.proxy_status)}
    if error.proxy_status == "http_request_error":
        # RFC 9209 §2.3.16: this type brings the status with it
        parameters["status-code"] = error.status
        parameters["status-phrase"] = _phrase(error.status)
    if error.detail:
        parameters["details"] = error.detail
    return item(Token(hop), parameters).encode("ascii")


def _type(error: HopError) -> str:
    section = _SECTIONS.get(error.proxy_status)
    return "about:blank" if section is None or error.proxy_status in _GENERIC else f"{_RFC_9209}{section}"


def _phrase(status: int) -> str:
    return _OWN_PHRASES.get(status) or phrase(status) or "Error"


def _page(heading: str, title: str, detail: str, rows: Iterable[tuple[str, str]]) -> bytes:
    escape = html.escape
    lead = "" if title in heading else f"<p>{escape(title)}.</p>\n"
    more = f"<p>{escape(detail)}</p>\n" if detail else ""
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>\n" for name, value in rows if value)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<title>{escape(heading)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(heading)}</h1>\n{lead}{more}<dl>\n{listed}</dl>\n</body>\n</html>\n"
    ).encode("utf-8", "replace")
