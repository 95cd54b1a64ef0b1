"""The user's app as the stack takes it: an object, a factory, a name to import, or servers that run already."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from stack.clock import Clock
from stack.errors import ConfigError
from stack.hop import registry
from stack.hop.hop import Hop
from stack.plan.model import HopPlan

SHOP: Final = "appserver.shop:create_app"
HERE: Final = "stack.testing:app"
"""What stands in a record for an app that has no name to import."""


@dataclass(frozen=True, slots=True)
class Given:
    """What was given as `app`: the top-level keys of a plan that say so, and the object if it is one."""

    keys: dict[str, Any]
    target: Any = None
    """An application, or a factory of one for each replica."""


def given(app: Any) -> Given:
    """ConfigError for what is no app in any form."""
    if app is None:
        return Given({})
    if isinstance(app, str):
        return Given({"origin": [app]}) if "://" in app else Given({"app": app})
    if isinstance(app, Sequence):
        if app and all(isinstance(item, str) and "://" in item for item in app):
            return Given({"origin": list(app)})
        raise ConfigError(f"app={app!r}: a list is one of URLs of servers that run already, as http://127.0.0.1:3000")
    loader = registry.part("appserver", "loader")
    if loader.recognised(app) is not None or loader.is_factory(app):
        return Given({"app": HERE}, app)
    raise ConfigError(
        f"app={app!r} is no application: give an ASGI or WSGI callable, an aiohttp Application, a factory of one, "
        '"package.module:attribute", or the URL of a server that runs'
    )


def of(plan: HopPlan, app: Given, clock: Clock) -> Given:
    """What an app hop serves. The demo shop is made here: its database stands in its environment, and is its own."""
    config: Any = plan.config
    if app.target is not None or plan.kind != "appserver":
        return app
    if config.app == SHOP:
        shop = registry.part("appserver", "shop")
        return Given({}, lambda: shop.create_app(environ={**os.environ, **plan.env}, clock=clock))
    if plan.env:
        raise ConfigError(
            f"{', '.join(plan.env)}: in a test an app has the test's own environment; set it there (monkeypatch.setenv)"
        )
    return app


def hop(app: Given, config: Any, **parts: Any) -> Hop:
    """What serves it in this very loop."""
    made: Hop = registry.part("appserver", "build").build_for(app.target, config, **parts)
    return made
