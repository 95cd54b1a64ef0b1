"""From options to the hop: a master over workers, or the app in this very process."""

from __future__ import annotations

from pathlib import Path
from random import Random

from appserver.config import Config
from stack.clock import Clock
from stack.errors import ConfigError
from stack.hop.hop import Hop
from stack.net import Net
from stack.telemetry.metrics import Metrics


def build(config: Config, *, clock: Clock, random: Random, net: Net, metrics: Metrics, state_dir: Path) -> Hop:
    """With `workers = 0`, as a worker itself is started, the app is served here; the master never imports it."""
    if not config.app:
        raise ConfigError("--app is missing: name the application, as --app package.module:attribute")
    if config.root_path and not config.root_path.startswith("/"):
        raise ConfigError(f"--root-path {config.root_path}: it starts with a slash")
    name = config.name or "appserver"
    if config.workers == 0:
        from appserver.handler import AppHop

        return AppHop(name, config, clock=clock, random=random, net=net, metrics=metrics, state_dir=state_dir)
    from appserver.workers import WorkersHop

    return WorkersHop(name, config, clock=clock, net=net, metrics=metrics, state_dir=state_dir)
