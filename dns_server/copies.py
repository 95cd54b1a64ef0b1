"""The last version of each secondary zone, on disk: a server that starts again answers before its primary does."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from urllib.parse import quote

from dns_server import compiled
from dns_server.rules.names import to_text
from dns_server.rules.zone import Zone


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
        """`checked`: Unix time. Raises OSError. Takes a second for a million records."""
        path = self.path(zone.key)
        compiled.save(path, zone, {}, ())
        os.utime(path, (checked, checked))

    def touch(self, key: bytes, checked: float) -> None:
        """The primary said that it still holds. A copy that cannot be touched is believed for less long."""
        with contextlib.suppress(OSError):
            os.utime(self.path(key), (checked, checked))

    def load(self, origin: bytes) -> tuple[Zone, float] | None:
        """The zone and when it was checked; None when there is none, or it is no copy of that zone as we write it."""
        path = self.path(origin.lower())
        try:
            checked = path.stat().st_mtime
        except OSError:
            return None
        found = compiled.load(path, origin)
        return (found.zone(), checked) if found is not None else None

    def drop(self, key: bytes) -> None:
        self.path(key).unlink(missing_ok=True)
