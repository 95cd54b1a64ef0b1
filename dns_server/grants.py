"""Who may change what: `--update`, one grant each. Without a grant nothing is changed from the network."""

from __future__ import annotations

import fnmatch
import ipaddress
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from dns_server.rdata_text import TextFault, type_number
from dns_server.rules import types
from dns_server.rules.names import NameFault, from_text, to_text
from stack.errors import ConfigError
from stack.http.trust import is_within

WANTED = "wanted KEY [zone=ZONE] [name=PATTERN,...] [type=TYPE,...] [from=NETWORK,...], as `acme type=TXT`"
GUARDED = frozenset(
    types.NUMBERS[name]
    for name in ("SOA", "NS", "DS", "DNAME", "RRSIG", "NSEC", "DNSKEY", "NSEC3", "NSEC3PARAM", "CDS", "CDNSKEY")
)
"""Types that a grant has to name: by the others nobody gives a part of the zone away, or breaks its signatures."""
OWN = "{key}"
"""In a pattern, the name of the key."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What one key may change. An empty part means all of its kind."""

    key: bytes
    zone: bytes = b""
    names: tuple[str, ...] = ()
    types: frozenset[int] = frozenset()
    """With ANY: each of them, the guarded ones too."""
    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()

    def covers(self, name: bytes, type: int) -> bool:
        if types.ANY not in self.types and (type not in self.types if self.types else type in GUARDED):
            return False
        if not self.names:
            return True
        text, own = _plain(name), _plain(self.key)
        return any(fnmatch.fnmatchcase(text, pattern.replace(OWN, own)) for pattern in self.names)


class Grants:
    """All grants of a server."""

    def __init__(self, grants: Iterable[Grant] = ()) -> None:
        self._grants = tuple(grants)

    def __bool__(self) -> bool:
        return bool(self._grants)

    @property
    def zones(self) -> set[bytes]:
        """Those that grants name."""
        return {grant.zone for grant in self._grants if grant.zone}

    def of(self, key: bytes, zone: bytes, client: str) -> Sequence[Grant]:
        """Those that a key has in a zone, asked from that address."""
        return [
            grant
            for grant in self._grants
            if grant.key == key
            and grant.zone in (b"", zone)
            and (not grant.networks or is_within(client, grant.networks))
        ]


def allowed(grants: Sequence[Grant], places: Iterable[tuple[bytes, int]]) -> tuple[bytes, int] | None:
    """The first place that no grant covers; None when all may be changed."""
    for name, type in places:
        if not any(grant.covers(name, type) for grant in grants):
            return name, type
    return None


def _plain(name: bytes) -> str:
    return to_text(name.lower()).rstrip(".") or "."


def read_grants(texts: Iterable[str], keys: Collection[bytes] | None = None) -> Grants:
    """Raises ConfigError: for what is not understood, and for a key that is not among `keys`, where they are known."""
    return Grants(_grant(text, keys) for text in texts)


def _grant(text: str, keys: Collection[bytes] | None) -> Grant:
    words = text.split()
    if not words or "=" in words[0]:
        raise ConfigError(f"--update {text}: {WANTED}")
    try:
        key = from_text(words[0]).lower()
    except NameFault as fault:
        raise ConfigError(f"--update {text}: {fault}") from None
    if keys is not None and key not in keys:
        known = ", ".join(to_text(name).rstrip(".") for name in keys) or "none"
        raise ConfigError(f"--update {text}: no key is called {words[0]}; the files of --tsig-key have {known}")
    said: dict[str, list[str]] = {}
    for word in words[1:]:
        part, mark, value = word.partition("=")
        if part not in ("zone", "name", "type", "from") or not mark or not value:
            raise ConfigError(f"--update {text}: {word!r} is not understood; {WANTED}")
        said.setdefault(part, []).extend(item for item in value.split(",") if item)
    try:
        zones = [from_text(zone).lower() for zone in said.get("zone", [])]
        if len(zones) > 1:
            raise ConfigError(f"--update {text}: one zone in each")
        return Grant(
            key,
            zones[0] if zones else b"",
            tuple(name.lower().rstrip(".") or "." for name in said.get("name", [])),
            frozenset(types.ANY if name.upper() == "ANY" else type_number(name) for name in said.get("type", [])),
            tuple(ipaddress.ip_network(network) for network in said.get("from", [])),
        )
    except (NameFault, TextFault) as fault:
        raise ConfigError(f"--update {text}: {fault}") from None
    except ValueError as error:
        raise ConfigError(f"--update {text}: {error}; as 192.0.2.0/24") from None
