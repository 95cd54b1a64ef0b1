"""A bounded number of threads for code that blocks. They are made when needed, and kept."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue

log = logging.getLogger("hopstack.app")


@dataclass(frozen=True, slots=True)
class ThreadStatistics:
    limit: int
    busy: int
    waiting: int
    """Jobs that wait for a thread."""


class Threads:
    """Daemons, unlike those of an executor: one that never comes back does not keep the process from ending."""

    def __init__(self, limit: int, *, name: str) -> None:
        self._limit = limit
        self._name = name
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._unfinished = 0
        self._started = 0

    def run(self, job: Callable[[], None]) -> None:
        """In a thread, as soon as one is free. Jobs begin in the order they come. RuntimeError when there is no thread,
        and the system gives none.
        """
        with self._lock:
            self._unfinished += 1
            another = self._started < min(self._limit, self._unfinished)
            self._started += another
            number = self._started
        if another:
            try:
                threading.Thread(target=self._work, name=f"{self._name}.{number}", daemon=True).start()
            except RuntimeError:  # a limit of processes: those that there are have to do
                with self._lock:
                    self._started -= 1
                    if not self._started:
                        self._unfinished -= 1
                        raise
        self._jobs.put(job)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except BaseException:
                log.exception("a thread's job failed")
            finally:
                del job  # with all it holds: the next one may be an hour away
                with self._lock:
                    self._unfinished -= 1

    @property
    def unfinished(self) -> int:
        """Jobs that run or wait."""
        return self._unfinished

    def statistics(self) -> ThreadStatistics:
        with self._lock:
            busy = min(self._unfinished, self._started)
            return ThreadStatistics(self._limit, busy, self._unfinished - busy)

    def close(self) -> None:
        """Threads end once they are free. Nobody waits for one that is not."""
        with self._lock:
            started, self._started = self._started, 0
        for _ in range(started):
            self._jobs.put(None)
