"""`hopstack config check`, `show`, `diff` and `schema`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

import click
import msgspec

from stack.cli.options import given
from stack.config import flags
from stack.errors import ConfigError, ConfigErrors, Problem
from stack.hop import registry
from stack.plan import show
from stack.plan.dns_faults import dns_faults
from stack.plan.make import make_plan
from stack.supervisor.source import Source, chosen, short
from stack.supervisor.state import StateDir

DIFFERENT = 1


def check_file(file: str) -> int:
    source = _source({"config": file})
    plan = source.plan()
    faults, also = dns_faults(plan, registry)
    if faults:
        raise ConfigErrors(faults)
    warnings = (*plan.warnings, *also)
    _warn(warnings)
    name = _name(source)
    remark = f", {len(warnings)} warning{'s' * (len(warnings) != 1)}" if warnings else ""
    click.echo(f"{name}: ok, {len(plan.hops)} hops{remark}")
    return 0


def show_plan(values: Mapping[str, Any], *, hop: str, every: bool, as_json: bool) -> int:
    plan = _source(values).plan()
    names = [item.name for item in plan.hops]
    if hop and hop not in names:
        near = difflib.get_close_matches(hop, names, 1)
        hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(names)}"
        raise ConfigError(f"no hop is called {hop!r}: {hint}")
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(show.as_data(plan, only=hop))))
    else:
        _warn(plan.warnings)
        click.echo("\n".join(show.lines(plan, only=hop, every=every)))
    return 0


def show_differences(values: Mapping[str, Any]) -> int:
    running = StateDir.chosen().plan()
    source = _source(values, running.get("given", {}))
    plan = source.plan()
    if running:
        old, against = running, "the running stack"
    else:
        usual = make_plan(
            None, kinds=registry, state_dir=source.state_dir, environ={}, many_addresses=source.many_addresses
        )
        hops = [
            {"name": hop.name, "kind": hop.kind, "config": flags.effective(hop.config), "files": dict(hop.files)}
            for hop in usual.hops
        ]
        old, against = {"name": usual.name, "hops": hops}, "the default stack (none runs here)"
    found = [f"{hop}: {what}" for hop, what in show.differences(old, plan)]
    if old["name"] != plan.name:
        found.insert(0, f"name {old['name']} -> {plan.name}")
    click.echo(f"{_name(source)} against {against}: {_count(len(found))}", err=True)
    for line in found:
        click.echo(line)
    return DIFFERENT if found else 0


def show_schema() -> None:
    from stack.plan.schema import schema

    click.echo(msgspec.json.format(msgspec.json.encode(schema(registry))))


def _source(values: Mapping[str, Any], also: Mapping[str, Any] | None = None) -> Source:
    from stack.net.loopback import has_many_addresses

    return chosen(
        StateDir.chosen().path,
        {**(also or {}), **given(values)},
        config=values.get("config") or "",
        no_config=bool(values.get("no_config")),
        many_addresses=has_many_addresses(),
    )


def _name(source: Source) -> str:
    return str(short(source.config)) if source.config is not None else "the default stack"


def _warn(warnings: Iterable[Problem]) -> None:
    for problem in warnings:
        click.echo(
            f"{problem.place}: warning: {problem.key}: {problem.text}" if problem.place else f"warning: {problem}",
            err=True,
        )


def _count(number: int) -> str:
    return "no difference" if not number else "1 difference" if number == 1 else f"{number} differences"
