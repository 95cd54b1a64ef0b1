"""What `hopstack dns show`, `set`, `unset` and `reset` do: which server has the zone, and what it is asked."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import click

Table = dict[str, Any]

PATIENCE: Final = 10.0
"""Seconds that a server has to answer."""
_TTL: Final = re.compile(r"(?:\d+[smhdw]?)+", re.IGNORECASE)
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_LISTS: Final = frozenset({"A", "AAAA", "NS", "PTR"})
"""Types of which each word is a record of its own."""


@dataclass(frozen=True, slots=True)
class Server:
    """A DNS server of the running stack. `zones`: keys without their last dot; the root is empty."""

    name: str
    admin: str
    resolver: bool
    zones: tuple[str, ...]
    primary: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Servers:
    """Those that are asked, and the site's name."""

    authorities: list[Server]
    resolvers: list[Server]
    site: str
    chosen: bool
    """Whether the user named one."""


def servers(at: str | None) -> Servers | None:
    """None when nothing runs. ClickException for a server that there is not."""
    from stack.supervisor.state import StateDir

    status = StateDir.chosen().running()
    if not status:
        return None
    found = [_described(hop) for hop in status["hops"] if hop["kind"] == "dns_server" and hop["admin"]]
    authorities = [server for server in found if not server.resolver]
    if at is not None:
        names = [server.name for server in authorities]
        name = at if at in names else f"dns-{at}"
        if name not in names:
            near = difflib.get_close_matches(at, names, 1)
            hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(names) or 'none that runs'}"
            raise click.ClickException(f"no authoritative DNS server is called {at!r}: {hint}")
        authorities = [server for server in authorities if server.name == name]
    if not authorities:
        raise click.ClickException("no authoritative DNS server runs; see `hopstack status`")
    return Servers(authorities, [server for server in found if server.resolver], status["name"], at is not None)


def nothing_runs() -> int:
    from stack.cli.control import NOTHING_RUNS
    from stack.supervisor.state import StateDir

    click.echo(f"No stack runs in {StateDir.chosen().path}; `hopstack up` starts one.", err=True)
    return NOTHING_RUNS


def _described(hop: Table) -> Server:
    answer = _ask(hop["admin"], "GET", "/-/zones") or {}
    rows = [row for row in answer.get("zones", ()) if isinstance(row, dict)]
    # a resolver has a cache, and says so by having no `fault` of zones
    zones = tuple(_key(row["zone"]) for row in rows if "zone" in row)
    primary = tuple(_key(row["zone"]) for row in rows if "zone" in row and row.get("kind", "primary") == "primary")
    return Server(hop["name"], hop["admin"], "fault" not in answer, zones, primary)


def _key(name: str) -> str:
    return name.rstrip(".").lower()


# Which zone.


def _place(servers: Servers, name: str) -> tuple[str, str, list[Server]]:
    """The name in full, its zone, and who serves that. The nearest zone has it; the root and top-level domains are
    asked only for what is theirs by name, or with --at."""
    whole = f"{name}.{servers.site}" if "." not in name and name != "@" else servers.site if name == "@" else name
    if not whole.isascii():  # as clients ask for it
        try:
            whole = whole.encode("idna").decode("ascii")
        except UnicodeError as fault:
            raise click.ClickException(f"{name!r} is no domain name: {fault}") from None
    if ".." in whole or (whole.startswith(".") and whole != "."):
        raise click.ClickException(f"{name!r} has an empty label")
    key = _key(whole)
    zones = {zone for server in servers.authorities for zone in server.zones}
    above = [key.split(".", number)[-1] for number in range(key.count(".") + 1)] if key else []
    zone = next((candidate for candidate in (*above, "") if candidate in zones), None)
    if zone is None or ("." not in zone and key != zone and not servers.chosen and not name.endswith(".")):
        raise click.ClickException(_no_zone(servers, key, sorted(zones)))
    return whole, zone, [server for server in servers.authorities if zone in server.zones]


def _no_zone(servers: Servers, key: str, zones: list[str]) -> str:
    sites = [zone for zone in zones if "." in zone]
    labels = key.split(".")
    near = ""
    for zone in sites:
        own = labels[: -zone.count(".") - 1]
        if difflib.SequenceMatcher(None, ".".join(labels[len(own) :]), zone).ratio() > 0.7:
            near = ".".join((*own, zone))
    there = f"zones are {', '.join(zone or '.' for zone in zones) or 'none'}; of the site it is {key}.{servers.site}"
    hint = f"did you mean {near}?" if near else there
    return f"{key}: no server here has a zone for that name; {hint}"


