"""Which DNS server answers for which zone, and what stands in the zones that are generated."""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from stack.config.listen import address
from stack.errors import ConfigError
from stack.plan import secondaries
from stack.plan.draft import Draft, Stack, is_ip
from stack.plan.model import Kinds
from stack.plan.ports import LOCAL
from stack.plan.sources import DEFAULT, Said, Source

ROLES: Final = ("root", "tld", "shop")
"""Of zones by their depth, and the usual server's key of each."""

_MOST: Final = 20
"""Faults of one zone that are told."""

Given = Mapping[str, tuple[Source, Mapping[str, Said]]]


@dataclass
class Zone:
    """A zone to be served."""

    key: str
    """Without the last dot; the root is `.`."""
    role: str
    source: Source
    said: Mapping[str, Said]
    servers: tuple[Draft, ...] = ()
    """All are named by the delegation, the first as the primary."""

    @property
    def name(self) -> str:
        return "." if self.key == "." else self.key if self.role == "shop" else f"{self.key}."

    @property
    def file(self) -> str:
        return str(self.said["file"].value) if "file" in self.said else ""


def serve(stack: Stack, kinds: Kinds, given: Given) -> None:
    """Give each authoritative server its zones, with their text; the resolver its root."""
    authorities = [draft for draft in stack.of("dns") if not draft.is_resolver]
    unset = [draft for draft in authorities if not {("zone",), ("secondary",)} & draft.said.keys()]
    zones = _zones(stack, kinds, given) if unset else []
    _listed(stack, zones, unset)
    primaries = secondaries.primaries(stack, authorities)
    for zone in zones:
        zone.servers = _servers(stack, zone, authorities, primaries)
    _addressable(stack, zones)
    if stack.faults():
        return  # what follows would only be the consequence
    _write(stack, kinds, zones, unset, primaries)
    if not stack.faults():
        for resolver in stack.of("dns"):
            if resolver.is_resolver:
                _root(stack, resolver, authorities)


def site_names(given: Given) -> list[str]:
    """Of the zones in the file, those that a site has: not the root, and no top-level domain."""
    return [key for name in given if "." in (key := plain(name)).strip(".")]


def plain(name: str) -> str:
    """As names are compared: in lower case, without the final dot. `a..` is no name and stays one that is none."""
    name = name.lower()
    return name if name == "." or name.endswith("..") else name.removesuffix(".")


def _zones(stack: Stack, kinds: Kinds, given: Given) -> list[Zone]:
    """Those of the file, and the sites and their parents down from the root, whether written or not."""
    there: dict[str, tuple[Source, Mapping[str, Said]]] = {}
    for name, (source, said) in given.items():
        if plain(name) in there:
            stack.fault(source, f"this zone is there twice: {there[plain(name)][0].key}")
        there[plain(name)] = (source, said)
    tops = dict.fromkeys(name.rpartition(".")[2] for name in stack.names)
    names = kinds.part("dns_server", "rules.names")
    found: list[Zone] = []
    for key in dict.fromkeys((".", *tops, *stack.names, *there)):
        source, said = there.get(key, (DEFAULT, {}))
        role = ROLES[0 if key == "." else 2 if "." in key else 1]
        if key in stack.names and "." not in key:
            what = f"{key!r} is a top-level domain, and the site needs a name below one, such as shop.test"
            stack.fault(_site_source(stack, key, source), what)
        try:
            if not key:
                stack.fault(source, "a zone without a name; the root is called '.'")
            elif plain(names.to_text(names.from_text(key))) != key:
                stack.fault(_site_source(stack, key, source), f"{key!r} is no name of a zone: {_as_ascii(key)}")
        except names.NameFault as fault:
            stack.fault(_site_source(stack, key, source), f"{key!r} is no name of a zone: {fault}")
        found.append(Zone(key, role, source, said))
    return found


def _as_ascii(key: str) -> str:
    """What to write for a name of other letters: DNS and certificates have its A-label (RFC 5890 §2.3.2.1)."""
    try:
        found = "" if key.isascii() else key.encode("idna").decode("ascii")
    except UnicodeError:
        found = ""
    return f"write it as {found}" if found else "wanted ASCII letters, digits, hyphens and dots, as shop.test"


def _site_source(stack: Stack, name: str, source: Source) -> Source:
    said = stack.site.get("name")
    return said.source if said is not None and source is DEFAULT and plain(str(said.value)) == name else source


