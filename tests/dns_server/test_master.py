"""Plain lines are read as dnspython reads them, fault by fault and place by place; other lines are read by it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dns.name
import dns.rdatatype
import dns.zone
import dns.zonefile
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dns_server.master import MOST_FAULTS, Sources, read_into
from dns_server.rules.draft import Draft
from dns_server.rules.names import from_text, to_text
from dns_server.rules.types import type_name

ORIGIN = from_text("Z.test")

NAMES = [
    "a", "B.a", "*", "*.w", "@", "a.z.test.", "X.Example.", ".", "..", "a..b", "-", "_s._tcp", "1", "300", "IN", "A", "CH",
    "a\\.b", "a\\046b", "x" * 63, "x" * 64, ".".join(["y" * 60] * 4), "a.", "é", "a@b", "$x", '"q"', "1h", "in-addr", "TYPE1",
]  # fmt: skip
TTLS = ["", "", "300", "0", "1h30m", "4294967295", "4294967296", "1x", "999999999", "0300", "-1"]
CLASSES = ["", "", "IN", "in", "iN", "CH", "CLASS1"]
STRINGS = [
    "x",
    '"x"',
    '"a;b(c"',
    '"a b"',
    '"a\\"b"',
    '"a\\065"',
    '""',
    'a"b"',
    '"a""b"',
    '"' + "l" * 256 + '"',
    '"é"',
    "\\065",
    '"open',
    '"\t"',
    "@",
    "#",
]
RDATA = {
    "A": ["192.0.2.1", "192.0.2.256", "192.0.2.01", "192.0.2", "1.2.3.4 5", "( 192.0.2.1 )", "(\n192.0.2.1\n)", "\\# 4 c0000201", "", "0.0.0.0"],
    "a": ["192.0.2.7"],
    "AAAA": ["::1", "2001:DB8::", "::ffff:192.0.2.1", "1:2:3:4:5:6:7:8", "1::2::3", "fe80::1%lo", "12345::", "1:2:3:4:5:6:7::", "::1.2.3.04", "0:0:0:0:0:0:0:00001"],
    "NS": NAMES, "CNAME": NAMES, "PTR": NAMES, "DNAME": NAMES,
    "MX": [f"{number} {name}" for number in ("10", "0010", "65535", "65536", "x", "-1", "+1", "1_0", "٣") for name in ("a", "@", "..")],
    "SRV": ["1 2 3 a", "1 2 65536 a", "1 2 3", "1 2 3 a b", "0 0 0 ."],
    "DS": ["1 13 2 " + "aB" * 32, "1 13 2 " + "ab" * 31, "1 13 2 " + "ab" * 16 + " " + "ab" * 16, "1 256 2 " + "ab" * 32, "65536 8 2 " + "ab" * 32, "1 13 1 " + "ab" * 20, "1 0 2 " + "00" * 32, "1 RSASHA256 2 " + "ab" * 32, "1 008 2 " + "ab" * 32, "1 8 2 " + "ab " * 32],
    "TXT": [*STRINGS, *(f"{one}{space}{other}" for one in STRINGS for space in (" ", "", "\t") for other in STRINGS[:6])],
    "SOA": ["ns h 1 2 3 4 5", "( ns h 1 1h 2 3 4 )"],
    "CAA": ['0 issue ";"'], "NOSUCH": ["x"], "TYPE65280": ["\\# 1 aa", "\\# 2 aa"], "300": ["A 192.0.2.1"], "IN": ["A 192.0.2.1"],
}  # fmt: skip
SPACES = [" ", "\t", "  ", " \t "]
ENDS = ["\n", "\n", "\n", " \n", "\t\n", " ; c\n", ";c ( \" \n", "\r\n", "\r", " ) \n", " (\n", "\\\n", "\n\n", "\f\n", "\x85\n", "\u2028\n", "", "\x00\n"]  # fmt: skip
OTHERS = [
    "\n", "  \n", "; c\n", " ; c\n", "$ORIGIN sub\n", "$ORIGIN other.\n", "$ORIGIN z.test.\n", "$ORIGIN\n", "$TTL 60\n", "$TTL 1h\n", "$TTL x\n",
    "$GENERATE 1-3 g$ A 192.0.2.$\n", "$GENERATE 1-3 g$ A 192.0.2.$ x\n", "$GENERATE 1-9999999 g$ A 192.0.2.1\n", "$NOSUCH\n", "(\n", ")\n", '"\n', "a\n",
    " A\n", "@ 60 IN SOA ns h 1 2 3 4 5\n", "@ IN SOA ns h 1 2 3 4 5\n", "\ufeff\n",
]  # fmt: skip


@st.composite
def lines(draw: st.DrawFn) -> str:
    if draw(st.integers(0, 5)) == 0:
        return draw(st.sampled_from(OTHERS))
    words = [draw(st.sampled_from(["", "", *NAMES])), draw(st.sampled_from(TTLS)), draw(st.sampled_from(CLASSES))]
    if draw(st.booleans()):
        words[1:] = words[:0:-1]
    type = draw(st.sampled_from(sorted(RDATA)))
    words += [draw(st.sampled_from(["", "", "", "", "60"])), type, draw(st.sampled_from(RDATA[type]))]
    first, *rest = words
    out = first
    for word in rest:
        if word:
            out += draw(st.sampled_from(SPACES)) + word
    return out + draw(st.sampled_from(ENDS))


def read(text: str, *, plain: bool) -> Draft:
    draft = Draft(ORIGIN)
    read_into(draft, text, "z.zone", plain=plain)
    return draft


@settings(max_examples=600, deadline=None)
@given(st.lists(lines(), min_size=1, max_size=12).map("".join))
def test_plain_lines_are_read_as_all_others_are(text: str) -> None:
    fast, slow = read(text, plain=True), read(text, plain=False)
    assert fast.names == slow.names
    assert fast.faults == slow.faults


def records(draft: Draft) -> Iterator[tuple[str, str, int, bytes]]:
    for key in draft.names:
        for type, group in draft.groups(key).items():
            for _, ttl, owner, rdata in group:
                yield to_text(owner), type_name(type), ttl, rdata


@settings(max_examples=300, deadline=None)
@example(" DNAME a\n DNAME B.a\n")
@given(st.lists(lines(), min_size=1, max_size=6).map("".join).filter(lambda text: "9999999 g$" not in text))
def test_what_dnspython_alone_accepts_is_read_the_same(text: str) -> None:
    text = "seed 5 A 192.0.2.9\n" + text  # the owner of a record before which there is none would be the zone
    try:
        # of the root, since it drops what is outside of a zone
        zone = dns.zone.from_text("$ORIGIN Z.test.\n" + text, ".", relativize=False, check_origin=False)
    except Exception:
        return
    draft = read(text, plain=True)
    assert [str(fault) for fault in draft.faults if fault.fatal] == []
    expected = {
        (str(name).lower(), dns.rdatatype.to_text(rdtype), rdata.to_wire(origin=None))
        for name, ttl, rdata in zone.iterate_rdatas()
        for rdtype in (rdata.rdtype,)
    }
    found = {}
    for owner, type, _, rdata in records(draft):
        # where rdatas differ in letter case only, dnspython keeps one; of a second DNAME or the like, the last
        place = (str(dns.name.from_text(owner)).lower(), type)
        single = dns.rdatatype.is_singleton(dns.rdatatype.from_text(type))
        found[(*place, b"" if single else rdata.lower())] = (*place, rdata.lower())
    assert {(owner, type, rdata.lower()) for owner, type, rdata in expected} == set(found.values())


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("a A x\nb A 192.0.2.1\nc A y\n", ["1: not understood: a A x", "3: not understood: c A y"]),
        ("a TXT ( x\n  \\400 )\nb A 192.0.2.1\nc A y\n", ["1: ", "4: not understood: c A y"]),
        ("a TXT ( x\n  y\nb A 192.0.2.1\n", ["1: a parenthesis is not closed"]),
        ('a TXT "x\nb A y\n', ["1: newline in quoted string", "2: not understood: b A y"]),
        ('a TXT "x', ["1: newline in quoted string"]),
        ("a A 192.0.2.1 )\nb A y\n", ["1: ", "2: not understood: b A y"]),
        ("$TTL\na A 192.0.2.1\n", ["1: $TTL needs a TTL", "2: Missing default TTL value"]),
        ("$FOO 1\n", ["1: unknown directive $FOO"]),
        ("$GENERATE 1-x a$ A 192.0.2.1\n", ["1: $GENERATE needs a range, as 1-20 or 0-100/2"]),
        ("$GENERATE 0-65536 60 a$ A 192.0.2.1\n", ["1: $GENERATE makes more than 65536 records"]),
        ("a 60 CH A 192.0.2.1\n", ["1: RR class is not zone's class"]),
        ("a 60 NOSUCH x\n", ["1: unknown rdatatype 'NOSUCH'"]),
    ],
)  # fmt: skip
def test_reading_goes_on_after_a_fault(text: str, faults: list[str]) -> None:
    head = "" if text.startswith("$TTL") else "$TTL 60\n"
    found = read(head + text, plain=True).faults
    expected = [f"z.zone:{int(line) + bool(head)}:{rest}" for line, _, rest in (one.partition(":") for one in faults)]
    assert [str(fault)[: len(want)] for fault, want in zip(found, expected, strict=True)] == expected


def test_a_file_of_nothing_but_faults_ends_soon() -> None:
    assert len(read("a b\n" * 3 * MOST_FAULTS, plain=True).faults) == MOST_FAULTS


def test_files_that_are_included(tmp_path: Path) -> None:
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    main = tmp_path / "main"
    main.write_text('$TTL 60\n$INCLUDE sub/one in.z.test. ; comment\nafter A 192.0.2.1\n$INCLUDE "sub/none"\nx y\n')
    (tmp_path / "sub" / "one").write_text(
        "one A 192.0.2.1\n$TTL 5\n$INCLUDE deep/two\nlast A 192.0.2.1\n$INCLUDE ../main\n"
    )
    (tmp_path / "sub" / "deep" / "two").write_text("$ORIGIN two.\ntwo A 192.0.2.1\nbad\n")
    sources, draft = Sources(), Draft(ORIGIN)
    read_into(draft, sources.read(str(main)), str(main), sources=sources)
    assert list(records(draft)) == [
        ("one.in.z.test.", "A", 60, bytes((192, 0, 2, 1))),
        ("two.two.", "A", 5, bytes((192, 0, 2, 1))),
        ("last.in.z.test.", "A", 5, bytes((192, 0, 2, 1))),
        ("after.Z.test.", "A", 5, bytes((192, 0, 2, 1))),  # an included $TTL holds on: RFC 2308 §4
    ]
    assert [str(fault) for fault in draft.faults] == [
        f"{tmp_path}/sub/deep/two:3: not understood: bad",
        f"{tmp_path}/sub/one:5: ../main includes itself",
        f"{main}:4: cannot read the included {tmp_path}/sub/none: No such file or directory",
        f"{main}:5: unknown rdatatype 'y'",
    ]
    assert [Path(path).name for path in sources.digests] == ["main", "one", "two", "none"]
    assert sources.digests[f"{tmp_path}/sub/none"] == b""


def test_files_within_files_have_an_end(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / str(number)).write_text(f"$INCLUDE {number + 1}\n")
    sources, draft = Sources(), Draft(ORIGIN)
    read_into(draft, sources.read(f"{tmp_path}/0"), f"{tmp_path}/0", sources=sources)
    assert [str(fault) for fault in draft.faults] == [f"{tmp_path}/15:1: 16 is included 16 files deep"]
