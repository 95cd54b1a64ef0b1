"""Options of EDNS: their numbers, how they are written, and what an extended error says (RFC 6891, RFC 8914)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

NSID: Final = 3
COOKIE: Final = 10
KEEPALIVE: Final = 11
PADDING: Final = 12
ERROR: Final = 15

PAD_TO: Final = 468
"""Octets of which a padded response has a multiple (RFC 8467 §4.1)."""
LONGEST_TEXT: Final = 150
"""Octets of what an extended error says."""

OTHER: Final = 0
CACHED_ERROR: Final = 13
NOT_READY: Final = 14
PROHIBITED: Final = 18
NOT_AUTHORITATIVE: Final = 20
NOT_SUPPORTED: Final = 21
NO_REACHABLE_AUTHORITY: Final = 22
NETWORK_ERROR: Final = 23
INVALID_DATA: Final = 24

ERRORS: Final[Mapping[int, str]] = {
    0: "Other", 1: "Unsupported DNSKEY Algorithm", 2: "Unsupported DS Digest Type", 3: "Stale Answer",
    4: "Forged Answer", 5: "DNSSEC Indeterminate", 6: "DNSSEC Bogus", 7: "Signature Expired",
    8: "Signature Not Yet Valid", 9: "DNSKEY Missing", 10: "RRSIGs Missing", 11: "No Zone Key Bit Set",
    12: "NSEC Missing", 13: "Cached Error", 14: "Not Ready", 15: "Blocked", 16: "Censored", 17: "Filtered",
    18: "Prohibited", 19: "Stale NXDomain Answer", 20: "Not Authoritative", 21: "Not Supported",
    22: "No Reachable Authority", 23: "Network Error", 24: "Invalid Data",
}  # fmt: skip
"""Names of the info-codes (RFC 8914 §5.2)."""


class ExtendedError(NamedTuple):
    """Why an answer is what it is (RFC 8914): one of ERRORS, and a short text for people."""

    code: int
    text: str = ""

    def packed(self) -> bytes:
        text = self.text.encode()
        if len(text) > LONGEST_TEXT:  # any response has room for it
            text = text[:LONGEST_TEXT].decode(errors="ignore").encode()
        return option(ERROR, self.code.to_bytes(2, "big") + text)


def option(code: int, data: bytes) -> bytes:
    return b"%b%b%b" % (code.to_bytes(2, "big"), len(data).to_bytes(2, "big"), data)


def extend(response: bytes, options: bytes, present: int = 0) -> bytes:
    """`response` with further options. Its OPT is its last record, with `present` octets of options."""
    if not options:
        return response
    at = len(response) - present - 2
    return b"%b%b%b%b" % (response[:at], (present + len(options)).to_bytes(2, "big"), response[at + 2 :], options)


def padding(size: int) -> bytes:
    """The option that makes a response of `size` octets, in which it is the last, a multiple of PAD_TO."""
    return option(PADDING, bytes(-(size + 4) % PAD_TO))