def _listed(stack: Stack, zones: Sequence[Zone], authorities: Sequence[Draft]) -> None:
    names = [zone.key for zone in zones]
    for draft in authorities:
        for number, name in enumerate(_own_list(draft)):
            if plain(name) not in names:
                near = difflib.get_close_matches(plain(name), names, 1)
                hint = f"did you mean {near[0]}?" if near else f'write it as [zones."{name}"]'
                stack.fault(draft.more["zones"].source.item(number), f"no zone is called {name!r}; {hint}")


def _own_list(draft: Draft) -> tuple[str, ...]:
    said = draft.more.get("zones")
    return said.value if said is not None else ()


def _servers(
    stack: Stack, zone: Zone, authorities: Sequence[Draft], primaries: Mapping[str, Draft]
) -> tuple[Draft, ...]:
    by_name = {draft.name: draft for draft in authorities} | {draft.key: draft for draft in authorities}
    found = [draft for draft in authorities if zone.key in map(plain, _own_list(draft))]
    said = zone.said.get("server")
    if said is not None:
        server = by_name.get(said.value)
        if server is None:
            near = difflib.get_close_matches(said.value, by_name, 1)
            hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(draft.key for draft in authorities)}"
            stack.fault(said.source, f"no authoritative DNS server is called {said.value!r}; {hint}")
            return ()
        found.insert(0, server)
    elif not any(draft.name not in primaries for draft in found):
        usual = found[0] if found else by_name.get(zone.role, authorities[0])
        found.insert(0, primaries.get(usual.name, usual))
    found = secondaries.with_them(found, authorities, primaries)
    if not stack.places.many:
        found.append(authorities[0])  # a referral carries no port: the one that the resolver can reach answers for all
    return tuple({draft.name: draft for draft in found}.values())


def _addressable(stack: Stack, zones: Sequence[Zone]) -> None:
    """Who is to be named in a generated zone has an address."""
    named = [server for zone in zones for server in zone.servers] if any(not zone.file for zone in zones) else []
    for draft in {draft.name: draft for draft in (*named, *(stack.of("edges") if named else ()))}.values():
        if not is_ip(draft.host):
            what = 'DNS answers with an address, not a name; give one, as host = "172.30.0.11"'
            host = draft.more.get("host")
            stack.fault(host.source if host else draft.place("listen"), what, value=host and host.value)


def _write(
    stack: Stack, kinds: Kinds, zones: Sequence[Zone], servers: Sequence[Draft], primaries: Mapping[str, Draft]
) -> None:
    texts = _texts(stack, kinds, zones)
    for draft in servers:
        specs: list[str] = []
        for zone in zones:
            if draft not in zone.servers:
                continue
            if (primary := primaries.get(draft.name)) is not None and primary in zone.servers:
                secondaries.link(zone.name, draft, primary)
            elif zone.key in texts:
                name = f"zones/{_file_name(stack, zone)}.zone"
                specs.append(f"{zone.name}={stack.state_dir / name}")
                draft.files[name] = texts[zone.key]
            else:
                specs.append(f"{zone.name}={zone.file}")
        if not specs and ("secondary",) not in draft.said:
            stack.fault(draft.source, f'it serves no zone; say zones = ["{stack.names[0]}"], or resolver = true')
        if specs:
            draft.derive("zone", tuple(specs), "the zones that it serves")


def _file_name(stack: Stack, zone: Zone) -> str:
    site = stack.names[0]
    return zone.role if zone.key in (".", site.rpartition(".")[2], site) else zone.key


def _texts(stack: Stack, kinds: Kinds, zones: Sequence[Zone]) -> dict[str, str]:
    """By zone, of those that are generated or have further records."""
    texts = _generated(stack, kinds, zones) if any(not zone.file for zone in zones) else {}
    found: dict[str, str] = {}
    for zone in zones:
        text = texts.get(zone.key, "") if not zone.file else None
        records = zone.said.get("records")
        if zone.file and not os.path.isfile(zone.file):
            stack.fault(zone.said["file"].source, "there is no such file", value=zone.file, warning=records is None)
        elif zone.file and records is not None:
            try:
                text = _included_from(Path(zone.file).absolute().parent, Path(zone.file).read_text("utf-8"))
            except (OSError, UnicodeDecodeError) as error:
                stack.fault(zone.said["file"].source, f"cannot be read: {error}")
        if text is not None:
            whole = text + ("" if text.endswith("\n") or not text else "\n")
            if records is not None:
                _read_records(stack, kinds, zone, whole, records)
                whole += "".join(f"{line}\n" for line in records.value)
            found[zone.key] = whole
    return found


