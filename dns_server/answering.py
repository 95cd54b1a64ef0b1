"""What every process of a server answers with, by its options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

from dns_server.book import Book
from dns_server.config import Config
from dns_server.cookies import Cookies, secrets
from dns_server.edns import Edns
from dns_server.handler import Handler
from dns_server.query_log import QueryLog
from dns_server.roles import Role
from dns_server.rrl import Limiter
from dns_server.rules.chaos import Chaos
from stack.clock import Clock
from stack.telemetry.metrics import Metrics


def query_log(
    name: str, config: Config, *, clock: Clock, metrics: Metrics, random: Random, book: Book | None
) -> QueryLog:
    """`book`: whose zones the queries are for; None for a resolver."""
    return QueryLog(
        config.access_log, hop=name, clock=clock, metrics=metrics, share=config.access_log_sample, random=random,
        zone_of=_zone_of(book) if book is not None else None,
    )  # fmt: skip


def _zone_of(book: Book) -> Callable[[bytes, int], bytes | None]:
    def find(key: bytes, type: int) -> bytes | None:
        zone = book.zones.find(key, type)
        return zone.key if zone is not None else None

    return find


class Answering(NamedTuple):
    handler: Handler
    edns: Edns
    limiter: Limiter | None


def answering(name: str, config: Config, role: Role, *, clock: Clock, log: QueryLog, state_dir: Path) -> Answering:
    """Raises ConfigError."""
    identity = b"" if config.nsid == "off" else (config.nsid or name).encode()
    edns = Edns(
        nsid=identity,
        cookies=Cookies(secrets(config, state_dir), time=clock.time) if config.cookies != "off" else None,
        require=config.cookies == "require",
        idle=config.tcp.idle,
    )
    limiter = Limiter(config.rrl, clock.now) if config.rrl.rate else None
    handler = Handler(
        role, payload=config.payload, responses=config.answers, response_bytes=config.answers_bytes, now=clock.now,
        log=log, edns=edns, chaos=Chaos(identity=identity, version=config.version.encode()), limiter=limiter,
    )  # fmt: skip
    return Answering(handler, edns, limiter)
