"""The secret behind session tickets: shared by the workers of a hop, kept over a restart, and renewed twice a day.

A ticket holds the keys of its session, sealed. Who has the secret can read TLS 1.2 sessions that were resumed with it,
so it lives for LIFETIME seconds and is then overwritten (RFC 5077 §5.5). docs/decisions/102.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from pathlib import Path
from typing import Final

LIFETIME: Final = 12 * 3600.0
SIZE: Final = 48
_HEAD: Final = struct.Struct("!d")


class TicketSecret:
    """In a file that only its owner reads; where none can be written, of this process alone."""

    def __init__(self, path: Path, lifetime: float = LIFETIME) -> None:
        self._path = path
        self._lifetime = lifetime
        self._own = b""
        self._made = float("-inf")

    def current(self, now: float) -> bytes:
        """At Unix time `now`. Another process may have renewed it: ask often. Never raises."""
        try:
            return self._shared(now)
        except OSError:
            if not self._fresh(self._made, now):
                self._own, self._made = os.urandom(SIZE), now
            return self._own

    def _shared(self, now: float) -> bytes:
        found = self._read(now)
        if found is not None:
            return found
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = self._read(now)  # another process may have been first
            return self._make(now) if found is None else found
        finally:
            os.close(lock)

    def _read(self, now: float) -> bytes | None:
        """None: there is none, it is too old, or others could have read it."""
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        with open(fd, "rb") as file:
            known = os.fstat(fd)
            data = file.read(_HEAD.size + SIZE + 1)
        if known.st_mode & 0o077 or known.st_uid != os.geteuid() or len(data) != _HEAD.size + SIZE:
            return None
        return data[_HEAD.size :] if self._fresh(_HEAD.unpack_from(data)[0], now) else None

    def _make(self, now: float) -> bytes:
        secret = os.urandom(SIZE)
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            file.write(_HEAD.pack(now) + secret)
        temporary.replace(self._path)
        return secret

    def _fresh(self, made: float, now: float) -> bool:
        return -60 < now - made < self._lifetime  # a clock that was set back makes no secret immortal
