"""A plan as a stack.toml that says everything, with the source of each value behind it. Without secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import reduce
from typing import Any, Final

from stack.config import flags, values
from stack.config.flags import Option
from stack.plan.document import escaped, written
from stack.plan.layout import OWN, SECTIONS
from stack.plan.model import HopPlan, StackPlan
from stack.plan.sources import DEFAULT, Source

WIDTH: Final = 80
COLUMN: Final = 46
"""Where sources stand, if the value leaves room."""


def lines(plan: StackPlan, *, only: str = "", every: bool = False) -> Iterator[str]:
    """Of all hops, or of the one called `only`. Without `every`, what is at its default is but counted."""
    if not only:
        yield f"name = {_text(plan.name)}"
    for hop in plan.hops:
        if only in ("", hop.name):
            if not only:
                yield ""
            yield from _hop(plan, hop, every=every or bool(only))


def entry(hop: HopPlan) -> tuple[str, str]:
    """The section and the key that a hop is in a file."""
    section = next(item for item in SECTIONS.values() if item.kind == hop.kind)
    return section.title, hop.name.removeprefix(section.prefix)


def options(hop: HopPlan) -> Iterator[tuple[Option, Any]]:
    """Each option that a file can say, with its value as it may be shown."""
    shown = flags.effective(hop.config)
    for option in flags.options(type(hop.config)):
        if option.path[0] not in OWN:
            yield option, reduce(lambda record, name: record[name], option.path, shown)


def source(plan: StackPlan, hop: HopPlan, option: Option) -> Source:
    return plan.sources.get(hop.name, {}).get(option.path, DEFAULT)


def as_data(plan: StackPlan, *, only: str = "") -> dict[str, Any]:
    """For programs: options by key path, each with its value and source."""
    hops = [hop for hop in plan.hops if only in ("", hop.name)]
    return {"name": plan.name, "hops": [_data(plan, hop) for hop in hops]}


def _data(plan: StackPlan, hop: HopPlan) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for option, value in options(hop):
        place = source(plan, hop, option)
        found[".".join(option.path)] = {"value": value, "source": place.kind} | {
            key: said
            for key, said in (("key", place.key), ("file", place.file), ("line", place.line), ("why", place.why))
            if said
        }
    shown = flags.without_passwords(dict(hop.env))
    return {"name": hop.name, "kind": hop.kind, "options": found, "environment": shown}


def _hop(plan: StackPlan, hop: HopPlan, *, every: bool) -> Iterator[str]:
    yield f"[{written(entry(hop))}]".ljust(COLUMN) + f"  # {hop.name}: {hop.kind}"
    said: list[str] = []
    usual: list[str] = []
    for option, value in options(hop):
        place = source(plan, hop, option)
        (usual if place.kind == "default" else said).extend(_line(option, value, place))
    yield from said
    yield from (f"# environment: {name}={value}" for name, value in flags.without_passwords(dict(hop.env)).items())
    if every:
        yield from usual
    else:
        yield f"# {len(usual)} more are at their defaults: hopstack config show {hop.name}"


def _line(option: Option, value: Any, place: Source) -> Iterator[str]:
    key = ".".join(option.path)
    if value is None:
        yield f"# {key} is not set"
        return
    text = f"{key} = {toml(option, value)}"
    remark = f"# {place}"
    if len(text) > WIDTH and isinstance(value, list):
        yield f"{key} = [".ljust(COLUMN) + f"  {remark}"
        one = values.element(option.type) or option.type
        yield from (f"  {_scalar(one, item)}," for item in value)
        yield "]"
    elif len(text) + len(remark) + 2 > WIDTH and len(text) > COLUMN:
        yield f"{remark}:"
        yield text
    else:
        yield f"{text.ljust(COLUMN)}  {remark}"


def toml(option: Option, value: Any) -> str:
    """A value as a file has it: sizes and durations with their units."""
    one = values.element(option.type)
    if one is not None:
        return "[" + ", ".join(_scalar(one, item) for item in value) + "]"
    return _scalar(option.type, value)


def _scalar(annotation: Any, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        shown = values.show(annotation, value)
        exact = values.read(annotation, shown) == value
        return str(value) if not exact or shown == str(value) else _text(shown) if values.unit(annotation) else shown
    return _text(str(value))


def _text(value: str) -> str:
    return f'"{escaped(value)}"'


# What is different.


def differences(old: Mapping[str, Any], plan: StackPlan) -> Iterator[tuple[str, str]]:
    """Hop and change, in the order of the path. `old`: `hops`, each with name, kind, `config` as shown and `files`."""
    before = {hop["name"]: hop for hop in old.get("hops", ())}
    for hop in plan.hops:
        was = before.pop(hop.name, None)
        if was is None or was["kind"] != hop.kind:
            yield hop.name, "added"
            continue
        for option, value in options(hop):
            known: Any = was["config"]
            for name in option.path:
                known = known.get(name) if isinstance(known, dict) else None
            if known != value:
                place = source(plan, hop, option)
                remark = f"  # {place}" if place.kind != "default" else ""
                yield hop.name, f"{'.'.join(option.path)} {_change(option, known, value)}{remark}"
        files = was.get("files", {})
        for name in sorted({*files, *hop.files}):
            if files.get(name) != hop.files.get(name):
                yield hop.name, f"{name} {'is gone' if name not in hop.files else 'has changed'}"
    for name in before:
        yield name, "removed"


def _change(option: Option, was: Any, now: Any) -> str:
    one = values.element(option.type)
    if one is not None and isinstance(was, list):
        gone = [f"-{_scalar(one, item)}" for item in was if item not in now]
        come = [f"+{_scalar(one, item)}" for item in now if item not in was]
        return " ".join([*gone, *come]) or "in another order"
    shown = ["not set" if value is None else toml(option, value) for value in (was, now)]
    return " -> ".join(shown)
