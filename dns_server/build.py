"""Puts a DNS server together from its options."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random, SystemRandom

from dns_server.book import Book
from dns_server.cache import Cache
from dns_server.config import Config
from dns_server.follower import Follower
from dns_server.grants import read_grants
from dns_server.handler import Authority
from dns_server.replication import secondary_zones
from dns_server.resolver import Resolver
from dns_server.rules.names import NameFault, from_text, to_text
from dns_server.server import DnsServer
from dns_server.texts import Texts
from dns_server.tsig import Keyring
from dns_server.tsig_keys import read_keys
from dns_server.upstreams import Upstreams
from dns_server.zones import default_zones
from stack.clock import Clock
from stack.errors import ConfigError
from stack.http.trust import Trust
from stack.net import Net
from stack.net.dns_client import Address
from stack.telemetry.metrics import Metrics

__all__ = ["build", "default_zones"]

log = logging.getLogger("hopstack.dns")


def build(
    config: Config, *, clock: Clock, random: Random, net: Net, metrics: Metrics, state_dir: Path
) -> DnsServer | Follower:
    """Raises ConfigError for options that do not go together; zone files are read when the server starts."""
    if config.workers == 0:
        return Follower(config.name or "dns_server", config, clock=clock, net=net, metrics=metrics, state_dir=state_dir)
    if config.workers > 1 and config.resolver:
        raise ConfigError("--workers is for servers with zones: a resolver has one process and its cache in it")
    if config.resolver == bool(config.zone or config.secondary):
        raise ConfigError(
            "a DNS server is authoritative or a resolver: give --zone NAME=FILE or --secondary NAME=ADDRESS, or "
            "--resolver with --root ADDRESS"
        )
    role: Authority | Resolver
    if config.resolver:
        role = _resolver(config, clock=clock, random=random, net=net)
    else:
        role = Authority(Book())
    files = zone_files(config)
    for origin in secondary_zones(config):
        if origin.lower() in {known.lower() for known in files}:
            raise ConfigError(f"{to_text(origin)} is given with --zone and with --secondary: it comes from one of them")
    keyring = Keyring(read_keys(config.tsig_key), clock.time)
    return DnsServer(
        config.name or "dns_server", config, role, Texts(files, directory=state_dir / "compiled", clock=clock),
        keyring=keyring, grants=read_grants(config.update, keyring.keys),
        clock=clock, random=random, net=net, metrics=metrics, state_dir=state_dir,
    )  # fmt: skip


def _resolver(config: Config, *, clock: Clock, random: Random, net: Net) -> Resolver:
    if not config.root:
        raise ConfigError("a resolver begins at the root: give --root ADDRESS[:PORT]")
    return Resolver(
        roots=[root_address(text, config.port) for text in config.root],
        port=config.port,
        allow=allowed(config.allow),
        options=config.walk,
        cache=Cache(config.cache, now=clock.now),
        # ids must not be guessed from earlier ones (RFC 5452 §9.2): not from the process's ordinary source
        ask=Upstreams(clock=clock, random=SystemRandom(), payload=config.payload),
        clock=clock,
        random=random,
        tasks=net.tasks,
    )


def allowed(networks: Iterable[str]) -> Callable[[str], bool]:
    """Whether an address is answered. Raises ConfigError."""
    try:
        return Trust(networks).believes
    except ConfigError as error:
        raise ConfigError(str(error).replace("--trusted", "--allow", 1)) from None


def root_address(text: str, port: int) -> Address:
    """`192.0.2.1`, `192.0.2.1:5053`, `2001:db8::1` or `[2001:db8::1]:5053`."""
    host, given = text, ""
    if text.startswith("["):
        host, _, given = text[1:].partition("]")
        given = given.removeprefix(":")
    elif text.count(":") == 1:
        host, _, given = text.partition(":")
    try:
        number = int(given) if given else port
        if not 0 < number < 65536:
            raise ValueError
        return str(ipaddress.ip_address(host)), number
    except ValueError:
        raise ConfigError(f"--root {text}: wanted ADDRESS[:PORT], as 127.0.53.1:5053") from None


def zone_files(config: Config) -> dict[bytes, Path]:
    """File by zone. Raises ConfigError."""
    files: dict[bytes, Path] = {}
    for text in config.zone:
        name, mark, file = text.partition("=")
        if not mark or not name.strip() or not file:
            raise ConfigError(f"--zone {text}: wanted NAME=FILE, as shop.test=shop.zone or .=root.zone")
        try:
            origin = from_text(name.strip())
        except NameFault as fault:
            raise ConfigError(f"--zone {text}: {fault}") from None
        if origin.lower() in {known.lower() for known in files}:
            raise ConfigError(f"--zone {text}: {to_text(origin)} is given twice")
        files[origin] = Path(file)
    return files
