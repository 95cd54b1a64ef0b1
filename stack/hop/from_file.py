"""`--config stack.toml --name edge-fra`: the options of one process from the file of the whole stack."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stack.config import flags
from stack.config.base import HopOptions
from stack.errors import ConfigError
from stack.hop import registry
from stack.hop.files import write_whole
from stack.net.loopback import has_many_addresses
from stack.plan.document import Document
from stack.plan.make import make_plan
from stack.plan.model import HopPlan

Given = Mapping[tuple[str, ...], Any]


def configured(kind: str, given: Given, environ: Mapping[str, str]) -> tuple[HopOptions, Mapping[str, str]]:
    """Its options, flags and environment (`given`) before those of the file, and what its environment has besides.

    Files of its own that the plan has, as zones, are written below the state directory. Raises ConfigError.
    """
    file = given["config",]
    state_dir = Path(given.get(("state_dir",)) or environ.get("HOPSTACK_HOME") or ".hopstack").absolute()
    plan = make_plan(
        Document.read(file),
        kinds=registry,
        state_dir=state_dir,
        environ=environ,
        many_addresses=has_many_addresses(),
    )
    hop = _chosen(file, kind, given.get(("name",), ""), plan.hops)
    _write(state_dir, hop.files)
    own = {path: value for path, value in given.items() if path != ("config",)}
    return flags.changed(hop.config, own), hop.env


def _chosen(file: str, kind: str, name: str, hops: tuple[HopPlan, ...]) -> HopPlan:
    there = {hop.name: hop for hop in hops}
    mine = [hop.name for hop in hops if hop.kind == kind]
    if name in mine:
        return there[name]
    names = f"there is {', '.join(mine)}" if mine else f"{file} has no {kind}"
    if not name:
        raise ConfigError(f"--name is needed with --config: which process of {file} is this? {names}")
    if name in there:
        raise ConfigError(f"--name {name}: in {file} that is a {there[name].kind}, and this is {kind}; {names}")
    near = difflib.get_close_matches(name, mine, 1)
    raise ConfigError(
        f"--name {name}: {file} has no such process; " + (f"did you mean {near[0]}? " if near else "") + names
    )


def _write(state_dir: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = state_dir / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, text)
        except OSError as error:
            raise ConfigError(
                f"{error.filename or path}: {error.strerror}; name another directory in --state-dir"
            ) from None
