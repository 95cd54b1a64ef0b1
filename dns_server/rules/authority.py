"""What an authoritative server answers: the algorithm of RFC 1034 §4.3.2 over compiled zones."""

from __future__ import annotations

from typing import Final

from dns_server.rules import errors, types
from dns_server.rules.names import MAX_NAME, is_at_or_below, parent
from dns_server.rules.rrset import Answer, RRset
from dns_server.rules.zone import Node, Zone, Zones

MAX_LINKS: Final = 16
"""CNAME and DNAME links followed for one question; real chains have two or three."""


def answer(zones: Zones, name: bytes, key: bytes, type: int) -> Answer:
    """Answer the question for `name` (its letter case kept in the answer) in class IN.

    A name outside all zones is refused: there is no upward referral (RFC 8499, "lame").
    """
    zone = zones.find(key, type)
    if type in (types.AXFR, types.IXFR):
        # RFC 5936 §2.2.1: not a zone of ours; nobody is allowed to transfer one
        if zone is None or zone.key != key:
            return Answer("notauth", types.NOTAUTH)
        return Answer("refused", types.REFUSED)
    if zone is None:
        return errors.answer(types.REFUSED, errors.FOREIGN)
    return _Lookup(zone, type).run(name, key)


class _Lookup:
    """One question in one zone. Each link of a chain is one round of step 3."""

    __slots__ = ("found", "type", "zone")

    def __init__(self, zone: Zone, type: int) -> None:
        self.zone = zone
        self.type = type
        self.found = Answer("answered", authoritative=True)

    def run(self, name: bytes, key: bytes) -> Answer:
        seen = {key}
        for _ in range(MAX_LINKS):
            target = self._step(name, key)
            if target is None:
                break
            name, key = target, target.lower()
            # Step 3a: a chain that leaves the zone is the asker's to follow. One that comes back to where it was ends
            # here with what it has; the rcode is that of the last name (RFC 6604 §2.1).
            if key in seen or not is_at_or_below(key, self.zone.key):
                break
            seen.add(key)
        self._add_addresses()
        return self.found

    def _step(self, name: bytes, key: bytes) -> bytes | None:
        """Answer for one name; gives the next when it is an alias."""
        zone = self.zone
        node = zone.node(key)
        if node is None:
            closest = zone.closest(parent(key))
            veil = closest.veil or (closest if closest.has_dname else None)
            if veil is not None:
                return self._veiled(veil, name, key)
            node = closest.wildcard  # step 3c; RFC 4592 §3.3.1: only the closest encloser's own
            if node is None:
                self._negative("nxdomain", types.NXDOMAIN)
                return None
            if (veil := node.veil) is not None:
                return self._veiled(veil, name, key)
        # RFC 4035 §3.1.4.1: at the cut itself, DS is the parent's to answer
        elif (veil := node.veil) is not None and not (
            node.is_cut and node.veiled_by == node.key and self.type == types.DS
        ):
            return self._veiled(veil, name, key)
        return self._data(node, name)

    def _data(self, node: Node, name: bytes) -> bytes | None:
        rrsets, type = node.rrsets, self.type
        rrset = rrsets.get(type)
        if rrset is not None:
            self.found.answer.append((name, rrset))
            return None
        if (alias := rrsets.get(types.CNAME)) is not None:
            self.found.answer.append((name, alias))
            return None if type == types.ANY else alias.rdatas[0]
        if type == types.ANY and rrsets:
            # RFC 8482 §4.1: one RRset, so that ANY is no amplifier
            self.found.answer.append((name, next(iter(rrsets.values()))))
            return None
        self._negative("nodata", types.NOERROR)  # a name without data of its own too: RFC 8020 §2
        return None

    def _negative(self, word: str, rcode: int) -> None:
        found = self.found
        found.word, found.rcode = word, rcode
        found.authority.append(self.zone.negative)  # RFC 2308 §2

    def _veiled(self, veil: Node, name: bytes, key: bytes) -> bytes | None:
        if not veil.is_cut:
            return self._redirect(veil.rrsets[types.DNAME], name, key)
        # Step 3b: not authoritative below a cut. After an alias, AA speaks for the first owner (RFC 1035 §4.1.1).
        found = self.found
        found.word = "referral"
        found.authoritative = bool(found.answer)
        servers = veil.rrsets[types.NS]
        found.authority.append((servers.owner, servers))
        for server in dict.fromkeys(servers.targets):
            # RFC 9471 §3.1: in-domain glue must be there or TC set; sibling glue helps, where there is room
            required = is_at_or_below(server.lower(), veil.key)
            self._address(server, found.glue if required else found.additional)
        return None

    def _redirect(self, dname: RRset, name: bytes, key: bytes) -> bytes | None:
        """RFC 6672 §3.2: the DNAME, and a CNAME made from it with its TTL."""
        found = self.found
        found.answer.append((dname.owner, dname))
        target = name[: len(key) - len(dname.owner)] + dname.rdatas[0]
        if len(target) > MAX_NAME:
            found.word, found.rcode = "yxdomain", types.YXDOMAIN
            return None
        found.answer.append((name, RRset(name, types.CNAME, dname.ttl, (target,))))
        return None if self.type in (types.CNAME, types.ANY) else target

    def _add_addresses(self) -> None:
        """Step 6: addresses of the names that the answer names, as far as they are ours to give."""
        found = self.found
        for owner, rrset in found.answer:
            for target in rrset.targets:
                # RFC 9460 §2.5: a service's "." is its owner
                self._address(owner if target == b"\0" and rrset.type >= types.SVCB else target, found.additional)

    def _address(self, name: bytes, section: list[tuple[bytes, RRset]]) -> None:
        node = self.zone.node(name.lower())
        if node is None:
            return
        for type in (types.A, types.AAAA):
            rrset = node.rrset(type)
            if rrset is not None and not any(
                other.type == type and other.owner == rrset.owner for _, other in (*section, *self.found.answer)
            ):
                section.append((name, rrset))
