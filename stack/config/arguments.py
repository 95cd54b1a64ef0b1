"""A record of options back to the flags that make it: how one process starts another with all that it knows."""

from __future__ import annotations

from functools import reduce
from typing import Any

import msgspec

from stack.config.flags import options
from stack.config.values import digits, element, is_bool


def _at(config: Any, path: tuple[str, ...]) -> Any:
    return reduce(getattr, path, config)


def arguments(config: msgspec.Struct, *, changed_only: bool = False, **own: Any) -> list[str]:
    """Every option, that the environment may not speak where a flag did; or those that differ from their default.

    `own` stands in for options of that name, first level only.
    """
    given: list[str] = []
    for option in options(type(config)):
        value: Any = own[option.path[0]] if option.path[0] in own else _at(config, option.path)
        if changed_only and value == option.default:
            continue
        if value is None:
            if not is_bool(option.type):
                given.append(f"{option.flag}=")  # left out, whatever the environment says
            continue
        if is_bool(option.type):
            given.append(option.flag if value else option.flag.replace("--", "--no-", 1))
        elif element(option.type) is not None:
            given += [f"{option.flag}={item}" for item in value]
        else:
            given.append(f"{option.flag}={digits(value) if isinstance(value, float) else value}")
    return given
