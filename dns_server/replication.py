"""All that servers of one zone say to each other: transfers out and in, NOTIFY out and in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from random import Random
from typing import Any

from dns_server.access import Access
from dns_server.book import Book
from dns_server.config import Config
from dns_server.copies import Copies
from dns_server.history import History
from dns_server.notifier import Notifier
from dns_server.places import Place, zone_places
from dns_server.primaries import Primaries
from dns_server.query_log import QueryLog
from dns_server.rules import notify, types
from dns_server.rules.names import to_text
from dns_server.rules.query import Query
from dns_server.rules.rrset import Answer
from dns_server.secondary import Secondary
from dns_server.seldom import Seldom
from dns_server.transfers import Transfers
from dns_server.tsig import Keyring
from stack.clock import Clock
from stack.errors import ConfigError
from stack.net.tasks import Tasks
from stack.telemetry.metrics import Metrics

log = logging.getLogger("hopstack.dns")


class Replication:
    """What an authoritative server has of it; `answer` and `hear` are called by its handler."""

    def __init__(
        self,
        config: Config,
        book: Book,
        keyring: Keyring,
        *,
        query_log: QueryLog,
        clock: Clock,
        random: Random,
        tasks: Tasks,
        metrics: Metrics,
        directory: Path,
        authority: Path,
    ) -> None:
        """`directory`: where copies of secondary zones are kept; `authority`: the certificate of the local CA. Raises
        ConfigError."""
        options = config.transfer
        self._book = book
        self._keyring = keyring
        self._query_log = query_log
        self._clock = clock
        self._tasks = tasks
        self._refused = Seldom(clock.now)
        self._hears = Access(options.notify_from, "--transfer-notify-from")
        allow = Access(options.allow, "--transfer-allow")
        self.history = History(book, records=options.history, octets=options.history_bytes)
        self.transfers = Transfers(
            book, self.history,
            allow=allow, keyring=keyring, concurrent=options.concurrent, payload=config.payload,
            query_log=query_log, now=clock.now, metrics=metrics,
        )  # fmt: skip
        targets = [
            (origin.lower() if origin is not None else None, place)
            for origin, places in (zone_places(text, "--notify") for text in config.notify)
            for place in places
        ]
        primaries = secondary_zones(config)
        for option, keys in (
            ("--transfer-allow", allow.keys),
            ("--transfer-notify-from", self._hears.keys),
            ("--notify", {place.key for _, place in targets}),
            ("--secondary", {place.key for places in primaries.values() for place in places}),
        ):
            keyring.need(keys, option)
        self.notifier = Notifier(book, targets, keyring.keys, clock=clock, random=random, tasks=tasks)
        self._ask = ask = Primaries(keyring.keys, options, authority=authority, clock=clock, random=random)
        transfers = metrics.counter(
            "hopstack_dns_transfers_total", "Zones sent and fetched.", ("direction", "form", "result")
        )
        copies = Copies(directory)
        self.secondaries = {
            origin.lower(): Secondary(
                origin, places,
                book=book, ask=ask, copies=copies, options=options, clock=clock, random=random, tasks=tasks,
                transferred=lambda form, result: transfers.inc("in", form, result),
            )
            for origin, places in primaries.items()
        }  # fmt: skip
        book.fetched = frozenset(self.secondaries)
        metrics.gauge(
            "hopstack_dns_secondary_fault",
            "Secondary zones whose last look at the primaries failed (1) or not (0).",
            ("zone",),
            lambda: [((to_text(key),), float(bool(item.error))) for key, item in self.secondaries.items()],
        )
        metrics.gauge(
            "hopstack_dns_zone_serial",
            "Serials of the zones that are served.",
            ("zone",),
            lambda: [((to_text(key),), float(zone.serial)) for key, zone in book.zones.by_key.items()],
        )

    async def start(self, own: str) -> None:
        """Serve the copies of secondary zones, and begin to look after them. `own`: the address that is listened on, by
        which other servers know this one."""
        self.notifier.own = self._ask.own = own
        await asyncio.gather(*(secondary.load() for secondary in self.secondaries.values()))
        for secondary in self.secondaries.values():
            self._tasks.spawn(secondary.run(), name="dns-secondary")

    async def close(self) -> None:
        self.notifier.close()
        await asyncio.gather(*(secondary.close() for secondary in self.secondaries.values()))

    # What the handler calls.

    def answer(self, query: Query, message: bytes, client: str, protocol: str) -> bytes | AsyncIterator[bytes]:
        return self.transfers.answer(query, message, client, protocol)

    def hear(self, message: bytes, client: str, protocol: str) -> bytes | None:
        """A NOTIFY: from a primary of the zone, or from who else may; else it is refused (RFC 1996 §3.10)."""
        began = self._clock.now()
        signed = self._keyring.judge(message)
        notice = notify.read(signed.message if signed is not None else message)
        if notice is None:
            return None
        rcode = signed.rcode if signed is not None and signed.rcode else notice.rcode
        secondary = self.secondaries.get(notice.query.key)
        if not rcode and secondary is None:
            rcode = types.NOTAUTH
        if not rcode and secondary is not None:
            key = signed.key.name if signed is not None and signed.key is not None else None
            first = _sender(secondary.primaries, client, key)
            if first is None and not self._hears.allows(client, key):
                rcode = types.REFUSED
                if count := self._refused.told():
                    log.warning(
                        "NOTIFY of %s from %s refused: it is no primary (%d of this kind)",
                        to_text(notice.query.name), client, count,
                    )  # fmt: skip
            else:
                secondary.refresh(first=first, serial=notice.serial)
        response = notify.response(notice.query, rcode)
        if signed is not None:
            response = signed.sign(response)
        word = types.rcode_name(rcode).lower() if rcode else "answered"
        self._query_log.finished(notice.query, Answer(word, rcode), client, protocol, began, len(response))
        return response

    # The admin endpoint.

    def row(self, key: bytes) -> dict[str, Any]:
        """What is to be told of a zone."""
        secondary = self.secondaries.get(key)
        return {"kind": "secondary", **secondary.row()} if secondary is not None else {"kind": "primary"}

    def absent(self) -> Iterable[dict[str, Any]]:
        """Secondary zones that cannot be answered from."""
        for key, secondary in self.secondaries.items():
            if key in self._book.absent:
                yield {"zone": to_text(secondary.origin), **self.row(key)}

    def refresh(self, key: bytes | None, *, whole: bool = False) -> list[str]:
        """Look at the primaries of one secondary zone now, or of all; gives the zones. `whole`: fetch all of them,
        whatever their serials. KeyError for none of ours."""
        found = [self.secondaries[key]] if key is not None else list(self.secondaries.values())
        for secondary in found:
            secondary.refresh(whole=whole)
        return [to_text(secondary.origin) for secondary in found]

    def notify(self, key: bytes | None) -> dict[str, list[str]]:
        """Tell the secondaries of one zone, or of all; gives whom. KeyError for none of ours."""
        keys = [key] if key is not None else list(self._book.zones.by_key)
        return {to_text(self._book.zones.by_key[item].origin): self.notifier.notify(item) for item in keys}

    def statistics(self) -> dict[str, Any]:
        return {
            "transfers": {**self.transfers.sent, "under_way": self.transfers.under_way},
            "history": self.history.statistics(),
            "notify": self.notifier.statistics(),
        }


def secondary_zones(config: Config) -> Mapping[bytes, tuple[Place, ...]]:
    """Primaries by zone. Raises ConfigError."""
    found: dict[bytes, tuple[Place, ...]] = {}
    for text in config.secondary:
        origin, places = zone_places(text, "--secondary", may_tls=True)
        if origin is None:
            raise ConfigError(f"--secondary {text}: wanted NAME=ADDRESS[:PORT][#KEY], as shop.test=127.0.53.3:5053")
        if origin.lower() in {known.lower() for known in found}:
            raise ConfigError(f"--secondary {text}: {to_text(origin)} is given twice; list its primaries with commas")
        found[origin] = places
    return found


def _sender(primaries: Iterable[Place], client: str, key: bytes | None) -> Place | None:
    """The primary that a NOTIFY comes from: by its address (the port is the one it sends from), or by its key."""
    for primary in primaries:
        if primary.address[0] == client or (key is not None and primary.key == key):
            return primary
    return None
