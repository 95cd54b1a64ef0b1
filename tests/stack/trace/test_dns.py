from __future__ import annotations

import struct
from collections.abc import Mapping
from random import Random

import dnslib
import pytest

from stack.clock import SystemClock
from stack.trace import dns
from stack.trace.dns import Unresolved, Walk
from tests.stack.trace.dns_servers import Server, authority, serving

ROOT, TLD, ZONE, OTHER = "127.0.53.101", "127.0.53.102", "127.0.53.103", "127.0.53.104"
SOA = "@ 60 IN SOA ns hostmaster 1 3600 600 86400 30\n"
ROOT_ZONE = f"""$ORIGIN .
$TTL 3600
@ IN SOA a.root. hostmaster. 1 3600 600 86400 30
@ IN NS a.root.
a.root. IN A {ROOT}
test. IN NS ns.nic.test.
ns.nic.test. IN A {TLD}
"""
TLD_ZONE = f"""$ORIGIN test.
$TTL 3600
@ IN SOA ns.nic hostmaster 1 3600 600 86400 30
@ IN NS ns.nic
ns.nic IN A {TLD}
shop IN NS ns1.shop
ns1.shop IN A {ZONE}
mall IN NS ns1.mall
ns1.mall IN A {OTHER}
far IN NS ns1.mall
dead IN NS ns.dead.elsewhere.example.
"""
SHOP_ZONE = f"""$ORIGIN shop.test.
$TTL 60
@ IN SOA ns1 hostmaster 1 3600 600 86400 30
@ IN NS ns1
ns1 IN A {ZONE}
@ IN A 127.0.1.1
@ IN A 127.0.1.2
www IN CNAME @
away IN CNAME www.mall.test.
circle IN CNAME round.shop.test.
round IN CNAME circle.shop.test.
six IN AAAA 2001:db8::6
text IN TXT "no address"
"""
MALL_ZONE = f"""$ORIGIN mall.test.
$TTL 60
@ IN SOA ns1 hostmaster 1 3600 600 86400 30
@ IN NS ns1
ns1 IN A {OTHER}
www IN A 127.0.9.9
"""
FAR_ZONE = """$ORIGIN far.test.
$TTL 60
@ IN SOA ns1.mall.test. hostmaster 1 3600 600 86400 30
@ IN NS ns1.mall.test.
@ IN A 127.0.8.8
"""
SERVERS: dict[str, Server] = {
    ROOT: authority(root=ROOT_ZONE),
    TLD: authority(test=TLD_ZONE),
    ZONE: authority(shop_test=SHOP_ZONE),
    OTHER: authority(mall_test=MALL_ZONE, far_test=FAR_ZONE),
}
NAMES = {ROOT: "dns-root", TLD: "dns-tld", ZONE: "dns-shop", OTHER: "dns-mall"}


async def walk(
    name: str, *, changed: Mapping[str, Server | None] | None = None, roots: tuple[str, ...] = (ROOT,)
) -> tuple[list[str], list[str], str]:
    """The addresses, the lines, and why there are none. `changed`: other servers, None for nobody."""
    servers = {**SERVERS, **(changed or {})}
    clock = SystemClock()
    async with serving({address: server for address, server in servers.items() if server is not None}) as port:
        walking = Walk(
            [(root, port) for root in roots],
            port=port,
            clock=clock,
            random=Random(7),
            began=clock.now(),
            names={(address, port): called for address, called in NAMES.items()},
        )
        found: list[str] = []
        why = ""
        try:
            found = await walking.addresses(name)
        except Unresolved as error:
            why = str(error).replace(f":{port}", "")
        for before, after in zip(walking.spans, walking.spans[1:], strict=False):
            assert before.end_ms <= after.start_ms
        return found, [f"{span.name} {span.decision}{' !' if span.error else ''}" for span in walking.spans], why


async def test_root_tld_and_zone_each_have_a_line() -> None:
    found, lines, _ = await walk("shop.test")
    assert found == ["127.0.1.1", "127.0.1.2"]
    assert lines == [
        "dns-root A shop.test: referral to test",
        "dns-tld A shop.test: referral to shop.test",
        "dns-shop A shop.test: 127.0.1.1 +1, ttl 60",
    ]


