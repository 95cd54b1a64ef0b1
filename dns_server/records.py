"""`/-/records` of the admin endpoint: what is served, where it comes from, and how it is changed while running."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qs

from dns_server import rdata_text
from dns_server.book import ChangeRefused, Place
from dns_server.changes import Changes, NotPrimary
from dns_server.journal import JournalFault
from dns_server.rdata_text import TextFault
from dns_server.rules import types
from dns_server.rules.names import NameFault, ancestors, from_text, is_at_or_below, to_text
from dns_server.rules.rdata import fold
from dns_server.rules.rrset import RRset
from dns_server.rules.update import MAX_TTL, SINGLE, Draft
from dns_server.rules.zone import Zone, canonical_order
from stack.errors import BadRequest, ContentTooLarge, NotFound
from stack.hop.answers import as_json
from stack.hop.hop import AdminHandler
from stack.http.message import Request, Response

MOST: Final = 10_000
"""Rows of one answer."""
_CONTENT: Final = 1 << 20
_WRITTEN: Final = 'Send {"name": "www.shop.test", "type": "A", "ttl": 60, "data": ["192.0.2.1"]} as JSON.'
_ADMIN: Final = "the admin endpoint"


def record_pages(changes: Changes) -> Mapping[tuple[bytes, bytes], AdminHandler]:
    """GET shows; PUT sets a whole RRset, POST adds to it, DELETE takes records away, DELETE of changes is a reset."""
    return {
        (b"GET", b"/-/records"): partial(_show, changes),
        (b"PUT", b"/-/records"): partial(_set, changes, False),
        (b"POST", b"/-/records"): partial(_set, changes, True),
        (b"DELETE", b"/-/records"): partial(_unset, changes),
        (b"DELETE", b"/-/changes"): partial(_reset, changes),
    }


# Showing.


async def _show(changes: Changes, request: Request) -> Response:
    """All records, or with zone=, name=, type= some of them; changed=1 for what differs from the text."""
    asked = _Asked(changes, request)
    if asked.zone is not None:
        zones = [asked.zone]
    else:
        zones = list(changes.book.zones.by_key.values())
    rows: list[dict[str, Any]] = []
    more = False
    for zone in zones:
        # in a thread: a large zone takes seconds, and questions are answered meanwhile
        found = await asyncio.to_thread(_rows, changes, zone, asked, MOST + 1 - len(rows))
        rows += found
        if len(rows) > MOST:
            rows, more = rows[:MOST], True
            break
    return as_json({"records": rows, "more": more})


def _rows(changes: Changes, zone: Zone, asked: _Asked, most: int) -> list[dict[str, Any]]:
    entries = dict(changes.entries(zone.key))
    rows: list[dict[str, Any]] = []
    for key in _keys(zone, entries, asked):
        node = zone.node(key)
        there = dict(node.rrsets) if node is not None else {}
        gone = [type for name, type in entries if name == key and type not in there]
        rows += [
            _row(changes, zone, (key, type), there.get(type))
            for type in (*there, *gone)
            if asked.type in (None, type) and (not asked.changed or (key, type) in entries)
        ]
        if len(rows) >= most:
            break
    return rows


def _keys(zone: Zone, entries: Mapping[Place, object], asked: _Asked) -> Iterator[bytes]:
    if asked.name is not None and asked.name != zone.key:
        yield asked.name
        return
    names = {name for name, _ in entries}
    if asked.changed or (asked.type is not None and asked.name is not None):
        yield from sorted(names if asked.changed else {zone.key}, key=canonical_order)
        return
    yield from zone.canonical() if not names else sorted({*zone.canonical(), *names}, key=canonical_order)


def _row(changes: Changes, zone: Zone, place: Place, rrset: RRset | None) -> dict[str, Any]:
    entry = changes.entries(zone.key).get(place)
    aside = changes.aside.get(zone.key, {}).get(place)
    text = changes.texts.get(zone.key)
    row: dict[str, Any] = {
        "zone": to_text(zone.origin),
        "name": to_text(rrset.owner if rrset is not None else place[0]),
        "type": types.type_name(place[1]),
        "ttl": rrset.ttl if rrset is not None else None,
        "data": _data(rrset),
        "source": "text" if text is not None else "primary",
    }
    if entry is not None:
        said = text.rrset(*place) if text is not None else None
        row |= {
            "source": "aside" if aside else "removed" if rrset is None else "changed",
            "by": entry.by,
            "at": entry.at,
            "text": {"ttl": said.ttl, "data": _data(said)} if said is not None else None,
        }
        if aside:
            row |= {"why": aside, "set": {"ttl": entry.ttl, "data": _data(entry.rrset())}}
    return row


def _data(rrset: RRset | None) -> list[str]:
    return [rdata_text.to_text(rrset.type, rdata) for rdata in rrset.rdatas] if rrset is not None else []


# Changing.


async def _set(changes: Changes, add: bool, request: Request) -> Response:
    table = await _table(request)
    asked = _Asked(changes, request, table)
    zone, name = asked.place()
    if asked.type is None:
        raise BadRequest(f"A type is missing. {_WRITTEN}")
    type, owner = asked.type, asked.owner
    ttl, data = table.get("ttl"), table.get("data")
    if isinstance(data, str):
        data = [data]
    if not isinstance(data, list) or not data or not all(isinstance(text, str) for text in data):
        raise BadRequest(f"Data is missing. {_WRITTEN}")
    if ttl is not None and (not isinstance(ttl, int) or isinstance(ttl, bool) or not 0 <= ttl <= MAX_TTL):
        raise BadRequest(f"A TTL is a whole number of seconds, at most {MAX_TTL}.")
    try:
        rdatas = [rdata_text.from_text(type, rdata_text.absolute(type, text), zone.key) for text in data]
    except TextFault as fault:
        raise BadRequest(str(fault)) from None

    def work(draft: Draft) -> None:
        rrset = draft.get(name, type)
        present = rrset.rdatas if rrset is not None and add and type not in SINGLE else ()
        whole = {fold(type, rdata): rdata for rdata in (*present, *rdatas)}
        seconds = ttl if ttl is not None else rrset.ttl if rrset is not None else zone.soa.ttl
        draft.put(rrset.owner if rrset is not None else owner, type, seconds, whole.values())

    return await _changed(changes, zone, request, {(name, type)}, work)


async def _unset(changes: Changes, request: Request) -> Response:
    """By name=, with type= an RRset, with data= one record of it."""
    asked = _Asked(changes, request)
    zone, name = asked.place()
    texts = asked.said.get("data", [])
    if texts and asked.type is None:
        raise BadRequest("Data is taken away by name, type and data.")
    node = zone.node(name)
    there = {} if node is None else dict(node.rrsets)
    wanted = [asked.type] if asked.type is not None else [
        type for type in there if name != zone.key or type not in (types.SOA, types.NS)
    ]  # fmt: skip
    if not any(type in there for type in wanted):
        what = f" {types.type_name(asked.type)}" if asked.type is not None else ""
        known = ", ".join(types.type_name(type) for type in there)
        hint = f"; it has {known}" if known else ""
        raise NotFound(f"{to_text(name)} has no{what or ' records that could be taken away'}{hint}.")
    try:
        gone = {
            fold(wanted[0], rdata_text.from_text(wanted[0], rdata_text.absolute(wanted[0], text), zone.key))
            for text in texts
        }
    except TextFault as fault:
        raise BadRequest(str(fault)) from None

    def work(draft: Draft) -> None:
        for type in wanted:
            rrset = draft.get(name, type)
            if rrset is None:
                continue
            kept = [rdata for rdata in rrset.rdatas if gone and fold(type, rdata) not in gone]
            if gone and len(kept) == len(rrset.rdatas):
                raise NotFound(
                    f"{to_text(name)} {types.type_name(type)} has not {texts[0]}; it has {', '.join(_data(rrset))}."
                )
            draft.put(rrset.owner, type, rrset.ttl, kept)

    return await _changed(changes, zone, request, {(name, type) for type in wanted}, work)


async def _reset(changes: Changes, request: Request) -> Response:
    """Back to the text: everything, or with zone=, name=, type= some of it."""
    asked = _Asked(changes, request)
    if asked.zone is None:
        keys = list(changes.texts)
    elif asked.zone.key in changes.texts:
        keys = [asked.zone.key]
    else:
        raise NotFound(f"{to_text(asked.zone.origin)} comes from a primary: it is changed there.")

    def wanted(place: Place) -> bool:
        return asked.name in (None, place[0]) and asked.type in (None, place[1])

    found = []
    for key in keys:
        zone, places = await _guarded(changes.reset(key, wanted))
        found += [
            {"zone": to_text(key), "name": to_text(name), "type": types.type_name(type), "serial": zone.serial}
            for name, type in places
        ]
    return as_json({"reset": found})


async def _changed(
    changes: Changes, zone: Zone, request: Request, places: Iterable[Place], work: Callable[[Draft], None]
) -> Response:
    if zone.key not in changes.texts:
        raise NotFound(f"{to_text(zone.origin)} comes from a primary: it is changed there.")
    before = {place: zone.rrset(*place) for place in sorted(places)}
    after = await _guarded(changes.change(zone.key, work, by=_by(request)))
    negative = zone.negative[1].ttl
    return as_json(
        {
            "zone": to_text(zone.origin),
            "serial": after.serial,
            "changed": after is not zone,
            "before": [_row(changes, zone, place, rrset) for place, rrset in before.items() if rrset is not None],
            "records": [_row(changes, after, place, after.rrset(*place)) for place in before],
            "cached_s": max((rrset.ttl if rrset is not None else negative for rrset in before.values()), default=0),
            "note": _note(after, next(iter(before))[0]),
        }
    )


def _by(request: Request) -> str:
    agent = (request.get(b"user-agent") or b"").decode("latin-1")
    return agent if agent.startswith("hopstack") else _ADMIN


def _note(zone: Zone, name: bytes) -> str:
    """What keeps the record from being answered."""
    node = zone.node(name)
    veil = node.veil if node is not None else None
    if veil is None or veil.key == name:
        return ""
    what = "delegated" if veil.is_cut else "redirected by DNAME"
    return f"{to_text(veil.key)} is {what}: below it nothing of this zone is answered but glue"


async def _guarded(work: Any) -> Any:
    try:
        return await work
    except ChangeRefused as fault:
        raise BadRequest(f"{fault}; nothing was changed", status=409) from None
    except NotPrimary as fault:
        raise NotFound(str(fault)) from None
    except JournalFault as fault:
        raise BadRequest(f"{fault}; nothing was changed", status=503) from None


# What was asked.


class _Asked:
    """Zone, name and type, from the query or from JSON. Raises BadRequest, NotFound."""

    def __init__(self, changes: Changes, request: Request, table: Mapping[str, Any] | None = None) -> None:
        self.said = parse_qs((request.query or b"").decode("latin-1"), keep_blank_values=True)
        if table is not None:
            self.said = {key: [value] for key, value in table.items() if key in ("zone", "name", "type")}
        self.changed = "changed" in self.said
        self.zone: Zone | None = None
        try:
            self.owner = self._name("name")
            self.name = self.owner.lower() if "name" in self.said else None
            text = self._one("type")
            self.type = rdata_text.type_number(text) if text else None
            apex = self._name("zone").lower() if "zone" in self.said else None
        except (NameFault, TextFault) as fault:
            raise BadRequest(str(fault)) from None
        zones = changes.book.zones.by_key
        if apex is not None:
            self.zone = zones.get(apex)
            if self.zone is None:
                raise NotFound(f"{to_text(apex)} is no zone of this server; it has {_known(zones)}.")
        elif self.name is not None:
            self.zone = next((zones[above] for above in ancestors(self.name) if above in zones), None)
        if self.name is not None and (self.zone is None or not is_at_or_below(self.name, self.zone.key)):
            raise NotFound(f"{to_text(self.name)} is in no zone of this server; it has {_known(zones)}.")

    def place(self) -> tuple[Zone, bytes]:
        if self.name is None or self.zone is None:
            raise BadRequest(f"A name is missing. {_WRITTEN}")
        return self.zone, self.name

    def _one(self, part: str) -> str:
        text = self.said.get(part, [""])[0]
        if not isinstance(text, str):
            raise BadRequest(f"{part} is text. {_WRITTEN}")
        return text

    def _name(self, part: str) -> bytes:
        text = self._one(part)
        if part in self.said and not text:
            raise BadRequest(f"{part} is empty; the root is called `.`.")
        return from_text(text)


def _known(zones: Mapping[bytes, Zone]) -> str:
    names = [to_text(zone.origin) for zone in zones.values()]
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "") or "none"


async def _table(request: Request) -> Mapping[str, Any]:
    content = bytearray(request.body if isinstance(request.body, bytes) else b"")
    if not isinstance(request.body, bytes):
        async for piece in request.body:
            content += piece
            if len(content) > _CONTENT:
                break
    if len(content) > _CONTENT:
        raise ContentTooLarge(f"At most {_CONTENT} octets.")
    try:
        table = json.loads(content)
    except ValueError:
        table = None
    if not isinstance(table, dict):
        raise BadRequest(_WRITTEN)
    return table
