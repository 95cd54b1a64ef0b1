"""What was changed in a zone while it ran, on disk: an entry is there before the change is answered, and after a crash.

A file for each zone. A line is one change, `CRC32 JSON`, the last of all for an RRset is what holds. Whoever writes
holds the lock beside it: two generations of one server may be there for a moment.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from dns_server.rules import types
from dns_server.rules.names import from_text, to_text
from dns_server.rules.rrset import RRset

COMPACT: Final = 1 << 18
"""Octets above which a file is written anew, when it is more than twice as long as it has to be."""
_LONGEST_NAME: Final = 180


class JournalFault(Exception):
    """It cannot be written or read; says which file and why. Nothing was changed."""


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One RRset as it was set. Without data it was taken away."""

    name: str
    type: int
    ttl: int = 0
    data: tuple[str, ...] = ()
    """Rdata in wire form, as hex."""
    over: str = ""
    """Fingerprint of what the text said at that time; empty when it said nothing."""
    by: str = ""
    at: float = 0.0
    """Seconds since the epoch."""
    reset: bool = False
    """As the text says it again: no change any more."""

    @property
    def place(self) -> tuple[bytes, int]:
        return from_text(self.name).lower(), self.type

    def rrset(self) -> RRset:
        return RRset(from_text(self.name), self.type, self.ttl, map(bytes.fromhex, self.data))


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One change of a zone, whole or not at all. `serial`: the zone's since then; `text`: fingerprint of the text
    below."""

    serial: int
    text: str
    sets: tuple[Entry, ...] = ()


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Step).decode


class Journal:
    """Of one zone. All methods block: they are for a thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[tuple[bytes, int], Entry] = {}
        """By name and type, what holds."""
        self.serial: int | None = None
        """None before the first change."""
        self.text = ""
        self.damaged = 0
        """Lines in the middle that were not read."""
        self._seen: tuple[int, int, int] | None = None
        self._end = 0
        """Where the last whole line ends."""
        self._compact_at = COMPACT

    @property
    def is_stale(self) -> bool:
        """Whether the file has been written by another process since it was read."""
        return self._identity() != self._seen

    def _identity(self) -> tuple[int, int, int] | None:
        try:
            status = os.stat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise JournalFault(f"cannot read {self.path}: {error.strerror}") from None
        return status.st_ino, status.st_size, status.st_mtime_ns

    def read(self) -> None:
        """All anew. A last line that was cut off by a crash was never answered, and is left out."""
        self.entries, self.serial, self.text, self.damaged, self._end = {}, None, "", 0, 0
        self._seen = self._identity()
        try:
            content = self.path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise JournalFault(f"cannot read {self.path}: {error.strerror}") from None
        at = 0
        for line in content.split(b"\n")[:-1]:
            at += len(line) + 1
            step = _step(line)
            if step is None:
                self.damaged += 1
                continue
            self._take(step)
            self._end = at
        if self._end < at:
            self.damaged -= 1  # the last line: a file system may keep its length and lose what was in it

    def _take(self, step: Step) -> None:
        self.serial, self.text = step.serial, step.text
        for entry in step.sets:
            if entry.reset:
                self.entries.pop(entry.place, None)
            else:
                self.entries[entry.place] = entry

    def append(self, step: Step) -> None:
        """It is on the disk when this returns. Raises JournalFault; then the file is as it was."""
        line = _line(step)
        new = not self.path.exists()
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.ftruncate(descriptor, self._end)  # what a crash cut off would make this line unreadable too
                try:
                    _write(descriptor, line, self._end)
                    os.fsync(descriptor)
                except OSError:
                    os.ftruncate(descriptor, self._end)
                    raise
            finally:
                os.close(descriptor)
            if new:
                _sync_directory(self.path.parent)
        except OSError as error:
            raise JournalFault(f"cannot write {self.path}: {error.strerror}") from None
        self._end += len(line)
        self._take(step)
        self._seen = self._identity()
        if self._end > self._compact_at:
            self._compact()

    def _compact(self) -> None:
        """One line that says the same. A file that cannot be written anew is kept as it is."""
        assert self.serial is not None
        line = _line(Step(self.serial, self.text, tuple(self.entries.values())))
        self._compact_at = max(COMPACT, 2 * len(line))
        if self._end < self._compact_at:
            return
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        try:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                _write(descriptor, line, 0)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(beside, self.path)
            _sync_directory(self.path.parent)
        except OSError:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            return
        self._end = len(line)
        self._seen = self._identity()

    @contextlib.contextmanager
    def locked(self) -> Iterator[bool]:
        """Nobody else writes meanwhile; False when somebody does. Raises JournalFault."""
        path = self.path.with_name(f"{self.path.name}.lock")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise JournalFault(f"cannot write {path}: {error.strerror}") from None
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True
        finally:
            os.close(descriptor)


def _line(step: Step) -> bytes:
    text = _encode(step)
    return b"%08x %b\n" % (zlib.crc32(text), text)


def _step(line: bytes) -> Step | None:
    checksum, _, text = line.partition(b" ")
    try:
        if int(checksum, 16) != zlib.crc32(text):
            return None
        return _decode(text)
    except (ValueError, msgspec.MsgspecError):
        return None


def _write(descriptor: int, octets: bytes, at: int) -> None:
    view = memoryview(octets)
    while view:
        written = os.pwrite(descriptor, view, at)
        view, at = view[written:], at + written


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_name(zone: bytes) -> str:
    """Of a zone's journal, by its key: `shop.test.journal`; the root's is `@.journal`."""
    text = quote(to_text(zone).rstrip("."), safe="") or "@"
    if len(text) > _LONGEST_NAME:
        text = hashlib.sha256(zone).hexdigest()
    return f"{text}.journal"


def fingerprint(rrsets: Iterator[RRset] | Sequence[RRset]) -> str:
    """Of what RRsets say, in their order; the serial of a SOA is no part of it."""
    digest = hashlib.blake2b(digest_size=16)
    for rrset in rrsets:
        digest.update(rrset.owner.lower() + rrset.type.to_bytes(2, "big") + rrset.ttl.to_bytes(4, "big"))
        for rdata in rrset.rdatas:
            if rrset.type == types.SOA:
                rdata = rdata[:-20] + rdata[-16:]
            digest.update(len(rdata).to_bytes(2, "big") + rdata)
    return digest.hexdigest()
