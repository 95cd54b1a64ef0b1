"""Questions that servers and firewalls answered wrongly for years: those of RFC 8906 §8 and of ISC's EDNS compliance
tester, written from these texts. NSD, Knot and BIND pass them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import pytest

from tests.support.dns_network import edns
from tests.support.dns_probes import SERVERS, Address, message, over_tcp, over_udp, probed

DO = 0x8000
Check = Callable[["Said"], object]


@dataclass(frozen=True)
class Said:
    """A response, read by an independent parser."""

    wire: bytes
    message: dns.message.Message

    @property
    def rcode(self) -> str:
        text = dns.rcode.to_text(self.message.rcode())
        return "BADVERS" if text == "BADSIG" else text

    @property
    def flags(self) -> set[str]:
        bits = int.from_bytes(self.wire[2:4], "big")
        return {name for bit, name in ((0x400, "aa"), (0x200, "tc"), (0x100, "rd"), (0x80, "ra"), (0x40, "z"), (0x20, "ad"), (0x10, "cd")) if bits & bit}  # fmt: skip

    @property
    def soa(self) -> bool:
        return any(rrset.rdtype == 6 for rrset in self.message.answer)

    @property
    def version(self) -> int:
        """Of its EDNS; -1 for none."""
        return self.message.edns

    @property
    def edns_flags(self) -> int:
        return self.message.ednsflags & 0xFFFF

    @property
    def options(self) -> set[int]:
        return {int(option.otype) for option in self.message.options}


def good(said: Said) -> bool:
    return said.rcode == "NOERROR" and said.soa and "aa" in said.flags


def plain(said: Said) -> bool:
    return good(said) and said.version == -1


def with_edns(said: Said) -> bool:
    return good(said) and said.version == 0


def badvers(said: Said) -> bool:
    """RFC 6891 §6.1.3: with the version that is spoken, and without an answer."""
    return said.rcode == "BADVERS" and said.version == 0 and not said.message.answer and not said.options


def header_only(opcode: int, flags: int = 0) -> bytes:
    return b"\xbe\xef" + (opcode << 11 | flags).to_bytes(2, "big") + bytes(8)


def option(code: int, data: bytes = b"") -> bytes:
    return code.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data


@dataclass(frozen=True)
class Probe:
    sent: bytes
    check: Check
    tcp: bool = False


COOKIE = option(10, b"\x01\x02\x03\x04\x05\x06\x07\x08")
PROBES: dict[str, Probe] = {
    "rfc8906-8.1.1-plain": Probe(message(), plain),
    "rfc8906-8.1.2-unknown-type": Probe(
        message(type="TYPE1000"), lambda r: r.rcode == "NOERROR" and not r.message.answer and r.message.authority
    ),
    "rfc8906-8.1.3.1-cd": Probe(message(flags=0x10), plain),
    "rfc8906-8.1.3.1-ad": Probe(message(flags=0x20), lambda r: plain(r) and "ad" not in r.flags),
    "rfc8906-8.1.3.2-z": Probe(message(flags=0x40), lambda r: plain(r) and "z" not in r.flags),
    "rfc8906-8.1.3.3-rd": Probe(message(flags=0x100), lambda r: plain(r) and "rd" in r.flags),
    "rfc8906-8.1.4-opcode": Probe(header_only(15), lambda r: r.rcode == "NOTIMP" and not {"aa", "ra"} & r.flags),
    "rfc8906-8.1.4-opcode-flags": Probe(
        header_only(15, 0x70), lambda r: r.rcode == "NOTIMP" and not {"aa", "z", "ad"} & r.flags
    ),
    "rfc8906-8.1.5-tcp": Probe(message(), plain, tcp=True),
    "rfc8906-8.2.1-edns": Probe(message(opt=edns()), with_edns),
    "rfc8906-8.2.2-version-1": Probe(message(opt=edns(version=1)), badvers),
    "rfc8906-8.2.3-unknown-option": Probe(
        message(opt=edns(options=option(100))), lambda r: with_edns(r) and 100 not in r.options
    ),
    "rfc8906-8.2.4-unknown-flag": Probe(
        message(opt=edns(flags=0x40)), lambda r: with_edns(r) and not r.edns_flags
    ),
    "rfc8906-8.2.5-version-1-flag": Probe(
        message(opt=edns(version=1, flags=0x40)), lambda r: badvers(r) and not r.edns_flags
    ),
    "rfc8906-8.2.6-version-1-option": Probe(message(opt=edns(version=1, options=option(100))), badvers),
    "rfc8906-8.2.7-truncated": Probe(
        message(name="big.example.test", type="TXT", opt=edns(512)),
        lambda r: r.rcode == "NOERROR" and "tc" in r.flags and r.version == 0 and len(r.wire) <= 512,
    ),
    "rfc8906-8.2.8-do": Probe(message(opt=edns(flags=DO)), lambda r: with_edns(r) and r.edns_flags == DO),
    "rfc8906-8.2.9-version-1-do": Probe(message(opt=edns(version=1, flags=DO)), badvers),
    "rfc8906-8.2.10-defined-options": Probe(
        message(opt=edns(options=option(3) + COOKIE + option(9) + option(8, b"\0\1\0\0"))), with_edns
    ),
    "ednscomp-version-100": Probe(message(opt=edns(version=100)), badvers),
    "ednscomp-payload-0": Probe(message(opt=edns(0)), with_edns),
    "ednscomp-payload-511-is-512": Probe(
        message(name="big.example.test", type="TXT", opt=edns(100)), lambda r: "tc" in r.flags and len(r.wire) <= 512
    ),
    "ednscomp-payload-65535": Probe(message(opt=edns(65535)), with_edns),
    "ednscomp-all-flags": Probe(
        message(flags=0x07F0, opt=edns(flags=0xFFFF)), lambda r: with_edns(r) and r.edns_flags == DO and "z" not in r.flags
    ),
    "ednscomp-tcp": Probe(message(opt=edns(512, flags=DO)), with_edns, tcp=True),
    "ednscomp-tcp-no-truncation": Probe(
        message(name="big.example.test", type="TXT", opt=edns(512)),
        lambda r: r.rcode == "NOERROR" and "tc" not in r.flags and len(r.wire) > 4000,
        tcp=True,
    ),
    "ednscomp-unknown-type": Probe(
        message(type="TYPE666", opt=edns()), lambda r: r.rcode == "NOERROR" and r.version == 0 and not r.message.answer
    ),
    "ednscomp-nxdomain": Probe(
        message(name="nx.example.test", opt=edns()), lambda r: r.rcode == "NXDOMAIN" and r.version == 0
    ),
    "rfc6891-two-opts": Probe(
        message(opt=edns())[:11] + b"\2" + message()[12:] + edns() * 2, lambda r: r.rcode == "FORMERR"
    ),
    "rfc6891-opt-in-answer": Probe(
        message()[:7] + b"\1" + message()[8:] + edns(), lambda r: r.rcode == "FORMERR"
    ),
    "rfc6891-option-too-long": Probe(
        message(opt=edns(options=b"\0\x64\0\x08ab")), lambda r: r.rcode == "FORMERR"
    ),
    "rfc9619-two-questions": Probe(
        message()[:5] + b"\2" + message()[6:] + message()[12:], lambda r: r.rcode == "FORMERR"
    ),
    "rfc7828-keepalive-udp": Probe(
        message(opt=edns(options=option(11))), lambda r: with_edns(r) and 11 not in r.options
    ),
    "rfc7830-padding-udp": Probe(message(opt=edns(options=option(12, bytes(20)))), with_edns),
}  # fmt: skip
OURS: dict[str, Probe] = {
    "rfc5001-nsid": Probe(message(opt=edns(options=option(3))), lambda r: with_edns(r) and r.options == {3}),
    "rfc7873-cookie": Probe(message(opt=edns(options=COOKIE)), lambda r: with_edns(r) and r.options == {10}),
    "rfc7873-cookie-length": Probe(
        message(opt=edns(options=option(10, b"1234567"))), lambda r: r.rcode == "FORMERR" and r.version == 0
    ),
    "rfc7828-keepalive-tcp": Probe(
        message(opt=edns(options=option(11))), lambda r: with_edns(r) and r.options == {11}, tcp=True
    ),
    "rfc8914-not-authoritative": Probe(
        message(name="foreign.invalid", opt=edns()), lambda r: r.rcode == "REFUSED" and r.options == {15}
    ),
    "rfc6891-broken-opt-has-no-opt": Probe(
        message(opt=edns(options=b"\0\x64\0")), lambda r: r.rcode == "FORMERR" and r.version == -1
    ),
    "opcode-with-edns": Probe(
        message(flags=0x1000, opt=edns()), lambda r: r.rcode == "NOTIMP" and r.version == 0 and not r.message.answer
    ),
}
"""What the others do not all do, or do only when they are told to."""


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Address]]:
    with probed(request.param, tmp_path_factory.mktemp("probed")) as address:
        yield request.param, address


def ask(address: Address, probe: Probe) -> Said:
    wire = over_tcp(address, probe.sent) if probe.tcp else over_udp(address, probe.sent)
    assert wire is not None, "no response"
    assert wire[:2] == b"\xbe\xef"
    assert wire[2] & 0x80
    return Said(wire, dns.message.from_wire(wire))


DIFFERENT: dict[tuple[str, str], Check | None] = {
    ("nsd", "rfc8906-8.1.4-opcode-flags"): lambda r: r.rcode == "NOTIMP" and "z" in r.flags,
    ("knotd", "rfc9619-two-questions"): None,
}
"""What another server does otherwise; None: it does not respond."""


@pytest.mark.parametrize("name", PROBES)
def test_probe(server: tuple[str, Address], name: str) -> None:
    kind, address = server
    probe = PROBES[name]
    check = DIFFERENT.get((kind, name), probe.check)
    if check is None:
        assert over_udp(address, probe.sent, patience=0.6) is None
        return
    said = ask(address, probe)
    assert check(said), said.message.to_text()


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    with probed("hopstack", tmp_path_factory.mktemp("probed")) as address:
        yield address


@pytest.mark.parametrize("name", OURS)
def test_probe_of_what_is_optional(ours: Address, name: str) -> None:
    said = ask(ours, OURS[name])
    assert OURS[name].check(said), said.message.to_text()
