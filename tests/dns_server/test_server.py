"""The hop as a whole, in one loop: sockets, DNS over HTTPS, admin routes, log and metrics."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import dns.message
import msgspec
import pytest

from dns_server.build import build
from dns_server.config import Config
from dns_server.handler import Handler
from dns_server.query_log import QueryLog
from dns_server.rules.reply import answers
from dns_server.rules.rrset import Answer
from dns_server.server import DnsServer
from dns_server.zones import default_zones
from stack.clock import SystemClock, VirtualClock, eventually
from stack.errors import BadRequest, ConfigError, NotFound
from stack.hop.hop import Bound
from stack.http.message import Peer, Request, Response
from stack.net import Net
from stack.net.dns_client import ask_tcp, ask_udp
from stack.net.dns_streams import MAX_PIPELINED
from stack.telemetry.exchange import Exchange
from stack.telemetry.metrics import Metrics
from tests.support.dns_network import edns, question

CLOCK = SystemClock()


def bound(host: str, port: int = 0) -> list[Bound]:
    stream = socket.create_server((host, port))
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(stream.getsockname())
    return [Bound("dns", datagrams), Bound("dns", stream)]


class Stack:
    """Root, TLD and zone on addresses of their own with one port, and the resolver before them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.hops: dict[str, DnsServer] = {}
        self.metrics: dict[str, Metrics] = {}
        self.nets: list[Net] = []
        self.port = 0

    async def start(self) -> Stack:
        hosts = {"root": "127.0.53.1", "tld": "127.0.53.2", "shop": "127.0.53.3"}
        texts = default_zones(edges={"edge-fra": "127.0.1.1", "edge-nrt": "127.0.1.2"}, servers=hosts)
        for (name, host), (zone, text) in zip(hosts.items(), texts.items(), strict=True):
            file = self.directory / f"{name}.zone"
            file.write_text(text)
            await self.hop(name, host, Config(zone=(f"{zone}={file}",), access_log=str(self.directory / f"{name}.log")))
        await self.hop(
            "resolver", "127.0.53.4",
            Config(
                resolver=True, root=(f"127.0.53.1:{self.port}",), port=self.port,
                access_log=str(self.directory / "resolver.log"),
            ),
        )  # fmt: skip
        return self

    async def hop(self, name: str, host: str, config: Config) -> None:
        sockets = bound(host, self.port)
        config = msgspec.structs.replace(config, name=name)
        self.port = sockets[0].address[1]
        net = Net(CLOCK, Random(1))
        metrics = self.metrics[name] = Metrics()
        hop = build(config, clock=CLOCK, random=net.random, net=net, metrics=metrics, state_dir=self.directory)
        await hop.start(sockets)
        self.hops[name] = hop
        self.nets.append(net)

    async def ask(self, host: str, name: str, type: str = "A", *, tcp: bool = False) -> dns.message.Message:
        sent = question(name, type, id=77, flags=0x0100, opt=edns())
        ask = ask_tcp if tcp else ask_udp
        asked = sent[12:-11]
        response = await ask(
            (host, self.port), sent, accept=lambda data: answers(data, 77, asked), clock=CLOCK, timeout=10
        )
        return dns.message.from_wire(response)

    def admin(self, hop: str, method: str, path: str) -> Any:
        target = path.encode()
        handler = self.hops[hop].routes()[method.encode(), target.partition(b"?")[0]]
        response = handler(Request(method.encode(), target, [], authority=b"localhost"))
        return json.loads(response.body) if isinstance(response, Response) else response  # type: ignore[arg-type]

    async def stop(self) -> None:
        for hop in self.hops.values():
            await hop.drain()
            await hop.stop()
        for net in self.nets:
            await net.close()


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    try:
        started = await Stack(tmp_path).start()
    except OSError as error:
        pytest.skip(f"needs loopback addresses beside 127.0.0.1: {error}")
    yield started
    await started.stop()


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
async def test_each_server_answers_its_part(stack: Stack, tcp: bool) -> None:
    root = await stack.ask("127.0.53.1", "www.shop.test", tcp=tcp)
    assert [str(rrset) for rrset in root.authority] == ["test. 3600 IN NS ns.nic.test."]
    tld = await stack.ask("127.0.53.2", "www.shop.test", tcp=tcp)
    assert [str(rrset) for rrset in tld.additional] == ["ns1.shop.test. 3600 IN A 127.0.53.3"]
    zone = await stack.ask("127.0.53.3", "www.shop.test", tcp=tcp)
    assert [rdata.to_text() for rdata in zone.answer[0]] == ["127.0.1.1", "127.0.1.2"]
    assert (int(root.flags), int(zone.flags)) == (0x8100, 0x8500)
    resolved = await stack.ask("127.0.53.4", "www.shop.test", tcp=tcp)
    assert resolved.answer == zone.answer
    assert int(resolved.flags) == 0x8180


