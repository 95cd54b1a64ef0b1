"""A DNS question as bytes, and a response as plain values. The door to dnspython for tools: it knows every type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.reversename

from stack.errors import ConfigError

PAYLOAD: Final = 1232
"""Bytes of a UDP response (DNS flag day 2020)."""
_SHOWN: Final = ("qr", "aa", "tc", "rd", "ra", "ad", "cd")

EXTENDED: Final = {
    0: "other", 1: "unsupported DNSKEY algorithm", 2: "unsupported DS digest type", 3: "stale answer",
    4: "forged answer", 5: "DNSSEC indeterminate", 6: "DNSSEC bogus", 7: "signature expired",
    8: "signature not yet valid", 9: "DNSKEY missing", 10: "RRSIGs missing", 11: "no zone key bit set",
    12: "NSEC missing", 13: "cached error", 14: "not ready", 15: "blocked", 16: "censored", 17: "filtered",
    18: "prohibited", 19: "stale NXDOMAIN answer", 20: "not authoritative", 21: "not supported",
    22: "no reachable authority", 23: "network error", 24: "invalid data", 25: "signature expired before valid",
    26: "too early", 27: "unsupported NSEC3 iterations value", 28: "unable to conform to policy", 29: "synthesized",
}  # fmt: skip
"""Extended errors in words: RFC 8914 §5.2, and IANA's registry after it."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. `name` as it is written, with the final dot."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Wish:
    """How it is asked."""

    recurse: bool = True
    edns: bool = True
    dnssec: bool = False
    checking_disabled: bool = False
    cookie: bytes = b""
    """Of the client: 8 octets (RFC 7873 §4.1); empty for none."""


@dataclass(frozen=True, slots=True)
class Record:
    name: str
    ttl: int
    cls: str
    type: str
    data: str


@dataclass(frozen=True, slots=True)
class Edns:
    """What the OPT record of a response says."""

    version: int
    payload: int
    dnssec_ok: bool
    nsid: str = ""
    client_cookie: str = ""
    server_cookie: str = ""
    errors: tuple[tuple[int, str], ...] = ()
    """Extended errors: (code, text)."""
    others: tuple[tuple[int, str], ...] = ()
    """Other options: (code, content in hex)."""


@dataclass(frozen=True, slots=True)
class Response:
    """A response as it came."""

    status: str
    flags: tuple[str, ...]
    questions: tuple[Question, ...]
    answer: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    edns: Edns | None = None
    size: int = 0
    injected: tuple[str, ...] = field(default=())
    """Names of the faults that a server of the stack says it injected."""


class Unreadable(Exception):
    """What came is no DNS message; says why."""


def is_type(word: str) -> bool:
    try:
        dns.rdatatype.from_text(word)
    except (dns.rdatatype.UnknownRdatatype, ValueError):
        return False
    return True


def question(name: str, type: str) -> Question:
    """ConfigError for what is no name, or no type."""
    try:
        number = dns.rdatatype.from_text(type)
    except (dns.rdatatype.UnknownRdatatype, ValueError):
        raise ConfigError(f"{type}: no type of records; one without a name is written TYPE65280") from None
    try:
        wire = dns.name.from_text(name)
    except (dns.exception.DNSException, UnicodeError) as error:
        said = str(error).rstrip(".") or "it is malformed"
        raise ConfigError(f"{name!r} is no domain name: {said[0].lower()}{said[1:]}") from None
    return Question(wire.to_text(), dns.rdatatype.to_text(number))


def reverse(address: str) -> str:
    """The name under which an address's own name is found (RFC 1035 §3.5, RFC 3596 §2.5)."""
    try:
        return dns.reversename.from_address(address).to_text()
    except (dns.exception.DNSException, ValueError):
        raise ConfigError(f"-x {address}: wanted an address, as 192.0.2.1 or 2001:db8::1") from None


def query(asked: Question, wish: Wish, id_: int) -> bytes:
    message: Any = dns.message.Message(id=id_)
    message.flags = (dns.flags.RD if wish.recurse else 0) | (dns.flags.CD if wish.checking_disabled else 0)
    message.find_rrset(
        message.question, dns.name.from_text(asked.name), dns.rdataclass.IN, dns.rdatatype.from_text(asked.type),
        create=True, force_unique=True,
    )  # fmt: skip
    if wish.edns:
        options: list[Any] = [dns.edns.GenericOption(dns.edns.OptionType.NSID, b"")]
        if wish.cookie:
            options.append(dns.edns.GenericOption(dns.edns.OptionType.COOKIE, wish.cookie))
        message.use_edns(0, dns.flags.DO if wish.dnssec else 0, PAYLOAD, options=options)
    wire: bytes = message.to_wire()
    return wire


def read(wire: bytes) -> Response:
    """Raises Unreadable."""
    try:
        message: Any = dns.message.from_wire(wire, ignore_trailing=True, one_rr_per_rrset=True)
    except (dns.exception.DNSException, ValueError, IndexError) as error:
        raise Unreadable(str(error) or type(error).__name__) from None
    flags = tuple(word for word in _SHOWN if message.flags & dns.flags.from_text(word.upper()))
    edns = _edns(message) if message.edns >= 0 else None
    texts = [text for _, text in edns.errors] if edns is not None else []
    return Response(
        dns.rcode.to_text(message.rcode()),
        flags,
        tuple(Question(one.name.to_text(), dns.rdatatype.to_text(one.rdtype)) for one in message.question),
        _records(message.answer),
        _records(message.authority),
        _records(message.additional),
        edns,
        len(wire),
        tuple(name for text in texts if text.startswith("injected: ") for name in text[10:].split(", ")),
    )


def _records(section: Sequence[Any]) -> tuple[Record, ...]:
    return tuple(
        Record(
            rrset.name.to_text(), rrset.ttl, dns.rdataclass.to_text(rrset.rdclass), dns.rdatatype.to_text(rrset.rdtype),
            rdata.to_text(),
        )
        for rrset in section
        for rdata in rrset
    )  # fmt: skip


def _edns(message: Any) -> Edns:
    nsid = client = server = ""
    errors: list[tuple[int, str]] = []
    others: list[tuple[int, str]] = []
    for option in message.options:
        code = int(option.otype)
        if isinstance(option, dns.edns.EDEOption):
            errors.append((int(option.code), option.text or ""))
            continue
        content = option.to_wire()
        if code == dns.edns.OptionType.NSID:
            nsid = content.decode("ascii") if content.isascii() and content.decode().isprintable() else content.hex()
        elif code == dns.edns.OptionType.COOKIE:
            client, server = content[:8].hex(), content[8:].hex()
        else:
            others.append((code, content.hex()))
    return Edns(
        message.edns, message.payload, bool(message.ednsflags & dns.flags.DO), nsid, client, server, tuple(errors),
        tuple(others),
    )  # fmt: skip
