"""RFC 2136 on a zone: each clause with the message that dnspython makes of it."""

from __future__ import annotations

import contextlib

import dns.update
import pytest

from dns_server import rdata_text
from dns_server.rules import serial, types, update
from dns_server.rules.names import from_text
from dns_server.rules.update import Draft, UpdateFault, apply, hold, read, scan
from dns_server.rules.zone import Zone
from dns_server.zonefile import load_text

TEXT = r"""
$TTL 300
@        IN SOA   ns1 hostmaster 10 3600 600 86400 30
@        IN NS    ns1
@        IN NS    ns2
@        IN MX    10 mail
ns1      IN A     192.0.2.1
ns2      IN A     192.0.2.2
www      IN A     192.0.2.10
www      IN A     192.0.2.11
www      IN TXT   "text"
alias    IN CNAME www
deep.ent IN A     192.0.2.12
*.wild   IN A     192.0.2.13
red      IN DNAME target.test.
"""
ZONE = from_text("shop.test")


def zone() -> Zone:
    return load_text(ZONE, TEXT)[0]


def wire(*rows: tuple[int, str], zone: str = "shop.test", cls: int = 1, type: int = 6, id: int = 7) -> bytes:
    """A message by hand, so that wrong ones can be made: rows are (section, "name ttl CLASS TYPE [rdata]")."""
    numbers = {"IN": 1, "CH": 3, "NONE": 254, "ANY": 255}
    counts = [1, 0, 0, 0]
    body = from_text(zone) + type.to_bytes(2, "big") + cls.to_bytes(2, "big")
    for section, line in sorted(rows, key=lambda row: row[0]):
        name, ttl, kind, number, *rest = line.split(None, 4)
        owner = (
            from_text(name[:-1])
            if name.endswith(".")
            else from_text(f"{name}.shop.test" if name != "@" else "shop.test")
        )
        what = types.NUMBERS[number] if number in types.NUMBERS else int(number.removeprefix("TYPE"))
        rdata = b""
        if rest:
            rdata = bytes.fromhex(rest[0][1:]) if rest[0].startswith("#") else rdata_text.from_text(what, rest[0], ZONE)
        body += owner + what.to_bytes(2, "big") + numbers[kind].to_bytes(2, "big")
        body += int(ttl).to_bytes(4, "big") + len(rdata).to_bytes(2, "big") + rdata
        counts[section] += 1
    return id.to_bytes(2, "big") + (5 << 11).to_bytes(2, "big") + b"".join(n.to_bytes(2, "big") for n in counts) + body


def run(*rows: tuple[int, str]) -> Draft:
    there = zone()
    message = read(wire(*rows))
    hold(message, there, rdata_text.check)
    scan(message, there, rdata_text.check)
    draft = Draft(there)
    apply(message, draft)
    return draft


def said(draft: Draft) -> list[str]:
    """What differs, as lines; a set that goes with a minus."""
    out = []
    for (key, type), rrset in draft.changes().items():
        where = f"{rdata_text.name_text(key).removesuffix('shop.test.').rstrip('.') or '@'} "
        if rrset is None:
            out.append(f"-{where}{types.type_name(type)}")
        else:
            rdatas = sorted(rdata_text.to_text(type, rdata) for rdata in rrset.rdatas)
            out.append(f"{where}{rrset.ttl} {types.type_name(type)} {' | '.join(rdatas)}")
    return sorted(out)


# §3.1: the zone section.


@pytest.mark.parametrize(
    ("message", "rcode"),
    [
        (wire(type=1), types.FORMERR),
        (wire(cls=3), types.NOTAUTH),
        (wire()[:5] + b"\0" + wire()[6:12], types.FORMERR),
        (wire()[:5] + b"\2" + wire()[6:] + wire()[12:], types.FORMERR),
        (wire()[:-1], types.FORMERR),
        (wire() + b"\0", types.FORMERR),
        (wire((2, "a 1 IN A 192.0.2.9"))[:-1], types.FORMERR),
        (wire((1, "a 0 ANY A"), (2, "other. 0 IN OPT #00")), types.FORMERR),
        (wire((1, "other. 0 ANY TSIG #00")), types.FORMERR),
    ],
    ids=[
        "3.1.1-type",
        "3.1.2-class",
        "3.1.1-none",
        "3.1.1-two",
        "cut",
        "trailing",
        "cut-record",
        "rfc6891-6.1.1-opt-in-a-section",
        "rfc8945-5.1-tsig-in-a-section",
    ],
)
def test_zone_section(message: bytes, rcode: int) -> None:
    with pytest.raises(UpdateFault) as caught:
        read(message)
    assert caught.value.rcode == rcode


