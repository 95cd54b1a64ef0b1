"""The ASGI lifespan: the app is told once that it starts and once that it stops (ASGI Lifespan 2.0)."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from appserver.asgi import App, Message
from stack.clock import Clock
from stack.errors import ConfigError
from stack.net.tasks import Tasks

log = logging.getLogger("hopstack.app")

_VERSION: Final = {"version": "3.0", "spec_version": "2.0"}


class Lifespan:
    """`state` is filled by the app during startup. An app that does not know lifespan is served without."""

    def __init__(self, app: App, *, clock: Clock, tasks: Tasks, required: bool = False) -> None:
        self.state: dict[str, Any] = {}
        self.supported = False
        self._required = required
        self._app = app
        self._clock = clock
        self._tasks = tasks
        self._events: asyncio.Queue[Message] = asyncio.Queue()
        self._answer: asyncio.Future[str] | None = None
        """What the app said: the error it failed with, empty for complete."""
        self._phase = ""
        self._task: asyncio.Task[None] | None = None

    async def startup(self, *, within: float) -> None:
        """ConfigError when the app says that it cannot start, or says nothing within `within` seconds."""
        self._task = self._tasks.spawn(self._run(), name="lifespan")
        try:
            async with self._clock.timeout(within):
                failed = await self._ask("startup")
        except TimeoutError:
            self._task.cancel()
            raise ConfigError(f"the app's lifespan startup did not complete within {within:g} s") from None
        if self._required and not failed and not self.supported:
            raise ConfigError("the app does not answer lifespan startup; use --lifespan auto or off")
        if failed:
            raise ConfigError(f"the app's lifespan startup failed: {failed}")

    async def shutdown(self, *, within: float) -> None:
        """Tell the app; what goes wrong is logged only, for the process ends anyway."""
        if self._task is None:
            return
        if self.supported and not self._task.done():
            try:
                async with self._clock.timeout(within):
                    failed = await self._ask("shutdown")
                if failed:
                    log.error("the app's lifespan shutdown failed: %s", failed)
            except TimeoutError:
                log.error("the app's lifespan shutdown did not complete within %g s", within)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _ask(self, phase: str) -> str:
        self._phase = phase
        self._answer = asyncio.get_running_loop().create_future()
        self._events.put_nowait({"type": f"lifespan.{phase}"})
        return await self._answer

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": _VERSION, "state": self.state}
        try:
            await self._app(scope, self._events.get, self._send)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._ended(error)
        else:
            self._ended(None)

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind not in (f"lifespan.{self._phase}.complete", f"lifespan.{self._phase}.failed"):
            raise RuntimeError(f"{kind!r} was sent during lifespan {self._phase or 'before its startup'}")
        if self._answer is None or self._answer.done():
            raise RuntimeError(f"{kind!r} was sent, but lifespan {self._phase} has been answered")
        if kind.endswith(".complete"):
            self.supported = True
            self._answer.set_result("")
        else:
            lines = str(message.get("message", "")).strip().splitlines()
            for line in lines[:-1]:
                log.error("%s", line)  # often a whole traceback
            self._answer.set_result(lines[-1] if lines else "the app gave no reason")

    def _ended(self, error: BaseException | None) -> None:
        """The app left its lifespan: before an answer it does not know this scope, and that is allowed."""
        if self._answer is None or self._answer.done():
            if error is not None:
                log.error("the app's lifespan died", exc_info=error)
        elif self._phase == "startup":
            if error is not None:
                log.info("the app does not know the lifespan scope: %r", error)
            self._answer.set_result("")
        else:
            self._answer.set_result(repr(error) if error is not None else "")
