"""The zones that come from files: read at the start, again when asked to, and when a file has changed.

Each zone by itself: one that is faulty stays as it was and its fault is shown; one whose files have the content that
they had is not read again. Large ones are compiled in a process of their own and kept compiled, so that a server that
reads them answers all the while.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dns_server import compiled
from dns_server.changes import Changes
from dns_server.journal import JournalFault
from dns_server.rules import serial
from dns_server.rules.faults import told
from dns_server.rules.names import to_text
from dns_server.rules.zone import Zone, Zones
from dns_server.sources import Look, look
from dns_server.zonefile import Text, TextFault, read
from stack.clock import Clock
from stack.errors import ConfigError

log = logging.getLogger("hopstack.dns")

LOOK: Final = 1.0
"""Seconds between two looks at the files; what is found changed has to lie still from one to the next."""
WORTH: Final = 1 << 19
"""Octets of a zone's file from which it is kept compiled: about 15,000 records."""

NICENESS: Final = 10
"""Of the process that compiles while we answer: the answers come first."""

_Look = tuple[Look, ...]


@dataclass(slots=True)
class _Known:
    """One zone and its files."""

    origin: bytes
    file: Path
    text: Text | None = None
    sources: Mapping[str, bytes] = field(default_factory=dict)
    """Of the last attempt."""
    tried: _Look = ()
    """What they looked like then."""
    seen: _Look = ()
    fault: str = ""