# What is done.


def show(servers: Servers, name: str | None, type: str | None, *, changed: bool, as_json: bool) -> int:
    """0 when there are records, 1 when there is none."""
    if name is None and not changed:
        name = servers.site if any(servers.site in server.zones for server in servers.authorities) else None
    query: dict[str, str] = {"changed": "1"} if changed else {}
    asked = servers.authorities
    if name is not None:
        if _key(name) in {zone for server in servers.authorities for zone in server.zones}:
            asked = [server for server in servers.authorities if _key(name) in server.zones]
            query["zone"] = name
            if type:
                query["name"] = name
        else:
            whole, zone, asked = _place(servers, name)
            query |= {"zone": zone or ".", "name": whole}
    if type:
        query["type"] = type
    answers, silent = _each(asked, "GET", f"/-/records?{urlencode(query)}")
    rows = [row for answer in answers.values() for row in answer["records"]]
    if as_json:
        _print_json(answers)
    else:
        for server, answer in answers.items():
            if answer["records"] and len([one for one in answers.values() if one["records"]]) > 1:
                click.echo(f"; {server}")
            for row in answer["records"]:
                click.echo("\n".join(_lines(row)))
            if answer["more"]:
                click.echo(f"; and more; name a NAME, or transfer it: dig @{server} ZONE AXFR", err=True)
        if not rows:
            click.echo("Nothing differs from the zones' texts." if changed else "No records.", err=not changed)
    return 1 if silent or not (rows or changed) else 0


def put(servers: Servers, name: str, words: Sequence[str], *, add: bool, flush: bool, as_json: bool) -> int:
    ttl: int | None = None
    if len(words) > 1 and _TTL.fullmatch(words[0]):
        ttl, words = _seconds(words[0]), words[1:]
    elif words[0][:1] in "-+0123456789":
        raise click.ClickException(f"{words[0]!r} is no TTL: seconds, or as 1h30m")
    type, *data = words
    if not data:
        raise click.UsageError("DATA is missing, as in `hopstack dns set www 60 A 192.0.2.1`")
    whole, zone, asked = _place(servers, name)
    table: Table = {"zone": zone or ".", "name": whole, "type": type, "data": _records(type.upper(), data)}
    if ttl is not None:
        table["ttl"] = ttl
    try:
        answers, silent = _each(_primaries(asked, zone), "POST" if add else "PUT", "/-/records", table)
    except click.ClickException as fault:
        if "has a CNAME and other data" not in fault.message:
            raise
        remedy = f"take away first what it has, as `hopstack dns unset {name}{' CNAME' * (type.upper() != 'CNAME')}`"
        raise click.ClickException(f"{fault.message}; {remedy}") from None
    return _told(servers, whole, answers, silent, flush=flush, as_json=as_json)


def unset(servers: Servers, name: str, type: str | None, data: Sequence[str], *, flush: bool, as_json: bool) -> int:
    whole, zone, asked = _place(servers, name)
    query = [("zone", zone or "."), ("name", whole)]
    if type:
        query += [("type", type), *(("data", text) for text in _records(type.upper(), list(data)))]
    answers, silent = _each(_primaries(asked, zone), "DELETE", f"/-/records?{urlencode(query)}")
    return _told(servers, whole, answers, silent, flush=flush, as_json=as_json)


def reset(servers: Servers, name: str | None, type: str | None, *, flush: bool, as_json: bool) -> int:
    query: dict[str, str] = {}
    asked = servers.authorities
    if name is not None and _key(name) in {zone for server in asked for zone in server.zones} and not type:
        asked = [server for server in asked if _key(name) in server.zones]
        query["zone"] = name
    elif name is not None:
        whole, zone, asked = _place(servers, name)
        query |= {"zone": zone or ".", "name": whole} | ({"type": type} if type else {})
    answers, silent = _each([server for server in asked if server.primary], "DELETE", f"/-/changes?{urlencode(query)}")
    found = {(row["name"], row["type"]) for answer in answers.values() for row in answer["reset"]}
    if flush and found:
        for owner in {owner for owner, _ in found}:
            _flush(servers, owner)
    if as_json:
        _print_json(answers)
    else:
        for owner, kind in sorted(found):
            click.echo(f"{owner} {kind}: as in the zone's text")
        if not found:
            click.echo("Nothing differs from the zones' texts.")
    return 1 if silent else 0


