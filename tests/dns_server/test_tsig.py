"""TSIG (RFC 8945), with dnspython as the other side."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.tsig
import pytest

from dns_server.rules import types
from dns_server.rules.names import from_text
from dns_server.tsig import BADKEY, BADSIG, BADTIME, BADTRUNC, Conversation, Keyring, Signer, TsigFault
from dns_server.tsig_keys import ALGORITHMS, Key, make_key, parse_keys, read_keys
from stack.errors import ConfigError

NOW = 1_800_000_000
SECRET = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="


def key(name: str = "acme.", algorithm: str = "hmac-sha256", secret: str = SECRET) -> Key:
    return make_key(name, algorithm, secret)


def ready(known: Key) -> dns.tsig.Key:
    """As dnspython has it."""
    name, algorithm = (dns.name.from_wire(wire, 0)[0] for wire in (known.name, known.algorithm))
    return dns.tsig.Key(name, known.secret, algorithm)


def now() -> float:
    return NOW + 0.7


def ring(*keys: Key, at: float = NOW) -> Keyring:
    return Keyring(keys or [key()], lambda: at)


def asked(known: Key | None = None, *, at: int = NOW, fudge: int = 300) -> tuple[bytes, dns.message.Message]:
    """A query that dnspython signs at that time."""
    known = known or key()
    query = dns.message.make_query("www.shop.test", "A")
    query.use_tsig(ready(known), fudge=fudge)
    original = dns.tsig.sign
    try:
        dns.tsig.sign = lambda wire, key, rdata, time=None, *rest, **named: original(  # type: ignore[no-untyped-call]
            wire, key, rdata, at, *rest, **named
        )
        return query.to_wire(), query
    finally:
        dns.tsig.sign = original


def response(query: dns.message.Message) -> bytes:
    return dns.message.make_response(dns.message.make_query("www.shop.test", "A", id=query.id)).to_wire()


def read(wire: bytes, query: dns.message.Message, known: Key | None = None) -> dns.message.Message:
    """As dnspython believes it; its clock is the machine's, so that only MAC and structure are judged."""
    known = known or key()
    original = dns.tsig.validate
    try:
        dns.tsig.validate = lambda wire, key, owner, rdata, now, *rest, **named: original(  # type: ignore[no-untyped-call]
            wire, key, owner, rdata, NOW, *rest, **named
        )
        return dns.message.from_wire(wire, keyring=ready(known), request_mac=query.mac)
    finally:
        dns.tsig.validate = original


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_signed_query_is_believed_and_answered_signed(algorithm: str) -> None:
    known = key(algorithm=algorithm)
    wire, query = asked(known)
    signed = ring(known).judge(wire)
    assert signed is not None
    assert (signed.rcode, signed.error, signed.key) == (0, 0, known)
    unsigned = dns.message.make_query("www.shop.test", "A", id=query.id).to_wire()
    assert signed.message == unsigned
    plain = response(query)
    answer = signed.sign(plain)
    assert len(answer) == len(plain) + signed.room
    assert read(answer, query, known).had_tsig


def test_a_query_without_tsig_is_none_of_its_business() -> None:
    assert ring().judge(dns.message.make_query("www.shop.test", "A", use_edns=0).to_wire()) is None


def test_an_unknown_key_is_told_so_unsigned() -> None:  # RFC 8945 §5.2.1, §5.3.2
    wire, query = asked(key("other."))
    signed = ring().judge(wire)
    assert signed is not None
    assert (signed.rcode, signed.error, signed.key) == (types.NOTAUTH, BADKEY, None)
    answer = signed.sign(response(query))
    assert len(answer) == len(response(query)) + signed.room
    with pytest.raises(dns.tsig.PeerBadKey):
        read(answer, query, key("other."))


def test_a_known_name_with_another_algorithm_is_another_key() -> None:  # RFC 8945 §5.2.1
    signed = ring(key(algorithm="hmac-sha512")).judge(asked()[0])
    assert signed is not None
    assert signed.error == BADKEY


@pytest.mark.parametrize("at", [5, 30, -30], ids=["flags", "question", "mac"])
def test_what_was_altered_is_badsig(at: int) -> None:  # RFC 8945 §5.2.2
    wire, query = asked()
    index = at if at > 0 else len(wire) + at
    altered = wire[:index] + bytes([wire[index] ^ (0x20 if at != 5 else 0)]) + wire[index + 1 :]
    if at == 5:
        altered = wire[:3] + bytes([wire[3] ^ 0x10]) + wire[4:]
    signed = ring().judge(altered)
    assert signed is not None
    assert (signed.rcode, signed.error, signed.key) == (types.NOTAUTH, BADSIG, None)
    with pytest.raises(dns.tsig.PeerBadSignature):
        read(signed.sign(response(query)), query)


