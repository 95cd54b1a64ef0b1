"""The first stack.toml of a directory: what was found, why, and the options that people ask for first.

`# text` explains; `#key = value` is an option that is off, with its default or an example, and holds without its mark.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from stack.plan.detect import Folder, Found, Server
from stack.plan.python_apps import PythonApp
from stack.plan.schema import COMMENT


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user said: it wins over what was found."""

    app: str = ""
    origin: Sequence[str] = ()
    static: Sequence[str] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class Starter:
    """`text` of the file, and `report`: a line for each thing that was found or decided."""

    text: str
    report: tuple[str, ...]
    nothing: bool
    """Nothing stands behind: the demo shop will."""


def starter(found: Found, wishes: Wishes, *, site: str, schema: str) -> Starter:
    """`site`: the name that the stack takes when none is given. `schema`: where the JSON Schema is, for editors."""
    behind = list(_behind(found, wishes))
    lines = [f"{COMMENT} {schema}", "", *_head(), "", *(line for part in behind for line in part.lines), *_rest(found)]
    if wishes.name:
        lines = _named(lines, f"name = {_text(wishes.name)}")
    else:
        lines = _named(lines, f"#name = {_text(site)}")
    report = tuple(line for part in behind for line in part.report)
    return Starter("\n".join(lines).rstrip() + "\n", report, not any(part.active for part in behind))


def _head() -> list[str]:
    return [
        "# Configuration of `hopstack up` in this directory. All that is not said here is",
        "# as in the default stack: DNS, two edges, a load balancer, and a proxy before",
        "# each instance of the app.",
        "#",
        "# A line that begins with # and a key is an option that is off, with its default",
        "# or an example: take the # away. `hopstack config check` checks the file,",
        "# `hopstack config show` lists every option with its value and where it is from.",
        "",
        "# The site's name; `hopstack up` prints how to reach it.",
        "@name",
    ]


def _named(lines: list[str], name: str) -> list[str]:
    return [name if line == "@name" else line for line in lines]


@dataclass(frozen=True, slots=True)
class _Part:
    lines: list[str]
    report: list[str]
    active: bool = False


def _behind(found: Found, wishes: Wishes) -> Iterator[_Part]:
    """What stands behind the proxies: an app, servers that run already, or files."""
    chosen = bool(wishes.app or wishes.origin or wishes.static)
    if wishes.app:
        known = next((app for app in found.apps if app.target == wishes.app), None)
        yield _app(wishes.app, known.directory if known else ".", ["# The app."], [])
    elif found.apps and not chosen:
        yield _found_app(found.apps, found.servers)
    if wishes.origin or (found.servers and not found.apps and not chosen):
        yield _servers(list(wishes.origin), found.servers)
    alone = not (wishes.app or wishes.origin or (not chosen and (found.apps or found.servers)))
    yield _files(list(wishes.static), found.folders, alone=alone)
    if alone and not wishes.static and not found.folders:
        yield _nothing()


def _found_app(apps: Sequence[PythonApp], servers: Sequence[Server]) -> _Part:
    first, *others = apps
    lines = [f"# {first.framework}, found in {first.file}, line {first.line}:", f"# {first.why}"]
    more = [f"#   {app.target}  ({app.framework}, {app.file}:{app.line})" for app in others[:4]]
    if more:
        lines += ["# Others that were found:", *more]
    report = [f"{first.framework} in {first.file}, line {first.line}: app = {_text(first.target)}"]
    report += [f"also {app.target} ({app.framework}); `--app {app.target}` takes it" for app in others[:4]]
    for server in servers[:1]:  # a front end beside it, or what the app itself listens on in its container
        lines += [f"# In its place, {server.url}: {server.why}."]
        report.append(f"also a server: {server.why}; `--origin {server.url}` takes it instead")
    return _app(first.target, first.directory, lines, report)


def _app(target: str, directory: str, comment: list[str], report: list[str]) -> _Part:
    lines = [*comment, f"app = {_text(target)}"]
    folder = f"app_dir = {_text(directory)}"
    lines += [
        "# The directory that it is imported from.",
        folder if directory != "." else f"#{folder}",
        "# Instances, each a process behind a proxy of its own.",
        "#replicas = 3",
        "",
    ]
    return _Part(lines, report or [f"app = {_text(target)}"], active=True)


