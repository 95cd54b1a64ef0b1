"""stack.toml, environment and flags -> the plan of a stack: every hop with its whole configuration.

The default stack is the same with nothing said. What a file leaves out is as in the default stack, and every entry
inherits what it does not say; then follows, in this order: where each hop listens, who is next, who is believed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from stack.config import flags
from stack.errors import ConfigError, ConfigErrors, Problem
from stack.plan import behind, faults, links, zones
from stack.plan.behind import static_directory
from stack.plan.checks import check
from stack.plan.document import Document
from stack.plan.draft import Draft, Stack, bare, is_ip, listeners
from stack.plan.entries import Entries
from stack.plan.layout import SECTIONS
from stack.plan.model import HopPlan, Kinds, StackPlan
from stack.plan.ports import Places, Ports
from stack.plan.reading import Reader

__all__ = ["NAME", "make_plan", "static_directory"]

NAME: Final = "shop.test"
"""Of the demo shop's site."""


def make_plan(
    document: Document | None,
    *,
    kinds: Kinds,
    state_dir: Path,
    environ: Mapping[str, str] | None = None,
    many_addresses: bool = True,
    given: Mapping[str, Any] | None = None,
) -> StackPlan:
    """Raises ConfigErrors with every fault at once, in the order of the file.

    `given`: top-level keys from flags, None for one that was not given; they win over `environ` (default: that of
    this process), and that over the document. `state_dir` is where generated files will be.
    """
    document = Document({}) if document is None else document
    environ = os.environ if environ is None else environ
    problems: list[Problem] = []
    reader = Reader(document, problems)
    entries = Entries(reader, kinds, environ, given or {}, problems)
    site = entries.site
    base = site["port_base"].value if "port_base" in site else None
    stack = Stack(document, state_dir, Places(Ports.above(base), many_addresses), site, problems)
    behind.populate(stack, entries)
    stack.names = _names(stack, entries)
    _place(stack)
    behind.settle(stack, entries)
    for draft in stack:
        entries.overrule(draft)
    links.link(stack, entries.pool_members())
    links.believe(stack)
    _certificates(stack)
    zones.serve(stack, kinds, entries.zones)
    faults.inject(stack, reader)
    hops = tuple(hop for draft in stack if (hop := _hop(stack, draft)) is not None)
    check(stack, kinds, hops)
    problems += entries.slips()
    wrong = _in_order(problem for problem in problems if not problem.warning)
    if wrong:
        raise ConfigErrors(wrong)
    sources = {draft.name: {path: said.source for path, said in draft.said.items()} for draft in stack}
    flagged = {key: value for key, value in (given or {}).items() if value is not None and key != "database_url"}
    return StackPlan(stack.names[0], hops, sources, tuple(_in_order(problems)), flagged)


def _in_order(problems: Any) -> list[Problem]:
    """Of the file first, by line, each once; then what flags and environment said."""
    return sorted(dict.fromkeys(problems), key=lambda item: (not item.file, item.line))


# What it is called.


def _names(stack: Stack, entries: Entries) -> tuple[str, ...]:
    """Of the sites: the stack's own, and those of further zones."""
    written = zones.site_names(entries.zones)
    name = zones.plain(str(stack.top("name", "")))
    if not name and written:
        name = written[0]
    elif not name and behind.is_demo(stack):
        name = NAME
    elif not name:
        folder = stack.document.directory or Path.cwd()
        label = re.sub(r"[^a-z0-9]+", "-", folder.name.lower()).strip("-")[:63].strip("-")
        name = f"{label or 'app'}.test"
    return tuple(dict.fromkeys((name, *written)))


# Where they listen.


def _place(stack: Stack) -> None:
    places = stack.places
    for draft in stack.of("dns"):
        if draft.name == "resolver":
            draft.derive("resolver", True, "by its name")
    counts = {True: 0, False: 0}
    others = dict.fromkeys(SECTIONS, 0)
    for title, drafts in stack.drafts.items():
        for position, draft in enumerate(drafts):
            if title == "dns":
                position = counts[draft.is_resolver]
                counts[draft.is_resolver] += 1
            draft.position = position
            spread = ("listen",) not in draft.said
            draft.derive("listen", tuple(map(str, _usual(draft, places))), "by its position")
            listeners(stack, draft)
            admin = places.admin(title, draft.name, others[title])
            others[title] += not places.has_own_admin(draft.name)
            draft.derive("admin", str(admin), "by its position")
            _source(draft, places, spread=spread)


def _usual(draft: Draft, places: Places) -> tuple[Any, ...]:
    title = draft.section.title
    if title == "dns":
        return places.resolver(draft.position) if draft.is_resolver else (places.authority(draft.position),)
    return places.edge(draft.position) if title == "edges" else (places.inner(title, draft.position),)


def _source(draft: Draft, places: Places, *, spread: bool) -> None:
    """An address of its own to connect from, if it stays on loopback."""
    local = draft.host.startswith("127.") and is_ip(draft.host)
    source = places.source(draft.section.title, draft.position, draft.host)
    if source and (spread or (local and all(item.host.startswith("127.") for item in draft.listens))):
        draft.derive("source", source, "by its position")


# Certificates.


def _certificates(stack: Stack) -> None:
    for draft in stack:
        if not any(item.scheme in ("https", "tls") for item in draft.listens):
            continue
        names: list[str] = []
        if draft.section.title == "edges":
            names += [name for site in stack.names for name in (site, f"www.{site}", f"{draft.name}.{site}")]
        names.append("localhost")
        if not is_ip(draft.host):
            names.append(draft.host)
        draft.derive("server_names", tuple(names), "the names it is reached by")


def _hop(stack: Stack, draft: Draft) -> HopPlan | None:
    found = {path: said.value for path, said in draft.said.items()}
    found[("name",)] = draft.name
    try:
        config = flags.make(draft.type, found)
    except ConfigError as error:
        if not stack.faults():  # else it is the consequence of one that is known
            stack.fault(draft.source, bare(error))
        return None
    return HopPlan(draft.kind, config, draft.env, draft.files)