async def test_a_name_that_does_not_exist_names_the_server_that_says_so() -> None:
    found, lines, why = await walk("nope.shop.test")
    assert (found, lines[-1]) == ([], "dns-shop A nope.shop.test: NXDOMAIN !")
    assert why == "nope.shop.test does not exist, says dns-shop (NXDOMAIN)"
    _, lines, why = await walk("shop.nowhere")
    assert (len(lines), why) == (1, "shop.nowhere does not exist, says dns-root (NXDOMAIN)")


async def test_an_alias_within_the_zone_is_followed_at_once_and_one_beyond_from_the_root() -> None:
    found, lines, _ = await walk("www.shop.test")
    assert (found, len(lines)) == (["127.0.1.1", "127.0.1.2"], 3)
    found, lines, _ = await walk("away.shop.test")
    assert found == ["127.0.9.9"]
    assert lines[2:] == [
        "dns-shop A away.shop.test: alias of www.mall.test",
        "dns-root A www.mall.test: referral to test",
        "dns-tld A www.mall.test: referral to mall.test",
        "dns-mall A www.mall.test: 127.0.9.9, ttl 60",
    ]


async def test_aliases_in_a_circle_end() -> None:
    found, _, why = await walk("circle.shop.test")
    assert (found, why) == ([], "circle.shop.test -> round.shop.test -> circle.shop.test: aliases without end")


async def test_where_there_is_no_ipv4_ipv6_is_asked_for() -> None:
    found, lines, _ = await walk("six.shop.test")
    assert found == ["2001:db8::6"]
    assert lines[-2:] == ["dns-shop A six.shop.test: no address", "dns-shop AAAA six.shop.test: 2001:db8::6, ttl 60"]


async def test_a_name_without_an_address() -> None:
    _, _, why = await walk("text.shop.test")
    assert why == "text.shop.test has no address"


async def test_a_truncated_answer_is_asked_for_again_over_tcp() -> None:
    def truncated(message: bytes, stream: bool) -> bytes | None:
        response = SERVERS[ZONE](message, stream)
        if stream or response is None:
            return response
        return message[:2] + bytes((0x86, 0, 0, 1, 0, 0, 0, 0, 0, 0)) + message[12:-11]

    found, lines, _ = await walk("shop.test", changed={ZONE: truncated})
    assert found == ["127.0.1.1", "127.0.1.2"]
    assert lines[-1] == "dns-shop A shop.test: 127.0.1.1 +1, ttl 60, over TCP"


async def test_a_servers_name_that_is_not_in_the_referral_is_looked_up() -> None:
    found, lines, _ = await walk("far.test")
    assert found == ["127.0.8.8"]
    assert lines[-1] == "dns-mall A far.test: 127.0.8.8, ttl 60"


async def test_servers_without_an_address_are_the_referrers_fault() -> None:
    _, _, why = await walk("x.dead.test")
    assert why == "ns.dead.elsewhere.example does not exist, says dns-root (NXDOMAIN)"


async def test_nobody_listens() -> None:
    found, lines, why = await walk("shop.test", changed={TLD: None})
    assert found == []
    assert lines[1:] == ["dns-tld A shop.test: Connection refused !"] * 2
    assert why == f"shop.test: dns-tld ({TLD}): Connection refused"


async def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns, "PATIENCE", (0.02, 0.05))
    _, lines, why = await walk("shop.test", changed={ZONE: lambda message, stream: None})
    assert lines[-2:] == ["dns-shop A shop.test: no answer in 0.02 s !", "dns-shop A shop.test: no answer in 0.05 s !"]
    assert why == f"shop.test: dns-shop ({ZONE}) gave no answer in 0.05 s"


async def test_another_root_answers_where_the_first_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns, "PATIENCE", (0.05, 0.1))
    silent: Server = lambda message, stream: None  # noqa: E731
    found, lines, _ = await walk("shop.test", roots=("127.0.53.110", ROOT), changed={"127.0.53.110": silent})
    assert found
    assert lines[:2] == ["127.0.53.110 A shop.test: no answer in 0.05 s !", "dns-root A shop.test: referral to test"]


