"""A secondary zone: fetched from its primaries, looked after by the timers of its SOA (RFC 1034 §4.3.5)."""

from __future__ import annotations

import asyncio
import datetime
import logging
import ssl
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final, Protocol

from dns_server.book import Book
from dns_server.config import TransferOptions
from dns_server.copies import Copies
from dns_server.places import Place
from dns_server.primaries import LARGE, Fetched
from dns_server.rules.incoming import TransferFault
from dns_server.rules.names import to_text
from dns_server.rules.transfer import newer
from dns_server.rules.zone import Zone
from dns_server.tsig import TsigFault
from stack.clock import Clock
from stack.net.tasks import Tasks

log = logging.getLogger("hopstack.dns")

FIRST_RETRY: Final = 1.0
"""Seconds after which a zone that was never fetched is tried again; doubled each time, up to `LAST_RETRY`."""
LAST_RETRY: Final = 300.0
JITTER: Final = 0.1
"""The share of a wait that is left to chance, so that many secondaries do not come at once."""
SAVE_SHARE: Final = 10
"""A zone whose writing took T seconds is written again no sooner than this times T later."""

FAILURES = (TransferFault, TsigFault, OSError, EOFError, TimeoutError)


class Ask(Protocol):
    """How primaries are spoken with. Raises one of FAILURES."""

    async def serial(self, place: Place, origin: bytes) -> int: ...

    async def fetch(self, place: Place, origin: bytes, held: Zone | None) -> Fetched: ...


