"""From a name in HOPS to that hop's `Config` and `build`: the one dynamic import of the project."""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass
from typing import Any, cast

from stack.config.base import HopOptions
from stack.errors import ConfigError
from stack.hop.hop import Build
from stack.path import HOPS


@dataclass(frozen=True, slots=True)
class Parts:
    """What a kind of hop is made of: its options, and what builds it from them."""

    config: type[HopOptions]
    build: Build


def config(kind: str) -> type[HopOptions]:
    """The options of a kind: light, for checking and documenting them."""
    return cast(type[HopOptions], importlib.import_module(f"{_known(kind)}.config").Config)


def load(kind: str) -> Parts:
    return Parts(config(kind), cast(Build, importlib.import_module(f"{kind}.build").build))


def part(kind: str, module: str) -> Any:
    """A module of a hop by name, for what a stack needs to be prepared: the zones of `dns_server`."""
    return importlib.import_module(f"{_known(kind)}.{module}")


def _known(kind: str) -> str:
    if kind not in HOPS:
        near = difflib.get_close_matches(kind, HOPS, 1)
        hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(HOPS)}"
        raise ConfigError(f"no hop is called {kind!r}: {hint}")
    return kind
