"""Traced requests as an HTTP Archive 1.2, which browsers' developer tools open.

Content is not kept. Authorization, cookies, fields named after a token or key, and the request's content are left out
unless asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import parse_qsl

from stack.http.message import Fields, get
from stack.http.reason import phrase
from stack.trace import report
from stack.trace.run import Outcome

SECRET: Final = frozenset({b"authorization", b"proxy-authorization", b"cookie", b"set-cookie"})
SECRET_WORDS: Final = (b"token", b"secret", b"passw", b"api-key", b"apikey", b"credential")
"""In a field's name, as in X-Api-Key or X-Auth-Token."""
LEFT_OUT: Final = "[left out]"


def archive(outcomes: Sequence[Outcome], *, secrets: bool = False) -> bytes:
    """`secrets`: with Authorization, cookies and the request's content."""
    log = {
        "version": "1.2",
        "creator": {"name": "hopstack", "version": version("hopstack")},
        "entries": [_entry(one, secrets) for one in outcomes],
    }
    return report.encoded({"log": log}) + b"\n"


def _entry(outcome: Outcome, secrets: bool) -> dict[str, Any]:
    timings = _timings(outcome)
    entry: dict[str, Any] = {
        "startedDateTime": report.moment(outcome.began),
        "time": _total(timings),
        "request": _request(outcome, secrets),
        "response": _response(outcome, secrets),
        "cache": {},
        "timings": timings,
    }
    if outcome.place[0]:
        entry |= {"serverIPAddress": outcome.place[0], "connection": str(outcome.place[1])}
    if outcome.trace is not None:
        entry["_hopstack"] = report.of(outcome.trace)
        if outcome.trace.error:
            entry["comment"] = outcome.trace.error
    return entry


def _timings(outcome: Outcome) -> dict[str, float]:
    """Milliseconds; -1 for what did not take place. `connect` includes `ssl`; the others add up to `time`."""
    begin = {kind: [span for span in outcome.spans if span.kind == kind] for kind in ("dns", "tcp", "tls")}
    dns = sum(span.total_ms for span in begin["dns"])
    ssl = sum(span.total_ms for span in begin["tls"])
    connect = sum(span.total_ms for span in begin["tcp"]) + ssl
    wait = receive = 0.0
    if outcome.request is not None:
        wait = (outcome.first_ms or outcome.last_ms) - outcome.sent_ms
        receive = outcome.last_ms - outcome.first_ms if outcome.response is not None else 0.0
    blocked = outcome.last_ms - dns - connect - wait - receive
    return {
        "blocked": round(max(0.0, blocked), 3),
        "dns": round(dns, 3) if begin["dns"] else -1,
        "connect": round(connect, 3) if begin["tcp"] else -1,
        "ssl": round(ssl, 3) if begin["tls"] else -1,
        "send": 0,
        "wait": round(wait, 3),
        "receive": round(receive, 3),
    }


def _total(timings: dict[str, float]) -> float:
    return round(sum(max(0.0, took) for name, took in timings.items() if name != "ssl"), 3)


def _request(outcome: Outcome, secrets: bool) -> dict[str, Any]:
    order, request = outcome.order, outcome.request
    fields = order.fields if request is None else [(b"host", request.authority), *request.fields]
    made: dict[str, Any] = {
        "method": order.method,
        "url": str(order.target),
        "httpVersion": outcome.protocol or "HTTP/1.1",
        "cookies": _cookies(fields, b"cookie", secrets),
        "headers": _headers(fields, secrets),
        "queryString": [
            {"name": name, "value": value}
            for name, value in parse_qsl(order.target.target.partition("?")[2], keep_blank_values=True)
        ],
        "headersSize": -1,
        "bodySize": len(order.body),
    }
    if order.body and secrets:
        kind = get(order.fields, b"content-type") or b""
        made["postData"] = {"mimeType": kind.decode("latin-1"), "text": order.body.decode("utf-8", "replace")}
    return made


def _response(outcome: Outcome, secrets: bool) -> dict[str, Any]:
    response = outcome.response
    if response is None:  # as Chromium writes what got no response
        nothing = {"size": 0, "mimeType": "x-unknown"}
        return {
            "status": 0,
            "statusText": "",
            "httpVersion": "",
            "cookies": [],
            "headers": [],
            "content": nothing,
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": -1,
        }
    return {
        "status": response.status,
        "statusText": phrase(response.status),
        "httpVersion": outcome.protocol,
        "cookies": _cookies(response.fields, b"set-cookie", secrets),
        "headers": _headers(response.fields, secrets),
        "content": {
            "size": outcome.size,
            "mimeType": (response.get(b"content-type") or b"x-unknown").decode("latin-1"),
            "comment": "content is not kept; size as received",
        },
        "redirectURL": (response.get(b"location") or b"").decode("latin-1"),
        "headersSize": -1,
        "bodySize": outcome.size,
    }


def _headers(fields: Fields, secrets: bool) -> list[dict[str, str]]:
    return [{"name": name.decode("latin-1"), "value": shown(name, value, secrets)} for name, value in fields]


def shown(name: bytes, value: bytes, secrets: bool) -> str:
    """A field's value, or that it was left out."""
    hidden = not secrets and (name in SECRET or any(word in name for word in SECRET_WORDS))
    return LEFT_OUT if hidden else value.decode("latin-1")


def _cookies(fields: Fields, field: bytes, secrets: bool) -> list[dict[str, str]]:
    """By name; values only with `secrets`."""
    found = []
    for name, value in fields:
        if name == field:
            pairs = value.decode("latin-1").split(";")
            for pair in pairs if field == b"cookie" else pairs[:1]:
                key, _, content = pair.strip().partition("=")
                found.append({"name": key, "value": content if secrets else LEFT_OUT})
    return found
