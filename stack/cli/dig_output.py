"""What `hopstack dig` prints: lines for people, data alone, or JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, Final

from stack.trace.dig_ask import Reply
from stack.trace.dig_message import EXTENDED, Edns, Record, Response
from stack.trace.dig_says import meaning, outcome

VERSION: Final = 1
WIDTH: Final = 80
_FLAGS: Final = {
    "aa": "authoritative", "tc": "truncated", "rd": "recursion desired", "ra": "recursion available",
    "ad": "validated", "cd": "checking disabled",
}  # fmt: skip
_WORD: Final = 10


def lines(reply: Reply) -> Iterator[str]:
    """Status and server first, then the sections, then what it means."""
    response = reply.response
    asked = f"{reply.question.name} {reply.question.type}"
    if response is None:
        yield from _row("question", asked)
        yield from _row("failed", reply.error)
        return
    server = reply.server
    who = f"{server.name} ({_place(reply)})" if server.name else _place(reply)
    over = f"{reply.protocol.upper()}{' after a truncated response over UDP' if reply.truncated else ''}"
    yield f"{response.status} from {who} over {over}: {response.size} octets in {reply.ms:.1f} ms"
    told = [f"{word} {_FLAGS[word]}" if word in _FLAGS else word for word in response.flags if word != "qr"]
    yield from _row(
        "question", "; ".join(f"{one.name} {one.type}" for one in response.questions) or f"none ({asked} was asked)"
    )
    yield from _row("flags", ", ".join(told) or "none")
    if response.edns is not None:
        yield from _row("edns", _edns(response.edns))
    widths = _widths((*response.answer, *response.authority, *response.additional))
    for title, records in _sections(response):
        yield ""
        yield title
        for record in records:
            yield _record(record, widths)
    yield ""
    yield from _row("meaning", meaning(response))
    if response.injected:
        yield from _row("injected", f"by the fault {', '.join(response.injected)}; see hopstack fault list")


def short_lines(reply: Reply) -> Iterator[str]:
    for record in reply.response.answer if reply.response is not None else ():
        yield _clean(record.data)


def json_of(replies: Sequence[Reply]) -> dict[str, Any]:
    return {"version": VERSION, "queries": [_json(reply) for reply in replies]}


def _json(reply: Reply) -> dict[str, Any]:
    server, response = reply.server, reply.response
    found: dict[str, Any] = {
        "question": {"name": reply.question.name, "class": "IN", "type": reply.question.type},
        "server": {"name": server.name or None, "address": server.host, "port": server.port},
        "protocol": reply.protocol,
        "truncated_first": reply.truncated,
        "ms": round(reply.ms, 3),
        "outcome": reply.failure or (outcome(response) if response is not None else "malformed"),
        "error": reply.error or None,
        "response": None,
    }
    if response is not None:
        edns = response.edns
        found["response"] = {
            "status": response.status,
            "flags": list(response.flags),
            "size": response.size,
            "edns": None if edns is None else _json_edns(edns),
            **{title: [_json_record(one) for one in records] for title, records in _sections(response, empty=True)},
            "injected": list(response.injected),
            "meaning": meaning(response),
        }
    return found


def _json_edns(edns: Edns) -> dict[str, Any]:
    return {
        "version": edns.version,
        "payload": edns.payload,
        "do": edns.dnssec_ok,
        "nsid": edns.nsid or None,
        "cookie": {"client": edns.client_cookie, "server": edns.server_cookie} if edns.client_cookie else None,
        "extended_errors": [
            {"code": code, "name": EXTENDED.get(code), "text": text or None} for code, text in edns.errors
        ],
        "options": [{"code": code, "data": data} for code, data in edns.others],
    }


def _json_record(record: Record) -> dict[str, Any]:
    return {"name": record.name, "ttl": record.ttl, "class": record.cls, "type": record.type, "data": record.data}


def _sections(response: Response, *, empty: bool = False) -> Iterator[tuple[str, tuple[Record, ...]]]:
    for title in ("answer", "authority", "additional"):
        records = getattr(response, title)
        if records or empty:
            yield title, records


def _widths(records: Sequence[Record]) -> tuple[int, int, int]:
    return (
        max((len(_clean(record.name)) for record in records), default=0),
        max((len(str(record.ttl)) for record in records), default=0),
        max((len(record.type) for record in records), default=0),
    )


def _record(record: Record, widths: tuple[int, int, int]) -> str:
    name, ttl, type = widths
    cls = "" if record.cls == "IN" else f"{record.cls} "
    owner, data = _clean(record.name), _clean(record.data)
    return f"  {owner:{name}}  {record.ttl:>{ttl}}  {cls}{record.type:{type}}  {data}".rstrip()


def _edns(edns: Edns) -> str:
    parts = [f"{edns.payload} octets over UDP"]
    if edns.version:
        parts.append(f"version {edns.version}")
    if edns.dnssec_ok:
        parts.append("DO")
    if edns.nsid:
        parts.append(f"NSID {_clean(edns.nsid)}")
    if edns.client_cookie:
        parts.append(f"cookie {edns.client_cookie} {edns.server_cookie or '(no server cookie)'}")
    for code, text in edns.errors:
        said = EXTENDED.get(code, "unassigned")
        parts.append(f"error {code} {said}{f' ({_clean(text)})' if text else ''}")
    parts += [f"option {code} {data or '(empty)'}" for code, data in edns.others]
    return ", ".join(parts)


def _place(reply: Reply) -> str:
    from stack.config.listen import address

    return address(reply.server.host, reply.server.port)


def _row(word: str, said: str) -> Iterator[str]:
    indent = " " * _WORD
    yield from textwrap.wrap(
        f"{word:{_WORD}}{_clean(said)}", WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _clean(text: str) -> str:
    """Without what a terminal would act upon: names and texts are a server's."""
    return "".join(char if char.isprintable() else "?" for char in text)
