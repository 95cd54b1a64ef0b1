"""The index of the disk tier: which response has which head and which content, in SQLite. All of it blocks.

One connection writes (`Index`), and each thread that looks up has one of its own (`Rows`): with a write-ahead log they
do not wait for each other.
"""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cdn_edge.disk_files import taken
from cdn_edge.disk_record import VERSION, names_of, place
from cdn_edge.rules.vary import Names, Selection

FILE: Final = "index.sqlite"
_APPLICATION: Final = 0x686F7073
"""In the file's header: ours."""
_PIECE: Final = 2000
_VARIES: Final = 32
"""Different sets of Vary names under one key that are looked at."""
_SCHEMA: Final = """
CREATE TABLE made_with (options BLOB NOT NULL);
CREATE TABLE contents (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, length INTEGER NOT NULL, rows INTEGER NOT NULL);
CREATE TABLE objects (
  id INTEGER PRIMARY KEY, key BLOB NOT NULL, names BLOB NOT NULL, place BLOB NOT NULL, used INTEGER NOT NULL,
  content INTEGER, head BLOB NOT NULL, stamp BLOB, belongs BLOB
);
CREATE UNIQUE INDEX objects_place ON objects (key, names, place);
CREATE INDEX objects_used ON objects (used, id);
CREATE INDEX objects_content ON objects (content) WHERE content IS NOT NULL;
CREATE INDEX objects_belongs ON objects (belongs, used) WHERE belongs IS NOT NULL;
"""  # noqa: E501
_UPGRADE: Final = """
ALTER TABLE objects ADD COLUMN stamp BLOB;
ALTER TABLE objects ADD COLUMN belongs BLOB;
CREATE INDEX objects_belongs ON objects (belongs, used) WHERE belongs IS NOT NULL;
"""
"""From version 1, which knew no pieces. `stamp` is that of a head with pieces, `belongs` that of a piece's head."""
_ROW: Final = (
    "SELECT o.id, o.head, coalesce(c.digest, x''), coalesce(c.length, 0) FROM objects o "
    "LEFT JOIN contents c ON c.id = o.content WHERE o.key=? AND o.names=? AND o.place=?"
)
_FIRST: Final = "SELECT names FROM objects WHERE key=? ORDER BY names LIMIT 1"
_NEXT: Final = "SELECT names FROM objects WHERE key=? AND names>? ORDER BY names LIMIT 1"
_ALL: Final = "DELETE FROM objects WHERE key=? RETURNING names, place, content, stamp"
_ONE: Final = "DELETE FROM objects WHERE key=? AND names=? AND place=? RETURNING names, place, content, stamp"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class Newer(Exception):
    """Written by another version of hopstack, or by something else altogether: left as it is."""


class Moved(OSError):
    """The directory is not the one that was opened: somebody has removed it, or put another in its place."""


