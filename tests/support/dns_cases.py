"""Outside cases for an authoritative server: how one is asked, and how a response is held against what is expected."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

Case = dict[str, Any]
DATA = Path(__file__).parent.parent / "conformance" / "data" / "dns"
_FLAGS = {"aa": dns.flags.AA, "tc": dns.flags.TC, "rd": dns.flags.RD, "ra": dns.flags.RA, "ad": dns.flags.AD}


@cache
def load() -> dict[str, Any]:
    """Of both files."""
    found: dict[str, Any] = {"zonesets": {}, "cases": []}
    for name in ("cases.json", "clauses.json"):
        part = json.loads((DATA / name).read_text())
        assert not found["zonesets"].keys() & part["zonesets"].keys()
        found["zonesets"] |= part["zonesets"]
        found["cases"] += part["cases"]
    return found


def query(case: Case) -> bytes:
    """The message of a case."""
    if "raw" in case:
        return bytes.fromhex(case["raw"])
    message = dns.message.make_query(
        dns.name.from_text(case["qname"]), case["qtype"], case.get("qclass", "IN"), want_dnssec=False, use_edns=False
    )
    message.flags = dns.flags.Flag(dns.flags.RD if case.get("rd") else 0)
    for flag in case.get("flags", ()):
        message.flags |= dns.flags.Flag[flag] if flag != "Z" else 0x40
    if (edns := case.get("edns")) is not None:
        options = [dns.edns.GenericOption(code, bytes.fromhex(data)) for code, data in edns.get("options", ())]
        flags = (0x8000 if edns.get("do") else 0) | edns.get("z", 0)
        message.use_edns(0, flags, edns.get("payload", 1232), options=options)
        wire = bytearray(message.to_wire())
        if version := edns.get("version", 0):
            wire[wire.rindex(b"\0\0\x29") + 6] = version
        return bytes(wire)
    return message.to_wire()


def complaints(case: Case, response: bytes | None) -> Iterator[str]:
    """Everything in which `response` is not what the case expects."""
    expect = case["expect"]
    broken_ok = "drop_or_rcode_in" in expect
    if response is None:
        if not broken_ok and not expect.get("drop"):
            yield "no response"
        return
    if expect.get("drop"):
        yield "a response"
        return
    try:
        message = dns.message.from_wire(response, ignore_trailing=False)
    except dns.exception.DNSException as error:
        yield f"not well-formed: {error!r}"
        return
    rcode = dns.rcode.to_text(message.rcode())
    if (allowed := expect.get("drop_or_rcode_in") or expect.get("rcode_in")) is not None and rcode not in allowed:
        yield f"rcode {rcode}, not in {allowed}"
    if (wanted := expect.get("rcode")) is not None and rcode not in (wanted, {"BADVERS": "BADSIG"}.get(wanted)):
        yield f"rcode {rcode}, not {wanted}"
    bits = int.from_bytes(response[2:4], "big")
    for name, bit in (*_FLAGS.items(), ("cd", 0x10), ("z", 0x40), ("qr", 0x8000)):
        if (wanted := expect.get(name)) is not None and bool(bits & bit) != wanted:
            yield f"{name} is {not wanted}"
    if (wanted := expect.get("opcode")) is not None and message.opcode() != wanted:
        yield f"opcode {message.opcode()}, not {wanted}"
    if (wanted := expect.get("opt")) is not None and (message.edns >= 0) != wanted:
        yield f"OPT {message.edns}"
    if expect.get("opt_do") is not None and bool(message.ednsflags & 0x8000) != expect["opt_do"]:
        yield "DO"
    if expect.get("question"):
        sent = query(case)
        asked = sent[12 : sent.index(b"\0", 12) + 5] if "raw" in case else sent[12 : len(sent) - _after(sent)]
        if response[12 : 12 + len(asked)] != asked:
            yield "the question is not echoed"
    answer, authority, additional = (
        set(_lines(section)) for section in (message.answer, message.authority, message.additional)
    )
    if (wanted := expect.get("answer")) is not None and answer != set(wanted):
        yield f"answer {sorted(answer)}, not {sorted(wanted)}"
    if (wanted := expect.get("answer_allowed")) is not None and not answer <= set(wanted):
        yield f"answer {sorted(answer - set(wanted))} is not allowed"
    if expect.get("answer_nonempty_or_tc") and not answer and not bits & dns.flags.TC:
        yield "an empty answer"
    if (wanted := expect.get("authority")) is not None:
        positive = bool(answer) and all(" NS " in line for line in authority)
        if authority != set(wanted) and not (positive and not authority):
            yield f"authority {sorted(authority)}, not {sorted(wanted)}"
    if (wanted := expect.get("additional_required")) is not None and not set(wanted) <= additional:
        yield f"additional lacks {sorted(set(wanted) - additional)}"
    if (wanted := expect.get("additional_allowed")) is not None and not additional <= set(wanted):
        yield f"additional {sorted(additional - set(wanted))} is not allowed"


def _after(message: bytes) -> int:
    """Octets behind the question."""
    at = 12
    while message[at]:
        at += message[at] + 1
    return len(message) - at - 5


def _lines(section: list[dns.rrset.RRset]) -> Iterator[str]:
    for rrset in section:
        for rdata in rrset:
            kind = dns.rdatatype.to_text(rrset.rdtype)
            text = rdata.to_text()
            if kind in ("NS", "CNAME", "SOA", "PTR", "MX"):  # nothing in them but names and numbers (RFC 4343)
                text = text.lower()
            yield f"{rrset.name.to_text().lower()} {rrset.ttl} IN {kind} {text}"
