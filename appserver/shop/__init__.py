"""The demo shop: `python -m appserver --app appserver.shop:create_app`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import web

    from stack.clock import Clock


def create_app(*, environ: Mapping[str, str] | None = None, clock: Clock | None = None) -> web.Application:
    """The shop on the database that `DATABASE_URL` names: `sqlite:////path/shop.db` or `postgresql://user:pw@host/db`.

    Without it, `shop.db` in `$HOPSTACK_HOME` or `.hopstack`. The database is opened when the application starts.
    """
    from appserver.shop.app import make

    return make(environ, clock)
