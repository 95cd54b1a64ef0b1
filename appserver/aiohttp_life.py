"""The life of an aiohttp Application: started by the first server that serves it, ended once, after the last."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiohttp import web

from stack.errors import ConfigError


class Life:
    """Kept in the application itself."""

    def __init__(self) -> None:
        self.users = 0
        self.serving = 0
        """Of the users, those that have not begun to end: several may do so at once."""
        self.started = False
        self.changing = asyncio.Lock()


LIFE: Final = web.AppKey("hopstack.life", Life)


class SharingRunner(web.AppRunner):
    """aiohttp's runner, of which several may serve one application in one event loop.

    It ends the application once: aiohttp's own does so as often as its `cleanup` is called.
    """

    def __init__(self, app: web.Application, **options: Any) -> None:
        super().__init__(app, **options)
        self._life = app[LIFE]
        self._uses = self._serves = False

    async def _make_server(self) -> web.Server:
        app, life = self.app, self._life
        known = app._loop
        if known is not None and known is not asyncio.get_running_loop():
            raise ConfigError(
                "this aiohttp Application was served in another event loop: give a factory of it, a function that "
                "makes a new one"
            )
        async with life.changing:
            life.users += 1
            life.serving += 1
            self._uses = self._serves = True
            if life.started:
                return app._make_handler(loop=asyncio.get_running_loop(), **self._kwargs)
            server = await super()._make_server()
            life.started = True
            return server

    async def shutdown(self) -> None:
        """The application's `on_shutdown`, before its last connections are closed."""
        if self._leaves() and self._life.serving == 0:
            await super().shutdown()

    def _leaves(self) -> bool:
        """Whether it served until now."""
        serves, self._serves = self._serves, False
        self._life.serving -= serves
        return serves

    async def _cleanup_server(self) -> None:
        life = self._life
        async with life.changing:
            if not self._uses:
                return
            self._uses = False
            self._leaves()  # its start failed
            life.users -= 1
            if life.users == 0:
                life.started = False
                try:
                    await super()._cleanup_server()
                finally:
                    self.app.cleanup_ctx._exits.clear()  # else another life would leave them once more
