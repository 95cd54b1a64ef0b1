"""Whether a backend takes requests: a table of states, thresholds before it, and how soon to look again."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


class Health(enum.Enum):
    UNKNOWN = "unknown"  # nothing known yet; counts as up
    UP = "up"
    DOWN = "down"
    DRAINING = "draining"  # an operator's wish: no new requests, those in flight finish


class Sign(enum.Enum):
    """What checks, traffic or an operator said, already counted past its threshold."""

    ROSE = "rose"
    FELL = "fell"
    HELD = "held"  # has been out for long enough; without checks only another request can tell
    DRAIN = "drain"
    READY = "ready"


HEALTH: Final[Mapping[Health, Mapping[Sign, Health]]] = {
    Health.UNKNOWN: {
        Sign.ROSE: Health.UP,
        Sign.FELL: Health.DOWN,
        Sign.HELD: Health.UNKNOWN,
        Sign.DRAIN: Health.DRAINING,
        Sign.READY: Health.UNKNOWN,
    },
    Health.UP: {
        Sign.ROSE: Health.UP,
        Sign.FELL: Health.DOWN,
        Sign.HELD: Health.UP,
        Sign.DRAIN: Health.DRAINING,
        Sign.READY: Health.UP,
    },
    Health.DOWN: {
        Sign.ROSE: Health.UP,
        Sign.FELL: Health.DOWN,
        Sign.HELD: Health.UNKNOWN,
        Sign.DRAIN: Health.DRAINING,
        Sign.READY: Health.DOWN,  # ready is about draining; what checks found stands
    },
    Health.DRAINING: {
        Sign.ROSE: Health.DRAINING,
        Sign.FELL: Health.DRAINING,
        Sign.HELD: Health.DRAINING,
        Sign.DRAIN: Health.DRAINING,
        Sign.READY: Health.UNKNOWN,  # what was known before is old: the next check decides alone
    },
}

TAKES: Final = frozenset({Health.UNKNOWN, Health.UP})
"""States in which a backend is given new requests."""


@dataclass(frozen=True, slots=True)
class CheckPolicy:
    """Times in seconds."""

    interval: float = 2.0
    fast: float = 0.25
    """Between checks while something is in doubt (HAProxy's fastinter)."""
    rise: int = 2
    fall: int = 3
    grace: float = 30.0
    """After the start: a backend that has never passed is looked at fast, as both may be starting together."""


def counted(streak: int, passed: bool) -> int:
    """The streak after one more check: checks passed in a row, or failed in a row below zero."""
    if passed:
        return streak + 1 if streak > 0 else 1
    return streak - 1 if streak < 0 else -1


def verdict(health: Health, streak: int, policy: CheckPolicy, *, seen_up: bool) -> Sign | None:
    """What the checks so far come to; None is not enough of them.

    The first result decides alone. So does the first one that passes, ever: `rise` guards against a backend that
    comes and goes, and one that has only come has not gone.
    """
    if streak > 0:
        needed = policy.rise if seen_up and health is not Health.UNKNOWN else 1
        return Sign.ROSE if streak >= needed and health is not Health.UP else None
    needed = 1 if health is Health.UNKNOWN else policy.fall
    return Sign.FELL if -streak >= needed and health is not Health.DOWN else None


def pause(health: Health, streak: int, policy: CheckPolicy, *, seen_up: bool, age: float) -> float:
    """Seconds from the end of one check to the next: fast in transition and at the start. `age`: since the start."""
    in_transition = (
        health is Health.UNKNOWN
        or (health is Health.UP and streak < 0)
        or (health is Health.DOWN and streak > 0)
        or (not seen_up and age < policy.grace)
    )
    return min(policy.fast, policy.interval) if in_transition else policy.interval
