"""Content on disk: one file for each different content, named by its hash. All of it blocks: it is for threads."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Final

from cdn_edge.disk_record import Torn

BLOCK: Final = 4096
"""What a file takes is counted in blocks of the usual size."""
_DIGEST: Final = 32


def digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=_DIGEST).digest()


def taken(length: int) -> int:
    """Bytes of disk that a file of this length takes."""
    return -(-length // BLOCK) * BLOCK


class Gone(Exception):
    """There is no such file (any more)."""


class Files:
    """`content/ab/abcd...`, and `coming/` for what is not whole yet.

    A file is written beside, then renamed: under its name it is whole, whenever this process ends. There is no fsync:
    after a power failure it may be short or empty, which its length and hash tell when it is read.
    """

    def __init__(self, directory: Path) -> None:
        self._content = os.fspath(directory / "content")
        self._coming = os.fspath(directory / "coming")
        self._count = 0

    def prepare(self) -> None:
        """Directories; what was coming when the last process ended goes. OSError."""
        for directory in (self._content, self._coming):
            os.makedirs(directory, mode=0o700, exist_ok=True)
        with os.scandir(self._coming) as left:
            for entry in left:
                os.unlink(entry.path)

    def path(self, name: bytes) -> str:
        text = name.hex()
        return f"{self._content}/{text[:2]}/{text}"

    def write(self, name: bytes, content: bytes) -> None:
        """OSError, with nothing left behind."""
        self._count += 1
        coming = f"{self._coming}/{self._count}"
        try:
            descriptor = self._create(coming)
            try:
                left = memoryview(content)
                while left:
                    left = left[os.write(descriptor, left) :]
            finally:
                os.close(descriptor)
            target = self.path(name)
            try:
                os.rename(coming, target)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(target), 0o700, exist_ok=True)
                os.rename(coming, target)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(coming)
            raise

    def _create(self, path: str) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            return os.open(path, flags, 0o600)
        except FileNotFoundError:  # somebody has cleared up
            os.makedirs(self._coming, 0o700, exist_ok=True)
            return os.open(path, flags, 0o600)

    def read(self, name: bytes, length: int) -> bytes:
        """All of it, compared with its name. Raises Gone, Torn, OSError."""
        try:
            descriptor = os.open(self.path(name), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise Gone from None
        with open(descriptor, "rb", buffering=0) as file:
            if os.fstat(descriptor).st_size != length:
                raise Torn("a content is not as long as it was written")
            content = file.read(length) or b""
            while len(content) < length and (more := file.read(length - len(content))):
                content += more
        if digest(content) != name:
            raise Torn("a content is not what was written")
        return content

    def remove(self, name: bytes) -> None:
        """OSError, but for what is gone already."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(name))

    def shards(self) -> list[str]:
        with os.scandir(self._content) as found:
            return [entry.path for entry in found if entry.is_dir(follow_symlinks=False)]

    def names(self, shard: str) -> Iterator[tuple[str, bytes | None]]:
        """Paths in one shard; None for what is no name of ours."""
        with os.scandir(shard) as found:
            for entry in found:
                try:
                    name = bytes.fromhex(entry.name)
                except ValueError:
                    name = b""
                yield entry.path, name if len(name) == _DIGEST else None

    def aside(self, name: str) -> str:
        """All content out of the way at once, to be removed later; where it is now."""
        target = f"{self._content}.{name}"
        os.rename(self._content, target)
        return target
