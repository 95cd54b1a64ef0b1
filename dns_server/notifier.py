"""NOTIFY to secondaries (RFC 1996): after every change, until they answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from random import Random
from typing import Final

from dns_server.book import Book, Change
from dns_server.places import Place, source
from dns_server.rules import notify, types
from dns_server.rules.names import to_text
from dns_server.rules.zone import Zone
from dns_server.tsig import Conversation, TsigFault
from dns_server.tsig_keys import Key
from stack.clock import Clock, Handle
from stack.net.dns_client import ask_udp
from stack.net.tasks import Tasks

log = logging.getLogger("hopstack.dns")

TRIES: Final = 6
FIRST_WAIT: Final = 1.0
"""Seconds for the first answer; each try waits twice as long as the one before."""
SETTLE: Final = 0.1
"""Seconds after a change in which further ones are told with it."""
MAX_UNDER_WAY: Final = 100


class Notifier:
    """Watches a book. Of several versions that come while a secondary does not answer it is told the last."""

    def __init__(
        self,
        book: Book,
        targets: Sequence[tuple[bytes | None, Place]],
        keys: Mapping[bytes, Key],
        *,
        clock: Clock,
        random: Random,
        tasks: Tasks,
    ) -> None:
        """`targets`: each for a zone (its key), or for all."""
        self._book = book
        self._targets = targets
        self._keys = keys
        self._clock = clock
        self._random = random
        self._tasks = tasks
        self._settling: dict[bytes, Handle] = {}
        self._under_way: dict[tuple[bytes, Place], asyncio.Task[None]] = {}
        self._gate = asyncio.Semaphore(MAX_UNDER_WAY)
        self.own = ""
        """The address that this server listens on."""
        self.sent = 0
        self.answered = 0
        self.unanswered = 0
        if targets:
            book.watchers.append(self._changed)

    def _changed(self, change: Change) -> None:
        is_news = change.before is None or change.whole or change.removed or change.added
        if change.after is not None and is_news and change.after.key not in self._settling:
            key = change.after.key
            self._settling[key] = self._clock.call_later(SETTLE, lambda: self._settled(key))

    def _settled(self, key: bytes) -> None:
        self._settling.pop(key, None)
        if key in self._book.zones.by_key:
            self.notify(key)

    def notify(self, key: bytes) -> list[str]:
        """Tell all secondaries of the zone now; gives their names. KeyError for a zone that is not here."""
        zone = self._book.zones.by_key[key]
        told = [target for only, target in self._targets if only is None or only == key]
        for target in told:
            if (last := self._under_way.get((key, target))) is not None:
                last.cancel()
            task = self._tasks.spawn(self._tell(zone, target), name="dns-notify")
            self._under_way[key, target] = task
            task.add_done_callback(lambda done, place=(key, target): self._done(place, done))  # type: ignore[misc]
        return [str(target) for target in told]

    def _done(self, place: tuple[bytes, Place], task: asyncio.Task[None]) -> None:
        if self._under_way.get(place) is task:
            del self._under_way[place]

    async def _tell(self, zone: Zone, target: Place) -> None:
        said = ""
        async with self._gate:
            for number in range(TRIES):
                wait = FIRST_WAIT * 2**number
                began = self._clock.now()
                try:
                    rcode = await self._ask(zone, target, wait)
                except (OSError, EOFError, TimeoutError):
                    said = "no answer"
                except TsigFault as fault:
                    said = str(fault)
                else:
                    if not rcode:
                        self.answered += 1
                        return
                    said = types.rcode_name(rcode)
                    if rcode in (types.NOTAUTH, types.NOTIMP, types.FORMERR):
                        break  # nothing changes by asking again
                if number + 1 < TRIES:
                    # an answer that came at once, as from a port where nobody listens, is no reason to hurry
                    left = wait - (self._clock.now() - began)
                    await self._clock.sleep(max(0.0, left) + self._random.random() * 0.1 * wait)
        self.unanswered += 1
        log.warning("NOTIFY of %s serial %d to %s: %s", to_text(zone.origin), zone.serial, target, said)

    async def _ask(self, zone: Zone, target: Place, wait: float) -> int:
        id = self._random.getrandbits(16)
        message = notify.request(zone, id)
        conversation = None
        if target.key is not None:
            conversation = Conversation(self._keys[target.key], self._clock.time)
            message = conversation.request(message)
        self.sent += 1
        response = await ask_udp(
            target.address,
            message,
            accept=lambda data: notify.answers(data, id, zone),
            clock=self._clock,
            timeout=wait,
            source=source(self.own, target.address),
        )
        rcode = response[3] & 0xF
        if conversation is not None and not rcode:
            conversation.check(response)
        return rcode

    def close(self) -> None:
        for handle in self._settling.values():
            handle.cancel()
        self._settling.clear()

    def statistics(self) -> dict[str, int]:
        return {
            "sent": self.sent,
            "answered": self.answered,
            "unanswered": self.unanswered,
            "under_way": len(self._under_way),
        }
