"""What the DNS servers of a plan would say at their start, for `hopstack config check`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from stack.errors import ConfigError, Problem
from stack.plan.draft import bare
from stack.plan.model import HopPlan, Kinds, StackPlan
from stack.plan.sources import DEFAULT, Source

_MISSING: Final = "there is no such file"


def dns_faults(plan: StackPlan, kinds: Kinds) -> tuple[list[Problem], list[Problem]]:
    """Faults and warnings. Files that options name are read only for this, and by the servers themselves."""
    inspection = kinds.part("dns_server", "inspection")
    found: list[Problem] = []
    for hop in plan.of("dns_server"):
        found += [_problem(plan, hop, path, error) for path, error in inspection.faults(hop.config)]
    if found:
        return sorted(found, key=lambda problem: problem.line), []
    faults = list(_zone_faults(plan, kinds))
    found = [problem for problem in faults if not problem.warning]
    return found, [problem for problem in faults if problem.warning] + list(_grants_for_nothing(plan, inspection))


def _problem(plan: StackPlan, hop: HopPlan, path: tuple[str, ...], error: ConfigError) -> Problem:
    """At the element of the option that the error begins with, if it does."""
    source = plan.sources.get(hop.name, {}).get(path, DEFAULT)
    value: Any = hop.config
    for name in path:
        value = getattr(value, name)
    flag = "--" + "-".join(path).replace("_", "-")
    for number, item in enumerate(value if isinstance(value, tuple) else ()):
        if str(error).startswith((f"{flag} {item}: ", f"{flag} {item!r}: ")):
            return source.item(number).problem(bare(error), value=item)
    if source is DEFAULT:
        source = Source("default", f"{hop.name}: {'.'.join(path)}")
    return source.problem(bare(error))


def _zone_faults(plan: StackPlan, kinds: Kinds) -> Iterator[Problem]:
    """Of zone files, but those that are made from the plan; a line each, and what is legal and unwise as warnings."""
    names, zonefile = (kinds.part("dns_server", module) for module in ("rules.names", "zonefile"))
    told = kinds.part("dns_server", "rules.faults").told
    seen: set[str] = set()
    for hop in plan.of("dns_server"):
        for text in getattr(hop.config, "zone", ()):
            name, _, file = text.partition("=")
            if file in seen or any(file.endswith(f"/{known}") for known in hop.files):
                continue
            seen.add(file)
            if not os.path.isfile(file):
                if not any(problem.text == _MISSING and file in problem.key for problem in plan.warnings):
                    yield _warning(_problem(plan, hop, ("zone",), ConfigError(f"--zone {text}: {_MISSING}")))
                continue
            try:
                unwise = zonefile.load(names.from_text(name.strip()), Path(file))[1]
            except ConfigError as error:
                yield from (Problem("", line) for line in told(getattr(error, "faults", ())) or [str(error)])
            else:
                yield from (Problem("", line, warning=True) for line in told(unwise))


def _grants_for_nothing(plan: StackPlan, inspection: Any) -> Iterator[Problem]:
    """Grants for zones that no server here has: who uses them is refused, and not told why. Options of all servers may
    name a zone that only some have."""
    elsewhere: dict[tuple[str, str], list[HopPlan]] = {}
    servers = [hop for hop in plan.of("dns_server") if getattr(hop.config, "update", ())]
    for hop in servers:
        for text, zone in inspection.granted_elsewhere(hop.config):
            elsewhere.setdefault((text, zone), []).append(hop)
    for (text, zone), hops in elsewhere.items():
        if any(text in hop.config.update and hop not in hops for hop in servers):  # type: ignore[attr-defined]
            continue
        hop = hops[0]
        what = f"{hop.name} has no zone {zone.removesuffix('.') or '.'}, so nothing is granted"
        error = ConfigError(f"--update {text}: {what}")
        yield _warning(_problem(plan, hop, ("update",), error))


def _warning(problem: Problem) -> Problem:
    return Problem(problem.key, problem.text, problem.file, problem.line, warning=True)