async def test_log_metrics_and_stats_tell_the_same(stack: Stack) -> None:
    await stack.ask("127.0.53.4", "www.shop.test")
    await stack.ask("127.0.53.4", "www.shop.test")
    await stack.ask("127.0.53.4", "nope.shop.test", "TXT", tcp=True)
    resolver = stack.hops["resolver"]
    resolver.query_log.lines.flush()
    lines = [json.loads(line) for line in (stack.directory / "resolver.log").read_text().splitlines()]
    assert [(line["name"], line["type"], line["rcode"], line["proto"]) for line in lines] == [
        ("www.shop.test.", "A", "NOERROR", "udp"),
        ("www.shop.test.", "A", "NOERROR", "udp"),
        ("nope.shop.test.", "TXT", "NXDOMAIN", "tcp"),
    ]
    assert lines[0]["marks"] == [["cache", "miss"], ["walk", "walked"], ["answer", "answered"]]
    assert [line.split(" ", 1)[1] for line in lines[0]["walk"]] == [
        ". referral test.", "test. referral shop.test.", "shop.test. answered",
    ]  # fmt: skip
    assert lines[1]["marks"] == [["cache", "hit"], ["answer", "answered"]]
    samples = stack.metrics["resolver"].samples()
    assert samples['hopstack_dns_queries_total{type="A",rcode="NOERROR",protocol="udp",zone="",word="answered"}'] == 2
    assert (
        samples['hopstack_dns_queries_total{type="TXT",rcode="NXDOMAIN",protocol="tcp",zone="",word="nxdomain"}'] == 1
    )
    assert resolver.stats()["dns"]["words"] == {"answered": 2, "nxdomain": 1}
    assert resolver.stats()["cache"]["entries"] == 2


async def test_admin_routes_of_the_resolver(stack: Stack) -> None:
    await stack.ask("127.0.53.4", "www.shop.test")
    cache = stack.admin("resolver", "GET", "/-/cache")
    assert [(entry["name"], entry["type"]) for entry in cache["entries"]] == [("www.shop.test.", "A")]
    assert [zone["zone"] for zone in stack.admin("resolver", "GET", "/-/zones")["zones"]] == ["test.", "shop.test."]
    assert stack.admin("resolver", "POST", "/-/flush?name=shop.test") == {"flushed": 2}
    assert stack.admin("resolver", "POST", "/-/flush") == {"flushed": 1}
    with pytest.raises(BadRequest):
        stack.admin("resolver", "POST", "/-/flush?name=a..b")


async def test_a_reload_takes_all_or_nothing(stack: Stack) -> None:
    hop = stack.hops["shop"]
    file = stack.directory / "shop.zone"
    [shown] = stack.admin("shop", "GET", "/-/zones")["zones"]
    assert (shown["zone"], shown["serial"]) == ("shop.test.", 1)
    await stack.ask("127.0.53.3", "new.shop.test")
    good = file.read_text()
    file.write_text(good + "new IN A 192.0.2.7\nbad IN A nonsense\n")
    with pytest.raises(ConfigError, match=r"shop\.zone:\d+: "):
        await hop.reload()
    assert "shop.zone:" in hop.stats()["zones_fault"]
    assert (await stack.ask("127.0.53.3", "new.shop.test")).rcode() == 3
    file.write_text(good + "new IN A 192.0.2.7\n")
    await hop.reload()
    assert (await stack.ask("127.0.53.3", "new.shop.test")).answer
    assert hop.stats()["zones_fault"] == ""


