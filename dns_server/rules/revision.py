"""Another version of a packed zone, by records: only what is touched is packed and checked anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dns_server.rules import draft, packed, types
from dns_server.rules.faults import Fault
from dns_server.rules.names import ancestors, is_at_or_below, parent, to_text
from dns_server.rules.rdata import RdataFault, check
from dns_server.rules.rrset import RRset

Sets = dict[int, tuple[bytes, int, dict[bytes, None]]]
"""Of one name by type: owner, TTL, rdatas."""


def revise(
    origin: bytes, nodes: Mapping[bytes, bytes], removed: Iterable[RRset], added: Iterable[RRset]
) -> tuple[dict[bytes, bytes], list[Fault]]:
    """All names of the next version, or what is wrong with it. See `Zone.changed`."""
    revision = _Revision(origin, nodes)
    for rrset in removed:
        revision.remove(rrset)
    for rrset in added:
        revision.add(rrset)
    revision.check()
    if not revision.faults:
        revision.write()
    return revision.nodes, revision.faults


class _Revision:
    def __init__(self, origin: bytes, nodes: Mapping[bytes, bytes]) -> None:
        self.origin, self.apex = origin, origin.lower()
        self.nodes = dict(nodes)
        self.touched: dict[bytes, Sets] = {}
        self.faults: list[Fault] = []

    def sets(self, key: bytes) -> Sets:
        found = self.touched.get(key)
        if found is None:
            node = self.nodes.get(key)
            found = self.touched[key] = (
                {
                    rrset.type: (rrset.owner, rrset.ttl, dict.fromkeys(rrset.rdatas))
                    for rrset in packed.rrsets(key, node)
                }
                if node is not None
                else {}
            )
        return found

    def remove(self, rrset: RRset) -> None:
        key = rrset.owner.lower()
        if key not in self.nodes:
            return
        sets = self.sets(key)
        if rrset.type in sets:
            rdatas = sets[rrset.type][2]
            for rdata in rrset.rdatas:
                rdatas.pop(rdata, None)

    def add(self, rrset: RRset) -> None:
        key = rrset.owner.lower()
        if not is_at_or_below(key, self.apex):
            self.fault(f"{to_text(rrset.owner)} is not in the zone {to_text(self.origin)}")
            return
        for rdata in rrset.rdatas:
            try:
                check(rrset.type, rdata)
            except RdataFault as fault:
                self.fault(str(fault))
                return
        sets = self.sets(key)
        owner, _, rdatas = sets.get(rrset.type, (rrset.owner, 0, {}))
        ttl = rrset.ttl if rrset.ttl <= draft.LONGEST_TTL else 0  # RFC 2181 §8
        sets[rrset.type] = (owner if rdatas else rrset.owner, ttl, {**rdatas, **dict.fromkeys(rrset.rdatas)})

    def fault(self, message: str) -> None:
        self.faults.append(Fault("", message))

    def check(self) -> None:
        for key, sets in self.touched.items():
            for type in [type for type, (_, _, rdatas) in sets.items() if not rdatas]:
                del sets[type]
            for type, (owner, _, rdatas) in sets.items():
                for message in draft.misplaced(type, at_apex=key == self.apex):
                    self.fault(message)
                if type in draft.SINGLE:
                    for _ in range(len(rdatas) - 1):
                        self.fault(draft.second(type, owner))
                if len(rdatas) > packed.MOST_RECORDS:
                    self.fault(draft.too_many(type, owner))
            if types.CNAME in sets and not sets.keys() <= draft.BESIDE_ALIAS:
                self.fault(draft.beside_alias(sets[types.CNAME][0], sets))
        for message in draft.missing(self.origin, self.touched.get(self.apex, (types.SOA, types.NS))):
            self.fault(message)

    def write(self) -> None:
        """Names first, so that all are there when what answers in their place is drawn anew."""
        redraw: list[bytes] = []
        for key, sets in self.touched.items():
            if sets and key not in self.nodes:
                self.raise_name(key)
        for key, sets in self.touched.items():
            node = self.nodes.get(key)
            if node is None:
                continue
            flags, veil, children, _ = packed.split(node)
            cut = packed.CUT if types.NS in sets and key != self.apex else 0
            self.nodes[key] = made = packed.pack(
                key,
                [(type, owner, ttl, rdatas) for type, (owner, ttl, rdatas) in sets.items()],
                flags=flags & packed.WILDCARD | cut,
                veil=veil,
                children=children,
            )
            if (made[0] ^ flags) & (packed.CUT | packed.DNAME):
                redraw.append(key)
        for key, sets in self.touched.items():
            if not sets:
                self.fell(key)
        for key in redraw:
            self.draw_below(key)
        for key in self.touched:
            if key in self.nodes:
                self.draw(key)

    def raise_name(self, key: bytes) -> None:
        """A new name, with all above it that are missing."""
        self.nodes[key] = packed.head(0, len(self.veil(key)), 0)
        while key != self.apex:
            above = parent(key)
            known = self.nodes.get(above)
            flags, veil, children, body = (
                packed.split(known) if known is not None else (0, len(self.veil(above)), 0, b"")
            )
            if key.startswith(b"\x01*"):
                flags |= packed.WILDCARD
            self.nodes[above] = packed.head(flags, veil, children + 1) + body
            if known is not None:
                break
            key = above

    def fell(self, key: bytes) -> None:
        """A name without records goes, with all above it that were there only for its sake."""
        while key != self.apex and (node := self.nodes.get(key)) is not None:
            _, _, children, body = packed.split(node)
            if children or body:
                break
            del self.nodes[key]
            above = parent(key)
            flags, veil, children, body = packed.split(self.nodes[above])
            if key.startswith(b"\x01*"):
                flags &= ~packed.WILDCARD
            self.nodes[above] = packed.head(flags, veil, children - 1) + body
            key = above

    def veil(self, key: bytes) -> bytes:
        found = b""
        for name in ancestors(key):
            node = self.nodes.get(name)
            if node is not None and (node[0] & packed.CUT or (node[0] & packed.DNAME and name != key)):
                found = name
            if name == self.apex:
                break
        return found

    def draw(self, key: bytes) -> None:
        flags, veil, children, body = packed.split(self.nodes[key])
        if (now := len(self.veil(key))) != veil:
            self.nodes[key] = packed.head(flags, now, children) + body

    def draw_below(self, key: bytes) -> None:
        """A cut or a DNAME came or went: whatever lies below it is answered otherwise."""
        node = self.nodes.get(key)
        if node is None or not node[0] & packed.CHILDREN:
            return
        for name in [name for name in self.nodes if name.endswith(key) and is_at_or_below(name, key)]:
            self.draw(name)
