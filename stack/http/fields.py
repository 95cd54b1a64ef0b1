"""Taking list-valued fields apart (RFC 9110 §5.6): commas, semicolons, quoted strings, tokens."""

from __future__ import annotations

import re
from typing import Final

TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""RFC 9110 §5.6.2."""
COMMON_NAMES: Final = frozenset(
    b"accept accept-encoding accept-language accept-ranges access-control-allow-origin age alt-svc allow authorization "
    b"cache-control cache-status content-disposition content-encoding content-language content-length content-range "
    b"content-security-policy content-type cookie date dnt etag expect expires forwarded host if-match "
    b"if-modified-since if-none-match if-range if-unmodified-since last-modified link location origin pragma priority "
    b"proxy-status range referer referrer-policy retry-after sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform "
    b"sec-fetch-dest sec-fetch-mode sec-fetch-site sec-fetch-user server server-timing set-cookie "
    b"strict-transport-security traceparent tracestate trailer upgrade-insecure-requests user-agent vary via "
    b"www-authenticate x-api-key x-cache x-content-type-options x-csrf-token x-forwarded-for x-forwarded-host "
    b"x-forwarded-proto x-frame-options x-powered-by x-real-ip x-request-id x-requested-with x-xss-protection".split()
)
"""Names that need no second look: tokens in lower case."""
_QUOTED: Final = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_QUOTED_PAIR: Final = re.compile(rb"\\(.)", re.DOTALL)
# runs of plain bytes and whole quoted strings; a quote that never closes runs to the end
_LIST_ELEMENT: Final = re.compile(rb'(?:[^",]+|"(?:[^"\\]|\\.)*(?:"|\\?\Z))+', re.DOTALL)
_PARAMETER: Final = re.compile(rb'(?:[^";]+|"(?:[^"\\]|\\.)*(?:"|\\?\Z))+', re.DOTALL)


def split_list(value: bytes) -> list[bytes]:
    """The elements of a comma-separated list, trimmed; empty ones left out (RFC 9110 §5.6.1.2)."""
    if b'"' not in value:
        return [element for part in value.split(b",") if (element := part.strip(b" \t"))]
    return [element for part in _LIST_ELEMENT.findall(value) if (element := part.strip(b" \t"))]


def split_params(value: bytes) -> dict[bytes, bytes]:
    """`a=b; c="d"` as a mapping: names in lower case, values unquoted, of a repeated name the first (RFC 9110 §5.6.6).

    A name without `=` maps to an empty value.
    """
    parts = _PARAMETER.findall(value) if b'"' in value else value.split(b";")
    params: dict[bytes, bytes] = {}
    for part in parts:
        name, _, argument = part.partition(b"=")
        if name := name.strip(b" \t").lower():
            params.setdefault(name, unquote(argument.strip(b" \t")))
    return params


def unquote(value: bytes) -> bytes:
    """What a quoted string means (RFC 9110 §5.6.4); anything else is returned as it is."""
    if value[:1] != b'"':
        return value
    match = _QUOTED.fullmatch(value)
    if match is None:
        return value
    inner: bytes = match[1]
    return _QUOTED_PAIR.sub(rb"\1", inner) if b"\\" in inner else inner


def quote(value: bytes) -> bytes:
    """As a token where it is one, as a quoted string otherwise."""
    if TOKEN.fullmatch(value) is not None:
        return value
    return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def tokens(value: bytes | None) -> list[bytes]:
    """The tokens of a list, in lower case; what is no token is left out. For Connection, Vary and their like."""
    if not value:
        return []
    return [element for element in split_list(value.lower()) if TOKEN.fullmatch(element) is not None]
