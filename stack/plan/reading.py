"""One table of the file against the record of its options: values with their places, and every fault found."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path as FilePath
from typing import Any
from urllib.parse import quote, unquote_plus

import msgspec

from stack.config import flags, values
from stack.errors import Problem
from stack.plan.document import Document
from stack.plan.layout import FILES, TABLES, WORDS, Path, prefixed
from stack.plan.sources import Said, Source, from_file
from stack.plan.toml_places import Key

Values = dict[Path, Said]


class Reader:
    """Reads tables of one document. Faults are collected, never raised."""

    def __init__(self, document: Document, problems: list[Problem]) -> None:
        self.document = document
        self._problems = problems

    def fault(self, at: Key, text: str, *, value: Any = None) -> None:
        self._problems.append(self.source(at).problem(text, value=value))

    def source(self, at: Key) -> Source:
        return from_file(self.document, at)

    def table(self, value: Any, at: Key, example: str) -> Mapping[str, Any]:
        """The value if it is a table; a fault and nothing if it is not."""
        if isinstance(value, dict):
            return value
        self.fault(at, f"a table is wanted, as {example}", value=value)
        return {}

    def options(
        self,
        table: Mapping[str, Any],
        at: Key,
        *records: type[msgspec.Struct],
        without: Collection[str] = (),
        under: Path = (),
        also: Iterable[str] = (),
        unknown: str = "",
    ) -> Values:
        """Every option of the table that one of the records has, by its path in it, `under` before.

        `without`: first-level options that may not be said here; `also`: keys that the caller reads himself;
        `unknown`: the remedy for an unknown key that is like no other.
        """
        found: Values = {}
        known = fields(records, without)
        names = [*known, *also]
        for key, value in table.items():
            here = (*at, key)
            if key in also:
                continue
            if key not in known:
                self.fault(here, self._no_option(key, names, records, without, unknown))
                continue
            kind = known[key]
            bare = values.split(kind)[0]
            if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
                inner = self.table(value, here, f"{key} = {{ {next(iter(bare.__struct_fields__))} = ... }}")
                records_inside = [inside for record in records if (inside := _nested(record, key)) is not None]
                found |= self.options(inner, here, *records_inside, under=(*under, key))
            else:
                said = self.value(kind, key, value, here)
                if said is not None:
                    found[(*under, key)] = said
        return found

    def value(self, kind: Any, name: str, value: Any, at: Key) -> Said | None:
        if name in TABLES and isinstance(value, dict):
            value = [f"{key}={item}" for key, item in value.items()]
        try:
            read = values.convert(kind, value)
        except values.BadElement as error:
            where = (*at, error.index) if isinstance(value, list) else at
            self.fault(where, str(error), value=value[error.index] if isinstance(value, list) else value)
            return None
        except ValueError as error:
            self.fault(at, str(error), value=value)
            return None
        if name in FILES:
            read = self.files(read)
        elif name == "listen":
            read = self._of_listeners(read)
        return Said(read, self.source(at))

    def files(self, value: Any) -> Any:
        """Paths made absolute: they begin at the directory of the file."""
        if isinstance(value, tuple | list):
            return tuple(self.files(item) for item in value)
        base = self.document.directory
        prefix, name = prefixed(value)
        if base is None or name in WORDS:
            return value
        return f"{prefix}{'=' if prefix else ''}{base / FilePath(name).expanduser()}"

    def _of_listeners(self, value: Any) -> Any:
        """The files behind `?` in one or more of `listen`."""
        if isinstance(value, tuple | list):
            return tuple(map(self._of_listeners, value))
        place, mark, query = str(value).partition("?")
        if self.document.directory is None or not mark:
            return value
        options = [part.partition("=") for part in query.split("&")]
        named = [
            f"{key}={quote(self.files(unquote_plus(text)))}" if key == "client_ca" and text else f"{key}{equals}{text}"
            for key, equals, text in options
        ]
        return f"{place}?{'&'.join(named)}"

    def _no_option(
        self,
        key: str,
        names: list[str],
        records: Iterable[type[msgspec.Struct]],
        without: Collection[str],
        unknown: str,
    ) -> str:
        if key in without:
            return "it belongs to one process: write it in its own entry"
        return "there is no such option" + (near(key, names, records) or unknown)


def near(key: str, names: Iterable[str], records: Iterable[type[msgspec.Struct]] = ()) -> str:
    """`; did you mean size?`, for the nearest of the names, or of the options deeper in the records."""
    wanted = key.replace("-", "_").lower()
    known = {
        option.path[-1]: ".".join(option.path)
        for record in records
        for option in flags.options(record)
        if len(option.path) > 1
    } | {name: name for name in names}
    found = difflib.get_close_matches(wanted, known, 1, cutoff=0.65)
    return f"; did you mean {known[found[0]]}?" if found else ""


def fields(records: Iterable[type[msgspec.Struct]], without: Collection[str] = ()) -> dict[str, Any]:
    """The types of first-level fields by name; of several records that have one, the first's."""
    found: dict[str, Any] = {}
    for record in records:
        for field in values.fields(record):
            if field.name not in without:
                found.setdefault(field.name, field.type)
    return found


def _nested(record: type[msgspec.Struct], name: str) -> type[msgspec.Struct] | None:
    for field in values.fields(record):
        bare = values.split(field.type)[0]
        if field.name == name and isinstance(bare, type) and issubclass(bare, msgspec.Struct):
            return bare
    return None