# §2.4 and §3.2: prerequisites.


@pytest.mark.parametrize(
    ("row", "rcode"),
    [
        ("www 0 ANY A", 0),
        ("www 0 ANY AAAA", types.NXRRSET),
        ("nope 0 ANY A", types.NXRRSET),
        ("www 0 ANY ANY", 0),
        ("nope 0 ANY ANY", types.NXDOMAIN),
        ("ent 0 ANY ANY", types.NXDOMAIN),
        ("a.wild 0 ANY ANY", types.NXDOMAIN),
        ("www 0 NONE A", types.YXRRSET),
        ("www 0 NONE AAAA", 0),
        ("www 0 NONE ANY", types.YXDOMAIN),
        ("nope 0 NONE ANY", 0),
        ("ent 0 NONE ANY", 0),
        ("WWW 0 NONE ANY", types.YXDOMAIN),
        ("www 1 ANY A", types.FORMERR),
        ("www 0 ANY A 192.0.2.10", types.FORMERR),
        ("www 0 NONE A 192.0.2.10", types.FORMERR),
        ("www 0 CH A", types.FORMERR),
        ("www.other.test. 0 ANY A", types.NOTZONE),
        ("www 0 IN A #0102", types.FORMERR),
        ("alias 0 IN CNAME WWW.Shop.Test.", 0),
        ("alias 0 IN CNAME other", types.NXRRSET),
    ],
    ids=[
        "2.4.1-there", "2.4.1-type", "2.4.1-name", "2.4.4-there", "2.4.4-name", "2.4.4-empty-non-terminal",
        "2.4.4-wildcard-is-no-name", "2.4.3-there", "2.4.3-not", "2.4.5-there", "2.4.5-not", "2.4.5-empty-non-terminal",
        "1.1-letter-case", "3.2.1-ttl", "3.2.2-data", "3.2.3-data", "3.2.5-class", "3.2.2-zone", "2.4.2-malformed",
        "2.4.2-names-in-any-case", "2.4.2-other",
    ],
)  # fmt: skip
def test_prerequisite(row: str, rcode: int) -> None:
    if not rcode:
        run((1, row))
        return
    with pytest.raises(UpdateFault) as caught:
        run((1, row))
    assert caught.value.rcode == rcode


@pytest.mark.parametrize(
    ("rows", "rcode"),
    [
        (["www 0 IN A 192.0.2.11", "www 0 IN A 192.0.2.10"], 0),
        (["www 0 IN A 192.0.2.10"], types.NXRRSET),
        (["www 0 IN A 192.0.2.10", "www 0 IN A 192.0.2.11", "www 0 IN A 192.0.2.12"], types.NXRRSET),
        (["nope 0 IN A 192.0.2.10"], types.NXRRSET),
        (["www 0 IN A 192.0.2.11", "www 0 IN TXT text", "www 0 IN A 192.0.2.10"], 0),
    ],
    ids=["2.4.2-any-order", "2.4.2-fewer", "2.4.2-more", "2.4.2-no-name", "2.4.2-two-sets"],
)
def test_prerequisite_by_value(rows: list[str], rcode: int) -> None:
    wanted = [(1, row) for row in rows]
    if not rcode:
        run(*wanted)
        return
    with pytest.raises(UpdateFault) as caught:
        run(*wanted)
    assert caught.value.rcode == rcode


# §3.4.1: the prescan.


@pytest.mark.parametrize(
    ("row", "rcode"),
    [
        ("a.other.test. 60 IN A 192.0.2.9", types.NOTZONE),
        ("a 60 CH A 192.0.2.9", types.FORMERR),
        ("a 60 IN ANY", types.FORMERR),
        ("a 60 IN AXFR", types.FORMERR),
        ("a 60 IN OPT", types.FORMERR),
        ("a 60 IN TSIG #00", types.FORMERR),
        ("a 60 IN TYPE0 #00", types.FORMERR),
        ("a 60 IN A #010203", types.FORMERR),
        ("a 60 IN A", types.FORMERR),
        ("a 60 IN MX #000a", types.FORMERR),
        ("a 60 ANY A", types.FORMERR),
        ("a 0 ANY A 192.0.2.9", types.FORMERR),
        ("a 0 ANY AXFR", types.FORMERR),
        ("a 60 NONE A 192.0.2.9", types.FORMERR),
        ("a 0 NONE ANY", types.FORMERR),
        ("a 0 NONE A #0102", types.FORMERR),
    ],
    ids=[
        "zone", "class", "any", "meta", "opt", "tsig", "type-0", "short-data", "no-data", "mx-without-name",
        "any-ttl", "any-data", "any-meta", "none-ttl", "none-any", "none-short-data",
    ],
)  # fmt: skip
def test_prescan_3_4_1(row: str, rcode: int) -> None:
    with pytest.raises(UpdateFault) as caught:
        run((2, "ok 60 IN A 192.0.2.9"), (2, row))
    assert caught.value.rcode == rcode