class Secondary:
    """One zone. `run` is a task that lives as long as the server."""

    def __init__(
        self,
        origin: bytes,
        primaries: Sequence[Place],
        *,
        book: Book,
        ask: Ask,
        copies: Copies,
        options: TransferOptions,
        clock: Clock,
        random: Random,
        tasks: Tasks,
        transferred: Callable[[str, str], object],
    ) -> None:
        """`transferred`: told of the form and the result of each transfer, for the metrics."""
        self.origin = origin
        self.key = origin.lower()
        self.primaries = tuple(primaries)
        self.zone: Zone | None = None
        """The last version, expired or not."""
        self.error = ""
        self._book = book
        self._ask = ask
        self._copies = copies
        self._options = options
        self._clock = clock
        self._random = random
        self._tasks = tasks
        self._transferred = transferred
        self._woken = asyncio.Event()
        self._first: Place | None = None
        """Who is asked first: the last that notified, or that had the zone."""
        self._next = clock.now()
        self._checked: float | None = None
        """Unix time when a primary last said that the zone holds."""
        self._failures = 0
        self._saving: asyncio.Task[None] | None = None
        self._unsaved = False
        self._looking = False
        self._whole = False
        book.withdraw(self.key, "it was not fetched yet")

    # What the server calls.

    async def load(self) -> None:
        """The copy on disk, if there is one."""
        loaded = await asyncio.to_thread(self._copies.load, self.origin)
        if loaded is None:
            return
        self.zone, checked = loaded
        self._checked = min(checked, self._clock.time())
        if self._expires_in() > 0:
            self._book.put(self.zone)
        else:
            self._expire()

    async def run(self) -> None:
        while True:
            wait = self._due() - self._clock.now()
            if wait > 0 and not self._woken.is_set():
                try:
                    async with self._clock.timeout(wait):
                        await self._woken.wait()
                except TimeoutError:
                    pass
            self._woken.clear()
            if self.zone is not None and self.key not in self._book.absent and self._expires_in() <= 0:
                self._expire()
                self._next = min(self._next, self._clock.now())  # a clock that was set, or an EXPIRE below REFRESH
            if self._clock.now() >= self._next:
                await self._look()

    def refresh(self, *, first: Place | None = None, serial: int | None = None, whole: bool = False) -> bool:
        """Look now. `first`: the primary to begin with; `serial`: what it is said to have; False when that is no
        news. `whole`: fetch all of it, whatever its serial."""
        if serial is not None and self.zone is not None and not newer(serial, self.zone.serial):
            return False
        if first is not None:
            self._first = first
        self._whole = self._whole or whole
        self._next = self._clock.now()
        self._woken.set()
        return True

    async def close(self) -> None:
        """Write what is not written yet."""
        if self._saving is not None:
            self._saving.cancel()
            await asyncio.gather(self._saving, return_exceptions=True)
        if self._unsaved and self.zone is not None and self._checked is not None:
            self._unsaved = False
            await self._write(self.zone, self._checked)

    def row(self) -> dict[str, Any]:
        """For the admin endpoint."""
        wall, now = self._clock.time(), self._clock.now()
        why = self._book.absent.get(self.key)
        return {
            "primaries": [str(primary) for primary in self.primaries],
            "state": "absent: " + why if why is not None else "looking" if self._looking else "current",
            "serial": self.zone.serial if self.zone is not None else None,
            "checked": _time(self._checked) if self._checked is not None else None,
            "next": _time(wall + max(0.0, self._next - now)),
            "expires": _time(wall + self._expires_in()) if self.zone is not None else None,
            "error": self.error,
        }

    # Timers.

    def _due(self) -> float:
        """When there is something to do."""
        if self.zone is None or self.key in self._book.absent:
            return self._next
        return min(self._next, self._clock.now() + self._expires_in())

    def _timer(self, which: int) -> int:
        """REFRESH, RETRY or EXPIRE (0, 1, 2) of the zone's SOA, in seconds."""
        assert self.zone is not None
        rdata = self.zone.soa.rdatas[0]
        return int.from_bytes(rdata[len(rdata) - 16 + 4 * which :][:4], "big")

    def _expires_in(self) -> float:
        return (self._checked or 0.0) + self._timer(2) - self._clock.time()

    def _bounded(self, seconds: float) -> float:
        bounded = min(max(seconds, self._options.min_refresh), self._options.max_refresh)
        return bounded * (1 - JITTER * self._random.random())

    def _expire(self) -> None:
        checked = _time(self._checked or 0.0)
        self._book.withdraw(self.key, f"it expired: no primary confirmed it since {checked}")
        log.error(
            "zone %s: expired, no primary confirmed it since %s: answered SERVFAIL", to_text(self.origin), checked
        )

    # A look at the primaries.

    async def _look(self) -> None:
        self._looking = True
        errors: list[str] = []
        behind = False
        whole, self._whole = self._whole, False
        order = sorted(self.primaries, key=lambda primary: primary != self._first)
        try:
            for primary in order:
                try:
                    serial = await self._ask.serial(primary, self.origin)
                    held = self.zone if not whole else None
                    if held is not None and newer(held.serial, serial):
                        errors.append(f"{primary} has serial {serial}, older than {held.serial} here")
                        behind = True
                        continue
                    if held is None or serial != held.serial:
                        await self._take(primary, held)
                except FAILURES as failure:
                    errors.append(f"{primary}: {_said(failure)}")
                    continue
                self._first = primary
                self._confirmed(errors)
                return
            if behind:
                self._confirmed(errors)
            else:
                self._failed(errors)
        finally:
            self._looking = False

    async def _take(self, primary: Place, held: Zone | None) -> None:
        began = self._clock.now()
        try:
            fetched = await self._ask.fetch(primary, self.origin, held)
        except FAILURES:
            self._transferred("ixfr" if held is not None else "axfr", "failed")
            raise
        zone = fetched.zone
        self._transferred(fetched.form, "done")
        log.info(
            "zone %s: serial %d by %s from %s in %.3f s",
            to_text(self.origin), zone.serial, fetched.form.upper(), primary, self._clock.now() - began,
        )  # fmt: skip
        self.zone = zone
        # an expired version is none that changes
        is_served = self.key in self._book.zones.by_key
        self._book.put(zone, fetched.touched if is_served else None, compared=is_served)
        self._unsaved = True

    def _confirmed(self, errors: Sequence[str]) -> None:
        assert self.zone is not None
        self._failures = 0
        self._checked = self._clock.time()
        self._tell("; ".join(errors))
        if self.key in self._book.absent:
            self._book.put(self.zone)
        self._next = self._clock.now() + self._bounded(self._timer(0))
        self._save()

    def _failed(self, errors: Sequence[str]) -> None:
        self._failures += 1
        self._tell("; ".join(errors))
        if self.zone is None:
            wait = min(FIRST_RETRY * 2 ** min(self._failures - 1, 20), LAST_RETRY)
            wait *= 1 - JITTER * self._random.random()
        else:
            wait = self._bounded(self._timer(1))
        self._next = self._clock.now() + wait

    def _tell(self, error: str) -> None:
        if error and error != self.error:  # once, not at every try
            log.warning("zone %s: %s", to_text(self.origin), error)
        elif self.error and not error:
            log.info("zone %s: its primaries answer again", to_text(self.origin))
        self.error = error

    # The copy on disk.

    def _save(self) -> None:
        if self._unsaved:
            if self._saving is None or self._saving.done():
                self._saving = self._tasks.spawn(self._write_out(), name="dns-copy")
        elif self._checked is not None:
            self._copies.touch(self.key, self._checked)

    async def _write_out(self) -> None:
        while self._unsaved and self.zone is not None:
            self._unsaved = False
            began = self._clock.now()
            try:
                await self._write(self.zone, self._checked or self._clock.time())
            except asyncio.CancelledError:
                self._unsaved = True
                raise
            if self._unsaved:
                await self._clock.sleep(SAVE_SHARE * (self._clock.now() - began))

    async def _write(self, zone: Zone, checked: float) -> None:
        try:
            if len(zone) < LARGE:
                self._copies.save(zone, checked)
            else:
                await asyncio.to_thread(self._copies.save, zone, checked)
        except OSError as error:
            log.warning("zone %s: its copy cannot be written: %s", to_text(zone.origin), error)


def _said(failure: BaseException) -> str:
    if isinstance(failure, TimeoutError):
        return "no answer"
    if isinstance(failure, ConnectionRefusedError):
        return "nobody listens there"
    if isinstance(failure, ssl.SSLError):
        return f"TLS failed: {getattr(failure, 'verify_message', '') or failure.reason or failure}"
    if isinstance(failure, OSError):
        return failure.strerror or str(failure)
    return str(failure)


def _time(unix: float) -> str:
    return datetime.datetime.fromtimestamp(unix, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
