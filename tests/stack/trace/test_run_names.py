"""Whose name is looked up where, and whose certificate authority is trusted."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import trustme

from stack.errors import ConfigError
from stack.trace import system
from stack.trace.known import KnownStack
from stack.trace.run import Failure, exit_status, place_of
from tests.stack.trace.dns_servers import authority, serving
from tests.stack.trace.scripted import HELLO, answering, lines, server, server_tls, traced
from tests.stack.trace.test_dns import ROOT, ROOT_ZONE, SHOP_ZONE, TLD, TLD_ZONE, ZONE


def stack_at(port: int, edge: tuple[str, int], ca: Path) -> KnownStack:
    return KnownStack(
        "shop.test",
        str(ca),
        ((ROOT, port),),
        {(ROOT, port): "dns-root", (TLD, port): "dns-tld", (ZONE, port): "dns-shop"},
        {"edge-nrt": {"https": edge, "http": edge}},
    )


async def test_a_name_of_the_stacks_is_found_by_walking_and_trusted_by_its_authority(
    ca: trustme.CA, cacert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("the system's resolver was asked")

    monkeypatch.setattr(system, "resolve", never)
    servers = {
        ROOT: authority(root=ROOT_ZONE),
        TLD: authority(test=TLD_ZONE),
        ZONE: authority(shop_test=SHOP_ZONE.replace("127.0.1.1", "127.0.0.1")),
    }
    async with serving(servers) as dns, server(answering(HELLO), tls=server_tls(ca, "shop.test")) as port:
        (outcome,) = await traced(f"https://shop.test:{port}/", stack=stack_at(dns, ("127.0.0.1", port), cacert))
    assert lines(outcome)[:5] == [
        "dns A shop.test: referral to test",
        "dns A shop.test: referral to shop.test",
        "dns A shop.test: 127.0.0.1 +1, ttl 60",
        f"tcp connected to 127.0.0.1:{port}",
        "tls TLS 1.3, http/1.1, shop.test verified",
    ]


async def test_an_edge_that_was_asked_for_is_connected_to_whatever_dns_says(cacert: Path) -> None:
    servers = {ROOT: authority(root=ROOT_ZONE), TLD: authority(test=TLD_ZONE), ZONE: authority(shop_test=SHOP_ZONE)}
    async with serving(servers) as dns, server(answering(HELLO)) as port:
        stack = stack_at(dns, ("127.0.0.1", port), cacert)
        (outcome,) = await traced("http://shop.test/", stack=stack, edge="nrt")
    assert f"tcp connected to 127.0.0.1:{port}" in lines(outcome)
    assert outcome.notes == ["nrt was asked for; DNS names 127.0.1.1, 127.0.1.2"]


async def test_an_address_to_connect_to_takes_the_place_of_dns(ca: trustme.CA, cacert: Path) -> None:
    """A stack in containers: the edge's published port, and the authority that was put beside it."""
    async with server(answering(HELLO), tls=server_tls(ca, "shop.test")) as port:
        (outcome,) = await traced("https://shop.test:8443/", edge=f"127.0.0.1:{port}", own_ca=cacert)
        (stranger,) = await traced("https://shop.test:8443/", edge=f"127.0.0.1:{port}", own_ca=cacert.parent / "no.pem")
    assert lines(outcome)[:2] == [
        f"tcp connected to 127.0.0.1:{port}",
        "tls TLS 1.3, http/1.1, shop.test verified",
    ]
    assert outcome.notes == []
    assert stranger.failure is Failure.CONNECTION


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("127.0.0.1:8443", ("127.0.0.1", 8443)),
        ("[::1]:8443", ("::1", 8443)),
        ("nrt", None),
        ("localhost:8443", None),
        ("127.0.0.1", None),
        ("127.0.0.1:0", None),
        ("127.0.0.1:99999", None),
        ("", None),
    ],
)
def test_where_to_connect_to(text: str, wanted: tuple[str, int] | None) -> None:
    assert place_of(text) == wanted


