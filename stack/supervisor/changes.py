"""What is different between two plans, hop by hop, in words for whoever asked for the change. Without secrets."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Collection, Iterator, Mapping
from functools import reduce
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from stack.config import flags, values
from stack.config.flags import Option
from stack.errors import ConfigError
from stack.plan.model import HopPlan, StackPlan

LONGEST: Final = 1 << 20
"""Bytes of a file above which only its size and time are compared."""

Files = Mapping[str, str]
"""What the files that a hop's options name were found to be, by path."""


class Change(msgspec.Struct, frozen=True):
    """One hop that is not as it was."""

    hop: str
    what: Literal["changed", "added", "removed", "restarted"]
    details: tuple[str, ...] = ()
    """`cache.size 256M -> 1G`, one an option."""

    def lines(self) -> list[str]:
        """As they are printed."""
        if not self.details:
            return [f"{self.hop}: {self.what}"]
        return [f"{self.hop}: {detail}" for detail in self.details]


def changes(
    old: StackPlan, new: StackPlan, *, broken: Mapping[str, str] | None = None, touched: Collection[str] = ()
) -> tuple[Change, ...]:
    """In the order of the path. `broken`: hops that are given up, by state, which get another chance; `touched`: hops
    that name a file whose content has changed."""
    broken = broken or {}
    before = {hop.name: hop for hop in old.hops}
    found: list[Change] = []
    for hop in new.hops:
        was = before.pop(hop.name, None)
        if was is None:
            found.append(Change(hop.name, "added", (f"added, {_where(hop)}",)))
            continue
        details = tuple(_details(was, hop))
        if not details and hop.name in touched:
            details = ("a file that it reads has changed",)
        if details:
            found.append(Change(hop.name, "changed", details))
        elif hop.name in broken:
            found.append(Change(hop.name, "restarted", (f"started again, was {broken[hop.name]}",)))
    found += [Change(name, "removed") for name in before]
    return tuple(found)


def restarts(plan: StackPlan, names: Collection[str]) -> tuple[Change, ...]:
    """For hops that stay as they are. ConfigError for a name that is none."""
    known = [hop.name for hop in plan.hops]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(known)}"
            raise ConfigError(f"no hop is called {name!r}: {hint}")
    return tuple(Change(name, "restarted", ("started anew",)) for name in known if name in names)


def _where(hop: HopPlan) -> str:
    return ", ".join(hop.urls()) or "listens nowhere"


def _details(old: HopPlan, new: HopPlan) -> Iterator[str]:
    if old.kind != new.kind:
        yield f"kind {old.kind} -> {new.kind}"
        return
    if old.config != new.config:
        for option in flags.options(type(new.config)):
            was, now = (reduce(getattr, option.path, config) for config in (old.config, new.config))
            if was != now:
                yield f"{'.'.join(option.path)} {_difference(option, was, now)}"
    for name in sorted({*old.env, *new.env}):
        if old.env.get(name) != new.env.get(name):
            yield f"environment {name} {'is gone' if name not in new.env else 'has changed'}"
    for name in sorted({*old.files, *new.files}):
        if old.files.get(name) != new.files.get(name):
            yield f"{name} {'is gone' if name not in new.files else 'has changed'}"


def _difference(option: Option, was: Any, now: Any) -> str:
    if flags.is_secret(option.path[-1]):
        return "has changed"
    one = values.element(option.type)
    if one is None:
        return f"{_shown(option.type, was)} -> {_shown(option.type, now)}"
    gone = [f"-{_shown(one, item)}" for item in was if item not in now]
    come = [f"+{_shown(one, item)}" for item in now if item not in was]
    return " ".join([*gone, *come]) or "in another order"


def _shown(annotation: Any, value: Any) -> str:
    text = values.show(annotation, value) if value is not None else "none"
    return flags.without_passwords(text) or '""'


# ── Files that options name: certificates, zones. A reload reads them anew, as every server's does ──


def files(hop: HopPlan, state_dir: Path) -> Files:
    """What they are now. What lies in the state directory is made by the supervisor itself, and left out."""
    found: dict[str, str] = {}
    for option in flags.options(type(hop.config)):
        value = reduce(getattr, option.path, hop.config)
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, str) and option.path[-1] not in ("access_log", "state_dir"):
                path = Path(item.partition("=")[2] or item)
                if "/" in item and not path.is_relative_to(state_dir) and "://" not in item:
                    found |= _digest(path)
    return found


def _digest(path: Path) -> dict[str, str]:
    try:
        if not path.is_file():
            return {}
        known = path.stat()
        if known.st_size > LONGEST:
            return {str(path): f"{known.st_size} {known.st_mtime_ns}"}
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest()}
    except (OSError, ValueError):
        return {}