def is_full(error: Exception) -> bool:
    """Whether no room on the disk is what went wrong."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    return isinstance(error, sqlite3.Error) and _code(error) == sqlite3.SQLITE_FULL


def is_damaged(error: Exception) -> bool:
    """Whether the index itself cannot be read any more, or is not there."""
    return isinstance(error, Moved) or (isinstance(error, sqlite3.DatabaseError) and _code(error) in _DAMAGED)


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


@dataclass(frozen=True, slots=True)
class Row:
    id: int
    head: bytes
    content: bytes
    """Hash; empty without content."""
    length: int


@dataclass(frozen=True, slots=True)
class Entry:
    """What is written for one response."""

    key: bytes
    names: bytes
    place: bytes
    head: bytes
    content: bytes
    length: int
    stamp: bytes | None = None
    """Of the head of pieces."""
    belongs: bytes | None = None
    """Of a piece: the stamp of its head."""


@dataclass(frozen=True, slots=True)
class Old:
    """What was used longest ago."""

    id: int
    key: bytes
    length: int
    """Of its content."""


class Rows:
    """Looking up. Own connection: for one thread."""

    def __init__(self, directory: Path) -> None:
        uri = f"{(directory / FILE).absolute().as_uri()}?mode=ro"
        self._db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=16)
        self._db.execute("PRAGMA busy_timeout=1000")

    def close(self) -> None:
        self._db.close()

    def find(self, key: bytes, select: Callable[[Names], Selection]) -> tuple[list[Row], bool]:
        """What the request selects, and whether anything is there under the key at all. Raises Torn."""
        found, known, last = [], False, None
        for _ in range(_VARIES):
            some = self._db.execute(*((_FIRST, (key,)) if last is None else (_NEXT, (key, last)))).fetchall()
            if not some:
                break
            known, last = True, some[0][0]
            names = names_of(last)
            found += self._db.execute(_ROW, (key, *place(names, select(names)))).fetchall()
        return [Row(*row) for row in found], known

    def at(self, key: bytes, names: Names, selection: Selection) -> Row | None:
        """What lies in one place."""
        row = self._db.execute(_ROW, (key, *place(names, selection))).fetchone()
        return None if row is None else Row(*row)


class Index:
    """Writing. One thread at a time; raises sqlite3.Error, after which nothing of a change has happened."""

    def __init__(self, directory: Path, options: bytes) -> None:
        """Raises Newer, sqlite3.Error. `options` are written into a new one."""
        self.emptied: list[bytes] = []
        """Keys of pieces that went with their head, under which nothing is left; the reader clears it."""
        self.path = directory / FILE
        self._log = Path(f"{self.path}-wal")
        self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(options)
            self.options = bytes(self._db.execute("SELECT options FROM made_with").fetchone()[0])
            """With which it was made."""
        except BaseException:
            self._db.close()
            raise

    def _prepare(self, options: bytes) -> None:
        run = self._db.execute
        version, application = self._number("user_version"), self._number("application_id")
        if (version, application) == (0, 0) and not self._number("schema_version"):
            run("PRAGMA auto_vacuum=INCREMENTAL")
            run("PRAGMA journal_mode=WAL")
            run("BEGIN IMMEDIATE")
            for statement in filter(str.strip, _SCHEMA.split(";")):
                run(statement)
            run("INSERT INTO made_with VALUES (?)", (options,))
            run(f"PRAGMA application_id={_APPLICATION}")
            run(f"PRAGMA user_version={VERSION}")
            run("COMMIT")
            self.path.chmod(0o600)
        elif (version, application) == (1, _APPLICATION):
            run("BEGIN IMMEDIATE")
            for statement in filter(str.strip, _UPGRADE.split(";")):
                run(statement)
            run(f"PRAGMA user_version={VERSION}")
            run("COMMIT")
        elif (version, application) != (VERSION, _APPLICATION):
            raise Newer(f"its index is of version {version}, and this hopstack reads {VERSION}")
        run("PRAGMA journal_mode=WAL")
        run("PRAGMA synchronous=NORMAL")
        run("PRAGMA journal_size_limit=4194304")
        run("PRAGMA cache_size=-4096")

    def _number(self, pragma: str) -> int:
        return int(self._db.execute(f"PRAGMA {pragma}").fetchone()[0])

    def close(self) -> None:
        self._db.close()

    @contextlib.contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
            self._db.execute("COMMIT")
        except BaseException:
            self.emptied.clear()
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    # What is there.

    def every_key(self) -> Iterator[list[bytes]]:
        """All keys, piece by piece, some of them more than once."""
        cursor = self._db.execute("SELECT key FROM objects")
        while piece := cursor.fetchmany(_PIECE):
            yield [row[0] for row in piece]

    def totals(self) -> tuple[int, int]:
        """Objects, and bytes that their content takes on disk."""
        objects = self._db.execute("SELECT count(*) FROM objects").fetchone()[0]
        sizes = "SELECT coalesce(sum((length + :block - 1) / :block * :block), 0) FROM contents"
        return int(objects), int(self._db.execute(sizes, {"block": taken(1)}).fetchone()[0])

    @property
    def taken(self) -> int:
        """What the index itself takes on disk."""
        size = self._number("page_count") * self._number("page_size")
        with contextlib.suppress(OSError):
            size += self._log.stat().st_size
        return size

    def length(self, content: bytes) -> int | None:
        """Of a content that is there."""
        row = self._db.execute("SELECT length FROM contents WHERE digest=?", (content,)).fetchone()
        return None if row is None else int(row[0])

    # Changes. Those that take something out return the hashes of content that nothing refers to any more, with lengths:
    # its files may go once the change is committed, so that no row is ever without its file.

    def put(self, entries: Sequence[Entry], used: int) -> tuple[int, list[tuple[bytes, int]]]:
        """In place of what was there. By how many there are more now."""
        more, loose = 0, []
        with self._change() as db:
            for entry in entries:
                at = (entry.key, entry.names, entry.place)
                old = db.execute(
                    "SELECT id, content, stamp FROM objects WHERE key=? AND names=? AND place=?", at
                ).fetchone()
                content = self._refer(entry) if entry.content else None
                if old is None:
                    more += 1
                    db.execute(
                        "INSERT INTO objects (key, names, place, used, content, head, stamp, belongs) "
                        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                        (*at, used, content, entry.head, entry.stamp, entry.belongs),
                    )
                else:
                    values = (used, content, entry.head, entry.stamp, entry.belongs, old[0])
                    db.execute("UPDATE objects SET used=?, content=?, head=?, stamp=?, belongs=? WHERE id=?", values)
                    loose += self._release(old[1])
                    if old[2] != entry.stamp:
                        more -= self._without_head(old[2], loose)
        return more, loose

    def _without_head(self, stamp: bytes | None, loose: list[tuple[bytes, int]]) -> int:
        """Pieces go with their head. How many."""
        if stamp is None:
            return 0
        rows = self._db.execute("DELETE FROM objects WHERE belongs=? RETURNING key, content", (stamp,)).fetchall()
        for key, content in rows:
            loose += self._release(content)
            if self._is_empty(key):
                self.emptied.append(key)
        return len(rows)

    def _is_empty(self, key: bytes) -> bool:
        return self._db.execute("SELECT 1 FROM objects WHERE key=? LIMIT 1", (key,)).fetchone() is None

    def stamp(self, key: bytes, names: bytes, at: bytes) -> bytes | None:
        """Of the head that lies there."""
        row = self._db.execute("SELECT stamp FROM objects WHERE key=? AND names=? AND place=?", (key, names, at))
        found = row.fetchone()
        return None if found is None else found[0]

    def _refer(self, entry: Entry) -> int:
        self._db.execute(
            "INSERT INTO contents (digest, length, rows) VALUES (?, ?, 1) "
            "ON CONFLICT (digest) DO UPDATE SET rows = rows + 1",
            (entry.content, entry.length),
        )
        return int(self._db.execute("SELECT id FROM contents WHERE digest=?", (entry.content,)).fetchone()[0])

    def _release(self, content: int | None) -> list[tuple[bytes, int]]:
        if content is None:
            return []
        self._db.execute("UPDATE contents SET rows = rows - 1 WHERE id=?", (content,))
        return self._db.execute(
            "DELETE FROM contents WHERE id=? AND rows <= 0 RETURNING digest, length", (content,)
        ).fetchall()

    def forget(
        self, wanted: Iterable[tuple[bytes, tuple[bytes, bytes] | None]]
    ) -> tuple[list[list[tuple[bytes, bytes]]], int, list[tuple[bytes, int]]]:
        """Take out all under a key, or what is at one place there, with its pieces. For each what was there, and how
        many pieces.

        Who asks for this may be told that it is done, so it outlasts a power failure too: synchronous=FULL.
        """
        gone, pieces = [], 0
        loose: list[tuple[bytes, int]] = []
        self._db.execute("PRAGMA synchronous=FULL")
        try:
            with self._change() as db:
                for key, at in wanted:
                    rows = db.execute(*((_ALL, (key,)) if at is None else (_ONE, (key, *at)))).fetchall()
                    gone.append([(row[0], row[1]) for row in rows])
                    for row in rows:
                        loose += self._release(row[2])
                        pieces += self._without_head(row[3], loose)
        finally:
            self._db.execute("PRAGMA synchronous=NORMAL")
        return gone, pieces, loose

    def under(self, key: bytes) -> list[tuple[bytes, bytes, bytes | None]]:
        """Names, place and the hash of the content, if there is any, of all under a key."""
        return self._db.execute(
            "SELECT o.names, o.place, c.digest FROM objects o LEFT JOIN contents c ON c.id = o.content WHERE o.key=?",
            (key,),
        ).fetchall()

    def oldest(self, most: int) -> list[Old]:
        self._after_their_pieces(most)
        rows = self._db.execute(
            "SELECT o.id, o.key, coalesce(c.length, 0) FROM objects o LEFT JOIN contents c ON c.id = o.content "
            "ORDER BY o.used, o.id LIMIT ?",
            (most,),
        ).fetchall()
        return [Old(*row) for row in rows]

    def _after_their_pieces(self, most: int) -> None:
        """Heads among the oldest count as used a second after the latest of their pieces: they go last."""
        found = self._db.execute(
            "SELECT id, (SELECT max(p.used) + 1 FROM objects p WHERE p.belongs = o.stamp) AS after FROM "
            "(SELECT id, stamp, used FROM objects ORDER BY used, id LIMIT ?) o WHERE o.stamp IS NOT NULL "
            "AND after > o.used",
            (most,),
        ).fetchall()
        if found:
            with self._change() as db:
                db.executemany("UPDATE objects SET used=? WHERE id=?", [(after, number) for number, after in found])

    def used(self, ids: Iterable[int], at: int) -> None:
        with self._change() as db:
            db.executemany("UPDATE objects SET used=? WHERE id=?", [(at, number) for number in ids])

    def touch(self, places: Iterable[tuple[bytes, bytes, bytes]], at: int) -> None:
        """The same by key and place."""
        with self._change() as db:
            db.executemany(
                "UPDATE objects SET used=? WHERE key=? AND names=? AND place=?", [(at, *each) for each in places]
            )

    def remove(self, ids: Iterable[int]) -> tuple[int, list[bytes], list[tuple[bytes, int]]]:
        """How many were there, and the keys under which nothing is left."""
        keys: list[bytes] = []
        loose: list[tuple[bytes, int]] = []
        pieces = 0
        with self._change() as db:
            for number in ids:
                rows = db.execute("DELETE FROM objects WHERE id=? RETURNING key, content, stamp", (number,)).fetchall()
                for row in rows:
                    keys.append(row[0])
                    loose += self._release(row[1])
                    pieces += self._without_head(row[2], loose)
            empty = [key for key in dict.fromkeys(keys) if self._is_empty(key)]
        return len(keys) + pieces, empty, loose

    def with_content(self, content: bytes) -> list[int]:
        """Rows that refer to it."""
        rows = self._db.execute(
            "SELECT o.id FROM objects o JOIN contents c ON c.id = o.content WHERE c.digest=?", (content,)
        ).fetchall()
        return [row[0] for row in rows]

    def shrink(self) -> None:
        """Pages that have become free go back to the file system, some at a time."""
        if self._number("freelist_count"):
            self._db.execute("PRAGMA incremental_vacuum(500)").fetchall()
