"""Answers as a fault makes them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Final

from dns_server.rules import types
from dns_server.rules.names import ROOT
from dns_server.rules.rrset import Answer, RRset

UPWARDS: Final = b"\x01a\x0croot-servers\x03net\0"
"""Where a server without the zone used to send whoever asked: up to the root (RFC 1713 §2.3 calls that lame)."""


def with_rcode(rcode: int, *, authoritative: bool) -> Answer:
    """Nothing but the rcode. AA where it says something of the name (RFC 1035 §4.1.1)."""
    word = "nodata" if rcode == types.NOERROR else types.rcode_name(rcode).lower()
    speaks = rcode in (types.NOERROR, types.NXDOMAIN, types.YXDOMAIN)
    return Answer(word, rcode, authoritative=authoritative and speaks)


def lame() -> Answer:
    """A referral up to the root, not authoritative: what a server says of a zone that it has not got (RFC 9499 §7)."""
    answer = Answer("referral")
    answer.authority.append((ROOT, RRset(ROOT, types.NS, 3600, (UPWARDS,))))
    return answer


def truncated(*, authoritative: bool) -> Answer:
    """Empty; TC is set (RFC 2181 §9)."""
    answer = Answer("answered", authoritative=authoritative)
    answer.truncated = True
    return answer


def with_addresses(answer: Answer, addresses: Iterable[str]) -> Answer | None:
    """With these in place of the addresses in its answer section; None if there are none."""
    changed = readdressed([rrset for _, rrset in answer.answer], addresses)
    if changed is None:
        return None
    found = copied(answer)
    found.answer = [(owner, rrset) for (owner, _), rrset in zip(answer.answer, changed, strict=True)]
    return found


def readdressed(rrsets: Sequence[RRset], addresses: Iterable[str]) -> list[RRset] | None:
    """Each A and AAAA RRset with those of its kind in place of its own, TTL kept; None if nothing is changed."""
    packed = [ipaddress.ip_address(text).packed for text in addresses]
    by_type = {types.A: [one for one in packed if len(one) == 4], types.AAAA: [one for one in packed if len(one) == 16]}
    if not any(by_type.get(rrset.type) for rrset in rrsets):
        return None
    return [
        RRset(rrset.owner, rrset.type, rrset.ttl, own) if (own := by_type.get(rrset.type)) else rrset
        for rrset in rrsets
    ]


def copied(answer: Answer) -> Answer:
    """One that may be changed. What the log says of it is said anew."""
    found = Answer(answer.word, answer.rcode, authoritative=answer.authoritative)
    for slot in Answer.__slots__:
        if slot != "said":
            setattr(found, slot, getattr(answer, slot))
    return found
