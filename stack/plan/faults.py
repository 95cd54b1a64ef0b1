"""[faults.NAME]: each becomes one text in the option `fault` of the hops that it may act in, and of no other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from stack.errors import ConfigError
from stack.faults import spec
from stack.faults.places import concerns
from stack.plan.draft import Draft, Stack
from stack.plan.links import next_name
from stack.plan.reading import Reader, near
from stack.plan.sources import Said


def inject(stack: Stack, reader: Reader) -> None:
    """Values are read and checked by `stack.faults`; here each link must be one of this stack."""
    table = reader.table(reader.document.values.get("faults", {}), ("faults",), "[faults.slow-proxy]")
    faults: list[spec.Fault] = []
    names = _names(stack)
    for name, value in table.items():
        at = ("faults", name)
        entry = reader.table(value, at, f"[faults.{name}]")
        fault, sound = _read(reader, at, entry)
        if fault is None:
            continue
        ends = [end for end in (fault.begin, fault.target) if end]
        missing = [end for end in ends if not any(fnmatchcase(known, end) for known in names)]
        if fault.target in missing and spec.is_address(fault.target) and _is_resolvers(stack, fault):
            missing.remove(fault.target)  # referrals lead a resolver to servers that are none of the stack
        for end in missing:
            hint = near(end, names) or f"; there is {', '.join(names)}"
            reader.fault((*at, "on"), f"no hop is called {end!r}{hint}", value=entry.get("on"))
        if sound and not missing and (what := _misplaced(stack, fault)):
            reader.fault((*at, "on"), what, value=entry.get("on"))
        elif sound and not missing:
            faults.append(fault)
    for draft in stack.of("dns", "edges", "balancers", "proxies", "apps"):
        # a reload starts none again that a changed fault does not concern
        if texts := tuple(spec.show(fault) for fault in faults if concerns(fault, draft.name, draft.kind)):
            _add(draft, Said(texts, reader.source(("faults",))))


def _is_resolvers(stack: Stack, fault: spec.Fault) -> bool:
    return any(draft.is_resolver and fnmatchcase(draft.name, fault.begin) for draft in stack.of("dns"))


def _misplaced(stack: Stack, fault: spec.Fault) -> str:
    """Why it can act on none of the hops that it is for: HTTP's faults on a DNS server, and the other way round."""
    link = fault.begin not in ("", spec.CLIENT)
    reasons = [
        fault.unfit(dns=draft.kind == "dns_server", link=link)
        for draft in stack
        if fnmatchcase(draft.name, fault.target)
    ]
    return reasons[0] if reasons and all(reasons) else ""


def _read(reader: Reader, at: tuple[str, str], entry: Mapping[str, Any]) -> tuple[spec.Fault | None, bool]:
    """The fault, and whether it is as written: what is wrong was told, and something else taken to read the rest."""
    left, sound = dict(entry), True
    while True:
        try:
            return spec.from_table(at[1], left), sound
        except ConfigError as error:
            key, mark, rest = str(error).partition(": ")
            word = "on" if key == repr(left.get("on")) else key.partition("=")[0]
            if not mark or (word not in left and word != "on"):
                reader.fault(at, str(error))
                return None, False
            if word in left:
                value = left.pop(word)
                reader.fault((*at, word), rest, value=None if key == word else value)
            else:
                reader.fault(at, str(error))
            sound = False
            if "delay" not in left:
                left.setdefault("latency", 1)  # that it does nothing without what was wrong is no fault of its own
            if word == "on":
                left["on"] = f"{spec.CLIENT}>*"


def _add(draft: Draft, said: Said) -> None:
    if draft.has("fault"):
        own = draft.said.get(("fault",))
        draft.said[("fault",)] = said if own is None else Said((*own.value, *said.value), own.source)


def _names(stack: Stack) -> list[str]:
    """Of hops, and of next hops that are none of this stack."""
    return list(dict.fromkeys((spec.CLIENT, *(draft.name for draft in stack), *_others(stack))))


def _others(stack: Stack) -> Iterable[str]:
    for draft in stack:
        onward = (draft.get("upstream", default=""), draft.get("origin", default=""))
        yield from map(next_name, filter(None, (*draft.get("backend", default=()), *onward)))
