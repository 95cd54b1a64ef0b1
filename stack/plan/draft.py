"""A hop while its plan is made: what was said of it, by whom, and what follows for its neighbours."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stack.config import listen
from stack.config.base import HopOptions
from stack.config.listen import Listen, address
from stack.errors import ConfigError, Problem
from stack.plan.document import Document
from stack.plan.layout import SECTIONS, Section
from stack.plan.ports import LOCAL, Places
from stack.plan.reading import Values
from stack.plan.sources import Said, Source, derived

HTTP = ("http", "https", "h2c")


@dataclass
class Draft:
    """One process to be."""

    section: Section
    key: str
    type: type[HopOptions]
    source: Source
    """Where the entry stands."""
    position: int = 0
    """In its section, from 0; among DNS servers, of its own role."""
    said: Values = field(default_factory=dict)
    more: dict[str, Said] = field(default_factory=dict)
    """What an entry says besides the options of its hop: host, pool, zones."""
    listens: tuple[Listen, ...] = ()
    before: list[Draft] = field(default_factory=list)
    """Hops that send to this one."""
    env: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return self.section.kind

    @property
    def name(self) -> str:
        return self.section.process(self.key)

    def get(self, *path: str, default: Any = None) -> Any:
        said = self.said.get(path)
        return default if said is None else said.value

    def has(self, option: str) -> bool:
        return option in self.type.__struct_fields__

    def derive(self, option: str, value: Any, why: str) -> None:
        """Unless it was said; nothing for an option that this kind of hop has not."""
        if self.has(option):
            self.said.setdefault((option,), Said(value, derived(why)))

    def place(self, *path: str) -> Source:
        """Where an option is said, or the entry if it is not."""
        said = self.said.get(path)
        return self.source if said is None or said.source.kind == "derived" else said.source

    @property
    def is_resolver(self) -> bool:
        return bool(self.get("resolver", default=False))

    @property
    def listen(self) -> Listen | None:
        """Where others reach it: its first listener that they can."""
        wanted = ("dns",) if self.kind == "dns_server" else HTTP
        return next((item for item in self.listens if item.scheme in wanted), None)

    @property
    def host(self) -> str:
        """The address by which others reach it."""
        if (said := self.more.get("host")) is not None:
            return str(said.value)
        if self.listen is None:
            return LOCAL
        return LOCAL if _unspecified(self.listen.host) else self.listen.host

    @property
    def is_elsewhere(self) -> bool:
        """Whether it runs on another machine than the rest: in a container, as its `host` says."""
        said = self.more.get("host")
        return said is not None and not (is_ip(said.value) and ipaddress.ip_address(said.value).is_loopback)

    @property
    def url(self) -> str:
        """As another hop is told of it; empty when it cannot be reached."""
        item = self.listen
        return "" if item is None or not item.port else f"{item.scheme}://{address(self.host, item.port)}"

    def addresses(self, places: Places) -> tuple[str, ...]:
        """From which the next hop sees it connect, as far as they are known here."""
        if source := self.get("source"):
            return (str(source),)
        if is_ip(self.host):
            return (LOCAL if ipaddress.ip_address(self.host).is_loopback else self.host,)
        return ()


@dataclass
class Stack:
    """All that is known while a plan is made."""

    document: Document
    state_dir: Path
    places: Places
    site: dict[str, Said]
    """Top-level keys."""
    problems: list[Problem]
    drafts: dict[str, list[Draft]] = field(default_factory=lambda: {title: [] for title in SECTIONS})
    names: tuple[str, ...] = ()
    """Of the sites: the first is the stack's."""

    def __iter__(self) -> Iterator[Draft]:
        for drafts in self.drafts.values():
            yield from drafts

    def of(self, *sections: str) -> list[Draft]:
        return [draft for section in sections for draft in self.drafts[section]]

    def named(self, name: str) -> Draft | None:
        return next((draft for draft in self if draft.name == name), None)

    def top(self, name: str, default: Any) -> Any:
        said = self.site.get(name)
        return default if said is None else said.value

    def faults(self) -> int:
        """How many were found, without warnings."""
        return sum(not problem.warning for problem in self.problems)

    def fault(self, source: Source, text: str, *, value: Any = None, warning: bool = False) -> None:
        self.problems.append(source.problem(text, value=value, warning=warning))


def listeners(stack: Stack, draft: Draft) -> None:
    """What it listens on, as records; a fault for each that is none."""
    said = draft.said[("listen",)]
    found: list[Listen] = []
    for number, text in enumerate(said.value):
        try:
            found.append(listen.parse(text, usual=listen.usual(draft.kind), schemes=listen.served(draft.kind)))
        except ConfigError as error:
            stack.fault(said.source.item(number), bare(error), value=text)
    draft.listens = tuple(found)


def bare(error: ConfigError) -> str:
    """The text of an error without the flag that it begins with: the place in the file stands there instead."""
    text = str(error)
    if text.startswith("--"):
        _, mark, rest = text.partition(": ")
        return rest if mark else text
    return text


def is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _unspecified(host: str) -> bool:
    return is_ip(host) and ipaddress.ip_address(host).is_unspecified
