"""The files that a zone is read from, and what was in them."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path


class CannotRead(Exception):
    """A file; the message says which, and why."""


@dataclass
class Sources:
    """Every file of a zone as it was when it was read: digest by path; empty for one that could not be read."""

    digests: dict[str, bytes] = field(default_factory=dict)

    def read(self, path: str) -> str:
        """Octets that are not UTF-8 become surrogates. Raises CannotRead."""
        self.digests[path] = b""
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise CannotRead(f"{path}: it is no file")
            raw = Path(path).read_bytes()
        except OSError as error:
            raise CannotRead(f"{path}: {error.strerror}") from None
        self.digests[path] = blake2b(raw, digest_size=32).digest()
        return raw.decode("utf-8", "surrogateescape")


def content(path: str) -> bytes:
    """Digest of what a file has in it now; empty if it cannot be read."""
    try:
        if stat.S_ISREG(os.stat(path).st_mode):
            return blake2b(Path(path).read_bytes(), digest_size=32).digest()
    except OSError:
        pass
    return b""


Look = tuple[str, int, int, int]


def look(path: str) -> Look:
    """What a file looks like: path, time, inode, size; one that is not there has nothing but its name."""
    try:
        found = os.stat(path)
    except OSError:
        return path, 0, 0, 0
    return path, found.st_mtime_ns, found.st_ino, found.st_size