class Texts:
    """Of one server."""

    def __init__(self, files: Mapping[bytes, Path], *, directory: Path, clock: Clock, worth: int = WORTH) -> None:
        """`files` by origin; `directory` is for compiled zones, `worth` the octets from which one is kept there."""
        self._known = [_Known(origin, file) for origin, file in files.items()]
        self._directory, self._clock, self._worth = directory, clock, worth
        self._lock = asyncio.Lock()

    @property
    def zones(self) -> list[Zone]:
        return [known.text.zone for known in self._known if known.text is not None]

    @property
    def faults(self) -> dict[bytes, str]:
        """By zone (its key), as of the last reading; empty text for one without."""
        return {known.origin.lower(): known.fault for known in self._known}

    @property
    def fault(self) -> str:
        return "; ".join(known.fault for known in self._known if known.fault)

    def row(self, key: bytes) -> dict[str, object]:
        """What the admin endpoint shows of a zone besides its records."""
        for known in self._known:
            if known.origin.lower() == key:
                warnings = told(known.text.warnings) if known.text is not None else []
                return {"file": str(known.file), "fault": known.fault, "warnings": warnings}
        return {}

    async def start(self, changes: Changes) -> None:
        """Read all zones and serve them. Raises ConfigError when one is faulty."""
        await self.read()
        if self.fault:
            raise ConfigError(self.fault)
        await self._serve(changes)

    async def reload(self, changes: Changes) -> None:
        """Read anew what has changed and serve that. Raises ConfigError for the zones that stay as they were."""
        if await self.read():
            await self._serve(changes)
        if self.fault:
            raise ConfigError(self.fault)

    async def follow(self, changes: Changes) -> None:
        """Reload zones when their files change, until it is cancelled."""
        while True:
            await self._clock.sleep(LOOK)
            faults = self.faults
            try:
                if zones := await self.changed():
                    await self._serve(changes)
                    names = ", ".join(to_text(zone.origin) for zone in zones)
                    log.info("zones whose files changed: %s", names)
            except ConfigError as error:
                log.error("zones: %s", error)
            for key, fault in self.faults.items():
                if fault and fault != faults[key]:
                    log.error("%s; the zone %s stays as it was", fault, to_text(key))

    async def _serve(self, changes: Changes) -> None:
        try:
            await changes.load(Zones(self.zones))
        except JournalFault as fault:
            raise ConfigError(str(fault)) from None

    async def read(self) -> list[Zone]:
        """Read anew what has changed; gives the zones that are now another version. Whatever is wrong is in
        `faults`."""
        async with self._lock:
            return [zone for known in self._known if (zone := await self._read(known)) is not None]

    async def changed(self) -> list[Zone]:
        """Like `read`, of zones whose files have changed and then lain still from one call to the next."""
        found: list[Zone] = []
        async with self._lock:
            for known in self._known:
                now = _look_at(known)
                settled, known.seen = now == known.seen, now
                if settled and now != known.tried and (zone := await self._read(known)) is not None:
                    found.append(zone)
        return found

    async def _read(self, known: _Known) -> Zone | None:
        before, looked = known.text, _look_at(known)
        known.tried = known.seen = looked
        if before is not None and await asyncio.to_thread(compiled.fits, before.sources):
            known.sources, known.fault = before.sources, ""
            return None
        try:
            text = await self._text(known.origin, known.file, niceness=NICENESS if before is not None else 0)
        except ConfigError as error:
            if isinstance(error, TextFault):
                known.sources = error.sources
            known.tried = known.seen = _tried(known, looked)
            known.fault = str(error)
            return None
        known.sources, known.text, known.fault = text.sources, text, ""
        known.tried = known.seen = _tried(known, looked)
        for line in told(text.warnings):
            log.warning("%s", line)
        if before is not None:
            _compare(before.zone, text.zone, known.file)
        return text.zone

    async def _text(self, origin: bytes, file: Path, *, niceness: int) -> Text:
        """Raises ConfigError."""
        if look(str(file))[3] < self._worth:
            return await asyncio.to_thread(read, origin, file)
        target = compiled.path(self._directory, origin, file)
        there = await asyncio.to_thread(_fitting, target, origin)
        if there is None:
            await self._compile(origin, file, target, niceness)
            there = await asyncio.to_thread(_fitting, target, origin)
        if there is None:
            # it changed once more, or nothing can be written there
            return await asyncio.to_thread(read, origin, file)
        nodes: dict[bytes, bytes] = {}
        for _ in there.steps(nodes):
            await self._clock.sleep(0)
        return Text(Zone(origin, nodes), there.sources, there.warnings)

    async def _compile(self, origin: bytes, file: Path, target: Path, niceness: int) -> None:
        """Raises ConfigError for what is wrong with the zone."""
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "dns_server.compiling", origin.hex(), str(file), str(target), str(niceness),
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
        except OSError as error:  # too many processes or descriptors
            log.warning("zone %s is read without keeping it compiled: %s", to_text(origin), error)
            return
        try:
            out, _ = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        if process.returncode == 0:
            return
        try:
            said = json.loads(out)
        except ValueError:
            said = {}  # killed, or it died
        if "fault" in said:
            raise TextFault(said["fault"], dict.fromkeys((str(file), *said["sources"]), b""))
        why = said.get("unable") or f"compiling it ended with {process.returncode}"
        log.warning("zone %s is read without keeping it compiled: %s", to_text(origin), why)


def _fitting(target: Path, origin: bytes) -> compiled.Compiled | None:
    there = compiled.load(target, origin)
    return there if there is not None and compiled.fits(there.sources) else None


def _look_at(known: _Known) -> _Look:
    return tuple(look(path) for path in sorted({str(known.file), *known.sources}))


def _tried(known: _Known, before: _Look) -> _Look:
    """What the files looked like when they were read: those that were known before, before that."""
    earlier = {one[0]: one for one in before}
    return tuple(earlier.get(one[0], one) for one in _look_at(known))


def _compare(before: Zone, after: Zone, file: Path) -> None:
    """Secondaries believe the serial alone."""
    if before.serial == after.serial:
        if before.packed != after.packed:
            log.warning("%s: it has changed and its serial has not: secondaries will not see it", file)
    elif not serial.newer(after.serial, before.serial):
        log.warning(
            "%s: its serial went back from %d to %d (RFC 1982): secondaries will not see it",
            file, before.serial, after.serial,
        )  # fmt: skip
