"""Which DNS server answers for which zone, and what stands in the zones that are generated."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stack.config.listen import address
from stack.errors import ConfigError
from stack.plan.draft import Draft, Stack, bare, is_ip
from stack.plan.model import Kinds
from stack.plan.ports import LOCAL
from stack.plan.sources import DEFAULT, Said, Source, derived

ROLES = ("root", "tld", "shop")


@dataclass
class Zone:
    """A zone to be served."""

    name: str
    """Absolute but for the site's own, as default: `.`, `test.`, `shop.test`."""
    source: Source
    role: str
    said: Mapping[str, Said]
    server: Draft | None = None

    @property
    def file(self) -> str:
        return str(self.said["file"].value) if "file" in self.said else ""

    @property
    def key(self) -> str:
        return self.name.rstrip(".") or "."


def serve(
    stack: Stack, kinds: Kinds, state_dir: Path, zones: Mapping[str, tuple[Source, Mapping[str, Said]]] | None
) -> None:
    """Give each authoritative server its zones, with their text; the resolver its root."""
    authorities = [draft for draft in stack.of("dns") if not draft.is_resolver]
    resolvers = [draft for draft in stack.of("dns") if draft.is_resolver]
    if authorities and not all(("zone",) in draft.said for draft in authorities):
        served = _zones(stack, zones)
        for zone in served:
            zone.server = _server(stack, zone, authorities)
        _listed(stack, served, authorities)
        _write(stack, kinds, state_dir, [zone for zone in served if zone.server is not None], authorities)
    for resolver in resolvers:
        _root(stack, resolver, authorities)


def _zones(stack: Stack, given: Mapping[str, tuple[Source, Mapping[str, Said]]] | None) -> list[Zone]:
    site = stack.names[0]
    tld = site.rpartition(".")[2] + "."
    if given is None:
        return [Zone(name, DEFAULT, role, {}) for role, name in zip(ROLES, (".", tld, site), strict=True)]
    found: list[Zone] = []
    for name, (source, said) in given.items():
        plain = name.rstrip(".")
        role = "root" if not plain else "tld" if "." not in plain else "shop"
        found.append(Zone(name if plain == site else f"{plain}.", source, role, said))
    return found


def _server(stack: Stack, zone: Zone, authorities: list[Draft]) -> Draft | None:
    said = zone.said.get("server")
    by_key = {draft.key: draft for draft in authorities}
    by_name = {draft.name: draft for draft in authorities}
    if said is None:
        listed = [
            d
            for d in authorities
            if any(item.rstrip(".") == zone.name.rstrip(".") for item in d.more.get("zones", Said((), DEFAULT)).value)
        ]
        return listed[0] if listed else by_key.get(zone.role, authorities[0])
    found = by_key.get(said.value) or by_name.get(said.value)
    if found is None:
        near = difflib.get_close_matches(said.value, [*by_key, *by_name], 1)
        hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(by_key)}"
        stack.fault(said.source, f"no authoritative DNS server is called {said.value!r}; {hint}")
    return found


def _listed(stack: Stack, zones: list[Zone], authorities: list[Draft]) -> None:
    names = {zone.key for zone in zones}
    for draft in authorities:
        said = draft.more.get("zones")
        for name in said.value if said is not None else ():
            if said is not None and (name.rstrip(".") or ".") not in names:
                near = difflib.get_close_matches(name, names, 1)
                hint = f"did you mean {near[0]}?" if near else f'write it as [zones."{name}"]'
                stack.fault(said.source, f"no zone is called {name!r}; {hint}")


def _write(stack: Stack, kinds: Kinds, state_dir: Path, zones: list[Zone], authorities: list[Draft]) -> None:
    texts = _texts(stack, kinds, zones, authorities)
    flags: dict[str, list[str]] = {draft.name: [] for draft in authorities}
    files: dict[str, dict[str, str]] = {draft.name: {} for draft in authorities}
    for zone in zones:
        assert zone.server is not None
        text = texts.get(zone.key)
        listed = [
            d
            for d in authorities
            if zone.key in [item.rstrip(".") or "." for item in d.more.get("zones", Said((), DEFAULT)).value]
        ]
        # a referral carries no port: with one address, the server that the resolver can reach answers for all
        everywhere = [] if stack.places.many else [authorities[0]]
        for server in dict.fromkeys(draft.name for draft in (zone.server, *listed, *everywhere)):
            if text is None:
                flags[server].append(f"{zone.name}={zone.file}")
            else:
                name = f"zones/{_file_name(zone, zones)}.zone"
                flags[server].append(f"{zone.name}={state_dir / name}")
                files[server][name] = text
    for draft in authorities:
        if ("zone",) in draft.said:
            continue
        if not flags[draft.name]:
            stack.fault(draft.source, f'it serves no zone; say zones = ["{stack.names[0]}"], or resolver = true')
        draft.derive("zone", tuple(flags[draft.name]), "the zones that it serves")
        draft.files = files[draft.name]


