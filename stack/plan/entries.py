"""The file, the environment and the flags: from what they say, the hops to be, each with its options."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from stack.config import flags, values
from stack.config.base import HopOptions
from stack.errors import ConfigError, Problem
from stack.plan.draft import Draft
from stack.plan.layout import (
    ALL,
    KEY,
    LINKS,
    MOST,
    NAMED,
    NOT_OF_ENVIRONMENT,
    NOT_OF_POOLS,
    OWN,
    SECTIONS,
    SHARED,
    SINGLE,
    Pool,
    Section,
    Site,
    Tls,
)
from stack.plan.model import Kinds
from stack.plan.reading import Reader, Values, fields, near
from stack.plan.sources import Said, Source

EDGES: Final = ("fra", "nrt")
DNS: Final = ("root", "tld", "shop", "resolver")
_SEE: Final = "; `hopstack config schema` has them all"
_FLAGS: Final = "flag"


class Entries:
    """All that is said, by section. Faults go to the reader's list."""

    def __init__(
        self,
        reader: Reader,
        kinds: Kinds,
        environ: Mapping[str, str],
        given: Mapping[str, Any],
        problems: list[Problem],
    ) -> None:
        self._reader, self._kinds, self._environ, self._problems = reader, kinds, environ, problems
        self._records: dict[str, type[HopOptions]] = {item.kind: kinds.config(item.kind) for item in SECTIONS.values()}
        self._root = reader.document.values
        self._listed: dict[str, tuple[str, ...]] = {}
        """Sections whose entries something else lists: flags, `replicas`."""
        self._check_keys()
        self.site = self._site(given)
        self._shared = self._read_shared()
        self.pools = {name: said for name, _, said in self._named("pools", Pool, self._pool_fields())}
        self.zones = {name: (source, _flat(said)) for name, source, said in self._named("zones", NAMED["zones"])}
        self.routes = {name: (source, _flat(said)) for name, source, said in self._named("routes", NAMED["routes"])}

    def has(self, section: str) -> bool:
        return section in self._root

    def keys(self, section: str) -> list[str]:
        """Of the entries that the file has."""
        table = self._root.get(section)
        return list(table) if isinstance(table, dict) else []

    def number(self, section: str, keys: Sequence[str]) -> None:
        """The section has these entries, whether written or not."""
        self._listed[section] = tuple(keys)

    def _check_keys(self) -> None:
        names = [*Site.__struct_fields__, *ALL]
        for key, value in self._root.items():
            if key in names:
                continue
            table = isinstance(value, dict | list) and not (
                isinstance(value, list) and not any(isinstance(v, dict) for v in value)
            )
            what = "section" if table else "key"
            hint = near(key, names) or (f"; sections are {', '.join(ALL)}" if table else _SEE)
            self._reader.fault((key,), f"there is no such {what}{hint}")

    # Top-level keys.

    def _site(self, given: Mapping[str, Any]) -> dict[str, Said]:
        known = fields([Site])
        table = {key: value for key, value in self._root.items() if key in known}
        found = _flat(self._reader.options(table, (), Site))
        if "static" in found:
            found["static"] = Said(self._reader.files(found["static"].value), found["static"].source)
        for option in flags.options(Site):
            name = option.path[0]
            for variable in (option.variable, *(("DATABASE_URL",) if name == "database_url" else ())):
                # `hopstack exec` tells a command the name of the stack it runs beside: it names no other
                if variable in self._environ and name != "name":
                    source = Source("environment", variable)
                    said = self._outer(option, self._environ[variable], source)
                    if said is not None:
                        found[name] = said
        for name, value in given.items():
            if value is None:
                continue
            source = Source("flag", "--" + name.replace("_", "-"))
            if name == "edges":
                self._listed["edges"] = self._edge_names(value, source)
                continue
            by_name = {option.path[0]: option for option in flags.options(Site)}
            if name not in by_name:
                raise TypeError(f"no top-level key is called {name!r}")
            said = self._outer(by_name[name], value, source)
            if said is not None:
                found[name] = said
        return found

    def _outer(self, option: flags.Option, value: Any, source: Source) -> Said | None:
        """A value from outside the file."""
        if values.element(option.type) is not None and isinstance(value, str):
            value = value.split() if source.kind == "environment" else [value]
        if isinstance(value, tuple):
            value = list(value)
        try:
            return Said(values.convert(option.type, value), source)
        except ValueError as error:
            self._problems.append(source.problem(str(error), value=value))
            return None

    def _edge_names(self, value: Any, source: Source) -> tuple[str, ...]:
        if isinstance(value, list) and any(isinstance(item, dict) for item in value):  # [[edges]]
            self._problems.append(source.problem("a table is wanted, as [edges.fra], or a list of names", value=value))
            return EDGES
        names = [name for item in ([value] if isinstance(value, str) else value) for name in str(item).split(",")]
        found: dict[str, None] = {}
        for name in map(str.strip, names):
            if self._named_well(name, source) and name in found:
                self._problems.append(source.problem(f"{name} stands here twice"))
            found[name] = None
        return tuple(found)

    # Sections of processes.

    def drafts(self, section: Section, default: Sequence[str]) -> list[Draft]:
        """Every entry of a section, or those of the default stack if the file has none."""
        title, record = section.title, self._records[section.kind]
        raw = self._root.get(title)
        listed = self._listed.get(title)
        if title == "edges" and isinstance(raw, list):
            names = self._edge_names(raw, self._reader.source((title,)))
            raw, listed = {}, names if listed is None else listed
        table = {} if raw is None else self._reader.table(raw, (title,), f"[{title}.{next(iter(default), '1')}]")
        # a section that is no table was told above: the rest is read as with the default
        keys = list(table) if isinstance(raw, dict) and listed is None else list(default) if listed is None else listed
        found: list[Draft] = []
        for key in keys:
            at = (title, key)
            source = self._reader.source(at) if key in table else Source("default", section.process(key))
            if key in table and not self._named_well(key, source):
                continue
            draft = Draft(section, key, record, source)
            draft.said = dict(self._general(section, record))
            if key in table:
                entry = self._reader.table(table[key], at, f"[{title}.{key}]")
                extra = section.extra.__struct_fields__
                said = self._reader.options(
                    entry,
                    at,
                    record,
                    section.extra,
                    without=OWN,
                    unknown=f"; `hopstack config show {draft.name}` lists those it has",
                )
                draft.more = {path[0]: item for path, item in said.items() if path[0] in extra}
                draft.said |= {path: item for path, item in said.items() if path[0] not in extra}
            found.append(draft)
        if len(found) > MOST:
            self._reader.fault((title,), f"{len(found)} entries; there may be {MOST}")
        return found[:MOST]

    def overrule(self, draft: Draft) -> None:
        """What the environment says to every hop that has the option."""
        for option in flags.options(draft.type):
            if option.path[0] in NOT_OF_ENVIRONMENT or option.variable not in self._environ:
                continue
            source = Source("environment", option.variable)
            try:
                draft.said[option.path] = Said(flags.from_environment(option, self._environ), source)
            except ConfigError as error:
                problem = Problem("", str(error))
                if problem not in self._problems:
                    self._problems.append(problem)

    def slips(self) -> Iterable[Problem]:
        """Variables that are nearly an option's: whoever set them meant something."""
        options = [option for record in (Site, *self._records.values()) for option in flags.options(record)]
        known = {option.variable for option in options if option.path[0] not in LINKS}
        for name in self._environ:
            if not name.startswith(flags.PREFIX) or name in known or name == "HOPSTACK_WORKER":  # told by a master
                continue
            if near_ones := difflib.get_close_matches(name, known, 1, cutoff=0.9):
                yield Problem(name, f"no option has this variable; did you mean {near_ones[0]}?", warning=True)

    def _named_well(self, key: str, source: Source) -> bool:
        if KEY.fullmatch(key):
            return True
        self._problems.append(
            source.problem(f"{key!r} cannot be part of a process's name: up to 40 letters, digits, - and _, as fra")
        )
        return False

    # Options of several hops.

    def _read_shared(self) -> dict[str, Values]:
        found: dict[str, Values] = {}
        every = list(self._records.values())
        for title in SHARED:
            if title not in self._root:
                continue
            table = self._reader.table(self._root[title], (title,), f"[{title}]")
            at = (title,)
            if title == "defaults":
                found[title] = self._reader.options(table, at, *every, without=SINGLE, unknown=_SEE)
            elif title in ("limits", "timeouts"):
                records = [kind for item in every if (kind := _record(item, title)) is not None]
                found[title] = self._reader.options(table, at, *dict.fromkeys(records), under=(title,), unknown=_SEE)
            elif title == "cache":
                record = _record(self._records["cdn_edge"], "cache")
                assert record is not None
                found[title] = self._reader.options(table, at, record, under=("cache",), unknown=_SEE)
            else:
                found[title] = self._reader.options(table, at, Tls, unknown=_SEE)
        return found

    def _general(self, section: Section, record: type[HopOptions]) -> Values:
        """What sections for several hops say to one of this kind; an entry's own value wins."""
        titles = ["defaults", "limits", "timeouts"] + (["cache", "tls"] if section.title == "edges" else [])
        known = {option.path for option in flags.options(record)}
        return {path: said for title in titles for path, said in self._shared.get(title, {}).items() if path in known}

    def pool_values(self, name: str) -> Values:
        return {path: said for path, said in self.pools.get(name, {}).items() if path != ("members",)}

    def pool_members(self) -> dict[str, tuple[Source, Said | None]]:
        return {
            name: (self._reader.source(("pools", name)), said.get(("members",))) for name, said in self.pools.items()
        }

    def _pool_fields(self) -> tuple[type[HopOptions], frozenset[str]]:
        return self._records["loadbalancer"], NOT_OF_POOLS

    def _named(
        self, title: str, record: type[msgspec.Struct], besides: tuple[type[HopOptions], frozenset[str]] | None = None
    ) -> Iterable[tuple[str, Source, Values]]:
        table = self._reader.table(self._root.get(title, {}), (title,), f"[{title}.NAME]")
        for name, value in table.items():
            at = (title, name)
            entry = self._reader.table(value, at, f"[{title}.{name}]")
            own = [key for key in entry if key in record.__struct_fields__]
            said = self._reader.options({key: entry[key] for key in own}, at, record)
            rest = {key: value for key, value in entry.items() if key not in own}
            if besides is not None:
                said |= self._reader.options(rest, at, besides[0], without=besides[1], also=record.__struct_fields__)
            else:
                said |= self._reader.options(rest, at, record, unknown=_LATER.get(title, _SEE))
            yield name, self._reader.source(at), said


_LATER: Final = {
    "routes": "; a route has prefix and static, the choice of a pool by host or path is not there yet",
}


def _record(record: type[msgspec.Struct], name: str) -> type[msgspec.Struct] | None:
    bare = values.split(fields([record]).get(name))[0]
    return bare if isinstance(bare, type) and issubclass(bare, msgspec.Struct) else None


def _flat(said: Values) -> dict[str, Said]:
    return {path[0]: item for path, item in said.items()}
