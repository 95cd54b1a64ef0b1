"""Faults on the links of a resolver: what it makes of them, and how it says so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from dns_server.hindered_asking import HinderedAsking, server_names
from dns_server.resolver import Resolver
from dns_server.rules.rrset import Answer
from dns_server.rules.walk import addresses
from stack.clock import VirtualClock
from stack.errors import ConfigError
from stack.faults.registry import Faults
from stack.faults.spec import parse
from stack.net.context import Context
from stack.telemetry.metrics import Metrics
from tests.support.dns_network import Network

ROOT = """
$TTL 60
@ IN SOA a.root h 1 1 1 1 60
@ IN NS a.root
a.root IN A 10.0.0.1
test. IN NS a.test.
test. IN NS b.test.
a.test. IN A 10.0.0.2
b.test. IN A 10.0.0.3
"""
TEST = """
$TTL 60
@ IN SOA a h 1 1 1 1 60
@ IN NS a
@ IN NS b
a IN A 10.0.0.2
b IN A 10.0.0.3
www IN A 192.0.2.1
"""
NAMES = {"10.0.0.1": "dns-root", "10.0.0.2:53": "dns-a", "10.0.0.3": "dns-b"}


class Walked:
    def __init__(self) -> None:
        self.network = Network({"10.0.0.1": {".": ROOT}, "10.0.0.2": {"test": TEST}, "10.0.0.3": {"test": TEST}})
        self.resolver: Resolver = self.network.resolver()
        self.faults = Faults(self.network.clock)
        self.metrics = Metrics()
        context: Any = Context
        self.faults.serve("resolver", "dns_server", context, metrics=self.metrics)
        self.asking = HinderedAsking(self.faults, self.resolver, self.ask, NAMES)
        self.streams = 0
        self.resolver.ask = self.ask
        self.faults.join_dns(Nobody(), self.asking)

    async def ask(self, address: Any, name: bytes, type: int, *, timeout: float, stream: bool = False) -> Any:
        self.streams += stream
        return await self.network(address, name, type, timeout=timeout)

    def add(self, text: str) -> None:
        fault = parse(text)
        assert self.faults.places(fault), text
        self.faults.add(fault)

    async def www(self) -> Answer:
        self.resolver.cache.flush(None)
        return await self.network.resolve(self.resolver, "www.test")


def hosts(found: Answer) -> list[str]:
    return [host for _, rrset in found.answer for host in addresses(rrset)]


class Nobody:
    def use(self, actives: object) -> None: ...


@pytest.fixture
async def walked() -> AsyncIterator[Walked]:
    found = Walked()
    yield found
    await found.network.tasks.close()


@pytest.mark.parametrize(
    ("words", "word", "kind"),
    [
        ("drop", "timeout", "drop"),
        ("delay=1s", "timeout", "latency"),
        ("refused", "unreachable", "refused"),
        ("rcode=SERVFAIL", "servfail", "rcode"),
        ("rcode=REFUSED", "refused", "rcode"),
        ("lame", "lame", "lame"),
    ],
)
async def test_the_walk_goes_on_at_another_server(walked: Walked, words: str, word: str, kind: str) -> None:
    walked.add(f"resolver>dns-a {words} name=cable")
    for _ in range(4):
        found = await walked.www()
        assert hosts(found) == ["192.0.2.1"]
        if found.faults:
            break
    assert found.faults == ("cable",)
    assert found.marks == (("cache", "miss"), ("fault", kind), ("walk", "walked"))
    assert found.walk[1] == f"10.0.0.2:53 test. {word} (injected: cable)"
    assert found.walk[2] == "10.0.0.3:53 test. answered"


async def test_when_all_are_hit_it_fails_and_says_why(walked: Walked) -> None:
    walked.add("resolver>dns-? drop name=cut qname=www.*")
    found = await walked.www()
    assert (found.rcode, found.faults) == (2, ("cut",))
    assert ("walk", "failed") in found.marks


async def test_a_wrong_address_is_believed(walked: Walked) -> None:
    walked.add("resolver>dns-* wrong_address=192.0.2.66")
    found = await walked.www()
    assert hosts(found) == ["192.0.2.66"]
    assert ("fault", "wrong-address") in found.marks


async def test_truncated_is_asked_again_over_tcp(walked: Walked) -> None:
    walked.add("resolver>dns-root truncate")
    assert hosts(await walked.www()) == ["192.0.2.1"]
    assert walked.streams == 1


async def test_a_short_delay_only_takes_time(walked: Walked) -> None:
    walked.add("resolver>dns-root delay=200ms")
    began = walked.network.clock.now()
    assert hosts(await walked.www()) == ["192.0.2.1"]
    assert walked.network.clock.now() - began >= 0.2


@pytest.mark.parametrize("on", ["resolver>10.0.0.1", "resolver>10.0.0.1:53", "resolver>dns-root", "resolver>10.0.0.*"])
async def test_a_server_goes_by_name_and_by_address(walked: Walked, on: str) -> None:
    walked.add(f"{on} rcode=NXDOMAIN")
    assert (await walked.www()).rcode == 3


async def test_without_a_fault_it_asks_as_ever(walked: Walked) -> None:
    assert walked.resolver.ask == walked.ask
    walked.add("resolver>dns-root drop")
    assert walked.resolver.ask is walked.asking
    walked.faults.clear()
    assert walked.resolver.ask == walked.ask
    assert hosts(await walked.www()) == ["192.0.2.1"]


def test_names_of_servers() -> None:
    given = ["dns-tld=127.0.53.2:5053", "a=192.0.2.1", "b=2001:db8::1", "c=[2001:db8::2]:53"]
    assert server_names(given) == {
        "127.0.53.2:5053": "dns-tld", "192.0.2.1": "a", "2001:db8::1": "b", "[2001:db8::2]:53": "c",
    }  # fmt: skip
    for wrong in ("dns-tld", "=192.0.2.1", "a=ns.test", "a=192.0.2.1:0", "a=192.0.2.1:x", "a=192.0.2.1:70000"):
        with pytest.raises(ConfigError, match="wanted NAME=ADDRESS"):
            server_names([wrong])


def test_what_cannot_be_on_a_link() -> None:
    faults = Faults(VirtualClock())
    context: Any = Context
    faults.serve("resolver", "dns_server", context, metrics=Metrics())
    faults.join_dns(Nobody(), HinderedAsking(faults, Walked().resolver, None, NAMES))  # type: ignore[arg-type]
    assert not faults.places(parse("resolver>dns-root down=10"))
    assert "put it on that server" in faults.standing.refusal(parse("resolver>dns-root down=10"))
    assert "here: rcode" in faults.standing.refusal(parse("resolver>dns-root status=503"))
    assert not faults.standing.refusal(parse("lb-a>proxy-1 status=503"))
