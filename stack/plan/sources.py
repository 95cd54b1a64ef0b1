"""Where a value comes from: the file, the environment, a flag, or the rest of the stack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from stack.config.flags import without_passwords
from stack.errors import Problem
from stack.plan.document import Document, escaped, written
from stack.plan.toml_places import Key


@dataclass(frozen=True, slots=True)
class Source:
    """The origin of one value. What has none is the option's default."""

    kind: Literal["default", "derived", "file", "environment", "flag"]
    key: str = ""
    """As it was said: `edges.fra.cache.size`, `HOPSTACK_LIMITS_BODY`, `--replicas`."""
    file: str = ""
    line: int = 0
    why: str = ""
    """Of a derived value, in a few words."""
    items: tuple[int, ...] = ()
    """Lines of an array's elements."""

    def __str__(self) -> str:
        if self.kind == "file":
            return f"{self.file}:{self.line}" if self.line else self.file or self.key
        return self.why if self.kind == "derived" else self.key or self.kind

    def item(self, number: int) -> Source:
        """Of one element; the value itself if it is no array."""
        if number >= len(self.items):
            return self
        return Source(self.kind, f"{self.key}[{number}]", self.file, self.items[number])

    def problem(self, text: str, *, value: Any = None, warning: bool = False) -> Problem:
        key = self.key if value is None else f"{self.key} = {spelled(without_passwords(value))}"
        return Problem(key, text, self.file, self.line, warning=warning)


DEFAULT = Source("default")


def from_file(document: Document, path: Key) -> Source:
    items: list[int] = []
    while (line := document.lines.get((*path, len(items)))) is not None:
        items.append(line)
    return Source("file", written(path), document.name, document.line(path), items=tuple(items))


def derived(why: str) -> Source:
    return Source("derived", why=why)


@dataclass(frozen=True, slots=True)
class Said:
    """A value and who said it."""

    value: Any
    source: Source


def spelled(value: Any) -> str:
    """A value as a file has it, cut short where it is long."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = f'"{escaped(value)}"'
    elif isinstance(value, list | tuple):
        text = "[" + ", ".join(spelled(item) for item in value) + "]"
    elif isinstance(value, dict):
        text = "{...}"
    else:
        text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
