"""Reading a query: what is answered with an error, what not at all, and that no bytes do harm."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dns_server.rules import types
from dns_server.rules.query import parse
from tests.support.dns_network import edns, question

WWW = question("www.z.test")


@pytest.mark.parametrize(
    "message",
    [b"", WWW[:11], WWW[:2] + b"\x80" + WWW[3:]],
    ids=["empty", "short-header", "rfc8906-response"],
)
def test_no_answer_at_all(message: bytes) -> None:
    assert parse(message) is None


@pytest.mark.parametrize(
    ("message", "rcode"),
    [
        (WWW, types.NOERROR),
        (WWW[:2] + b"\x08" + WWW[3:], types.NOTIMP),
        (WWW[:2] + b"\x28" + WWW[3:], types.NOTIMP),
        (WWW[:4] + b"\0\0" + WWW[6:12], types.FORMERR),
        (WWW[:4] + b"\0\2" + WWW[6:] + WWW[12:], types.FORMERR),
        (WWW[:-1], types.FORMERR),
        (WWW + b"\0", types.FORMERR),
        (WWW[:12] + b"\xc0\x0c\0\1\0\1", types.FORMERR),
        (WWW[:12] + b"\x40" + WWW[13:], types.FORMERR),
        (question("www.z.test", "OPT"), types.FORMERR),
        (question("www.z.test", opt=edns()), types.NOERROR),
        (question("www.z.test", opt=edns(version=1)), types.BADVERS),
        (question("www.z.test", opt=edns(flags=0x7FFF)), types.NOERROR),
        (question("www.z.test", opt=edns(options=b"\xfd\xe9\0\1x")), types.NOERROR),
        (question("www.z.test", opt=edns(options=b"\xfd\xe9\0\2x")), types.FORMERR),
        (question("www.z.test", opt=edns(options=b"\xfd\xe9\0")), types.FORMERR),
        (question("www.z.test", opt=b"\1a" + edns()), types.FORMERR),
        (question("www.z.test", opt=edns())[:11] + b"\2" + WWW[12:] + edns() * 2, types.FORMERR),
        (question("www.z.test", opt=edns())[:7] + b"\1\0\0\0\0" + WWW[12:] + edns(), types.FORMERR),
        (question("www.z.test", opt=edns())[:-1], types.FORMERR),
    ],
    ids=[
        "plain", "rfc1035-iquery", "rfc2136-update", "rfc9619-none", "rfc9619-two", "cut", "trailing",
        "pointer", "reserved-label", "opt-asked", "edns", "rfc6891-6.1.3-version", "rfc6891-6.1.4-flags",
        "rfc6891-6.1.2-unknown", "option-too-long", "option-cut", "opt-not-root", "two-opts", "opt-in-answer", "opt-cut",
    ],
)  # fmt: skip
def test_rcode(message: bytes, rcode: int) -> None:
    query = parse(message)
    assert query is not None
    assert query.rcode == rcode


def test_what_is_read() -> None:
    query = parse(question("WwW.z.test", "AAAA", id=7, flags=0x0100, opt=edns(4096, flags=0x8000, options=b"\0\3\0\0")))
    assert query is not None
    assert (query.id, query.name, query.key, query.type, query.cls) == (
        7,
        b"\3WwW\1z\4test\0",
        b"\3www\1z\4test\0",
        28,
        1,
    )
    assert (query.edns, query.payload, query.dnssec_ok, query.options) == (True, 4096, True, ((3, b""),))
    assert query.recursion_desired


@pytest.mark.parametrize(("offered", "taken"), [(0, 512), (100, 512), (512, 512), (1232, 1232)])
def test_a_payload_below_512_is_512(offered: int, taken: int) -> None:
    query = parse(question("a", opt=edns(offered)))
    assert query is not None
    assert query.payload == taken


TSIG = b"\3key\0\0\xfa\0\xff\0\0\0\0\0\x1d\x0bhmac-sha256\0" + bytes(16)
RECORD = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4\1\2\3\4"


def with_records(answers: int, additionals: int, *records: bytes, flags: bytes = b"\0\0") -> bytes:
    counts = bytes((0, 1, 0, answers, 0, 0, 0, additionals))
    return WWW[:2] + flags + counts + WWW[12:] + b"".join(records)


@pytest.mark.parametrize(
    ("message", "rcode", "at"),
    [
        (with_records(0, 1, TSIG), types.NOERROR, len(WWW)),
        (with_records(0, 2, edns(), TSIG), types.NOERROR, len(WWW) + 11),
        (with_records(1, 1, RECORD, TSIG), types.NOERROR, len(WWW) + 16),
        (with_records(0, 2, TSIG, edns()), types.FORMERR, None),
        (with_records(0, 2, TSIG, TSIG), types.FORMERR, None),
        (with_records(1, 0, TSIG), types.FORMERR, None),
        (with_records(1, 1, RECORD, TSIG, flags=b"\x28\0"), types.NOTIMP, len(WWW) + 16),
        (WWW, types.NOERROR, None),
    ],
    ids=["alone", "behind-opt", "behind-answer", "before-opt", "two", "in-answer", "rfc2136-update", "none"],
)
def test_rfc8945_5_1_tsig_is_the_last_record(message: bytes, rcode: int, at: int | None) -> None:
    query = parse(message)
    assert query is not None
    assert query.rcode == rcode
    if rcode != types.FORMERR:
        assert query.tsig == at
        assert at is None or message[at:] == TSIG


@pytest.mark.parametrize(
    ("message", "bare"),
    [
        (question("a", opt=edns()), question("a", opt=edns())),
        (question("a", opt=edns(options=b"\0\x0a\0\x08abcdefgh")), question("a", opt=edns())),
        (question("a"), None),
        (with_records(0, 2, edns(), TSIG), None),
        (with_records(0, 2, edns(), RECORD), None),
        (with_records(0, 2, RECORD, edns(options=b"\0\3\0\0")), with_records(0, 2, RECORD, edns())),
    ],
    ids=["bare", "cookie", "no-opt", "before-tsig", "before-record", "behind-record"],
)
def test_the_query_without_its_options(message: bytes, bare: bytes | None) -> None:
    query = parse(message)
    assert query is not None
    assert (message[: query.bare] + b"\0\0" if query.bare else None) == bare


@given(st.binary(max_size=80))
@settings(max_examples=2000)
def test_any_bytes_behind_a_header(rest: bytes) -> None:
    parse(WWW[:12] + rest)
    parse(question("a", opt=edns())[:12] + rest)
    parse(rest)