def doh(stack: Stack, method: str, target: str, *, body: bytes = b"", kind: str = "application/dns-message") -> Any:
    fields = [(b"content-type", kind.encode())] if body else []
    request = Request(
        method.encode(), target.encode(), fields, authority=b"localhost", body=body, peer=Peer("127.0.0.1", 1)
    )
    exchange = Exchange("resolver", CLOCK.now, request)
    exchange.client = "127.0.0.1"
    return stack.hops["resolver"].context.service.handle(request, exchange)


async def test_dns_over_https_by_get_and_post(stack: Stack) -> None:
    sent = question("www.shop.test", id=0, flags=0x0100)
    encoded = base64.urlsafe_b64encode(sent).rstrip(b"=").decode()
    first = await doh(stack, "GET", f"/dns-query?dns={encoded}")
    assert (first.status, first.get(b"content-type"), first.get(b"cache-control")) == (
        200, b"application/dns-message", b"max-age=60",
    )  # fmt: skip
    assert dns.message.from_wire(first.body).answer
    second = await doh(stack, "POST", "/dns-query", body=sent)
    assert dns.message.from_wire(second.body).answer
    missing = await doh(stack, "POST", "/dns-query", body=question("nope.shop.test", flags=0x0100))
    assert missing.get(b"cache-control") == b"max-age=30"  # RFC 8484 §5.1


@pytest.mark.parametrize(
    ("method", "target", "body", "kind", "status"),
    [
        ("GET", "/dns-query", b"", "", 400),
        ("GET", "/dns-query?dns=", b"", "", 400),
        ("GET", "/dns-query?dns=A%3D", b"", "", 400),
        ("GET", "/dns-query?dns=AAAA&dns=AAAA", b"", "", 400),
        ("GET", "/dns-query?dns=AAAA", b"", "", 400),
        ("GET", "/elsewhere", b"", "", 404),
        ("PUT", "/dns-query", b"x", "", 405),
        ("POST", "/dns-query", b"x", "text/plain", 415),
        ("POST", "/dns-query", b"x" * 65536, "application/dns-message", 413),
    ],
)
async def test_what_is_no_dns_over_https(
    stack: Stack, method: str, target: str, body: bytes, kind: str, status: int
) -> None:
    try:
        response = doh(stack, method, target, body=body, kind=kind)
        got = response.status if isinstance(response, Response) else (await response).status
    except (BadRequest, NotFound) as error:
        got = error.status
    except Exception as error:
        got = getattr(error, "status", None)
    assert got == status


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Config(), "authoritative or a resolver"),
        (Config(resolver=True, zone=("a=b",)), "authoritative or a resolver"),
        (Config(resolver=True), "--root"),
        (Config(resolver=True, root=("localhost",)), "--root localhost: wanted ADDRESS"),
        (Config(resolver=True, root=("127.0.0.1:0",)), "--root 127.0.0.1:0: wanted ADDRESS"),
        (Config(zone=("shop.test",)), "--zone shop.test: wanted NAME=FILE"),
        (Config(zone=("a..b=x",)), "empty label"),
        (Config(zone=("shop.test=a", "SHOP.test.=b")), "given twice"),
        (Config(resolver=True, root=("127.0.0.1",), allow=("nonsense",)), "^--allow nonsense: "),
    ],
)
def test_options_that_do_not_go_together(config: Config, message: str, tmp_path: Path) -> None:
    net = Net(CLOCK, Random(1))
    with pytest.raises(ConfigError, match=message.replace("[", r"\[").replace(".", r"\.")):
        build(config, clock=CLOCK, random=net.random, net=net, metrics=Metrics(), state_dir=tmp_path)


