"""Files beneath a root: opened without following a link, described by their descriptor, never by their name again.

Reading and opening block the loop. For files in the page cache that is microseconds, less than handing them to a
thread; a root on a network file system is not what this is for.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Sequence

from proxy.turn import next_turn
from stack.errors import HopError, ResponseIncomplete

CHUNK = 64 * 1024

_FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # O_NONBLOCK: a pipe does not hold us up
_DIRECTORY = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY
_NOT_THERE = frozenset(
    {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.ELOOP,  # a symbolic link: O_NOFOLLOW
        errno.EMLINK,  # the same on FreeBSD
        errno.EISDIR,
        errno.ENAMETOOLONG,
        errno.EACCES,
        errno.EPERM,
        errno.ENXIO,  # a socket
        errno.ENODEV,
        errno.EINVAL,
    }
)


class File:
    """An open regular file: size and modification time are those of what will be read. Close it."""

    __slots__ = ("_fd", "mtime_ns", "size")

    def __init__(self, fd: int, size: int, mtime_ns: int) -> None:
        self._fd = fd
        self.size = size
        self.mtime_ns = mtime_ns

    def read(self, start: int, length: int) -> bytes:
        """Exactly `length` bytes. Raises ResponseIncomplete when the file has become shorter meanwhile."""
        data = os.pread(self._fd, length, start)
        while len(data) < length:
            more = os.pread(self._fd, length - len(data), start + len(data))
            if not more:
                raise ResponseIncomplete(
                    "The file changed while it was read", private=f"{start}+{length} is past its end"
                )
            data += more
        return data

    @property
    def closed(self) -> bool:
        return self._fd < 0

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()


Part = bytes | tuple[int, int]
"""A piece of a body: bytes of its own, or (start, stop) of the file."""


class FileBody:
    """A `BodyStream` of parts of a file; owns the file. A file cut short meanwhile ends the response visibly."""

    __slots__ = ("_file", "_parts")

    def __init__(self, file: File, *parts: Part) -> None:
        self._file = file
        self._parts = deque(parts)

    def __aiter__(self) -> FileBody:
        return self

    async def __anext__(self) -> bytes:
        if not self._parts:
            self._file.close()
            raise StopAsyncIteration
        await next_turn()  # a client as fast as the disk must not have the loop for itself
        return self._next()

    def whole(self) -> bytes:
        """All of it at once; the file is closed. For small ones: head and content go out together."""
        try:
            data = b""
            while self._parts:
                data += self._next()
            return data
        finally:
            self._file.close()

    def _next(self) -> bytes:
        part = self._parts.popleft()
        if isinstance(part, bytes):
            return part
        start, stop = part
        if stop - start > CHUNK:
            self._parts.appendleft((start + CHUNK, stop))
            stop = start + CHUNK
        return self._file.read(start, stop - start)

    async def aclose(self) -> None:
        self._parts.clear()
        self._file.close()


def open_beneath(root: str, names: Sequence[str]) -> File | None:
    """The regular file at `names` below `root`, or None.

    One `openat` for each name, and none follows a symbolic link, so whatever is renamed or linked meanwhile, what is
    opened lies beneath the root. The root's own path may contain links (`current -> release-7`).
    """
    directory: int | None = None
    try:
        for depth, name in enumerate(names):
            flags = _FILE if depth == len(names) - 1 else _DIRECTORY
            path = name if depth else os.path.join(root, name)
            opened = os.open(path, flags, dir_fd=directory)
            if directory is not None:
                os.close(directory)
            directory = opened
    except OSError as error:
        if directory is not None:
            os.close(directory)
        if error.errno in _NOT_THERE:
            return None
        status = 503 if error.errno in (errno.EMFILE, errno.ENFILE) else 500
        raise HopError("The file cannot be read now", status=status, private=str(error)) from None
    if directory is None:
        return None
    found = os.fstat(directory)
    file = File(directory, found.st_size, found.st_mtime_ns)
    if not stat.S_ISREG(found.st_mode):
        file.close()
        return None
    return file
