"""Zones to secondaries: AXFR (RFC 5936) and IXFR (RFC 1995) for those who may, signed when the request was."""

from __future__ import annotations

import itertools
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

from dns_server.access import Access
from dns_server.book import Book
from dns_server.history import History
from dns_server.query_log import QueryLog
from dns_server.rules import edns, errors, types
from dns_server.rules.incoming import serial_of, soa_among
from dns_server.rules.names import to_text
from dns_server.rules.query import Query
from dns_server.rules.rdata import RdataFault
from dns_server.rules.response import limit, write
from dns_server.rules.rrset import Answer, RRset
from dns_server.rules.transfer import TooLarge, messages, newer, steps, whole
from dns_server.rules.zone import Zone
from dns_server.seldom import Seldom
from dns_server.tsig import Keyring, Signed
from stack.telemetry.metrics import Metrics

log = logging.getLogger("hopstack.dns")

_STREAMS: Final = frozenset({"tcp", "tls"})

_WHY: Final = {
    types.REFUSED: edns.ExtendedError(edns.PROHIBITED, "zones are not transferred to this client"),
    types.NOTAUTH: edns.ExtendedError(edns.NOT_AUTHORITATIVE, "no zone of that name is served here"),
    types.NOTIMP: edns.ExtendedError(edns.NOT_SUPPORTED, "AXFR is for TCP and TLS"),
    types.SERVFAIL: edns.ExtendedError(edns.OTHER, "too many transfers are under way"),
}


class Transfers:
    """Answers the query types AXFR and IXFR."""

    def __init__(
        self,
        book: Book,
        history: History,
        *,
        allow: Access,
        keyring: Keyring,
        concurrent: int,
        payload: int,
        query_log: QueryLog,
        now: Callable[[], float],
        metrics: Metrics,
    ) -> None:
        self._book = book
        self._history = history
        self._allow = allow
        self._keyring = keyring
        self._concurrent = concurrent
        self._payload = payload
        self._log = query_log
        self._now = now
        self._refused = Seldom(now)
        self.under_way = 0
        self._total = metrics.counter(
            "hopstack_dns_transfers_total", "Zones sent and fetched.", ("direction", "form", "result")
        )
        self.sent = {"axfr": 0, "ixfr": 0, "cut": 0, "refused": 0}

    def answer(self, query: Query, message: bytes, client: str, protocol: str) -> bytes | AsyncIterator[bytes]:
        """`message`: the whole request, with its TSIG where it has one."""
        began = self._now()
        signed = self._keyring.judge(message)
        if signed is not None and signed.rcode:
            return self._refuse(query, signed, client, protocol, began, signed.rcode)
        zone = self._book.zones.by_key.get(query.key)
        if protocol not in _STREAMS and (query.type == types.AXFR or protocol != "udp"):
            # RFC 5936 §4.2: AXFR is for streams of messages; NSD and Knot say the same
            return self._refuse(query, signed, client, protocol, began, types.NOTIMP)
        if not self._allow.allows(client, signed.key.name if signed is not None and signed.key is not None else None):
            self._count("axfr" if query.type == types.AXFR else "ixfr", "refused")
            if count := self._refused.told():
                log.warning(
                    "transfer of %s to %s refused: not in --transfer-allow (%d of this kind)",
                    to_text(query.name), client, count,
                )  # fmt: skip
            return self._refuse(query, signed, client, protocol, began, types.REFUSED)
        if zone is None or query.cls != types.IN:
            return self._refuse(query, signed, client, protocol, began, types.NOTAUTH)
        if query.type == types.AXFR:
            return self._send(query, signed, client, protocol, began, "axfr", zone, whole(zone))
        try:
            soa = soa_among(message, 1)
        except RdataFault:
            soa = None
        if soa is None:
            return self._refuse(query, signed, client, protocol, began, types.FORMERR)
        return self._difference(query, signed, client, protocol, began, zone, serial_of(soa.rdata))

    def _difference(
        self, query: Query, signed: Signed | None, client: str, protocol: str, began: float, zone: Zone, held: int
    ) -> bytes | AsyncIterator[bytes]:
        lone = Answer("answered", authoritative=True)
        lone.answer.append((zone.soa.owner, zone.soa))
        if not newer(zone.serial, held):  # RFC 1995 §2: it has all there is
            return self._one(query, signed, client, protocol, began, lone)
        chain = self._history.since(zone, held)
        if protocol == "udp":
            room = limit(query, stream=False, payload=self._payload) - (signed.room if signed is not None else 0)
            if chain is not None:
                # two messages are one too many already
                packed = list(
                    itertools.islice(messages(query, steps(zone, chain), payload=self._payload, size=room), 2)
                )
                if len(packed) == 1 and len(packed[0]) <= room:
                    self._finished(
                        query, Answer("answered", authoritative=True), client, protocol, began, len(packed[0])
                    )
                    self._count("ixfr", "done")
                    return _signed(signed, packed[0])
            return self._one(query, signed, client, protocol, began, lone)  # too much for UDP: come by TCP
        if chain is None:
            return self._send(query, signed, client, protocol, began, "axfr", zone, whole(zone))
        return self._send(query, signed, client, protocol, began, "ixfr", zone, steps(zone, chain))

    async def _send(
        self,
        query: Query,
        signed: Signed | None,
        client: str,
        protocol: str,
        began: float,
        form: str,
        zone: Zone,
        content: Iterator[RRset],
    ) -> AsyncIterator[bytes]:
        if self.under_way >= self._concurrent:
            log.warning("transfer of %s to %s put off: %d are under way", to_text(zone.origin), client, self.under_way)
            yield self._refuse(query, signed, client, protocol, began, types.SERVFAIL)
            return
        self.under_way += 1
        octets = count = 0
        ended = False
        try:
            for message in messages(query, content, payload=self._payload):
                octets += len(message)
                count += 1
                yield _signed(signed, message)
            ended = True
        except TooLarge as fault:
            log.error("transfer of %s to %s: %s", to_text(zone.origin), client, fault)
        finally:
            self.under_way -= 1
            self._count(form, "done" if ended else "cut")
            self._finished(query, Answer("answered", authoritative=True), client, protocol, began, octets)
            log.log(
                logging.INFO if ended else logging.WARNING,
                "transfer of %s serial %d to %s: %s, %d messages, %d bytes%s",
                to_text(zone.origin), zone.serial, client, form, count, octets, "" if ended else ", cut short",
            )  # fmt: skip

    def _count(self, form: str, result: str) -> None:
        self.sent[form if result == "done" else result] += 1
        self._total.inc("out", form, result)

    def _one(
        self, query: Query, signed: Signed | None, client: str, protocol: str, began: float, answer: Answer
    ) -> bytes:
        room = limit(query, stream=protocol in _STREAMS, payload=self._payload)
        message = _signed(
            signed, write(query, answer, size=room - (signed.room if signed is not None else 0), payload=self._payload)
        )
        self._finished(query, answer, client, protocol, began, len(message))
        return message

    def _refuse(
        self, query: Query, signed: Signed | None, client: str, protocol: str, began: float, rcode: int
    ) -> bytes:
        return self._one(query, signed, client, protocol, began, errors.answer(rcode, _WHY.get(rcode)))

    def _finished(self, query: Query, answer: Answer, client: str, protocol: str, began: float, size: int) -> None:
        self._log.finished(query, answer, client, protocol, began, size)


def _signed(signed: Signed | None, message: bytes) -> bytes:
    return signed.sign(message) if signed is not None else message
