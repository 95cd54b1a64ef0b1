"""Files and index of one directory together. What blocks of the disk tier: `Shelf` is for one thread, that of writing;
`Reading` is for the threads that look up.

Order makes it safe against an end at any moment. A file is whole before the row that names it is committed, and the row
is gone before its file is: so a row has its file, and what is left over is a file without a row, which `sweep` removes.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cdn_edge.disk_files import Files, Gone, digest, taken
from cdn_edge.disk_index import FILE, Entry, Index, Moved, Newer, Old, Row, Rows
from cdn_edge.disk_record import Times, Torn, check_piece, pack, place, unpack
from cdn_edge.parts import Lying, Piece
from cdn_edge.rules.vary import Names, Selection
from cdn_edge.stored import Stored
from stack.errors import ConfigError
from stack.http.ranges import Range

_LOCK: Final = "lock"
_LARGE: Final = 1024 * 1024
"""Content longer than this is read by one thread at a time."""

Place = tuple[bytes, bytes]
Wanted = tuple[bytes, tuple[Names, Selection] | None]
"""All under a key, or what is stored there for one selection."""


class Busy(Exception):
    """Another process has the directory."""


@dataclass(slots=True)
class Written:
    """What came of a batch."""

    written: int = 0
    same: int = 0
    """Of those, how many found their content there already."""
    refused: list[Stored] = field(default_factory=list)
    """Could not be written."""
    error: Exception | None = None
    loose: list[bytes] = field(default_factory=list)
    """Keys of pieces whose head has gone meanwhile."""


class Shelf:
    def __init__(self, directory: Path, options: bytes = b"") -> None:
        """`options`: with which what is there was stored. With others it is not used, but begun anew."""
        self.directory = directory
        self._options = options
        self.objects = 0
        self._content = 0
        self._files = Files(directory)
        self._index: Index | None = None
        self._lock: int | None = None
        self._opened: list[int] = []
        """Inodes of lock and index."""
        self.trouble: Exception | None = None
        """What went wrong and could be helped, to be told."""
        self._old: list[str] = []
        """Directories that are out of use, to be removed."""

    @property
    def index(self) -> Index:
        if self._index is None:
            raise sqlite3.OperationalError("the index is closed")
        return self._index

    @property
    def taken(self) -> int:
        """On disk: content and index."""
        return self._content + self.index.taken

    # Opening and closing.

    def open(self) -> str:
        """Returns what is to be told about it, if anything. Raises ConfigError, Busy, Newer, OSError, sqlite3.Error."""
        self._claim()
        try:
            return self._open()
        except BaseException:
            self.close()
            raise

    def _claim(self) -> None:
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self.directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(
                f"--cache-disk: {self.directory} cannot be used: {error.strerror}; name a directory that can be written"
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._lock, 20, 0).decode("ascii", "replace").strip()
            os.close(self._lock)
            self._lock = None
            raise Busy(f"{self.directory} is in use by process {holder or 'unknown'}") from None
        with contextlib.suppress(OSError):  # a full disk; it is for people only
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, b"%d\n" % os.getpid(), 0)

    def _open(self) -> str:
        try:
            self._files.prepare()
        except OSError as error:
            raise ConfigError(
                f"--cache-disk: {self.directory} cannot be written: {error.strerror}; name another directory"
            ) from None
        try:
            self._index = Index(self.directory, self._options)
            self._index.oldest(1)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            self.begin_anew()
            return f"the index of {self.directory} is damaged ({error}): what was there is thrown away"
        if self._index.options != self._options:
            self.begin_anew()
            return f"{self.directory} was written with other options of [cache]: what was there is thrown away"
        self._opened = self._inodes()
        return ""

    def _inodes(self) -> list[int]:
        try:
            return [os.stat(self.directory / name).st_ino for name in (_LOCK, FILE)]
        except FileNotFoundError:
            return []

    def check(self) -> None:
        """Raises Moved: an open file that has no name any more is written to without any error."""
        if self._inodes() != self._opened:
            raise Moved("the directory was removed or replaced")

    def begin_anew(self) -> None:
        """Throw all away that is there. ConfigError, Busy, OSError, sqlite3.Error."""
        if self._index is not None:
            self._index.close()
            self._index = None
        if self._opened and self._inodes()[:1] != self._opened[:1]:
            self.close()  # what is locked is not there any more
            self._claim()
        for ending in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.directory / f"{FILE}{ending}")
        names = (f"old-{number}" for number in itertools.count())
        with contextlib.suppress(FileNotFoundError):
            self._files.aside(next(name for name in names if not (self.directory / f"content.{name}").exists()))
        self._files.prepare()
        self._index = Index(self.directory, self._options)
        self._opened = self._inodes()
        self.objects = self._content = 0

    def close(self) -> None:
        if self._index is not None:
            with contextlib.suppress(sqlite3.Error):
                self._index.close()
            self._index = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def load(self) -> set[int]:
        """Hashes of all keys; the totals with them."""
        known: set[int] = set()
        for keys in self.index.every_key():
            known.update(map(hash, keys))
        self.objects, self._content = self.index.totals()
        return known

    # Changing.

    def write(self, batch: Sequence[Stored], times: Times, now: float) -> Written:
        """Raises what the index raises; what fails for one response only is in the result."""
        self.check()
        result = Written()
        entries: list[Entry] = []
        made: dict[bytes, int] = {}
        for stored in batch:
            lying = None if stored.parts is None else stored.parts.lying
            if isinstance(stored, Piece) and not self._has_head(lying, entries):
                result.loose.append(stored.key)
                continue
            body = stored.body
            name = digest(body) if body else b""
            try:
                if body and name not in made:
                    if self.index.length(name) is None:
                        self._files.write(name, body)
                        made[name] = len(body)
                    else:
                        result.same += 1
            except OSError as error:
                result.error = error
                result.refused.append(stored)
                continue
            names, at = place(stored.names, stored.selection)
            head = pack(stored, name, times, now)
            stamp = None if lying is None else lying.stamp
            own, of = (None, stamp) if isinstance(stored, Piece) else (stamp, None)
            entries.append(Entry(stored.key, names, at, head, name, len(body), own, of))
        try:
            more, loose = self.index.put(entries, int(now))
        except sqlite3.Error:
            for name in made:
                with contextlib.suppress(OSError):
                    self._files.remove(name)
            raise
        self.objects += more
        self._content += sum(map(taken, made.values()))
        self._remove(loose)
        result.written = len(entries)
        return result

    def _has_head(self, lying: Lying | None, coming: Iterable[Entry]) -> bool:
        """Whether a piece has its head there, or just before it in the same batch: else nothing would find it."""
        if lying is None:
            return False
        at = (lying.key, *place(lying.names, lying.selection))
        for entry in coming:
            if (entry.key, entry.names, entry.place) == at:
                return entry.stamp == lying.stamp
        return self.index.stamp(*at) == lying.stamp

    def forget(self, wanted: Iterable[Wanted]) -> list[list[Place]]:
        """What was there of each. When it returns it is gone for good; OSError, sqlite3.Error when it may not be."""
        self.check()
        places = [(key, None if at is None else place(*at)) for key, at in wanted]
        try:
            gone, pieces, loose = self.index.forget(places)
        except sqlite3.Error as error:
            self.trouble = error
            return self._without_content(places, error)
        self.objects -= sum(map(len, gone)) + pieces
        self._remove(loose)
        return gone

    def _without_content(self, wanted: Iterable[tuple[bytes, Place | None]], error: sqlite3.Error) -> list[list[Place]]:
        """Where the index cannot be written, for want of room: a row whose file is gone answers nothing, ever again."""
        gone: list[list[Place]] = []
        lasting = False
        for key, at in wanted:
            rows = [row for row in self.index.under(key) if at is None or row[:2] == at]
            for _, _, content in rows:
                lasting |= content is None
                if content is not None:
                    self._files.remove(content)
            gone.append([(row[0], row[1]) for row in rows])
        if lasting:
            raise error
        return gone

    def touch(self, identities: Iterable[tuple[bytes, Names, Selection]], now: float) -> None:
        """They were in use until now."""
        self.index.touch([(key, *place(names, selection)) for key, names, selection in identities], int(now))

    def remove(self, ids: Iterable[int]) -> list[bytes]:
        """Keys under which nothing is left."""
        count, keys, loose = self.index.remove(ids)
        self.objects -= count
        self._remove(loose)
        return keys

    def oldest(self, most: int) -> list[Old]:
        """What was used longest ago."""
        return self.index.oldest(most)

    def used(self, ids: Iterable[int], now: float) -> None:
        self.index.used(ids, int(now))

    def shrink(self) -> None:
        self.index.shrink()

    def discard(self, row: int, content: bytes) -> list[bytes]:
        """Something is wrong with a row or its content: neither is of use to anybody. Keys without anything now."""
        # by content where there is one: the row may have been replaced since
        keys = self.remove(self.index.with_content(content) if content else [row])
        if content:
            self._files.remove(content)
        return keys

    def _remove(self, loose: Iterable[tuple[bytes, int]]) -> None:
        for name, length in loose:
            self._content -= taken(length)
            with contextlib.suppress(OSError):  # `sweep` will find it
                self._files.remove(name)

    # What is left over of an end without warning.

    def shards(self) -> list[str]:
        self._old = [str(path) for path in self.directory.glob("content.*")]
        return self._files.shards()

    def sweep(self, shard: str) -> int:
        """Remove what no row refers to. How many."""
        count = 0
        for path, name in list(self._files.names(shard)):
            if name is None or self.index.length(name) is None:
                with contextlib.suppress(OSError):
                    os.unlink(path)
                    count += 1
        return count

    def sweep_old(self) -> None:
        for path in self._old:
            shutil.rmtree(path, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Found:
    """What looking up came to: `word` is of the step `disk`."""

    word: str
    stored: Stored | None = None
    known: bool = True
    """Whether anything is there under the key."""
    broken: tuple[int, bytes] | None = None
    """A row that is of no use, and its content."""
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class FoundPiece:
    """The same for a piece."""

    word: str
    body: bytes | None = None
    broken: tuple[int, bytes] | None = None
    error: Exception | None = None


class Reading:
    """Looking up and reading, by as many threads as there are."""

    def __init__(self, directory: Path, times: Times) -> None:
        self._directory, self._times = directory, times
        self._files = Files(directory)
        self._own = threading.local()
        self._all: list[Rows] = []
        self._large = threading.Lock()

    def find(self, key: bytes, select: Callable[[Names], Selection], now: float) -> Found:
        """`now` is Unix seconds. Never raises."""
        try:
            for _ in range(3):  # it may be replaced between its row and its file
                found = self._find(key, select, now)
                if found.word != "gone":
                    break
        except (OSError, sqlite3.Error, Torn) as error:
            return Found("failed", error=error)
        return found

    def _find(self, key: bytes, select: Callable[[Names], Selection], now: float) -> Found:
        rows, known = self._rows().find(key, select)
        best: Found | None = None
        for row in rows:
            found = self._read(key, row, now)
            if found.stored is None:
                return found
            # of several that match the latest is used (RFC 9111 §4.1)
            if best is None or best.stored is None or found.stored.date >= best.stored.date:
                best = found
        return best or Found("none", known=known)

    def piece(self, lying: Lying, key: bytes, span: Range, length: int, tag: bytes) -> FoundPiece:
        """These bytes of what lies there, if they do. Never raises."""
        try:
            for _ in range(3):
                row = self._rows().at(key, lying.names, lying.selection)
                if row is None:
                    break
                try:
                    if not check_piece(key, row.head, row.content, lying.stamp, span, length, tag):
                        break
                    if row.length != len(span):
                        raise Torn("a piece is not as long as it says")
                    return FoundPiece("read", self._body(row))
                except Gone:
                    found = FoundPiece("gone", broken=(row.id, row.content))
                except Torn as error:
                    return FoundPiece("torn", broken=(row.id, row.content), error=error)
            else:
                return found
        except (OSError, sqlite3.Error, Torn) as error:
            return FoundPiece("failed", error=error)
        return FoundPiece("none")

    def _body(self, row: Row) -> bytes:
        if not row.content:
            return b""
        if row.length > _LARGE:
            with self._large:
                return self._files.read(row.content, row.length)
        return self._files.read(row.content, row.length)

    def _read(self, key: bytes, row: Row, now: float) -> Found:
        try:
            return Found("read", unpack(key, row.head, self._body(row), row.content, self._times, now))
        except Gone:
            return Found("gone", broken=(row.id, row.content))
        except Torn as error:
            return Found("torn", broken=(row.id, row.content), error=error)

    def _rows(self) -> Rows:
        rows: Rows | None = getattr(self._own, "rows", None)
        if rows is None:
            rows = self._own.rows = Rows(self._directory)
            self._all.append(rows)
        return rows

    def close(self) -> None:
        """When no thread reads any more."""
        for rows in self._all:
            rows.close()
        self._all.clear()
        self._own = threading.local()


__all__ = ["Busy", "Found", "FoundPiece", "Newer", "Place", "Reading", "Shelf", "Written"]