def _primaries(asked: list[Server], zone: str) -> list[Server]:
    primaries = [server for server in asked if zone in server.primary]
    if not primaries:
        names = ", ".join(server.name for server in asked)
        raise click.ClickException(f"{zone or '.'}: {names} has it from a primary, and it is changed there")
    return primaries


def _records(type: str, data: list[str]) -> list[str]:
    """A word each for addresses and the like; else the words of one record. A TXT of several words is several
    strings."""
    if type in _LISTS or not data:
        return data
    if type == "TXT" and len(data) > 1:
        return [" ".join(text if text.startswith('"') else '"' + text.replace('"', r"\"") + '"' for text in data)]
    return [" ".join(data)]


def _seconds(text: str) -> int:
    parts = re.findall(r"(\d+)([smhdw]?)", text.lower())
    return sum(int(number) * _UNITS[unit] for number, unit in parts)


# What is said.


def _told(
    servers: Servers, name: str, answers: dict[str, Table], silent: list[str], *, flush: bool, as_json: bool
) -> int:
    flushed = _flush(servers, name) if flush and any(answer["changed"] for answer in answers.values()) else []
    if as_json:
        _print_json({"servers": answers, "flushed": flushed})
        return 1 if silent else 0
    said: set[str] = set()
    for server, answer in answers.items():
        lines = "\n".join(line for row in answer["records"] for line in _lines(row))
        if lines not in said:
            click.echo(lines)
            said.add(lines)
        if answer["note"]:
            click.echo(f"; {answer['note']}", err=True)
        state = f"serial {answer['serial']}" if answer["changed"] else "it was so already"
        click.echo(f"; at {server}, {state}")
    cached = max((answer["cached_s"] for answer in answers.values() if answer["changed"]), default=0)
    if cached:
        who = f"{', '.join(flushed)} has forgotten the name; other" if flushed else "resolver, and other"
        click.echo(f"; {who} caches may keep what was there for {cached} s")
        if not flush and servers.resolvers:
            admin = servers.resolvers[0].admin
            click.echo(f"; it forgets at once by: curl -X POST '{admin}/-/flush?name={name}'")
    return 1 if silent else 0


def _lines(row: Table) -> list[str]:
    """As a zone file has it, with what was changed as comments."""
    lines = [f"{row['name']} {row['ttl']} IN {row['type']} {data}" for data in row["data"]]
    if row["source"] in ("text", "primary"):
        return lines or [f"; {row['name']} {row['type']} taken away; the text has none either"]
    by = f" by {row['by']}" if row["by"] else ""
    text = row["text"]
    was = f"the text says {text['ttl']} {' | '.join(text['data'])}" if text else "the text has none"
    if row["source"] == "removed":
        return [f"; {row['name']} {row['type']} taken away{by}; {was}"]
    if row["source"] == "aside":
        held = f"{row['set']['ttl']} {' | '.join(row['set']['data'])}"
        return [*lines, f"; {row['name']} {row['type']} {held}: set{by} and not in force: {row['why']}"]
    return [*lines, f"; set{by}; {was}"]


def _flush(servers: Servers, name: str) -> list[str]:
    """The stack's resolvers, so that the next question sees what is new."""
    path = f"/-/flush?{urlencode({'name': name})}"
    return [server.name for server in servers.resolvers if _ask(server.admin, "POST", path) is not None]


def _print_json(value: object) -> None:
    import json

    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


# Asking.


def _each(
    asked: list[Server], method: str, path: str, content: Table | None = None
) -> tuple[dict[str, Table], list[str]]:
    answers = {server.name: _ask(server.admin, method, path, content) for server in asked}
    silent = [name for name, answer in answers.items() if answer is None]
    for name in silent:
        click.echo(f"{name} does not answer; see `hopstack status`", err=True)
    return {name: answer for name, answer in answers.items() if answer is not None}, silent


def _ask(admin: str, method: str, path: str, content: Table | None = None) -> Table | None:
    """None without an answer; ClickException for a refusal, with its reason."""
    import http.client
    import json

    place = urlsplit(admin)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=PATIENCE)
    fields = {"accept": "application/json", "content-type": "application/json", "user-agent": "hopstack dns"}
    try:
        connection.request(method, path, None if content is None else json.dumps(content), fields)
        response = connection.getresponse()
        answer: Table = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    if response.status >= 400:
        raise click.ClickException(str(answer.get("detail") or answer.get("title") or response.status).rstrip("."))
    return answer