def _servers(given: Sequence[str], found: Sequence[Server]) -> _Part:
    if given:
        written = _list(given)
        lines = ["# Servers of yours that run already; a proxy stands before each.", f"origin = {written}", ""]
        return _Part(lines, [f"origin = {written}"], active=True)
    first, *others = found
    lines = [f"# Your server, which you start yourself: {first.why}.", f"origin = {_text(first.url)}"]
    report = [f"a server: {first.why}: origin = {_text(first.url)}"]
    for other in others:
        lines.append(f"# Or {other.url}: {other.why}.")
        report.append(f"perhaps {other.url}: {other.why}; `--origin {other.url}` takes it")
    return _Part([*lines, ""], report, active=True)


def _files(given: Sequence[str], found: Sequence[Folder], *, alone: bool) -> _Part:
    if given:
        return _Part([*_FILES, f"static = {_list(given)}", ""], [f"static = {_list(given)}"], active=True)
    if not found:
        return _Part([*_FILES, '#   static = ["public"]', ""] if not alone else [], [])
    first = found[0]
    if alone:
        what = "a site with an index.html" if first.index else "files"
        place = "this directory" if first.path == "." else f"folder {first.path}"
        lines = [f"# {place[0].upper()}{place[1:]}: {what}.", f"static = {_list([first.path])}", ""]
        return _Part(lines, [f"{what} in {place}: static = {_list([first.path])}"], active=True)
    # the app may serve it itself, perhaps with other rules: a proxy would take it over
    folders = [folder for folder in found if folder.path != "."] or [Folder("public", False)]
    shown = _list([f"/static/={folders[0].path}"])
    report = [f"folder {first.path}: left to the app; static = {shown} lets the proxies serve it"]
    if first.path == ".":
        report = []
    return _Part([*_FILES, f"#static = {shown}", ""], report)


_FILES: Final = [
    "# Directories of files that the proxies serve themselves, as [PREFIX=]DIR: with",
    "# compression, ranges and conditional requests, without asking the app.",
]


def _nothing() -> _Part:
    lines = [
        "# What stands behind. Nothing was found in this directory, so it is the demo",
        "# shop. One of:",
        "# an application (ASGI, WSGI, aiohttp, or a factory of one)",
        '#app = "package.module:app"',
        "# or, where they are there, directories of files, or a server that runs already",
        '#   static = ["public"]',
        '#   origin = "http://127.0.0.1:3000"',
        "",
    ]
    return _Part(lines, ["no app, server or folder of files: the demo shop will stand behind"])


def _rest(found: Found) -> Iterator[str]:
    yield "# Path that says by 2xx or 3xx whether an instance is well. Without it, any"
    yield "# answer below 500 does."
    if found.health:
        yield f"# There is one in {found.health_why}."
    yield f"#health = {_text(found.health or '/health')}"
    yield from _MORE.splitlines()


_MORE: Final = """\
# DATABASE_URL of the app.
#database_url = "postgresql://user:password@127.0.0.1/name"
# All ports lie above it: https on N+443, http on N+80, DNS on N+53.
#port_base = 20000

# Points of presence, each an edge with a cache of its own.
#edges = ["fra", "nrt", "iad"]
# The cache of every edge.
#cache.size = "256M"
#cache.stale_if_unreachable = "1d"

# How the load balancer chooses, checks and tries again.
#pools.hosts.balance = "least-connections"
#pools.hosts.check_interval = "2s"
#pools.hosts.retries = 2

# Of every hop: bounds, time-outs, logs, spans for an OpenTelemetry collector.
#limits.body = "10M"
#timeouts.idle = "75s"
#defaults.access_log = "off"
#defaults.otlp = "http://127.0.0.1:4318"

# Faults to live with, on a link or a hop.
#faults.slow = { on = "lb-a>proxy-1", latency = "200ms", share = 0.2 }
"""


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _list(values: Sequence[str]) -> str:
    return _text(values[0]) if len(values) == 1 else "[" + ", ".join(map(_text, values)) + "]"
