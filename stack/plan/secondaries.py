"""DNS servers that fetch their zones from another one: who from, and what that one has to know."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Final

from stack.config.listen import address
from stack.plan.draft import Draft, Stack
from stack.plan.sources import Said, derived

LOOPBACK: Final = ("127.0.0.0/8", "::1/128")


def primaries(stack: Stack, authorities: Sequence[Draft]) -> dict[str, Draft]:
    """By name of each secondary, its primary; a fault for who names none."""
    by_name = {draft.name: draft for draft in authorities} | {draft.key: draft for draft in authorities}
    found: dict[str, Draft] = {}
    for draft in authorities:
        said = draft.more.get("primary")
        if said is None or not said.value:
            continue
        primary = by_name.get(said.value)
        if primary is None:
            near = difflib.get_close_matches(said.value, by_name, 1)
            hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(draft.key for draft in authorities)}"
            stack.fault(said.source, f"no authoritative DNS server is called {said.value!r}; {hint}")
        elif primary is draft or primary.more.get("primary") is not None:
            what = "it is this server" if primary is draft else f"{primary.key} is a secondary too; name its primary"
            stack.fault(said.source, f"{said.value!r} is no primary: {what}")
        else:
            found[draft.name] = primary
    return found


def with_them(found: Sequence[Draft], authorities: Sequence[Draft], primaries: Mapping[str, Draft]) -> list[Draft]:
    """The servers of a zone, and the secondaries that have all of a primary's zones. A primary comes first."""
    own = [draft for draft in found if draft.name not in primaries]
    named = [draft for draft in found if draft.name in primaries]
    also = [
        draft
        for draft in authorities
        if primaries.get(draft.name) in own and not draft.more.get("zones") and draft not in named
    ]
    return [*own, *named, *also]


def link(zone: str, draft: Draft, primary: Draft) -> None:
    """One zone of a secondary: it asks, is told of changes, and may have the zone."""
    if primary.listen is None or draft.listen is None:
        return
    _append(draft, "secondary", f"{zone}={address(primary.host, primary.listen.port)}", f"{primary.name} has the zone")
    told = f"{zone}={address(draft.host, draft.listen.port)}"
    _append(primary, "notify", told, f"{draft.name} fetches it from there")
    primary.derive("raise_serial", True, f"{draft.name} has to notice each change")
    if draft.is_elsewhere:
        why = derived(f"{draft.name} fetches zones from it")
        known = primary.said.get(("transfer", "allow"))
        if known is None or known.source == why:
            hosts = known.value if known is not None else LOOPBACK
            primary.said["transfer", "allow"] = Said(tuple(dict.fromkeys((*hosts, draft.host))), why)


def _append(draft: Draft, option: str, value: str, why: str) -> None:
    """To what is derived; what was said stays."""
    source = derived(why)
    known = draft.said.get((option,))
    if known is None or known.source.kind == "derived":
        draft.said[option,] = Said((*(known.value if known is not None else ()), value), source)
