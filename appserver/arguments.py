"""A worker's command line: every option of its master, but for what is the worker's own."""

from __future__ import annotations

from functools import reduce
from typing import Any

from appserver.config import Config
from stack.config.flags import options
from stack.config.values import element, is_bool


def _at(config: Any, path: tuple[str, ...]) -> Any:
    return reduce(getattr, path, config)


def arguments(config: Config, **own: Any) -> list[str]:
    """All of them and not only what differs from its default: the environment must not speak where a flag did."""
    given: list[str] = []
    for option in options(type(config)):
        value: Any = own[option.path[0]] if option.path[0] in own else _at(config, option.path)
        if is_bool(option.type):
            given.append(option.flag if value else option.flag.replace("--", "--no-", 1))
        elif element(option.type) is not None:
            given += [f"{option.flag}={item}" for item in value]
        else:
            given.append(f"{option.flag}={value}")
    return given
