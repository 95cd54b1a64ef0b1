"""One line of JSON for every exchange.

Field values are never logged but for the host: Authorization and Cookie cannot leak. The query is, without the values
of what is called a token, password, secret, key or signature.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from stack.clock import Clock
from stack.http.message import TlsInfo
from stack.telemetry.brief import FOUND, Brief, Who
from stack.telemetry.exchange import Exchange
from stack.telemetry.line_log import LineLog

_CONTROLS: Final = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}
"""DEL and C1: JSON lets them stand, but 0x9B is to a terminal what ESC [ is."""
_SECRETS: Final = ("token", "passw", "pwd", "secret", "api_key", "apikey", "signature", "session", "credential")
"""Anywhere in the name of a parameter of the query."""
_SECRET_ENDS: Final = ("key", "sig", "auth")
"""At the end of such a name: `api-key`, `sig`, and not `keyword`."""
_HINTS: Final = (*_SECRETS, *(f"{end}=" for end in _SECRET_ENDS))


def _ms(micros: int) -> str:
    return f"{micros / 1000:.3f}"


_MS: Final = tuple(map(_ms, range(1000)))
"""Most hits take less than a millisecond, and to write such a number takes longer than to look it up."""


def is_routine(status: int) -> bool:
    """Of a target that is asked for all the time: a success, or 404, for an app need not have a page for its health."""
    return status < 400 or status == 404


class AccessLog:
    """Write exchanges that have ended.

    `target` is `-`, `off` or a path. Keys, in this order: time, hop, request_id, trace_id, span_id, client, method,
    scheme, host, path, [query], proto, status, bytes, ms, marks as [step, word, ms]; and where there is something to
    say: upstream, attempts, upgrade and bytes_in (of a tunnel), proxy_status, detail, fault (names of those injected),
    termination, tls.
    """

    def __init__(self, target: str, *, hop: str, clock: Clock, skip: Iterable[str] = ()) -> None:
        """`skip`: request targets that are logged only when they fail (see `is_routine`), or are broken off."""
        self.lines = LineLog(target, clock)
        self._clock = clock
        self._now = clock.now
        self._skip = frozenset(target.encode() for target in skip)
        self._hop = _escaped(hop)
        self._until = float("-inf")
        self._second = -1
        self._written = self._prefix = ""
        self._upstream = self._upstream_escaped = ""

    def write(self, ended: Sequence[Exchange | Brief]) -> None:
        if not self.lines.enabled:
            return
        skip = self._skip
        lines = []
        for one in ended:
            if isinstance(one, tuple):
                if one[2] not in skip or not is_routine(one[6]):
                    lines.append(self._brief(one))
            elif one.termination or one.request is None or one.request.target not in skip or not is_routine(one.status):
                lines.append(self.line(one))
        self.lines.write(lines)

    def line(self, exchange: Exchange) -> str:
        """The exchange as a line; one that has not ended ends now."""
        now = exchange.ended or self._now()
        if now >= self._until:
            self._tick(now)
        request = exchange.request
        last = began = exchange.began
        marks = ""
        for step, word, at in exchange.marks:
            marks += f',["{step}","{word}",{(at - last) * 1000:.3f}]'
            last = at
        request_id = exchange.request_id.decode()
        trace_id = request_id if exchange.trace_id is exchange.request_id else exchange.trace_id.decode()
        tail = ""
        if request is None:
            who = f'"client":"{_escaped(exchange.client)}","method":"","scheme":"","host":"","path":"","proto":""'
        else:
            try:
                method, host, target = request.method.decode(), request.authority.decode(), request.target.decode()
            except UnicodeDecodeError:
                method, host, target = map(_lossy, (request.method, request.authority, request.target))
            client = exchange.client
            seen = f"{method}{host}{target}{client}"
            # one look at all that a peer has a say in: quotes, backslashes, controls and the like are rare
            if '"' in seen or "\\" in seen or not seen.isascii() or not seen.isprintable():
                method, host, target, client = map(_escaped, (method, host, target, client))
            if "?" in target:
                path, _, query = target.partition("?")
                target = f'{path}","query":"{without_secrets(query)}'
            peer = request.peer
            if peer is not None and peer.tls is not None:
                tail = _encryption(peer.tls)
            who = (
                f'"client":"{client}","method":"{method}","scheme":"{request.scheme.decode()}","host":"{host}",'
                f'"path":"{target}","proto":"{request.version.decode()}"'
            )
        if exchange.status == 101 and request is not None and request.upgrade is not None:
            tail = f',"upgrade":"{_escaped(request.upgrade.decode())}","bytes_in":{exchange.bytes_in}{tail}'
        if upstream := exchange.upstream:
            if upstream is not self._upstream:
                self._upstream, self._upstream_escaped = upstream, _escaped(upstream)
            tail = f',"upstream":"{self._upstream_escaped}","attempts":{exchange.attempts}{tail}'
        if exchange.proxy_status:
            detail = _escaped(exchange.detail)
            tail = f'{tail},"proxy_status":"{_escaped(exchange.proxy_status)}","detail":"{detail}"'
        if exchange.faults:
            tail = f'{tail},"fault":{msgspec.json.encode(exchange.faults).decode()}'
        if exchange.termination:
            tail = f'{tail},"termination":"{_escaped(exchange.termination)}"'
        return (
            f'{self._prefix}"request_id":"{request_id}","trace_id":"{trace_id}","span_id":"{exchange.span_id.decode()}",'
            f'{who},"status":{exchange.status},"bytes":{exchange.bytes_out},"ms":{(now - began) * 1000:.3f},'
            f'"marks":[{marks[1:]}]{tail}}}\n'
        )

    def _brief(self, told: Brief) -> str:
        """The same line of a request in its short form."""
        who, ids, target, began, found, now, status, size = told
        if now >= self._until:
            self._tick(now)
        digits, path = ids.decode(), target.decode()
        if "?" in path:
            path, _, query = path.partition("?")
            path = f'{path}","query":"{without_secrets(query)}'
        common, (step, word) = digits[16:], FOUND
        took, waited = int((now - began) * 1e6 + 0.5), int((found - began) * 1e6 + 0.5)
        return (
            f'{self._prefix}"request_id":"{common}","trace_id":"{common}","span_id":"{digits[:16]}",{who.before}{path}",'
            f'"proto":"1.1","status":{status},"bytes":{size},"ms":{_MS[took] if took < 1000 else _ms(took)},'
            f'"marks":[["{step}","{word}",{_MS[waited] if waited < 1000 else _ms(waited)}]]{who.behind}}}\n'
        )

    def _tick(self, now: float) -> None:
        """Time (RFC 3339, UTC) and hop: the same for all lines of one millisecond."""
        wall = self._clock.time() - self._now() + now
        second = int(wall)
        millisecond = int(wall * 1000) % 1000
        self._until = now + 0.001 - wall % 0.001
        if second != self._second:
            self._second = second
            self._written = f"{datetime.datetime.fromtimestamp(second, datetime.UTC):%Y-%m-%dT%H:%M:%S}"
        self._prefix = f'{{"time":"{self._written}.{millisecond:03d}Z","hop":"{self._hop}",'

    def reopen(self) -> None:
        self.lines.reopen()

    def close(self) -> None:
        self.lines.close()

    def statistics(self) -> dict[str, Any]:
        return {"written": self.lines.written, "dropped": self.lines.dropped}


def who(client: str, scheme: bytes, host: bytes, tls: TlsInfo | None) -> Who:
    """What is the same in all lines of a connection's requests for one host."""
    before = f'"client":"{_escaped(client)}","method":"GET","scheme":"{scheme.decode()}",'
    behind = "" if tls is None else _encryption(tls)
    return Who(f'{before}"host":"{_escaped(host.decode())}","path":"', behind)


def _encryption(tls: TlsInfo) -> str:
    said = f',"tls":"{tls.version}"'
    return said if tls.client is None else f'{said},"client_cert":"{_escaped(tls.client.subject)}"'


def without_secrets(query: str) -> str:
    """A query with `***` for the values of what is called a token, password, secret, key or signature."""
    lower = query.lower()
    for hint in _HINTS:  # taking every query apart costs ten times as much
        if hint in lower:
            return "&".join(map(_hidden, query.split("&")))
    return query


def _hidden(pair: str) -> str:
    """Of `name=value`. A value may be a URL with a query of its own: `to=/cb?token=1` is `to=/cb?token=***`."""
    parts = pair.split("=")
    for number, name in enumerate(parts[:-1], 1):
        lower = name.lower()
        if lower.endswith(_SECRET_ENDS) or any(word in lower for word in _SECRETS):
            value = "=".join(parts[number:])
            return f"{'='.join(parts[:number])}=***" if value else pair
    return pair


def _lossy(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _escaped(text: str) -> str:
    """As it stands between the quotes of a JSON string."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return msgspec.json.encode(text.encode("utf-8", "replace").decode()).decode()[1:-1].translate(_CONTROLS)