async def test_a_name_that_dns_does_not_have(cacert: Path) -> None:
    servers = {ROOT: authority(root=ROOT_ZONE), TLD: authority(test=TLD_ZONE), ZONE: authority(shop_test=SHOP_ZONE)}
    async with serving(servers) as dns:
        (outcome,) = await traced("https://nope.shop.test/", stack=stack_at(dns, ("127.0.0.1", 1), cacert))
    assert (outcome.failure, len(lines(outcome))) == (Failure.DNS, 3)
    assert outcome.trace is not None
    assert outcome.trace.error == "nope.shop.test does not exist, says dns-shop (NXDOMAIN)"


async def resolves(*found: str) -> Any:
    async def resolve(host: str, port: int) -> list[str]:
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return list(found)

    return resolve


async def test_other_names_are_the_systems(cacert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "resolve", await resolves("127.0.0.1"))
    async with server(answering(HELLO)) as port:
        (outcome,) = await traced(f"http://x.example.com:{port}/", stack=stack_at(1, ("127.0.0.1", 1), cacert))
        (alone,) = await traced(f"http://x.example.com:{port}/")
    assert lines(outcome)[0] == "dns x.example.com: 127.0.0.1"
    assert outcome.notes == ["x.example.com is no name of shop.test, so the system's resolver was asked"]
    assert alone.notes == ["no stack runs here, so the system's resolver was asked"]


@pytest.mark.parametrize("runs", [True, False])
async def test_a_name_that_nobody_knows(cacert: Path, monkeypatch: pytest.MonkeyPatch, runs: bool) -> None:
    monkeypatch.setattr(system, "resolve", await resolves())
    stack = stack_at(1, ("127.0.0.1", 1), cacert) if runs else None
    outcomes = await traced("http://nope.example.com/", stack=stack, repeat=3)
    assert len(outcomes) == 1
    assert exit_status(outcomes) == (4 if runs else 3)
    assert lines(outcomes[0]) == ["dns nope.example.com: name or service not known !"]
    assert outcomes[0].trace is not None
    assert ("`hopstack up` starts a stack" in outcomes[0].trace.error) is not runs


async def test_the_systems_resolver() -> None:
    assert "127.0.0.1" in await system.resolve("127.0.0.1", 80)
    with pytest.raises(OSError):
        await system.resolve("a" * 300, 80)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"edge": "nrt"}, "--edge nrt: no stack runs here"),
        ({"cacert": Path("/nowhere/ca.pem")}, "/nowhere/ca.pem: no such file"),
    ],
)
async def test_what_cannot_be_ordered(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        await traced("https://127.0.0.1:1/", **options)


async def test_a_stack_whose_root_is_not_known_is_asked_through_its_resolver(cacert: Path) -> None:
    """A file may call its servers what it likes."""
    heard: list[bytes] = []

    def resolver(message: bytes, stream: bool) -> bytes | None:
        heard.append(message)
        answer = authority(shop_test=SHOP_ZONE.replace("127.0.1.1", "127.0.0.1"))(message, stream)
        assert answer is not None
        return answer[:2] + bytes((answer[2] & ~0x04, answer[3] | 0x80)) + answer[4:]  # no AA, but RA

    async with serving({ROOT: resolver}) as dns, server(answering(HELLO)) as port:
        stack = KnownStack("shop.test", str(cacert), (), {(ROOT, dns): "resolver"}, {}, {}, (ROOT, dns))
        (outcome,) = await traced(f"http://shop.test:{port}/", stack=stack)
        (nothing,) = await traced(f"http://text.shop.test:{port}/", stack=stack)
    assert lines(outcome)[0] == "dns A shop.test: 127.0.0.1 +1, ttl 60"
    assert heard[0][2] & 0x01  # RD
    assert nothing.trace is not None
    assert nothing.trace.error == "text.shop.test has no address"


async def test_a_stack_without_dns_is_connected_to_at_its_edge(cacert: Path) -> None:
    async with server(answering(HELLO)) as port:
        edge = ("127.0.0.1", port)
        stack = KnownStack("shop.test", str(cacert), (), {}, {"edge-x": {"http": edge}}, {edge: "edge-x"})
        (outcome,) = await traced("http://shop.test/", stack=stack)
        (none,) = await traced("https://shop.test/", stack=stack)
    assert exit_status([outcome]) == 0
    assert outcome.notes == ["the stack has no DNS of its own: edge-x was connected to"]
    assert (none.failure, none.trace and none.trace.error) == (
        Failure.DNS,
        "shop.test has neither DNS nor an edge for https",
    )