def _included_from(directory: Path, text: str) -> str:
    """The text for a file elsewhere: what it includes is found as from here."""
    return re.sub(
        r'(?im)^(\$INCLUDE[ \t]+)("?)([^\s";/][^\s";]*)',
        lambda found: f"{found[1]}{found[2]}{directory / found[3]}",
        text,
    )


def _read_records(stack: Stack, kinds: Kinds, zone: Zone, text: str, records: Said) -> None:
    """A fault for what the server would not take, at the record or in the zone's own file."""
    origin = kinds.part("dns_server", "rules.names").from_text(zone.key)
    faults: Sequence[Any] = ()
    try:
        kinds.part("dns_server", "zonefile").load_text(origin, text + "\n".join(records.value), "zone")
    except ConfigError as error:
        faults = getattr(error, "faults", ())
    own = len(text.splitlines())
    for fault in faults[:_MOST]:
        file, line = fault.line
        number = line - own - 1
        if file == "zone" and 0 <= number < len(records.value):
            stack.fault(records.source.item(number), fault.message, value=records.value[number])
        elif file == "zone" and line and zone.file:
            stack.fault(zone.said["file"].source, f"{zone.file}:{line}: {fault.message}")
        else:
            stack.fault(records.source, fault.message if file in ("zone", "") else str(fault))
    if len(faults) > _MOST:
        stack.fault(records.source, f"and {len(faults) - _MOST} more")


def _generated(stack: Stack, kinds: Kinds, zones: Sequence[Zone]) -> dict[str, str]:
    """The text of every zone but those of files, by its key."""
    parts = kinds.part("dns_server", "zones")
    hosts = {zone.key: list(dict.fromkeys(server.host for server in zone.servers)) for zone in zones}
    edges = {edge.name: parts.Edge(*_reached(edge)) for edge in stack.of("edges")}
    found: dict[str, str] = {}
    for name in stack.names:
        top = name.rpartition(".")[2]
        servers = {"root": hosts["."], "tld": hosts[top], "shop": hosts.get(name, [LOCAL])}
        texts = parts.default_zones(name, edges=edges, servers=servers)
        root, parent, own = (texts[zone] for zone in (".", f"{top}.", f"{name}."))
        found["."] = _joined(found.get("."), root)
        # a name below another site's is delegated by that, else by the top-level domain
        above = max((other for other in stack.names if name.endswith(f".{other}")), key=len, default=top)
        delegation = "".join(f"{line}\n" for line in parent.splitlines() if f"{name}. IN" in line)
        found[above] = _joined(found.get(above), parent if above == top else delegation)
        found[name] = own + found.get(name, "")
    return found


def _reached(edge: Draft) -> tuple[tuple[str, ...], int | None]:
    """Addresses of an edge, and its port of HTTPS: those that have it, else all."""
    https = [item for item in edge.listens if item.scheme == "https"]
    port = https[0].port if https else None
    if "host" in edge.more:
        return (edge.host,), port
    places = [item.host for item in edge.listens if not https or (item in https and item.port == port)]
    return tuple(dict.fromkeys((edge.host, *(host for host in places if is_ip(host) and not _any(host))))), port


def _any(host: str) -> bool:
    return ipaddress.ip_address(host).is_unspecified


def _joined(known: str | None, text: str) -> str:
    """Two texts of one zone: the delegations of both."""
    if known is None:
        return text
    have = set(known.splitlines())
    return known + "".join(f"{line}\n" for line in text.splitlines() if line and line not in have)


def _root(stack: Stack, resolver: Draft, authorities: Sequence[Draft]) -> None:
    named = [(draft, draft.listen) for draft in authorities if draft.listen is not None and is_ip(draft.host)]
    if named:
        known = tuple(f"{draft.name}={address(draft.host, at.port)}" for draft, at in named)
        resolver.derive("server", known, "the DNS servers by name")
    if ("root",) in resolver.said:
        return
    places = [
        (draft, draft.listen)
        for draft in authorities
        if draft.listen is not None and any(text.startswith(".=") for text in draft.get("zone", default=()))
    ]
    if not places:
        what = 'no server here has the zone "."; say where a root server is, as root = ["127.0.53.1:5053"]'
        stack.fault(resolver.source, what)
        return
    first, item = places[0]
    resolver.derive("root", tuple(address(draft.host, at.port) for draft, at in places), f"{first.name} listens there")
    resolver.derive("port", item.port, f"{first.name} has it")
