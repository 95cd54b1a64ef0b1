"""The last version of each secondary zone, on disk: a server that starts again answers before its primary does."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from struct import error as StructError
from typing import Final
from urllib.parse import quote

from dns_server.rules.names import to_text
from dns_server.rules.zone import Record, Zone, compile_zone

_MAGIC: Final = b"hopstack zone 1\n"
_RECORD: Final = Struct(">BHIH")
_SUM: Final = 32


class Copies:
    """A file a zone. Its time of modification is when the primary last said that it holds.

    Written beside and renamed, so that there is always a whole one; only the server's user may read them.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, key: bytes) -> Path:
        name = quote(to_text(key).rstrip("."), safe="")
        if not name:
            name = "@"  # the root
        elif len(name) > 200:
            name = hashlib.sha256(key).hexdigest()
        return self._directory / f"{name}.copy"

    def save(self, zone: Zone, checked: float) -> None:
        """`checked`: Unix time. Raises OSError. Takes seconds for a large zone."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.path(zone.key)
        beside = path.with_suffix(f".{os.getpid()}")
        summed = hashlib.sha256()
        try:
            with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                for chunk in _chunks(zone):
                    summed.update(chunk)
                    file.write(chunk)
                file.write(summed.digest())
                file.flush()
                os.fsync(file.fileno())
            os.utime(beside, (checked, checked))
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)

    def touch(self, key: bytes, checked: float) -> None:
        """The primary said that it still holds."""
        with contextlib.suppress(FileNotFoundError):
            os.utime(self.path(key), (checked, checked))

    def load(self, origin: bytes) -> tuple[Zone, float] | None:
        """The zone and when it was checked; None when there is none, or it is no copy of that zone as we write it."""
        path = self.path(origin.lower())
        try:
            with path.open("rb") as file:
                checked = os.fstat(file.fileno()).st_mtime
                data = file.read()
        except OSError:
            return None
        body = data[:-_SUM]
        if not body.startswith(_MAGIC) or hashlib.sha256(body).digest() != data[-_SUM:]:
            return None
        try:
            zone, _ = compile_zone(origin, _records(body))
        except (StructError, IndexError):
            return None
        return (zone, checked) if zone is not None and zone.key == origin.lower() else None

    def drop(self, key: bytes) -> None:
        self.path(key).unlink(missing_ok=True)


def _chunks(zone: Zone) -> Iterator[bytes]:
    yield _MAGIC
    for rrset in zone.rrsets():
        yield b"".join(
            _RECORD.pack(len(rrset.owner), rrset.type, rrset.ttl, len(rdata)) + rrset.owner + rdata
            for rdata in rrset.rdatas
        )


def _records(body: bytes) -> Iterator[Record]:
    at, end, size = len(_MAGIC), len(body), _RECORD.size
    while at < end:
        owner, type, ttl, rdata = _RECORD.unpack_from(body, at)
        at += size
        yield Record(body[at : at + owner], type, ttl, body[at + owner : at + owner + rdata])
        at += owner + rdata