# §3.4.2: the update itself.


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["new 60 IN A 192.0.2.9"], ["new 60 A 192.0.2.9"]),
        (["new 60 IN TYPE65280 #0102"], [r"new 60 TYPE65280 \# 2 0102"]),
        (["www 300 IN A 192.0.2.10"], []),
        (["www 60 IN A 192.0.2.10"], ["www 60 A 192.0.2.10 | 192.0.2.11"]),
        (["www 60 IN A 192.0.2.9"], ["www 60 A 192.0.2.10 | 192.0.2.11 | 192.0.2.9"]),
        (["new 4294967295 IN A 192.0.2.9"], ["new 0 A 192.0.2.9"]),
        (["@ 300 IN MX 10 MAIL.shop.test."], []),
        (["www 60 IN CNAME new"], []),
        (["alias 60 IN A 192.0.2.9"], []),
        (["alias 60 IN CNAME new"], ["alias 60 CNAME new.shop.test."]),
        (["@ 60 IN CNAME new"], []),
        (["www 0 ANY ANY", "www 60 IN CNAME new"], ["-www A", "-www TXT", "www 60 CNAME new.shop.test."]),
        (["alias 0 ANY CNAME", "alias 60 IN A 192.0.2.9"], ["-alias CNAME", "alias 60 A 192.0.2.9"]),
        (["red 60 IN DNAME other.test."], ["red 60 DNAME other.test."]),
        (["@ 60 IN SOA ns1 hostmaster 11 1 2 3 4"], ["@ 60 SOA ns1.shop.test. hostmaster.shop.test. 11 1 2 3 4"]),
        (["@ 60 IN SOA ns1 hostmaster 10 1 2 3 4"], []),
        (["@ 60 IN SOA ns1 hostmaster 9 1 2 3 4"], []),
        (["@ 60 IN SOA ns1 hostmaster 2147483659 1 2 3 4"], []),
        (["www 60 IN SOA ns1 hostmaster 11 1 2 3 4"], []),
        (["www 0 ANY A"], ["-www A"]),
        (["www 0 ANY ANY"], ["-www A", "-www TXT"]),
        (["nope 0 ANY A"], []),
        (["nope 0 ANY ANY"], []),
        (["@ 0 ANY ANY"], ["-@ MX"]),
        (["@ 0 ANY SOA"], []),
        (["@ 0 ANY NS"], []),
        (["@ 0 ANY MX"], ["-@ MX"]),
        (["www 0 NONE A 192.0.2.10"], ["www 300 A 192.0.2.11"]),
        (["www 0 NONE A 192.0.2.99"], []),
        (["www 0 NONE A 192.0.2.10", "www 0 NONE A 192.0.2.11"], ["-www A"]),
        (["alias 0 NONE CNAME WWW"], ["-alias CNAME"]),
        (["@ 0 NONE SOA ns1 hostmaster 10 3600 600 86400 30"], []),
        (["@ 0 NONE NS ns1"], ["@ 300 NS ns2.shop.test."]),
        (["@ 0 NONE NS ns1", "@ 0 NONE NS ns2"], ["@ 300 NS ns2.shop.test."]),
        (["@ 60 IN NS ns3", "@ 0 NONE NS ns1", "@ 0 NONE NS ns2"], ["@ 60 NS ns3.shop.test."]),
        (["new 60 IN A 192.0.2.9", "new 0 ANY A"], []),
        (["new 0 ANY A", "new 60 IN A 192.0.2.9"], ["new 60 A 192.0.2.9"]),
        (["sub 60 IN NS ns.sub", "ns.sub 60 IN A 192.0.2.9"], ["ns.sub 60 A 192.0.2.9", "sub 60 NS ns.sub.shop.test."]),
        (["x.wild 60 IN A 192.0.2.9"], ["x.wild 60 A 192.0.2.9"]),
        (["*.wild 0 ANY A"], ["-*.wild A"]),
    ],
    ids=[
        "3.4.2.2-new", "rfc3597-unknown-type", "3.4.2.2-again", "7.12-ttl-of-the-set", "3.4.2.2-joins", "rfc2181-8-ttl",
        "1.1-again-in-other-case", "3.4.2.2-cname-beside-data", "3.4.2.2-data-beside-cname", "3.4.2.2-cname-replaced",
        "3.4.2.2-cname-at-apex", "3.4.2.2-cname-for-data", "3.4.2.2-data-for-cname", "rfc6672-2.4-dname-replaced",
        "3.4.2.2-soa-newer", "3.4.2.2-soa-same", "3.4.2.2-soa-older", "rfc1982-soa-undefined", "3.4.2.2-soa-below",
        "3.4.2.3-rrset", "3.4.2.3-name", "3.4.2.3-no-rrset", "3.4.2.3-no-name", "3.4.2.3-apex-keeps", "3.4.2.3-soa",
        "3.4.2.3-ns", "3.4.2.3-apex-rrset", "3.4.2.4-record", "3.4.2.4-no-record", "3.4.2.4-all-records",
        "3.4.2.4-cname-other-case", "3.4.2.4-soa", "3.4.2.4-an-ns", "3.4.2.4-last-ns", "3.4.2.4-ns-replaced",
        "in-order-gone", "in-order-there", "a-delegation", "below-a-wildcard", "a-wildcard",
    ],
)  # fmt: skip
def test_update(rows: list[str], expected: list[str]) -> None:
    draft = run(*((2, row) for row in rows))
    assert said(draft) == sorted(expected)
    after, faults = draft.zone.changed(*draft.difference())
    assert after is not None, faults
    for (key, type), rrset in draft.changes().items():
        assert after.rrset(key, type) == rrset