@pytest.mark.parametrize(("skew", "error"), [(300, 0), (-300, 0), (301, BADTIME), (-301, BADTIME)])
def test_clocks_may_differ_by_the_fudge(skew: int, error: int) -> None:  # RFC 8945 §5.2.3
    wire, query = asked()
    signed = ring(at=NOW + skew).judge(wire)
    assert signed is not None
    assert signed.error == error
    if error:
        answer = signed.sign(response(query))
        assert len(answer) == len(response(query)) + signed.room
        with pytest.raises(dns.tsig.PeerBadTime):
            read(answer, query)
        tsig = dns.message.from_wire(answer, keyring=False, continue_on_error=True).tsig
        assert tsig is not None
        assert tsig[0].time_signed == NOW
        assert int.from_bytes(tsig[0].other, "big") == NOW + skew


def test_a_forged_message_at_a_wrong_time_is_badsig_and_nothing_is_signed() -> None:  # RFC 8945 §5.2: MAC before time
    wire, _ = asked(key(secret="AAAA"))
    signed = ring(at=NOW + 999).judge(wire)
    assert signed is not None
    assert signed.error == BADSIG
    assert signed.room == len(key().name) + 10 + len(key().algorithm) + 16  # no MAC


def cut(wire: bytes, known: Key, size: int) -> bytes:
    """The signed message with its MAC cut to `size` octets, or lengthened."""
    start = wire.rindex(known.size.to_bytes(2, "big"), 0, len(wire) - known.size)
    mac = wire[start + 2 : start + 2 + known.size]
    made = (mac + bytes(100))[:size]
    rdlength = wire.rindex(known.algorithm) - 2
    length = int.from_bytes(wire[rdlength : rdlength + 2], "big") + size - known.size
    return (
        wire[:rdlength] + length.to_bytes(2, "big") + wire[rdlength + 2 : start]
        + size.to_bytes(2, "big") + made + wire[start + 2 + known.size :]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("size", "rcode", "error"),
    [(33, 1, 0), (31, 9, BADTRUNC), (16, 9, BADTRUNC), (15, 1, 0), (0, 1, 0)],
    ids=["longer", "31", "half", "below-half", "none"],
)
def test_a_mac_that_is_cut(size: int, rcode: int, error: int) -> None:  # RFC 8945 §5.2.2.1, §5.2.4
    signed = ring().judge(cut(asked()[0], key(), size))
    assert signed is not None
    assert (signed.rcode, signed.error, signed.key) == (rcode, error, None)


def test_tsig_stands_last_and_once() -> None:  # RFC 8945 §5.1
    wire, _ = asked()
    tsig = wire[wire.rindex(key().name) :]
    twice = wire[:11] + b"\x02" + wire[12:] + tsig
    for broken in (twice, wire[:-1], wire[:7] + b"\x01" + wire[8:11] + b"\0" + wire[12:], wire + b"\0"):
        signed = ring().judge(broken)
        assert signed is not None
        assert (signed.rcode, signed.key) == (types.FORMERR, None)


def test_a_sequence_of_messages_is_signed_in_a_chain() -> None:  # RFC 8945 §5.3.1
    conversation = Conversation(key(), now)
    request = conversation.request(dns.message.make_query("shop.test", "AXFR").to_wire())
    signed = ring().judge(request)
    assert signed is not None
    assert signed.key == key()
    plain = [b"\x12\x34\x84\0" + bytes(8) + b"" for _ in range(3)]
    sent = [signed.sign(message) for message in plain]
    assert [conversation.check(message) for message in sent] == plain
    conversation.finish()


def test_dnspython_believes_the_chain() -> None:
    wire, query = asked()
    signed = ring().judge(wire)
    assert signed is not None
    context = None
    mac = query.mac
    for number in range(3):
        tsig = dns.message.from_wire(signed.sign(response(query)), keyring=False, continue_on_error=True).tsig
        assert tsig is not None
        expected, context = dns.tsig.sign(  # type: ignore[no-untyped-call]
            response(query), ready(key()), tsig[0], time=tsig[0].time_signed, request_mac=mac, ctx=context, multi=True
        )
        assert expected.mac == tsig[0].mac, number


def test_messages_between_may_be_unsigned_but_not_the_last() -> None:
    conversation = Conversation(key(), now)
    signed = ring().judge(conversation.request(dns.message.make_query("shop.test", "AXFR").to_wire()))
    assert signed is not None
    plain = b"\x12\x34\x84\0" + bytes(8)
    conversation.check(signed.sign(plain))
    assert conversation.check(plain) == plain
    with pytest.raises(TsigFault, match="last message"):
        conversation.finish()
    assert signed._signer is not None
    signed._signer._context.update(plain)
    assert conversation.check(signed.sign(plain)) == plain
    conversation.finish()


