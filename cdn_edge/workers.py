"""Several processes answer for one edge, each from a store of its own; what is invalidated is so in all of them."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from cdn_edge.checks import LEAST_DISK
from cdn_edge.config import KIND, Config
from cdn_edge.orders import content
from cdn_edge.purge import Purged, purged_key, said
from cdn_edge.rules.key import Keying
from cdn_edge.worker_pages import explained, summed
from stack.clock import Clock
from stack.errors import ConfigError, HopError
from stack.hop.admin import as_json
from stack.hop.answers import SAVED
from stack.hop.child import Standing
from stack.hop.hop import AdminHandler
from stack.hop.workers import WorkersHop
from stack.http.message import Request, Response
from stack.net import Net
from stack.telemetry.metrics import Metrics

log = logging.getLogger("hopstack.edge.workers")

PATIENCE: Final = 3.0
"""Seconds that a worker has to forget something; then it is replaced, so that nobody waits for ever."""
PATIENCE_WITH_DISK: Final = 10.0
HUNG: Final = 30.0
"""Seconds without an answer after which a worker is replaced when nothing is to be forgotten, too."""
START: Final = 30.0
_ENDING: Final = 5.0
"""Seconds that the system may take to end a process that it was told to kill."""
_LOOK: Final = 0.01


class NotInForce(HopError):
    status, title = 503, "It is not in force in every worker"


class EdgeWorkers(WorkersHop):
    """ConfigError for options that do not fit. A worker is `python -m cdn_edge --workers 0`."""

    def __init__(
        self, config: Config, keying: Keying, *, clock: Clock, net: Net, metrics: Metrics, state_dir: Path
    ) -> None:
        count = config.workers
        if config.cache.disk and config.cache.disk_size // count < LEAST_DISK:
            raise ConfigError(
                f"--cache-disk-size: wanted at least {16 * count}M, 16M for each of {count} workers (--workers)"
            )
        super().__init__(
            config.name or KIND,
            "cdn_edge",
            config,
            count=count,
            start_timeout=START,
            hung_after=HUNG,
            stop_timeout=config.timeouts.drain,
            clock=clock,
            net=net,
            metrics=metrics,
            state_dir=state_dir,
        )
        self._edge = config
        self._keying = keying
        self._patience = PATIENCE_WITH_DISK if config.cache.disk else PATIENCE
        self._following: dict[str, int | None] = {}
        """By worker: the process that hears of everything."""
        self._doubted: set[str] = set()
        """Workers of whose disk it is not sure that all is gone that had to."""

    def _options(self, which: int) -> tuple[Config, str]:
        cache, count = self._edge.cache, self._edge.workers
        share = msgspec.structs.replace(
            cache,
            size=cache.size // count,
            disk_size=cache.disk_size // count,
            disk=cache.disk and str(Path(cache.disk).expanduser() / self.name / str(which)),
        )
        return msgspec.structs.replace(self._edge, cache=share), self.name

    # Signals.

    async def reload(self) -> None:
        """Certificates anew: the stores stay as they are."""
        self._signal(signal.SIGHUP)
        self._reloads += 1
        self._attempts += 1

    def _change(self, by: int) -> None:
        log.warning("an edge has as many workers as it was started with: each has its share of the cache")

    def _signal(self, number: int) -> None:
        for name in self._master.statistics():
            self._master.signal(name, number)

    # What is invalidated.

    async def _told(self, name: str, what: str, given: Sequence[Any]) -> Any:
        match what:
            case "begin":
                doubted = name in self._doubted
                self._doubted.discard(name)
                return doubted
            case "follow":
                if name in self._doubted:
                    return False
                self._following[name] = self._pid(name)
                return True
            case "invalidate":
                keys, by = given
                await self.invalidate(keys, by, but=name)
                return True
        return None

    def _pid(self, name: str) -> int | None:
        standing: Standing | None = self._master.statistics().get(name)
        return None if standing is None else standing.pid

    async def invalidate(self, keys: Sequence[str], by: str, *, but: str = "") -> dict[str, dict[str, Any]]:
        """Returns when it is in force in every worker but that one, or its process has ended. What each said."""
        names = [name for name in self._master.statistics() if name != but]
        answers = await asyncio.gather(*(self._invalidate(name, keys, by) for name in names))
        return {name: answer for name, answer in zip(names, answers, strict=True) if answer is not None}

    async def _invalidate(self, name: str, keys: Sequence[str], by: str) -> dict[str, Any] | None:
        pid = self._pid(name)
        if pid is None or self._following.get(name) != pid:
            self._doubt(name)  # it has nothing yet, unless on its disk
            return None
        answer: dict[str, Any] | None = await self._ask(name, "invalidate", self._patience, keys, by)
        if answer is not None:
            return answer
        self._doubt(name)
        if self._pid(name) == pid:
            log.error("%s (pid %d) has not forgotten %s for %g s: replaced", name, pid, keys[0], self._patience)
            self._master.signal(name, signal.SIGKILL)
            async with self._clock.timeout(_ENDING):
                while self._pid(name) == pid:
                    await self._clock.sleep(_LOOK)
        return None

    def _doubt(self, name: str) -> None:
        if self._edge.cache.disk:
            self._doubted.add(name)

    # Admin.

    def routes(self) -> Mapping[tuple[bytes, bytes], AdminHandler]:
        first, worst = partial(self._page, all_alike=False), partial(self._page, all_alike=True)
        return {
            **super().routes(),
            (b"GET", b"/-/stats"): self._stats_page,
            (b"POST", b"/-/purge"): self._purge_page,
            (b"GET", b"/-/explain"): self._explain_page,
            (b"POST", b"/-/explain"): self._explain_page,
            (b"GET", b"/-/faults"): first,
            (b"POST", b"/-/faults"): worst,
            (b"DELETE", b"/-/faults"): worst,
            (b"DELETE", b"/-/faults/*"): worst,
            (b"GET", b"/-/certificates"): first,
            (b"POST", b"/-/certificates"): worst,
        }

    async def _purge_page(self, request: Request) -> Response:
        key = await purged_key(request, self._keying)
        try:
            answers = await self.invalidate([key.decode("latin-1")], "")
        except TimeoutError:
            raise NotInForce("A worker that does not answer could not be ended. Try again.") from None
        if failed := [f"{name}: {answer['error']}" for name, answer in answers.items() if answer["error"]]:
            raise NotInForce(". ".join(failed))
        purged = [
            Purged(one["gone"], one["disk"], [other.encode("latin-1") for other in one["others"]])
            for one in answers.values()
        ]
        return as_json(said(key, purged))

    async def _explain_page(self, request: Request) -> Response:
        pages = await self._pages(request)
        wrong = next((page for page in pages.values() if page[0] != 200), None)
        if wrong is not None:
            return _response(*wrong)
        return as_json(explained({name: json.loads(told) for name, (_, told) in pages.items()}))

    async def _stats_page(self, _: Request) -> Response:
        stats, told = self.stats(), await self._asked("stats")
        known = {name: one for name, one in told.items() if isinstance(one, dict)}
        for worker in stats["workers"]:
            worker.update({key: one for key, one in known.get(worker["name"], {}).items() if key not in worker})
        return as_json({**summed(list(known.values())), **stats})

    async def _page(self, request: Request, *, all_alike: bool) -> Response:
        """Every worker's page: the first one's answer, or that of one that could not do what the others did."""
        pages = list((await self._pages(request)).values())
        failed = [page for page in pages if not 200 <= page[0] < 300]
        return _response(*(failed[0] if all_alike and failed else pages[0]))

    async def _pages(self, request: Request) -> dict[str, tuple[int, str]]:
        """HopError where none answers."""
        body = (await content(request)).decode("latin-1")
        answers = await self._asked("page", request.method.decode(), request.target.decode("latin-1"), body)
        pages = {name: (int(page[0]), str(page[1])) for name, page in answers.items() if isinstance(page, list)}
        if not pages:
            raise NotInForce("No worker answers.")
        return pages


def _response(status: int, text: str) -> Response:
    kind = b"application/json" if status < 400 else b"application/problem+json"
    return Response(status, [*SAVED, (b"content-type", kind)], text.encode("latin-1"))
