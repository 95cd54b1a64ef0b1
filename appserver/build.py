"""From options to the hop: a master over workers, or the app in this very process."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

from appserver.config import Config
from stack.clock import Clock
from stack.errors import ConfigError
from stack.hop.hop import Hop
from stack.net import Net
from stack.telemetry.metrics import Metrics


def build_for(
    app: Any, config: Config, *, clock: Clock, random: Random, net: Net, metrics: Metrics, state_dir: Path
) -> Hop:
    """A hop that serves `app` in this process: an application object, or a factory of one, called at the start.

    Whatever is recognised by `--app` is recognised here, also by `config.factory` and `config.interface`. Several hops
    of one event loop may be given one object: an ASGI app's lifespan then runs once in each, an aiohttp Application
    starts with the first of them and ends after the last. With a factory each has an application of its own.
    """
    from appserver.handler import AppHop

    _check(config)
    name = config.name or "appserver"
    return AppHop(name, config, app=app, clock=clock, random=random, net=net, metrics=metrics, state_dir=state_dir)


def build(config: Config, *, clock: Clock, random: Random, net: Net, metrics: Metrics, state_dir: Path) -> Hop:
    """With `workers = 0`, as a worker itself is started, the app is served here; the master never imports it."""
    if not config.app:
        raise ConfigError("--app is missing: name the application, as --app package.module:attribute")
    _check(config)
    name = config.name or "appserver"
    if config.workers == 0:
        from appserver.handler import AppHop

        return AppHop(name, config, clock=clock, random=random, net=net, metrics=metrics, state_dir=state_dir)
    from appserver.workers import AppWorkers

    return AppWorkers(name, config, clock=clock, net=net, metrics=metrics, state_dir=state_dir)


def _check(config: Config) -> None:
    if config.root_path and not config.root_path.startswith("/"):
        raise ConfigError(f"--root-path {config.root_path}: it starts with a slash")
