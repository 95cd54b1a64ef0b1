"""stack.toml as plain values, and where each of its keys stands."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from stack.errors import ConfigError, ConfigErrors, Problem
from stack.plan.toml_places import Key, places

LIMIT: Final = 4 << 20
"""Bytes of a file; a configuration of a hundred hops is some 20 KiB."""
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_ENDLESS = re.compile(r"[0-9_]{1000}")
_POSITION = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")


@dataclass(frozen=True, slots=True)
class Document:
    """The values of a file, or of a mapping that stands for one."""

    values: Mapping[str, Any]
    name: str = ""
    """The file as the user called it; empty for a built one."""
    directory: Path | None = None
    """What relative paths in it begin at; None: the working directory."""
    lines: Mapping[Key, int] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, path: Path | str) -> Document:
        """ConfigError, with line and column, for a file that cannot be read or is no TOML."""
        path = Path(path)
        try:
            with path.open("rb") as file:
                data = file.read(LIMIT + 1)
        except OSError as error:
            hint = "; `hopstack init` writes one" if isinstance(error, FileNotFoundError) else ""
            raise ConfigError(f"{path}: {error.strerror}{hint}") from None
        if len(data) > LIMIT:
            raise ConfigError(f"{path}: larger than {LIMIT >> 20} MiB: is it the right file?")
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise ConfigErrors([Problem("", "not UTF-8; save the file in that encoding", str(path), line)]) from None
        return cls.of_text(text, name=str(path), directory=path.absolute().parent)

    @classmethod
    def of_text(cls, text: str, *, name: str = "stack.toml", directory: Path | None = None) -> Document:
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigErrors([_syntax(text, name, str(error))]) from None
        except RecursionError:
            raise ConfigError(f"{name}: brackets within brackets without an end") from None
        except ValueError:  # Python reads no number of more than 4300 digits
            raise ConfigErrors([_endless(text, name)]) from None
        return cls(values, name, directory, places(text))

    @classmethod
    def of(cls, values: Mapping[str, Any], *, directory: Path | None = None) -> Document:
        """A built one: mappings, sequences, text, numbers and booleans; paths become text."""
        return cls({str(key): _plain(value) for key, value in values.items()}, "", directory)

    def line(self, path: Key) -> int:
        """Of the key, or of the nearest one around it that is written; 0 when there are no lines."""
        for length in range(len(path), 0, -1):
            if (line := self.lines.get(path[:length])) is not None:
                return line
        return 1 if self.lines else 0

    def problem(self, path: Key, text: str, *, key: str = "", warning: bool = False) -> Problem:
        return Problem(key or written(path), text, self.name, self.line(path), warning=warning)


def written(path: Iterable[str | int]) -> str:
    """A key path as it is written in a file: `zones."shop.test".file`, `pools.hosts.members[2]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            quoted = part if _BARE.fullmatch(part) else '"' + escaped(part) + '"'
            text += f".{quoted}" if text else quoted
    return text


def escaped(text: str) -> str:
    """As it stands in a basic string of TOML, on one line."""
    return "".join(
        f"\\u{ord(mark):04x}" if ord(mark) < 32 or ord(mark) == 127 else f"\\{mark}" if mark in '"\\' else mark
        for mark in text
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


_PLAIN_WORDS: Final = {
    "Invalid value": "this is no value; text stands in quotes",
    "Expected '=' after a key in a key/value pair": "a key and its value are written as key = value",
    "Expected newline or end of document after a statement": "something is left over behind the value; "
    "each key has a line of its own, and text stands in quotes",
    "Cannot overwrite a value": "this key is given twice",
    "Expected ']' at the end of a table declaration": "the name of a table stands in brackets, as [edges.fra]",
    "Expected ']]' at the end of an array declaration": "the bracket ]] is missing",
    "Unclosed array": "the array is not closed: ] is missing",
    "Unterminated string": "the text is not closed: a quote is missing",
    "Illegal character '\\n'": "the text is not closed: a quote is missing",
    "Invalid initial character for a key part": "this is no key; one with other characters than A-Z a-z 0-9 _ - "
    'stands in quotes, as zones."shop.test"',
    "Invalid statement": "neither a table, as [edges.fra], nor a key and its value",
    "Unescaped '\\' in a string": "a backslash in text is written twice, or the text stands in single quotes",
}


def _endless(text: str, name: str) -> Problem:
    line = next((n for n, line in enumerate(text.splitlines(), 1) if _ENDLESS.search(line)), 0)
    return Problem("", "not TOML: a number with so many digits is none that is meant", name, line)


def _syntax(text: str, name: str, said: str) -> Problem:
    match = _POSITION.search(said)
    what = said[: match.start()] if match else said
    if match and match[1]:
        line, column = int(match[1]), int(match[2])
    else:
        line, column = len(text.rstrip().splitlines()) or 1, 0
        if what == "Invalid value":
            missing = text.rstrip().endswith("=")
            what = "the value is missing" if missing else "the array is not closed: ] is missing"
    if what.startswith("Cannot declare"):
        what = "this table stands here a second time; write it once" if "twice" in what else what
    elif re.fullmatch(r"Expected ['\"]+|Found invalid character '\\\\n'", what):
        what = "the text is not closed: a quote is missing"
    return Problem("", f"not TOML: {_PLAIN_WORDS.get(what, what[:1].lower() + what[1:])}", name, line, column)