async def test_a_refusal() -> None:
    refuses: Server = lambda message, stream: message[:2] + bytes((0x80, 5)) + message[4:]  # noqa: E731
    _, lines, why = await walk("shop.test", changed={ZONE: refuses})
    assert lines[-1] == "dns-shop A shop.test: REFUSED !"
    assert why == "shop.test: dns-shop says REFUSED"


async def test_what_cannot_be_read() -> None:
    broken: Server = lambda message, stream: message[:2] + b"\x80\0\0\1\0\x09\0\0\0\0" + message[12:-11] + b"\xff" * 20  # noqa: E731
    _, lines, why = await walk("shop.test", changed={ZONE: broken})
    assert lines[-1] == "dns-shop A shop.test: a response that cannot be read !"
    assert why == "shop.test: dns-shop gave a response that cannot be read"


async def test_pointers_to_pointers_cannot_be_read() -> None:
    """RFC 1035 §4.1.4: a name whose compression has no end that is worth following."""
    filler = 12 + 1 + 10
    pointers = b"\0" + b"".join((0xC000 | max(filler, filler + at - 1)).to_bytes(2, "big") for at in range(0, 8000, 2))

    def tangled(message: bytes, stream: bool) -> bytes:
        if not stream:
            return message[:2] + b"\x82\0\0\0\0\0\0\0\0\0"
        opaque = b"\0" + struct.pack("!HHIH", 999, 1, 0, len(pointers)) + pointers
        end = (0xC000 | filler + len(pointers) - 2).to_bytes(2, "big")
        return message[:2] + b"\x80\0\0\0\0\x02\0\0\0\0" + opaque + end + struct.pack("!HHIH", 1, 1, 0, 4) + b"\1\1\1\1"

    _, lines, why = await walk("shop.test", changed={ZONE: tangled})
    assert lines[-1] == "dns-shop A shop.test: a response that cannot be read, over TCP !"
    assert why == "shop.test: dns-shop gave a response that cannot be read"


def test_thousands_of_aliases_in_one_message_are_read_once_each() -> None:
    """The loop must not stand still while they are followed: no time-out would end that."""
    reads = 0

    class Counted(dnslib.RR):  # type: ignore[misc]
        @property
        def rtype(self) -> int:
            nonlocal reads
            reads += 1
            return int(self._rtype)

        @rtype.setter
        def rtype(self, value: int) -> None:
            self._rtype = value

    count = 2000
    message = dnslib.DNSRecord()
    for number in reversed(range(count)):
        message.add_answer(Counted(f"n{number}.test", dnslib.QTYPE.CNAME, rdata=dnslib.CNAME(f"n{number + 1}.test")))
    assert dns._answer(message, "n0.test") == ([], f"n{count}.test")
    assert reads <= 4 * count


@pytest.mark.parametrize("place", [0, 2, 13], ids=["id", "QR", "question"])
async def test_what_answers_another_question_is_not_heard(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 5452 §4."""
    monkeypatch.setattr(dns, "PATIENCE", (0.05,))

    def forged(message: bytes, stream: bool) -> bytes | None:
        response = bytearray(SERVERS[ZONE](message, stream) or b"")
        response[place] ^= 0x80 if place == 2 else 1
        return bytes(response)

    _, _, why = await walk("shop.test", changed={ZONE: forged})
    assert why == f"shop.test: dns-shop ({ZONE}) gave no answer in 0.05 s"


async def test_a_server_that_knows_nothing_of_the_name_ends_the_walk() -> None:
    lame: Server = lambda message, stream: message[:2] + b"\x80\0\0\1\0\0\0\0\0\0" + message[12:-11]  # noqa: E731
    _, _, why = await walk("shop.test", changed={ZONE: lame})
    assert why == "dns-shop answers for shop.test and knows nothing of shop.test"


async def test_a_referral_that_leads_nowhere_new_does_not_go_on_for_ever() -> None:
    """RFC 1034 §5.3.3: only a referral further down is one."""
    _, lines, why = await walk("shop.test", changed={ZONE: SERVERS[TLD]})
    assert len(lines) <= dns.MOST
    assert why