async def test_a_client_that_is_not_allowed_is_refused_even_what_is_at_hand(stack: Stack) -> None:
    handler = stack.hops["resolver"].handler
    sent = question("www.shop.test", flags=0x0100)
    for _ in range(2):
        await stack.ask("127.0.53.4", "www.shop.test")
        found = handler.answer(sent, "127.0.0.1", "udp")
        if not isinstance(found, bytes):
            await found  # type: ignore[misc]
    stranger = handler.answer(sent, "192.0.2.1", "udp")
    assert isinstance(stranger, bytes)
    assert stranger[3] & 0xF == 5
    friend = handler.answer(sent, "127.0.0.1", "udp")
    assert isinstance(friend, bytes)
    assert friend[3] & 0xF == 0


async def test_the_walk_has_its_own_time_in_server_timing() -> None:
    clock = VirtualClock()
    released = asyncio.Event()

    class Slow:
        """A role whose every answer takes a walk."""

        recursion = True
        allows: Callable[[str], bool] | None = None

        def epoch(self) -> object:
            return None

        def answer(self, query: object) -> Awaitable[Answer]:
            return self._walk()

        async def _walk(self) -> Answer:
            await released.wait()
            answer = Answer("nodata")
            answer.marks = (("cache", "miss"), ("walk", "walked"))
            return answer

    handler = Handler(
        Slow(), payload=1232, responses=10, now=clock.now,
        log=QueryLog("off", hop="resolver", clock=clock, metrics=Metrics()),
    )  # fmt: skip
    exchange = Exchange("resolver", clock.now)
    found = handler.answer(question("www.shop.test", flags=0x0100), "127.0.0.1", "https", exchange)
    assert found is not None
    assert not isinstance(found, bytes)
    await clock.advance(0.005)
    released.set()
    await found
    assert exchange.server_timing() == (
        b'resolver.cache;dur=0.0;desc="miss", resolver.walk;dur=5.0;desc="walked", resolver.answer;dur=0.0;desc="nodata"'
    )


async def test_one_connection_does_not_take_the_resolver_from_the_others(stack: Stack) -> None:
    """Thousands of questions in one write, to a zone whose server is silent; meanwhile another client walks."""
    root = stack.directory / "root.zone"
    root.write_text(root.read_text() + "hole. IN NS ns.hole.\nns.hole. IN A 127.0.53.9\n")
    await stack.hops["root"].reload()
    descriptors = len(os.listdir("/proc/self/fd"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.53.9", stack.port))
        _, writer = await asyncio.open_connection("127.0.53.4", stack.port)
        for number in range(5000):
            message = question(f"q{number}.hole", flags=0x0100)
            writer.write(len(message).to_bytes(2, "big") + message)
        listener = stack.hops["resolver"].listener
        await eventually(lambda: [stream.waiting for stream in listener.streams] == [MAX_PIPELINED])
        for number in range(10):
            answer = await stack.ask("127.0.53.4", f"n{number}.shop.test")
            assert answer.rcode() == 3
            assert len(os.listdir("/proc/self/fd")) < descriptors + MAX_PIPELINED + 20
        writer.transport.abort()


async def test_dns_over_tls_and_https_over_sockets(stack: Stack) -> None:
    """RFC 7858 and RFC 8484 with the local CA's certificate; the steps stand in Server-Timing."""
    config = Config(name="secure", resolver=True, root=(f"127.0.53.1:{stack.port}",), port=stack.port, access_log="off")
    net = Net(CLOCK, Random(1))
    hop = build(config, clock=CLOCK, random=net.random, net=net, metrics=Metrics(), state_dir=stack.directory)
    tls, https = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    await hop.start([Bound("tls", tls), Bound("https", https)])
    stack.hops["secure"] = hop
    stack.nets.append(net)
    context = ssl.create_default_context(cafile=stack.directory / "ca.pem")
    sent = question("www.shop.test", flags=0x0100)
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*tls.getsockname(), ssl=context)
        writer.write(len(sent).to_bytes(2, "big") + sent)
        response = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        writer.close()
        assert dns.message.from_wire(response).answer
        reader, writer = await asyncio.open_connection(*https.getsockname(), ssl=context)
        writer.write(
            b"POST /dns-query HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/dns-message\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(sent), sent)
        )
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b'desc="hit"' in head
    assert dns.message.from_wire(body).answer
