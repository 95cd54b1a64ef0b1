"""Numbers of the protocol and their names (IANA DNS parameters)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

A: Final = 1
NS: Final = 2
CNAME: Final = 5
SOA: Final = 6
PTR: Final = 12
MX: Final = 15
TXT: Final = 16
AAAA: Final = 28
SRV: Final = 33
DNAME: Final = 39
OPT: Final = 41
DS: Final = 43
RRSIG: Final = 46
NSEC: Final = 47
SVCB: Final = 64
HTTPS: Final = 65
TSIG: Final = 250
NXNAME: Final = 128
IXFR: Final = 251
AXFR: Final = 252
ANY: Final = 255

IN: Final = 1
CH: Final = 3
CLASS_ANY: Final = 255

NOERROR: Final = 0
FORMERR: Final = 1
SERVFAIL: Final = 2
NXDOMAIN: Final = 3
NOTIMP: Final = 4
REFUSED: Final = 5
YXDOMAIN: Final = 6
YXRRSET: Final = 7
NXRRSET: Final = 8
NOTAUTH: Final = 9
NOTZONE: Final = 10
BADVERS: Final = 16
BADCOOKIE: Final = 23

TYPES: Final[Mapping[int, str]] = {
    1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 13: "HINFO", 15: "MX", 16: "TXT", 17: "RP", 18: "AFSDB",
    28: "AAAA", 29: "LOC", 33: "SRV", 35: "NAPTR", 36: "KX", 37: "CERT", 39: "DNAME", 41: "OPT", 43: "DS", 44: "SSHFP",
    46: "RRSIG", 47: "NSEC", 48: "DNSKEY", 50: "NSEC3", 51: "NSEC3PARAM", 52: "TLSA", 53: "SMIMEA", 59: "CDS",
    60: "CDNSKEY", 61: "OPENPGPKEY", 62: "CSYNC", 63: "ZONEMD", 64: "SVCB", 65: "HTTPS", 99: "SPF", 108: "EUI48",
    109: "EUI64", 249: "TKEY", 250: "TSIG", 251: "IXFR", 252: "AXFR", 255: "ANY", 256: "URI", 257: "CAA",
}  # fmt: skip
NUMBERS: Final[Mapping[str, int]] = {name: number for number, name in TYPES.items()}

RCODES: Final[Mapping[int, str]] = {
    0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 6: "YXDOMAIN", 7: "YXRRSET",
    8: "NXRRSET", 9: "NOTAUTH", 10: "NOTZONE", 16: "BADVERS", 23: "BADCOOKIE",
}  # fmt: skip


RCODE_NUMBERS: Final[Mapping[str, int]] = {name: number for number, name in RCODES.items()}
NO_RCODE: Final = -1
"""Of a query that gets no answer."""


def type_name(number: int) -> str:
    """`A`, or `TYPE65280` for one without a name (RFC 3597 §5)."""
    return TYPES.get(number) or f"TYPE{number}"


def rcode_name(number: int) -> str:
    return RCODES.get(number) or (f"RCODE{number}" if number >= 0 else "")
