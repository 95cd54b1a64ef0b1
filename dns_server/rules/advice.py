"""What is legal in a zone, and unwise: warnings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from dns_server.rules import types
from dns_server.rules.names import is_at_or_below, to_text
from dns_server.rules.rdata import pointer

if TYPE_CHECKING:
    from dns_server.rules.draft import Draft, Group, Structure

DATAGRAM: Final = 1232
"""Octets of rdata that no longer fit a response over UDP."""
DAY: Final = 86400

_AT_CUT: Final = frozenset({types.NS, types.DS, types.A, types.AAAA, types.RRSIG, types.NSEC})
_GLUE: Final = frozenset({types.A, types.AAAA})


def advise(draft: Draft, structure: Structure) -> None:
    """Warnings about a zone without fatal faults, its empty non-terminals drawn."""
    advisor = _Advisor(draft, structure)
    for key in draft.names:
        advisor.look_at(key)


class _Advisor:
    def __init__(self, draft: Draft, structure: Structure) -> None:
        self.draft, self.structure = draft, structure
        self.apex = draft.apex
        # www.shop.test.shop.test.: somebody forgot the trailing dot
        self.doubled = draft.apex[:-1] + draft.apex if draft.apex != b"\0" else b"\xff"
        self.open = not structure.cuts and not structure.dnames

    def look_at(self, key: bytes) -> None:
        groups = self.draft.groups(key)
        veil = b"" if self.open else self.structure.veil(key)
        for type, group in groups.items():
            if key.endswith(self.doubled):
                self.draft.warn(group[0][0], f"{self.typo(group[0][2])}")
            if veil and self.hidden(key, type, veil):
                what = "delegation" if veil in self.structure.cuts else "DNAME"
                self.draft.warn(
                    group[0][0],
                    f"the {types.type_name(type)} record of {to_text(group[0][2])} is hidden by the {what} at"
                    f" {to_text(veil)}",
                )
            else:
                self.set(key, type, group)

    def hidden(self, key: bytes, type: int, veil: bytes) -> bool:
        if veil not in self.structure.cuts:
            return True
        return type not in (_AT_CUT if key == veil else _GLUE)

    def set(self, key: bytes, type: int, group: Group) -> None:
        warn = self.draft.warn
        place, _, owner, rdata = group[0]
        if type == types.SOA:
            for message in soa_advice(rdata):
                warn(place, message)
        elif type in (types.NS, types.DNAME) and key.startswith(b"\x01*"):
            # RFC 4592 §4.2, §4.4
            warn(place, f"the wildcard {to_text(owner)} has a {types.type_name(type)} record, which expands to nothing")
        elif type == types.DS and key not in self.structure.cuts:
            warn(place, f"{to_text(owner)} has a DS record and no NS record")
        if (size := sum(len(record[3]) + 12 for record in group)) > DATAGRAM:
            warn(
                place,
                f"the {types.type_name(type)} set of {to_text(owner)} has {size} octets: never an answer over UDP",
            )
        for place, _, _, rdata in group:
            target = pointer(type, rdata)
            if target is None or target == b"\0":
                continue
            server = target.lower()
            if server.endswith(self.doubled):
                warn(place, self.typo(target))
            if type == types.NS:
                self.name_server(key, server, target, place)
            elif type in _TARGETS:
                self.target(type, server, target, place)

    def typo(self, name: bytes) -> str:
        return f"{to_text(name)} names the zone twice; is a trailing dot missing?"

    def name_server(self, key: bytes, server: bytes, target: bytes, place: int) -> None:
        """RFC 1034 §4.2.1: a server inside the zone needs an address here: as data, or as glue below the cut."""
        if not is_at_or_below(server, self.apex):
            return
        veil = self.structure.veil(self.closest(server))
        if veil and veil != key:
            return  # below another cut it is for that zone to say
        found = self.types_at(server)
        if not found & _GLUE and types.CNAME not in found:  # a wildcard gives no glue
            what = "glue" if is_at_or_below(server, key) and key != self.apex else "address"
            self.draft.warn(place, f"the name server {to_text(target)} has no {what} here")
        elif types.CNAME in found:  # RFC 2181 §10.3
            self.draft.warn(place, f"the name server {to_text(target)} is an alias")

    def target(self, type: int, server: bytes, target: bytes, place: int) -> None:
        if not is_at_or_below(server, self.apex):
            return
        closest = self.closest(server)
        if self.structure.veil(closest):
            return
        if closest != server:
            found = self.types_at(b"\x01*" + closest)
        else:
            found = self.types_at(server)
        what = _TARGETS[type]
        if types.CNAME in found:
            # RFC 1034 §3.6.2, RFC 2181 §10.3, RFC 2782
            self.draft.warn(place, f"the {what} {to_text(target)} is an alias")
        elif type != types.CNAME and not found & _GLUE:
            self.draft.warn(place, f"the {what} {to_text(target)} has no address here")

    def closest(self, key: bytes) -> bytes:
        names = self.draft.names
        while key not in names:
            key = key[key[0] + 1 :]
        return key

    def types_at(self, key: bytes) -> frozenset[int]:
        return frozenset(self.draft.groups(key)) if key in self.draft.names else frozenset()


_TARGETS: Final = {types.CNAME: "target", types.MX: "mail server", types.SRV: "server"}


def soa_advice(rdata: bytes) -> Iterator[str]:
    """RFC 1912 §2.2, RFC 2308 §5."""
    serial, refresh, retry, expire, minimum = (
        int.from_bytes(rdata[at : at + 4] if at != -4 else rdata[-4:], "big") for at in (-20, -16, -12, -8, -4)
    )
    if serial == 0:
        yield "the serial is 0: some secondaries take it for none"
    if refresh < 60 or retry < 60:
        yield f"refresh {refresh} or retry {retry} is below a minute: secondaries would ask without a pause"
    if retry > refresh:
        yield f"retry {retry} is longer than refresh {refresh}"
    if expire < refresh + retry:
        yield f"expire {expire} is shorter than refresh and retry together: one lost refresh ends the zone"
    if minimum > DAY:
        yield f"the minimum {minimum} keeps a new name unknown for more than a day"