def _file_name(zone: Zone, zones: list[Zone]) -> str:
    alone = sum(other.role == zone.role for other in zones) == 1
    return zone.role if alone else zone.key


def _texts(stack: Stack, kinds: Kinds, zones: list[Zone], authorities: list[Draft]) -> dict[str, str]:
    """By zone, of those that are generated or have further records."""
    found: dict[str, str] = {}
    generated = _generated(stack, kinds, zones, authorities)
    for zone in zones:
        text = generated.get(zone.key) if not zone.file else None
        records = zone.said.get("records")
        if zone.file and records is not None:
            try:
                text = Path(zone.file).read_text()
            except (OSError, UnicodeDecodeError) as error:
                stack.fault(zone.said["file"].source, f"cannot be read: {error}")
                continue
        elif zone.file and not Path(zone.file).is_file():
            stack.fault(zone.said["file"].source, "there is no such file", value=zone.file)
        if text is not None:
            found[zone.key] = text + "".join(f"{line}\n" for line in (records.value if records is not None else ()))
    return found


def _generated(stack: Stack, kinds: Kinds, zones: list[Zone], authorities: list[Draft]) -> dict[str, str]:
    """The text of every zone that no file gives, by its name without the last dot."""
    make = kinds.part("dns_server", "zones").default_zones
    hosts = {zone.key: zone.server.host for zone in zones if zone.server is not None}
    edges = {edge.name: edge.host for edge in stack.of("edges")}
    https = next((item.port for edge in stack.of("edges") for item in edge.listens if item.scheme == "https"), 443)
    found: dict[str, str] = {}
    wanted = [zone for zone in zones if not zone.file]
    if not wanted:
        return found
    for draft in (*authorities, *stack.of("edges")):
        if not is_ip(draft.host):
            what = 'DNS answers with an address, not a name; give one, as host = "172.30.0.11"'
            stack.fault(draft.more["host"].source if "host" in draft.more else draft.source, what, value=draft.host)
            return found
    for name in stack.names:
        top = name.rpartition(".")[2]
        servers = {
            "root": hosts.get(".", LOCAL), "tld": hosts.get(top, LOCAL), "shop": hosts.get(name, LOCAL)
        }  # fmt: skip
        try:
            texts = make(name, edges=edges, servers=servers, https_port=https)
        except ConfigError as error:
            stack.fault(_site_source(stack, name, zones), bare(error))
            return found
        for zone, text in texts.items():
            known = found.get(zone.rstrip(".") or ".")
            found[zone.rstrip(".") or "."] = text if known is None else _joined(known, text)
    return found


def _joined(known: str, text: str) -> str:
    """Two texts of one parent zone: the delegations of both."""
    have = set(known.splitlines())
    return known + "".join(f"{line}\n" for line in text.splitlines() if line and line not in have)


def _site_source(stack: Stack, name: str, zones: list[Zone]) -> Source:
    if (said := stack.site.get("name")) is not None and said.value == name:
        return said.source
    return next((zone.source for zone in zones if zone.key == name), derived("the site's name"))


def _root(stack: Stack, resolver: Draft, authorities: list[Draft]) -> None:
    if ("root",) in resolver.said:
        return
    roots = [draft for draft in authorities if any(text.startswith(".=") for text in draft.get("zone", default=()))]
    if not roots:
        stack.fault(
            resolver.source,
            'no server here has the zone "."; say where a root server is, as root = ["127.0.53.1:5053"]',
        )
        return
    places = [(draft, draft.listen) for draft in roots if draft.listen is not None]
    port = next((item.port for _, item in places), 53)
    port = resolver.get("port", default=port)
    resolver.derive(
        "root", tuple(address(draft.host, item.port) for draft, item in places), f"{roots[0].name} listens there"
    )
    resolver.derive("port", port, f"that of {roots[0].name}: a referral carries none")
