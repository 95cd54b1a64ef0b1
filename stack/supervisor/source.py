"""What a stack is made from: the file and the flags that it was started with. A reload asks it again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from stack.errors import ConfigError
from stack.hop import registry
from stack.plan.document import Document
from stack.plan.make import make_plan
from stack.plan.model import StackPlan

USUAL: Final = "stack.toml"


@dataclass(slots=True)
class Source:
    """`given` are top-level keys from flags; None for those that were not given."""

    state_dir: Path
    given: Mapping[str, Any] = field(default_factory=dict)
    config: Path | None = None
    """The file that was named, or found. A file that was there is missed when it has gone."""
    directory: Path | None = None
    """Where `stack.toml` is looked for as long as no file is known; None: nowhere."""
    many_addresses: bool = True

    def plan(self) -> StackPlan:
        """ConfigError, with all that is wrong."""
        if self.config is None and self.directory is not None and (self.directory / USUAL).exists():
            self.config = self.directory / USUAL
        document = Document.read(short(self.config)) if self.config is not None else None
        return make_plan(
            document,
            kinds=registry,
            state_dir=self.state_dir,
            many_addresses=self.many_addresses,
            given={name: value for name, value in self.given.items() if value is not None},
        )


def chosen(
    state_dir: Path, given: Mapping[str, Any], *, config: str = "", no_config: bool = False, many_addresses: bool = True
) -> Source:
    """By the flags of `up` and `exec`: -c FILE, --no-config, or stack.toml if the working directory has one."""
    if config and no_config:
        raise ConfigError("--config and --no-config exclude each other")
    return Source(
        state_dir,
        dict(given),
        Path(config).absolute() if config else None,
        None if no_config or config else Path.cwd(),
        many_addresses,
    )


def short(path: Path) -> Path:
    """As it is called in messages: from the working directory, where it lies below."""
    try:
        return path.relative_to(os.getcwd())
    except (ValueError, OSError):
        return path
