"""What an authoritative server answers: the algorithm of RFC 1034 §4.3.2 over compiled zones."""

from __future__ import annotations

from typing import Final

from dns_server.rules import errors, types
from dns_server.rules.names import MAX_NAME, ROOT, is_at_or_below, parent
from dns_server.rules.rrset import Answer, Placed, RRset
from dns_server.rules.zone import Node, Zone, Zones

MAX_LINKS: Final = 20
"""CNAME and DNAME links followed for one question; real chains have two or three."""
MAX_SERVICES: Final = 8
"""Services in AliasMode followed for the additional section (RFC 9460 §4.1)."""
ADDRESSES: Final = (types.A, types.AAAA)


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

    __slots__ = ("found", "known", "type", "zone")

    def __init__(self, zone: Zone, type: int) -> None:
        self.zone = zone
        self.type = type
        self.found = Answer("answered", authoritative=True)
        self.known: set[tuple[bytes, int]] = set()
        """What the additional section has, and services of the answer: no RRset is there twice (RFC 2181 §5)."""

    def run(self, name: bytes, key: bytes) -> Answer:
        seen = {key}
        for _ in range(MAX_LINKS):
            target = self._step(name, key)
            if target is None:
                break
            name, key = target, target.lower()
            # Step 3a: a chain that leaves the zone is the asker's to follow, who would not believe this zone on
            # others anyway. One that comes back to where it was ends here with what it has; the rcode is that of the
            # last name (RFC 6604 §2.1).
            if key in seen or not is_at_or_below(key, self.zone.key):
                break
            seen.add(key)
        for owner, rrset in self.found.answer:
            if rrset.targets:
                self._add_targets(owner, rrset)
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
        # RFC 4035 §3.1.4.1: at the cut itself, DS is the parent's to answer
        if (veil := node.veil) is not None and not (
            self.type == types.DS and node.is_cut and node.veiled_by == node.key
        ):
            return self._veiled(veil, name, key)
        return self._data(node, name)

    def _data(self, node: Node, name: bytes) -> bytes | None:
        type = self.type
        # RFC 8482 §4.1: ANY is one RRset, so that it is no amplifier
        rrset = node.rrset(type) if type != types.ANY else next(iter(node.rrsets.values()), None)
        if rrset is not None:
            if rrset.type == types.DNAME and self._redirected_by(rrset):
                return None  # it led here, to itself
            self.found.answer.append((name, rrset))
            return None
        if (alias := node.rrset(types.CNAME)) is not None:
            self.found.answer.append((name, alias))
            return alias.rdatas[0]
        self._negative("nodata", types.NOERROR)  # a name without data of its own too: RFC 8020 §2
        return None

    def _negative(self, word: str, rcode: int) -> None:
        found = self.found
        found.word, found.rcode = word, rcode
        found.authority.append(self.zone.negative)  # RFC 2308 §2

    def _veiled(self, veil: Node, name: bytes, key: bytes) -> bytes | None:
        if not veil.is_cut:
            dname = veil.rrset(types.DNAME)
            assert dname is not None
            return self._redirect(dname, name, key)
        # Step 3b: not authoritative below a cut. After an alias, AA speaks for the first owner (RFC 1035 §4.1.1).
        found = self.found
        found.word = "referral"
        found.authoritative = bool(found.answer)
        servers = veil.rrset(types.NS)
        assert servers is not None
        found.authority.append((servers.owner, servers))
        for server in servers.targets:
            # RFC 9471 §3.1: in-domain glue must be there or TC set; sibling glue helps, where there is room
            required = is_at_or_below(server.lower(), veil.key)
            self._add(server, ADDRESSES, found.glue if required else found.additional)
        return None

    def _redirect(self, dname: RRset, name: bytes, key: bytes) -> bytes | None:
        """RFC 6672 §3.2: the DNAME, and a CNAME made from it with its TTL."""
        found = self.found
        if not self._redirected_by(dname):
            found.answer.append((dname.owner, dname))
        target = name[: len(key) - len(dname.owner)] + dname.rdatas[0]
        if len(target) > MAX_NAME:
            found.word, found.rcode = "yxdomain", types.YXDOMAIN
            return None
        found.answer.append((name, RRset(name, types.CNAME, dname.ttl, (target,))))
        return target if self.type != types.CNAME else None

    def _redirected_by(self, dname: RRset) -> bool:
        return any(other.type == types.DNAME and other.owner == dname.owner for _, other in self.found.answer)

    def _add_targets(self, owner: bytes, rrset: RRset) -> None:
        """Step 6: addresses of the names that the answer names, as far as they are ours to give."""
        section = self.found.additional
        if rrset.type < types.SVCB:
            for target in rrset.targets:
                self._add(target, ADDRESSES, section)
            return
        # RFC 9460 §4.1: of a service in AliasMode, what it is an alias of too
        services: list[Placed] = [(owner, rrset)]
        self.known.add((owner.lower(), rrset.type))
        for owner, service in services:
            for rdata, target in zip(service.rdatas, service.targets, strict=True):
                if rdata[:2] != b"\0\0":
                    self._add(target if target != ROOT else owner, ADDRESSES, section)  # §2.5.2: "." is the owner
                elif target != ROOT:  # §2.5.1: "." says that there is no service
                    self._add(target, ADDRESSES, section)
                    if len(services) < MAX_SERVICES:
                        services += self._add(target, (service.type,), section)

    def _add(self, name: bytes, wanted: tuple[int, ...], section: list[Placed]) -> list[Placed]:
        """What there is of a name goes into the section, unless the response has it; gives what is new."""
        node = self._node_of(key := name.lower())
        new: list[Placed] = []
        if node is None:
            return new
        for type in wanted:
            if (key, type) not in self.known and (rrset := node.rrset(type)) is not None:
                self.known.add((key, type))
                new.append((name, rrset))
        section += new
        return new

    def _node_of(self, key: bytes) -> Node | None:
        """Where the zone's data for a name stand: below a cut too, as glue; at a wildcard; never below a DNAME."""
        zone = self.zone
        node = zone.node(key)
        if node is not None:
            return node if (veil := node.veil) is None or veil.is_cut else None
        if not is_at_or_below(key, zone.key):
            return None
        closest = zone.closest(parent(key))
        return closest.wildcard if closest.veil is None and not closest.has_dname else None
