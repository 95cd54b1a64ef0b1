"""Rdata as text, as master files write it, for records that are set, shown and updated while running."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Final

from dns_server import zonefile
from dns_server.rules import types
from dns_server.rules.names import to_text as name_text

EXAMPLES: Final[Mapping[str, str]] = {
    "A": "192.0.2.1",
    "AAAA": "2001:db8::1",
    "CAA": '0 issue "ca.example"',
    "CNAME": "www.example.test.",
    "DNAME": "example.test.",
    "HTTPS": "1 . alpn=h2 port=8443",
    "MX": "10 mail.example.test.",
    "NAPTR": '100 10 "S" "SIP+D2U" "" _sip._udp.example.test.',
    "NS": "ns.example.test.",
    "PTR": "www.example.test.",
    "SOA": "ns.example.test. hostmaster.example.test. 1 3600 600 86400 30",
    "SRV": "0 5 5060 sip.example.test.",
    "SSHFP": "4 2 123456789abcdef67890123456789abcdef67890123456789abcdef123456789",
    "SVCB": "1 . alpn=h2 port=8443",
    "TLSA": "3 1 1 0c72ac70b745ac19998811b131d662c9ac69dbdbe7cb23e5b514b56664c5d3d6",
    "TXT": '"some text"',
}


class TextFault(ValueError):
    """Text that is no type, or no data of its type; says what is wanted."""


def type_number(text: str) -> int:
    """`A`, `https`, `TYPE65280`. Raises TextFault with the nearest that there is."""
    wanted = text.upper()
    number = types.NUMBERS.get(wanted)
    if number is None and wanted.startswith("TYPE") and wanted[4:].isdigit() and len(wanted) < 10:
        number = int(wanted[4:])
    if number is None or number > 0xFFFF:
        near = difflib.get_close_matches(wanted, EXAMPLES, 1, 0.6)
        hint = f"did you mean {near[0]}?" if near else f"as {', '.join(EXAMPLES)}, TYPE65280"
        raise TextFault(f"{text!r} is no type of record: {hint}")
    if number in (0, types.OPT) or 128 <= number <= 255:
        raise TextFault(f"{wanted} is no type of zone data")
    return number


def from_text(type: int, text: str, origin: bytes) -> bytes:
    """The rdata in wire form; names without a final dot are below `origin`. Raises TextFault."""
    try:
        return zonefile.rdata_from_text(type, _quoted(type, text), origin)
    except ValueError as error:
        said = str(error)
    name = types.type_name(type)
    wanted = f"wanted as `{EXAMPLES[name]}`" if name in EXAMPLES else r"wanted as in a zone file, or as \# LENGTH HEX"
    said = said.rstrip(".")
    detail = f" ({said})" if said and "\n" not in said and len(said) < 100 else ""
    shown = text if len(text) <= 200 else f"{text[:100]}... ({len(text)} characters)"
    raise TextFault(f"{shown!r} is no data of {name}{detail}: {wanted}")


_NAMES: Final[Mapping[int, tuple[int, ...]]] = {
    types.NS: (0,), types.CNAME: (0,), types.DNAME: (0,), types.PTR: (0,), types.SOA: (0, 1), types.MX: (1,),
    types.SRV: (3,), types.SVCB: (1,), types.HTTPS: (1,), types.NUMBERS["AFSDB"]: (1,), types.NUMBERS["RP"]: (0, 1),
    types.NUMBERS["NAPTR"]: (5,),
}  # fmt: skip
"""Which words of the text are names."""


def absolute(type: int, text: str) -> str:
    """The text with a final dot behind names of several labels: who writes `www.shop.test` on a command line does not
    mean `www.shop.test.shop.test`. A name of one label stays below the zone."""
    places = _NAMES.get(type, ())
    words = text.split()
    if not places or len(words) <= max(places):
        return text
    for place in places:
        if "." in words[place] and not words[place].endswith("."):
            words[place] += "."
    return " ".join(words)


def _quoted(type: int, text: str) -> str:
    """A TXT without quotes is one string, with the spaces that it has: a shell has taken the quotes away."""
    if type != types.TXT or '"' in text:
        return text
    if len(octets := text.encode()) <= 255:
        pieces = [octets]
    else:
        pieces = [octets[at : at + 255] for at in range(0, len(octets), 255)]
    return " ".join(f'"{_escaped(piece)}"' for piece in pieces)


def _escaped(octets: bytes) -> str:
    return "".join(chr(octet) if 0x20 <= octet <= 0x7E else f"\\{octet:03d}" for octet in octets)


def to_text(type: int, rdata: bytes) -> str:
    """As a master file writes it. What does not fit its type is written by RFC 3597 §5."""
    try:
        return zonefile.rdata_to_text(type, rdata)
    except ValueError:
        return f"\\# {len(rdata)} {rdata.hex()}".rstrip()


def check(type: int, rdata: bytes) -> None:
    """Raises TextFault for rdata in wire form that is none of its type."""
    try:
        zonefile.rdata_to_text(type, rdata)
    except ValueError as error:
        raise TextFault(f"no data of {types.type_name(type)}: {error}") from None


def record_text(owner: bytes, ttl: int, type: int, rdata: bytes) -> str:
    """A line of a master file."""
    return f"{name_text(owner)} {ttl} IN {types.type_name(type)} {to_text(type, rdata)}"
