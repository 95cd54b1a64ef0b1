"""UPDATE (RFC 2136) over the network: by keys that a grant names, answered when it is on disk and in force."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import Final

from dns_server import rdata_text
from dns_server.book import ChangeRefused
from dns_server.changes import Changes, NotPrimary
from dns_server.grants import Grant, Grants, allowed
from dns_server.journal import JournalFault
from dns_server.query_log import QueryLog
from dns_server.rules import edns, types, update
from dns_server.rules.names import to_text
from dns_server.rules.query import OPCODE, QR, Query, parse
from dns_server.rules.rrset import Answer
from dns_server.rules.update import Draft, Update, UpdateFault
from dns_server.seldom import Seldom
from dns_server.tsig import Keyring, Signed

log = logging.getLogger("hopstack.dns")

MAX_WAITING: Final = 100
"""Updates that wait for those before them; further ones are answered SERVFAIL."""
REMEMBERED: Final = 1000
"""Updates that are known when they come again; for most clients the signature of older ones is out of date."""
_CODES: Final = {
    types.REFUSED: edns.PROHIBITED,
    types.NOTAUTH: edns.NOT_AUTHORITATIVE,
    types.NOTIMP: edns.NOT_SUPPORTED,
    types.SERVFAIL: edns.OTHER,
}
"""Extended errors (RFC 8914), of the answers that have one."""
_TOLD: Final = frozenset({types.REFUSED, types.NOTAUTH, types.NOTIMP, types.FORMERR, types.NOTZONE})
"""What is told in the log: not a prerequisite that does not hold, which is how clients ask."""


class Updates:
    """Answers UPDATE. `operation` is the handler's."""

    def __init__(
        self,
        changes: Changes,
        keyring: Keyring,
        grants: Grants,
        *,
        payload: int,
        query_log: QueryLog,
        now: Callable[[], float],
    ) -> None:
        self._changes = changes
        self._keyring = keyring
        self._grants = grants
        self._payload = payload
        self._log = query_log
        self._now = now
        self._refused = Seldom(now)
        self._waiting = 0
        self._given: dict[bytes, asyncio.Future[bytes]] = {}
        """By message, answers of updates that are under way or done. One that is sent again, by a client that heard
        nothing or by somebody who listened, is done once and answered the same (RFC 8945 §10)."""

    def operation(self, message: bytes, client: str, protocol: str) -> bytes | Awaitable[bytes | None]:
        """The response; an awaitable of it when there is something to do. Never raises."""
        began = self._now()
        signed = self._keyring.judge(message)
        asked: Update | None = None
        bare = signed.message if signed is not None else message
        try:
            asked = update.begin(bare)
            key, grants = self._entitled(asked, signed, client)
            asked = update.read(bare)
        except UpdateFault as fault:
            return self._answer(message, asked, signed, client, protocol, began, fault)
        return self._later(message, asked, signed, key, grants, client, protocol, began)

    def _entitled(self, asked: Update, signed: Signed | None, client: str) -> tuple[str, list[Grant]]:
        """The key's name, and what it may."""
        if signed is not None and signed.rcode:
            raise UpdateFault(signed.rcode, f"TSIG: {signed.word}")
        if asked.zone not in self._changes.texts:
            if asked.zone in self._changes.book.fetched:
                # §6: a secondary would pass it on; its primary is to be asked instead
                raise UpdateFault(types.NOTIMP, "a secondary does not forward updates; send them to the primary")
            raise UpdateFault(types.NOTAUTH, f"{to_text(asked.zone)} is no zone of this server")
        if signed is None or signed.key is None:
            raise UpdateFault(types.REFUSED, "an update has to be signed (TSIG)")
        key = to_text(signed.key.name)
        grants = list(self._grants.of(signed.key.name, asked.zone, client))
        if not grants:
            raise UpdateFault(types.REFUSED, f"the key {key} has no grant for {to_text(asked.zone)}")
        return key, grants

    async def _later(
        self,
        message: bytes,
        asked: Update,
        signed: Signed | None,
        key: str,
        grants: list[Grant],
        client: str,
        protocol: str,
        began: float,
    ) -> bytes:
        # whoever gave us this may drop it before it begins: nothing is held or counted until here
        mark = blake2b(message, digest_size=16).digest()
        if (given := self._given.get(mark)) is not None:
            response = await asyncio.shield(given)
            self._tell(message, asked, client, protocol, began, response)
            return response
        if self._waiting >= MAX_WAITING:
            full = UpdateFault(types.SERVFAIL, f"{MAX_WAITING} updates are waiting")
            return self._answer(message, asked, signed, client, protocol, began, full)
        self._waiting += 1
        given = self._given[mark] = asyncio.get_running_loop().create_future()
        fault: UpdateFault | None = UpdateFault(types.SERVFAIL, "it was ended")
        try:
            fault = await self._change(asked, key, grants, client)
            response = self._answer(message, asked, signed, client, protocol, began, fault)
            given.set_result(response)
        finally:
            self._waiting -= 1
            if fault is not None:
                del self._given[mark]
                given.cancel()
        if len(self._given) > REMEMBERED:
            del self._given[next(iter(self._given))]
        return response

    async def _change(self, asked: Update, key: str, grants: list[Grant], client: str) -> UpdateFault | None:
        """What is wrong; None when it is done."""

        def work(draft: Draft) -> None:
            # the order of RFC 2136 §3.2 to §3.4
            update.hold(asked, draft.zone, rdata_text.check)
            if (place := allowed(grants, update.touched(asked, draft.zone))) is not None:
                what = f"{to_text(place[0])} {types.type_name(place[1])}"
                raise UpdateFault(types.REFUSED, f"the key {key} may not change {what}")
            update.scan(asked, draft.zone, rdata_text.check)
            update.apply(asked, draft)

        try:
            before = self._changes.book.zones.by_key.get(asked.zone)
            after = await self._changes.change(asked.zone, work, by=f"key {key} from {client}")
        except UpdateFault as fault:
            return fault
        except ChangeRefused as fault:
            return UpdateFault(types.REFUSED, str(fault))
        except NotPrimary as fault:
            return UpdateFault(types.NOTAUTH, str(fault))
        except JournalFault as fault:
            log.error("update of %s by key %s: %s", to_text(asked.zone), key, fault)
            return UpdateFault(types.SERVFAIL, str(fault))
        except Exception:
            log.exception("update of %s by key %s failed", to_text(asked.zone), key)
            return UpdateFault(types.SERVFAIL, "it failed")
        if after is not before:
            log.info("%s updated by key %s from %s: serial %d", to_text(asked.zone), key, client, after.serial)
        return None

    def _answer(
        self,
        message: bytes,
        asked: Update | None,
        signed: Signed | None,
        client: str,
        protocol: str,
        began: float,
        fault: UpdateFault | None,
    ) -> bytes:
        rcode = fault.rcode if fault is not None else types.NOERROR
        if fault is not None and rcode in _TOLD and (count := self._refused.told()):
            # nsupdate sends no EDNS, so nobody else would say why
            zone = to_text(asked.zone) if asked is not None else "a zone"
            log.warning("update of %s from %s refused: %s (%d of this kind)", zone, client, fault, count)
        flags = int.from_bytes(message[2:4], "big")
        head = QR | flags & OPCODE | rcode
        opt = b""
        if asked is not None:
            payload = asked.payload
        else:
            payload = query.payload if (query := parse(message)) is not None and query.edns else 0
        if payload:
            options = b""
            if fault is not None and (code := _CODES.get(rcode)) is not None:
                if signed is not None and signed.rcode:
                    code = edns.PROHIBITED
                said = str(fault).encode()[:120]
                options = b"\0\x0f" + (len(said) + 2).to_bytes(2, "big") + code.to_bytes(2, "big") + said
            sizes = self._payload.to_bytes(2, "big"), len(options).to_bytes(2, "big")
            opt = b"\0\0\x29%b\0\0\0\0%b%b" % (*sizes, options)
        counts = b"\0%b\0\0\0\0\0%b" % (b"\1" if asked is not None else b"\0", b"\1" if opt else b"\0")
        response = message[:2] + head.to_bytes(2, "big") + counts + (asked.question if asked is not None else b"") + opt
        if signed is not None:
            response = signed.sign(response)
        self._tell(message, asked, client, protocol, began, response)
        return response

    def _tell(
        self, message: bytes, asked: Update | None, client: str, protocol: str, began: float, response: bytes
    ) -> None:
        rcode = response[3] & 0xF
        query = Query(int.from_bytes(message[:2], "big"), int.from_bytes(message[2:4], "big"), rcode)
        if asked is not None:
            query.name = query.key = asked.zone
            query.question, query.type, query.cls = asked.question, types.SOA, types.IN
            query.edns, query.payload = bool(asked.payload), asked.payload
        word = types.rcode_name(rcode).lower() if rcode else "updated"
        self._log.finished(query, Answer(word, rcode), client, protocol, began, len(response))