def test_what_is_touched_is_known_before() -> None:
    message = read(
        wire((2, "www 0 ANY ANY"), (2, "@ 0 ANY ANY"), (2, "new 1 IN A 192.0.2.1"), (2, "x 0 NONE A 192.0.2.1"))
    )
    names = {(rdata_text.name_text(key), types.type_name(type)) for key, type in update.touched(message, zone())}
    assert names == {
        ("www.shop.test.", "A"), ("www.shop.test.", "TXT"), ("shop.test.", "MX"), ("new.shop.test.", "A"),
        ("x.shop.test.", "A"),
    }  # fmt: skip


def test_dnspython_writes_what_is_read() -> None:
    made = dns.update.UpdateMessage("shop.test")
    made.present("www", "A")
    made.absent("new")
    made.add("new", 60, "MX", "10 mail.shop.test.")
    made.delete("www", "A", "192.0.2.10")
    made.delete("alias")
    made.use_edns(0, payload=1400)
    message = read(made.to_wire())
    assert message.zone == ZONE
    assert message.payload == 1400
    there = zone()
    hold(message, there, rdata_text.check)
    scan(message, there, rdata_text.check)
    draft = Draft(there)
    apply(message, draft)
    assert said(draft) == ["-alias CNAME", "new 60 MX 10 mail.shop.test.", "www 300 A 192.0.2.11"]


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [(1, 0, True), (0, 1, False), (0, 0xFFFFFFFF, True), (0x80000000, 0, False), (0x7FFFFFFF, 0, True), (5, 5, False)],
)
def test_serials_are_a_circle(one: int, two: int, expected: bool) -> None:  # RFC 1982 §3.2
    assert serial.newer(one, two) is expected


def test_the_next_serial_is_never_0() -> None:
    assert [serial.after(number) for number in (0, 1, 0xFFFFFFFE, 0xFFFFFFFF)] == [1, 2, 0xFFFFFFFF, 1]


def test_any_octets_are_read_or_refused() -> None:
    whole = wire((1, "www 0 ANY A"), (2, "new 60 IN MX 10 mail"), (2, "www 0 NONE A 192.0.2.10"))
    for at in range(12, len(whole)):
        for octet in (0, 0x3F, 0x40, 0xC0, 0xFF):
            message = whole[:at] + bytes([octet]) + whole[at + 1 :]
            for text in (message, message[:at]):
                with contextlib.suppress(UpdateFault):
                    found = read(text)
                    there = zone()
                    hold(found, there, rdata_text.check)
                    scan(found, there, rdata_text.check)
                    apply(found, Draft(there))


def test_thousands_of_records_take_no_square_of_time() -> None:
    rows = [(2, f"many 60 IN A #\\{number:08x}".replace("\\", "")) for number in range(3000)]
    rows += [(2, f"h{number} 60 IN A #c0000201") for number in range(1000)]
    steps = 0

    class Counted(Draft):
        def put(self, *args: object) -> None:
            nonlocal steps
            steps += len(args[3])  # type: ignore[arg-type]
            super().put(*args)  # type: ignore[arg-type]

    draft = Counted(zone())
    apply(read(wire(*rows)), draft)
    many = draft.get(from_text("many.shop.test"), types.A)
    assert many is not None
    assert len(many.rdatas) == 3000
    assert steps == 4000
