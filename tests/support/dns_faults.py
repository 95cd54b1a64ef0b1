"""A DNS server's handler with faults around it, on a virtual clock and without sockets."""

from __future__ import annotations

import json
from collections.abc import Coroutine
from pathlib import Path
from random import Random
from typing import Any

import dns.message

from dns_server.build import build
from dns_server.config import Config
from dns_server.server import DnsServer
from stack.clock import VirtualClock, settle
from stack.faults.net import FaultyNet
from stack.faults.spec import parse
from stack.telemetry.exchange import Exchange
from stack.telemetry.metrics import Metrics
from tests.support.dns_network import edns, question

ZONE = """
$TTL 60
@ IN SOA ns hostmaster 1 3600 600 86400 30
@ IN NS ns
ns IN A 192.0.2.53
www IN A 192.0.2.1
www IN A 192.0.2.2
www IN AAAA 2001:db8::1
alias IN CNAME www
""" + "".join(f'big IN TXT "{number} {"x" * 200}"\n' for number in range(9))


class Server:
    """`dns-shop`, with the zone shop.test."""

    def __init__(self, directory: Path) -> None:
        self.clock = VirtualClock()
        self.log = directory / "shop.log"
        zone = directory / "shop.zone"
        zone.write_text(ZONE)
        self.net = FaultyNet(self.clock, Random(1))
        self.metrics = Metrics()
        config = Config(name="dns-shop", zone=(f"shop.test={zone}",), access_log=str(self.log))
        parts: dict[str, Any] = {"clock": self.clock, "random": Random(1), "net": self.net, "metrics": self.metrics}
        self.hop: DnsServer = build(config, **parts, state_dir=directory)

    async def start(self) -> Server:
        await self.hop.start([])
        return self

    def add(self, text: str) -> None:
        fault = parse(text)
        assert self.net.faults.places(fault), text
        self.net.faults.add(fault)

    async def reply(
        self, name: str = "www.shop.test", type: str = "A", *, proto: str = "udp", client: str = "127.0.0.1",
        exchange: Exchange | None = None,
    ) -> bytes | None:  # fmt: skip
        """What comes back, once all has come that was to be waited for."""
        asked = question(name, type, id=7, flags=0x0100, opt=edns())
        found = self.hop.handler.answer(asked, client, proto, exchange)
        return found if found is None or isinstance(found, bytes) else await self.passing(_whole(found))

    async def ask(self, name: str = "www.shop.test", type: str = "A", **more: Any) -> dns.message.Message:
        response = await self.reply(name, type, **more)
        assert response is not None
        return dns.message.from_wire(response)

    async def passing(self, coro: Coroutine[Any, Any, Any]) -> Any:
        """Run it while time goes on; `clock.now()` says how long it took."""
        task = self.net.tasks.spawn(coro, name="client")
        for _ in range(400):
            await settle(20)
            if task.done():
                break
            await self.clock.advance(0.05)
        return await task

    def lines(self) -> list[dict[str, Any]]:
        self.hop.query_log.lines.flush()
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def injected(self) -> dict[str, float]:
        """How often, by kind."""
        samples = self.metrics.samples()
        found = {name: value for name, value in samples.items() if name.startswith("hopstack_faults_injected_total")}
        return {name.partition('kind="')[2].partition('"')[0]: value for name, value in found.items()}


async def _whole(found: Any) -> Any:
    return await found