def test_an_unsigned_or_foreign_response_is_not_believed() -> None:
    conversation = Conversation(key(), now)
    conversation.request(dns.message.make_query("shop.test", "SOA").to_wire())
    plain = b"\x12\x34\x84\0" + bytes(8)
    with pytest.raises(TsigFault, match="not signed"):
        conversation.check(plain)
    with pytest.raises(TsigFault, match=r"signed with other\. and not with acme\."):
        conversation.check(Signer(key("other"), b"", now).sign(plain))
    with pytest.raises(TsigFault, match="is wrong"):  # not the answer to this request
        conversation.check(Signer(key(), b"x" * 32, now).sign(plain))


def test_a_clock_that_is_behind_is_told() -> None:
    conversation = Conversation(key(), now)
    signed = ring(at=NOW - 1000).judge(conversation.request(dns.message.make_query("a.test", "SOA").to_wire()))
    assert signed is not None
    with pytest.raises(TsigFault, match="BADTIME; its clock is 1000 s behind ours"):
        conversation.check(signed.sign(b"\x12\x34\x84\0" + bytes(8)))


def test_any_octets_are_judged_without_an_error() -> None:
    wire, _ = asked()
    for end in range(len(wire)):
        ring().judge(wire[:end])
    for at in range(len(wire)):
        for octet in (0, 0x3F, 0xC0, 0xFF):
            signed = ring().judge(wire[:at] + bytes([octet]) + wire[at + 1 :])
            assert signed is None or signed.key is None or wire[at] == octet or at < 2 or octet in (0, 0x3F)


# Keys.


@pytest.mark.needs("tsig-keygen")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_file_of_tsig_keygen_is_read_and_ours_is_the_same(tmp_path: Path, algorithm: str) -> None:
    file = tmp_path / "acme.key"
    file.touch(0o600)
    text = subprocess.run(["tsig-keygen", "-a", algorithm, "acme.shop"], capture_output=True, text=True).stdout
    file.write_text(text)
    (found,) = read_keys([file])
    assert found.name == from_text("acme.shop")
    assert len(found.secret) == found.size
    assert found.text() == text


def test_files_may_have_several_keys_and_comments(tmp_path: Path) -> None:
    text = f"""\
# one
key one {{ algorithm "hmac-sha256"; secret "{SECRET}"; }};  // end
/* a block
   of words */
key "two." {{
    secret {SECRET};
    algorithm HMAC-SHA512.;
}};
hmac-sha384:three:{SECRET}
"""
    names = [(place, found.name, found.size) for place, found in parse_keys(text, "f")]
    assert names == [("f:2", b"\3one\0", 32), ("f:5", b"\3two\0", 64), ("f:9", b"\5three\0", 48)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("key a { algorithm hmac-md5; secret AAAA; };", "f:1: hmac-md5 is not accepted; one of hmac-sha256"),
        ("key a { algorithm hmac-sha1; secret AAAA; };", "f:1: hmac-sha1 is not accepted"),
        ("\nkey a { algorithm hmac-sha256; secret ***; };", "f:2: the secret is no base64"),
        ("key a { algorithm hmac-sha256; };", "f:1: the key a has no secret"),
        ("key a { algorithm hmac-sha256; secret AAAA;", "f:1: the key a has no closing }"),
        ("key a { algorithm }", "f:1: wanted algorithm NAME; or secret BASE64;"),
        ("key a..b { algorithm hmac-sha256; secret AAAA; };", "f:1: 'a..b' is no name of a key"),
        ("zone shop.test { };", 'f:1: wanted key "NAME"'),
        ("key", "f:1: wanted key NAME {"),
    ],
)
def test_a_fault_of_a_key_file_is_told_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)) as caught:
        parse_keys(text, "f")
    assert "AAAA" not in str(caught.value)


def test_faults_of_files(tmp_path: Path) -> None:
    one, two, none = (tmp_path / name for name in ("one", "two", "none"))
    one.write_text(key().text())
    two.write_text(key(secret="AAAA").text())
    none.write_text("# nothing\n")
    for file in (one, two, none):
        file.chmod(0o600)
    assert len(read_keys([one, one])) == 1
    with pytest.raises(ConfigError, match=f"two:1: another key is called acme., at {one}:1"):
        read_keys([one, two])
    with pytest.raises(ConfigError, match="there is no key in it"):
        read_keys([none])
    with pytest.raises(ConfigError, match="No such file"):
        read_keys([tmp_path / "gone"])


def test_a_key_never_shows_its_secret() -> None:
    assert "1234" not in repr(key())
    assert SECRET not in repr(key())


def test_a_file_that_everybody_can_read_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "open"
    file.write_text(key().text())
    file.chmod(0o644)
    read_keys([file])
    assert f"chmod 600 {file}" in caplog.text
