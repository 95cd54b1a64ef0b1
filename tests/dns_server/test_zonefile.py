"""Master files: what is read, and that every fault has its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from dns_server.rules.names import from_text
from dns_server.rules.types import NUMBERS
from dns_server.rules.zone import Zone
from dns_server.zonefile import load, load_text, rdata_from_text
from stack.errors import ConfigError

HEAD = "$TTL 1h\n@ IN SOA ns h 1 7200 3600 1209600 300\n@ IN NS ns\nns IN A 192.0.2.1\n"
ORIGIN = from_text("z.test")


def read(text: str) -> tuple[Zone, list[str]]:
    zone, warnings = load_text(ORIGIN, HEAD + text, "z.zone")
    return zone, [str(warning) for warning in warnings]


@pytest.mark.parametrize(
    ("text", "name", "type", "ttl", "count"),
    [
        ("a 90 IN A 192.0.2.2\n", "a.z.test", "A", 90, 1),
        ("a IN 1d A 192.0.2.2\n", "a.z.test", "A", 86400, 1),
        ("a A 192.0.2.2\n  A 192.0.2.3\n", "a.z.test", "A", 3600, 2),
        ("t TXT ( \"a\"\n  \"b\" ) ; c\n", "t.z.test", "TXT", 3600, 1),
        ("$ORIGIN sub\na A 192.0.2.2\n", "a.sub.z.test", "A", 3600, 1),
        ("a.z.test. A 192.0.2.2\n", "a.z.test", "A", 3600, 1),
        ("w HTTPS 1 . alpn=h2 port=8443 ipv4hint=192.0.2.1\n", "w.z.test", "HTTPS", 3600, 1),
        ("u TYPE65280 \\# 2 abcd\n", "u.z.test", "TYPE65280", 3600, 1),
        ("a\\.b A 192.0.2.2\n", "a\\.b.z.test", "A", 3600, 1),
        ('"a;b" A 192.0.2.2\n', "a\\;b.z.test", "A", 3600, 1),
    ],
    ids=[
        "ttl", "rfc1035-5.1-class-ttl", "same-owner", "parentheses", "origin", "absolute", "rfc9460", "rfc3597-5",
        "escape", "quoted-owner",
    ],
)  # fmt: skip
def test_a_record(text: str, name: str, type: str, ttl: int, count: int) -> None:
    zone, warnings = read(text)
    number = NUMBERS.get(type) or int(type.removeprefix("TYPE"))
    rrset = zone.rrset(from_text(name), number)
    assert rrset is not None
    assert (rrset.ttl, len(rrset.rdatas), warnings) == (ttl, count, [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a IN A 192.0.2.999\n", "z.zone:5: not understood: a IN A 192.0.2.999"),
        ("a", "z.zone:5: not understood: a"),
        ("a\n\n", "z.zone:5: not understood: a"),
        ("\n\na IN A\n", "z.zone:7: "),
        ("a IN NOSUCHTYPE x\n", "z.zone:5: "),
        ("$NOSUCH x\n", "z.zone:5: "),
        ("$INCLUDE /nonexistent/x\n", "z.zone:5: cannot read the included /nonexistent/x"),
        ("a.example. A 192.0.2.2\n", "z.zone:5: a.example. is not in the zone z.test."),
        ("a CNAME b\na A 192.0.2.2\n", "z.zone:5: a.z.test. has a CNAME and other data (A)"),
        ("a CNAME b\na CNAME c\n", "z.zone:6: a second CNAME record for a.z.test."),
        ("a SOA ns h 1 2 3 4 5\n", "z.zone:5: a SOA record stands only at the apex"),
        ("@ SOA ns h 2 2 3 4 5\n", "z.zone:5: a second SOA record for z.test."),
        ('a TXT ( "x"\n "y"\n', "z.zone:5: "),
    ],
    ids=[
        "address", "name-alone", "name-alone-and-blank-lines", "lines-counted", "type", "directive", "include", "out-of-zone", "rfc1034-3.6.2-cname",
        "rfc2181-10.1", "soa-below", "two-soas", "parenthesis",
    ],
)  # fmt: skip
def test_a_fault_has_its_place(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert message in str(caught.value)


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        read("a.example. A 192.0.2.2\nb CNAME c\nb A 192.0.2.2\n")
    first, second = str(caught.value).split("; ")
    assert first.startswith("z.zone:5: ")
    assert second.startswith("z.zone:6: ")


@pytest.mark.parametrize("missing", ["SOA", "NS"])
def test_an_apex_needs_soa_and_ns(missing: str) -> None:
    text = "\n".join(line for line in HEAD.splitlines() if f" {missing} " not in line) + "\n"
    with pytest.raises(ConfigError, match=f"has no {missing} record at its apex"):
        load_text(ORIGIN, text, "z.zone")


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("sub NS ns.sub\n", "z.zone:5: the name server ns.sub.z.test. has no glue here"),
        ("sub NS there\n", "z.zone:5: the name server there.z.test. has no address here"),
        ("a 5 A 192.0.2.2\na 6 A 192.0.2.3\n", "z.zone:6: the TTL 6 differs from the 5 of the same set; the first is taken"),
        ("sub NS al\nal CNAME ns\n", "z.zone:5: the name server al.z.test. is an alias"),
        ("a MX 1 al\nal CNAME ns\n", "z.zone:5: the mail server al.z.test. is an alias"),
        ("a MX 1 b\n", "z.zone:5: the mail server b.z.test. has no address here"),
        ("a CNAME al\nal CNAME ns\n", "z.zone:5: the target al.z.test. is an alias"),
        ("a SRV 1 1 1 al\nal CNAME ns\n", "z.zone:5: the server al.z.test. is an alias"),
        ("a A 192.0.2.2\na A 192.0.2.2\n", "z.zone:6: the same A record of a.z.test. a second time"),
        ("a 2147483648 A 192.0.2.2\n", "z.zone:5: the TTL 2147483648 is above 2147483647; 0 is taken"),
        ("c NS ns.c\nns.c A 192.0.2.2\nc TXT x\n", "z.zone:7: the TXT record of c.z.test. is hidden by the delegation at c.z.test."),
        ("c NS ns.c\nns.c A 192.0.2.2\nb.c MX 1 x\n", "z.zone:7: the MX record of b.c.z.test. is hidden by the delegation at c.z.test."),
        ("d DNAME e\na.d A 192.0.2.2\n", "z.zone:6: the A record of a.d.z.test. is hidden by the DNAME at d.z.test."),
        ("a.z.test A 192.0.2.2\n", "z.zone:5: a.z.test.z.test. names the zone twice; is a trailing dot missing?"),
        ("a PTR ns.z.test\n", "z.zone:5: ns.z.test.z.test. names the zone twice; is a trailing dot missing?"),
        ("*.w NS ns\n", "z.zone:5: the wildcard *.w.z.test. has a NS record, which expands to nothing"),
        ("a DS 1 13 2 " + "00" * 32 + "\n", "z.zone:5: a.z.test. has a DS record and no NS record"),
        ("t TXT" + (' "' + "x" * 250 + '"') * 5 + "\n", "z.zone:5: the TXT set of t.z.test. has 1267 octets: never an answer over UDP"),
    ],
    ids=[
        "rfc1034-4.2.1-glue", "address", "rfc2181-5.2-ttl", "rfc2181-10.3-alias", "rfc2181-10.3-mx-alias", "mx-address",
        "rfc1034-3.6.2-alias", "rfc2782-alias", "rfc2181-5-once", "rfc2181-8-ttl", "rfc2181-6.1-at-cut",
        "rfc2181-6.1-below-cut", "rfc6672-2.4-below", "dot-of-owner", "dot-of-target", "rfc4592-4.2", "rfc4035-2.4-ds",
        "long",
    ],
)  # fmt: skip
def test_what_is_legal_and_unwise_is_a_warning(text: str, warning: str) -> None:
    assert read(text)[1] == [warning]


@pytest.mark.parametrize(
    ("numbers", "warning"),
    [
        ("0 7200 3600 1209600 300", "serial is 0"),
        ("1 30 20 1209600 300", "below a minute"),
        ("1 3600 7200 1209600 300", "retry 7200 is longer than refresh 3600"),
        ("1 3600 1800 5000 300", "expire 5000 is shorter"),
        ("1 3600 1800 1209600 86401", "minimum 86401"),
    ],
)
def test_a_soa_out_of_a_sane_range_is_a_warning(numbers: str, warning: str) -> None:
    text = HEAD.replace("1 7200 3600 1209600 300", numbers)
    assert [warning in str(one) for one in load_text(ORIGIN, text, "z.zone")[1]] == [True]


@pytest.mark.parametrize(
    "text", ["sub NS ns.elsewhere.\n", "sub NS ns.other\nother NS ns.other\nns.other A 192.0.2.9\n"]
)
def test_servers_elsewhere_need_no_address_here(text: str) -> None:
    assert read(text)[1] == []


def test_an_included_file_and_its_lines(tmp_path: Path) -> None:
    (tmp_path / "more").write_text("a A 192.0.2.2\nb A nonsense\n")
    with pytest.raises(ConfigError, match=r"more:2: "):
        read(f"$INCLUDE {tmp_path}/more\n")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"zone z\.test\.: cannot read .*none: No such file"):
        load(ORIGIN, tmp_path / "none")
    with pytest.raises(ConfigError, match="it is no file"):
        load(ORIGIN, tmp_path)


def test_octets_that_are_not_utf_8(tmp_path: Path) -> None:
    file = tmp_path / "latin"
    file.write_bytes(HEAD.encode() + b"; f\xfcr alle\nb A 192.0.2.1 ; f\xfcr b\n")
    assert load(ORIGIN, file)[1] == []
    file.write_bytes(HEAD.encode() + b't TXT "\xfc"\n\xfc A 192.0.2.1\n')
    with pytest.raises(ConfigError) as caught:
        load(ORIGIN, file)
    assert str(caught.value) == "; ".join(
        f"{file}:{line}: octet \\252 is not UTF-8; write \\DDD for it" for line in (5, 6)
    )


@pytest.mark.parametrize("type", ["NS", "CNAME", "MX"])
def test_the_same_name_in_another_letter_case_is_the_same_record(type: str) -> None:
    first = "10 " if type == "MX" else ""
    zone, warnings = read(f"a {type} {first}x.\na {type} {first}X.\n")
    found = zone.rrset(from_text("a.z.test"), NUMBERS[type])
    assert found is not None
    assert [rdata[-3:] for rdata in found.rdatas] == [b"\1x\0"]  # RFC 4034 §6.2
    assert warnings == [f"z.zone:6: the same {type} record of a.z.test. a second time"]


def test_a_ttl_of_an_included_file_holds_on(tmp_path: Path) -> None:
    (tmp_path / "more").write_text("$TTL 7\nb A 192.0.2.2\n")
    (tmp_path / "z.zone").write_text(f"{HEAD}$INCLUDE more\nc A 192.0.2.3\n")
    zone, _ = load(ORIGIN, tmp_path / "z.zone")
    found = zone.rrset(from_text("c.z.test"), 1)
    assert found is not None
    assert found.ttl == 7  # RFC 2308 §4; BIND and NSD too


@pytest.mark.parametrize(
    "data",
    ["TXT " + ' "' + '" "'.join(["x" * 250] * 270) + '"', "TXT " + " ".join(["x" * 250] * 270), "TYPE65280 \\# 66000 " + "00" * 66_000],
    ids=["quoted", "plain", "unknown"],
)  # fmt: skip
def test_data_that_fits_no_record(data: str) -> None:  # RFC 1035 §3.2.1
    with pytest.raises(ConfigError, match=r"z\.zone:4: the data has \d+ octets, and 65535 are the most"):
        load_text(from_text("z.test"), f"$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns.\nbig {data}\n", "z.zone")
    with pytest.raises(ValueError, match="65535 are the most"):
        rdata_from_text(16, " ".join(["x" * 250] * 270), b"\0")


@pytest.mark.parametrize(
    ("line", "name", "type", "ttl", "rdata"),
    [
        ("$GENERATE 1-2 g$ A 192.0.2.$", "g2", "A", 3600, b"\xc0\0\2\2"),
        ("$GENERATE 1-2 g$ IN 5 A 192.0.2.$ ; c", "g1", "A", 5, b"\xc0\0\2\1"),
        ("$GENERATE 1-2 g$ 1h IN A 192.0.2.$", "g1", "A", 3600, b"\xc0\0\2\1"),
        ('$GENERATE 1-2 g$ MX "10 m$.x."', "g2", "MX", 3600, b"\0\x0a\2m2\1x\0"),
        ("$GENERATE 1-2 g$ MX 10 m$.x.", "g2", "MX", 3600, b"\0\x0a\2m2\1x\0"),
        ('$GENERATE 1-2 g$ TXT "\\"a $\\" b"', "g1", "TXT", 3600, b"\3a 1\1b"),
        ("$GENERATE 9-10/2 g${1,3,d} TXT ${-9} $$ \\$", "g010", "TXT", 3600, b"\0010\1$\1$"),
        ("$GENERATE 10-11 g${0,2,x} TXT ${0,0,X}${0,3,o}", "g0a", "TXT", 3600, b"\4A012"),
        ("$GENERATE 18-19 ${0,7,n} PTR h$.x.", "2.1.0.0", "PTR", 3600, b"\3h18\1x\0"),
        ("$GENERATE 300-300 ${0,1,n} PTR h$.x.", "c.2.1", "PTR", 3600, b"\4h300\1x\0"),
        ("b A 192.0.2.7\n$GENERATE 1-2 g$ 9 A 192.0.2.$\n  TXT x", "b", "TXT", 3600, b"\1x"),
    ],
    ids=[
        "plain", "class-ttl", "ttl-class", "quoted", "words", "quotes-within", "offset-and-dollars", "bases", "nibbles",
        "more-nibbles", "owner-stays",
    ],
)  # fmt: skip
def test_generate(line: str, name: str, type: str, ttl: int, rdata: bytes) -> None:
    zone, warnings = read(line)
    found = zone.rrset(from_text(f"{name}.z.test"), NUMBERS[type])
    assert found is not None
    assert (found.ttl, found.rdatas, warnings) == (ttl, (rdata,), [])


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("$GENERATE", r"z\.zone:5: \$GENERATE needs a range"),
        ("$GENERATE 1-2/0 g$ A 192.0.2.$", r"z\.zone:5: \$GENERATE needs a range"),
        ("$GENERATE 2-1 g$ A 192.0.2.$", r"z\.zone:5: \$GENERATE needs a range"),
        ("$GENERATE 1-2", r"z\.zone:5: \$GENERATE needs an owner"),
        ("$GENERATE 1-2 g$ A 192.0.2.${0,300}", r"z\.zone:5: \$\{0,300\} is no form of a number"),
        ("$GENERATE 1-2 g${0,3 A 192.0.2.1", r"z\.zone:5: \$\{0,3 A 192.0.2.1 is no form of a number"),
        ("$GENERATE 1-2 g$ A 192.0.2.${-2}", r"z\.zone:5: \$\{-2\} is below 0 for 1"),
        ("$GENERATE 255-256 g$ A 192.0.2.$", r"z\.zone:5 \(\$GENERATE\):2: "),
    ],
    ids=["alone", "no-step", "backwards", "range-alone", "width", "not-closed", "negative", "one-of-them"],
)
def test_generate_that_is_wrong(line: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        read(f"{line}\nb A 192.0.2.3\n")


def test_a_number_that_does_not_fit_its_field() -> None:
    with pytest.raises(ConfigError, match=r"z\.zone:5: not understood: a LOC 1 N 1 E 942849672\.95m$"):
        read("a LOC 1 N 1 E 942849672.95m\n")
    with pytest.raises(ValueError, match="format"):
        rdata_from_text(29, "1 N 1 E 942849672.95m", ORIGIN)
