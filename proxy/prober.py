"""Whether the app takes traffic: asked every second, by a connection of its own."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Protocol

from stack.clock import Clock
from stack.errors import HopError
from stack.hop.hop import Readiness
from stack.http.message import Request, Response
from stack.http.statuses import Statuses
from stack.telemetry.exchange import Exchange

log = logging.getLogger("hopstack.proxy")

IMPATIENCE = 5
"""An app that is not ready is asked this many times as often: it is usually just starting."""


class Sender(Protocol):
    """The part of a pool that a prober and a handler need."""

    async def send(self, request: Request, exchange: Exchange) -> Response: ...


@dataclass(frozen=True, slots=True)
class ProberStatistics:
    ready: bool
    reason: str
    asked: int
    changed: int


class Prober:
    """GETs `path` of the app. Ready while the last answer had a status of `passing`, whatever its content says."""

    def __init__(
        self,
        app: Sender,
        *,
        name: str,
        app_name: str,
        authority: bytes,
        path: str,
        passing: Statuses,
        interval: float,
        timeout: float,
        clock: Clock,
    ) -> None:
        self._app = app
        self._name = name
        self._app_name = app_name
        self._authority = authority
        self._path = path.encode("ascii")
        self._passing = passing
        self._interval, self._timeout = interval, timeout
        self._clock = clock
        self._asked = 0
        self._changed = 0
        self.readiness = Readiness(False, f"{app_name} was not asked yet")

    async def run(self) -> None:
        """For ever; the first look is at once."""
        while True:
            self._note(await self.look())
            await self._clock.sleep(self._interval if self.readiness.ready else self._interval / IMPATIENCE)

    async def look(self) -> Readiness:
        """Ask once."""
        self._asked += 1
        request = Request(
            b"GET",
            self._path,
            [(b"user-agent", b"hopstack-proxy"), (b"accept", b"*/*"), (b"accept-encoding", b"identity")],
            authority=self._authority,
        )
        asked = f"GET {self._path.decode()}"
        try:
            async with self._clock.timeout(self._timeout):
                status = await self._status(request, Exchange(self._name, self._clock.now, request))
        except TimeoutError:
            return Readiness(False, f"{self._app_name} did not answer {asked} within {self._timeout:g} s")
        except HopError as error:
            return Readiness(False, f"{self._app_name} did not answer {asked}: {error.proxy_status}")
        except Exception as error:  # a prober that dies would leave its last word standing for ever
            log.exception("%s could not be asked", self._app_name)
            return Readiness(False, f"{self._app_name} could not be asked: {type(error).__name__}")
        if status in self._passing:
            return Readiness(True)
        return Readiness(False, f"{self._app_name} answers {status} to {asked}")

    async def _status(self, request: Request, exchange: Exchange) -> int:
        response = await self._app.send(request, exchange)
        if not isinstance(response.body, bytes):
            try:
                async for _ in response.body:  # to its end, so that the connection serves again
                    pass
            finally:
                await response.body.aclose()
        return response.status

    def _note(self, found: Readiness) -> None:
        self._changed += found.ready != self.readiness.ready
        self.readiness = found

    def statistics(self) -> ProberStatistics:
        return ProberStatistics(self.readiness.ready, self.readiness.reason, self._asked, self._changed)
