"""DNS servers as hops in one loop, over sockets: primaries and secondaries of shop.test."""

from __future__ import annotations

import json
import socket
from collections.abc import Awaitable
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from dns_server.build import build
from dns_server.config import Config
from dns_server.rules.names import from_text
from dns_server.rules.zone import Zone
from dns_server.server import DnsServer
from dns_server.tsig_keys import make_key
from stack.clock import SystemClock, eventually
from stack.hop.hop import Bound
from stack.http.message import Request, Response
from stack.net import Net
from stack.telemetry.metrics import Metrics

CLOCK = SystemClock()
ORIGIN = from_text("shop.test")
SECRET = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="


def text(serial: int, *lines: str) -> str:
    return "\n".join(
        ("$TTL 60", f"@ IN SOA ns1 host {serial} 3600 600 86400 30", "@ IN NS ns1", "ns1 IN A 192.0.2.53", *lines, "")
    )


MORE = [f"host{number} IN A 192.0.2.{number}" for number in range(20)]
"""Without which a change would be more than the zone."""


async def bound(port: int = 0) -> tuple[socket.socket, socket.socket]:
    """TCP and UDP on one port of 127.0.0.1. That number may for a moment be some client's, anywhere on this machine."""
    for _ in range(100):
        stream = socket.create_server(("127.0.0.1", port))
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            datagrams.bind(stream.getsockname())
        except OSError:
            stream.close()
            datagrams.close()
            await CLOCK.sleep(0.05)
        else:
            return stream, datagrams
    raise RuntimeError(f"no port for both TCP and UDP ({port or 'any'})")


class Servers:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.zone = directory / "shop.zone"
        self.key = directory / "xfr.key"
        self.key.write_text(make_key("xfr", "hmac-sha256", SECRET).text())
        self.key.chmod(0o600)
        self.hops: dict[str, DnsServer] = {}
        self.metrics: dict[str, Metrics] = {}
        self._nets: dict[str, Net] = {}

    async def start(self, name: str, port: int = 0, **options: Any) -> int:
        stream, datagrams = await bound(port)
        config = msgspec.structs.replace(Config(name=name, tsig_key=(str(self.key),)), **options)
        net = self._nets[name] = Net(CLOCK, Random(1))
        metrics = self.metrics[name] = Metrics()
        hop = self.hops[name] = build(
            config, clock=CLOCK, random=net.random, net=net, metrics=metrics, state_dir=self.directory
        )
        await hop.start([Bound("dns", datagrams), Bound("dns", stream)])
        return int(stream.getsockname()[1])

    async def stop(self, name: str) -> None:
        hop = self.hops.pop(name)
        await hop.drain()
        await hop.stop()
        await self._nets.pop(name).close()

    def served(self, name: str) -> Zone | None:
        role = self.hops[name].role
        return role.book.zones.by_key.get(ORIGIN)  # type: ignore[union-attr]

    def serial(self, name: str) -> int | None:
        zone = self.served(name)
        return zone.serial if zone is not None else None

    async def reach(self, name: str, serial: int) -> None:
        await eventually(lambda: self.serial(name) == serial)

    async def admin(self, name: str, method: str, path: str) -> Any:
        target = path.encode()
        route, _, _query = target.partition(b"?")
        response = self.hops[name].routes()[method.encode(), route](
            Request(method.encode(), target, [], authority=b"x")
        )
        if isinstance(response, Awaitable):
            response = await response
        assert isinstance(response, Response)
        return json.loads(response.body)  # type: ignore[arg-type]


def zone_option(servers: Servers) -> dict[str, Any]:
    return {"zone": (f"shop.test={servers.zone}",)}
