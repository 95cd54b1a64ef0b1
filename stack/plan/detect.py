"""What a directory holds that a stack could stand before: found by reading, nothing is imported or run."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from stack.plan.python_apps import PythonApp, apps_in

FILES: Final = 2000
"""Files that are looked at; a larger tree is looked at from its top."""
DEPTH: Final = 5
SIZE: Final = 1 << 20
_PASSED_OVER: Final = frozenset(
    {
        *("node_modules", "site-packages", "__pycache__", "venv", "env", "build", "dist"),
        *("tests", "test", "docs", "examples", "migrations"),
    }
)
STATIC: Final = ("public", "static", "dist", "build", "out", "_site", "www", "html")
"""Usual names of a folder of files for browsers, likeliest first."""

_COMMAND: Final = re.compile(
    r"\b(?P<server>uvicorn|gunicorn|hypercorn|granian|daphne|waitress-serve)\b(?P<rest>[^\n#]*)"
)
_TARGET: Final = re.compile(r"(?<![\w./:-])([A-Za-z_][\w.]*:[A-Za-z_][\w.]*)(?![\w/:])")
_HEALTH: Final = re.compile(
    r"""\b(?:route|get|Route|path|add_get|add_route|add_url_rule|GET)\(\s*["']"""
    r"""/?((?:-/)?(?:health(?:z|check|_check|-check)?|livez?|readyz?|ping|up)/?)["']"""
)
_FLASK_APP: Final = re.compile(r"^\s*(?:export\s+)?FLASK_APP\s*=\s*[\"']?([\w.]+:[\w.]+)", re.MULTILINE)
_PORT_FLAG: Final = re.compile(r"(?:--port[= ]|-p[= ]?|\bPORT=)(\d{2,5})\b")
_LISTEN: Final = re.compile(
    r"""\.listen\(\s*(?:\{\s*port:\s*)?(?:[\w.\[\]"']+\s*(?:\|\||\?\?)\s*)?["']?(\d{2,5})\b"""
    r"""|\bport\b\s*[:=]\s*(?:Number\(|parseInt\()?\s*process\.env\.\w+\s*\)?\s*(?:\|\||\?\?)\s*["']?(\d{2,5})""",
    re.IGNORECASE,
)
_SCRIPT: Final = re.compile(r"[\w./-]+\.(?:[cm]?js|ts)\b")
_GO_LISTEN: Final = re.compile(r'(?:ListenAndServe\w*|\.Run|\.Start|\.Listen)\(\s*"[^":]*:(\d{2,5})"')
_EXPOSE: Final = re.compile(r"^\s*EXPOSE\s+(\d{2,5})", re.MULTILINE | re.IGNORECASE)
_USUAL_PORTS: Final = {
    "next": 3000, "nuxt": 3000, "vite": 5173, "astro": 4321, "ng": 4200, "react-scripts": 3000, "remix": 3000,
    "gatsby": 8000, "vue-cli-service": 8080, "parcel": 1234, "eleventy": 8080, "nest": 3000,
}  # fmt: skip
"""Ports that development servers take when nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server of any language that the user starts himself."""

    url: str
    why: str


@dataclass(frozen=True, slots=True)
class Folder:
    """Files for browsers. `index`: it has an index.html, so it is a whole site."""

    path: str
    index: bool


@dataclass(frozen=True, slots=True)
class Found:
    """Likeliest first, each list."""

    apps: list[PythonApp] = field(default_factory=list)
    servers: list[Server] = field(default_factory=list)
    folders: list[Folder] = field(default_factory=list)
    health: str = ""
    health_why: str = ""


def look(directory: Path) -> Found:
    """ConfigError never: what cannot be read is passed over."""
    sources = dict(_sources(directory, ".py"))
    hinted = _hinted(directory)
    apps = apps_in(directory, sources, hinted)
    health, why = _health(sources)
    return Found(apps, list(_servers(directory)), list(_folders(directory)), health, why)


def read(path: Path) -> str:
    try:
        if not path.is_file() or path.stat().st_size > SIZE:
            return ""
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def _sources(directory: Path, suffix: str) -> Iterator[tuple[Path, str]]:
    """Relative path and text of sources, the shallow ones first."""
    looked = 0
    level = [directory]
    for _ in range(DEPTH):
        deeper: list[Path] = []
        for folder in level:
            try:
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except OSError:
                continue
            for entry in entries:
                path = Path(entry.path)
                if entry.is_dir(follow_symlinks=False):
                    virtual = (path / "pyvenv.cfg").exists()
                    if not entry.name.startswith(".") and entry.name not in _PASSED_OVER and not virtual:
                        deeper.append(path)
                elif entry.name.endswith(suffix) and looked < FILES:
                    looked += 1
                    yield path.relative_to(directory), read(path)
        level = deeper


# What the project's own files say is run.


def _hinted(directory: Path) -> dict[str, str]:
    """`module:attribute` to where it is said: Procfile, Dockerfile, pyproject.toml and their like."""
    found: dict[str, str] = {}
    for name in (
        "Procfile",
        "pyproject.toml",
        "Dockerfile",
        "docker-compose.yml",
        "compose.yaml",
        "Makefile",
        "README.md",
    ):
        for match in _COMMAND.finditer(read(directory / name).replace('", "', " ").replace('","', " ")):
            if target := _TARGET.search(match["rest"]):
                found.setdefault(target[1], f"{match['server']} in {name}")
    try:
        tool = tomllib.loads(read(directory / "pyproject.toml")).get("tool", {})
    except tomllib.TOMLDecodeError:
        tool = {}
    entry = _at(tool, "fastapi", "entrypoint")
    if isinstance(entry, str) and _TARGET.fullmatch(entry):
        found.setdefault(entry, "tool.fastapi.entrypoint in pyproject.toml")
    for name in (".flaskenv", ".env"):
        if flask := _FLASK_APP.search(read(directory / name)):
            found.setdefault(flask[1], f"FLASK_APP in {name}")
    return found


def _at(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _health(sources: dict[Path, str]) -> tuple[str, str]:
    for path, text in sources.items():
        if match := _HEALTH.search(text):
            line = text.count("\n", 0, match.start()) + 1
            return f"/{match[1]}", f"{path}, line {line}"
    return "", ""


# Servers in other languages.


def _servers(directory: Path) -> Iterator[Server]:
    ports: dict[int, str] = {}
    for port, why in _ports(directory):
        if 0 < port < 65536:
            ports.setdefault(port, why)
    for port, why in ports.items():
        yield Server(f"http://127.0.0.1:{port}", why)


def _ports(directory: Path) -> Iterator[tuple[int, str]]:
    yield from _node(directory)
    for line in read(directory / "Procfile").splitlines():
        if line.startswith("web:") and (match := _PORT_FLAG.search(line)):
            yield int(match[1]), "`web` in Procfile"
    for path, text in _sources(directory, ".go"):
        if match := _GO_LISTEN.search(text):
            yield int(match[1]), f"it listens there in {path}"
            break
    if "rails" in read(directory / "Gemfile"):
        yield 3000, "Rails, by its Gemfile"
    if (directory / "artisan").is_file():
        yield 8000, "Laravel: `php artisan serve`"
    if match := _EXPOSE.search(read(directory / "Dockerfile")):
        yield int(match[1]), "EXPOSE in Dockerfile"


def _node(directory: Path) -> Iterator[tuple[int, str]]:
    try:
        package = json.loads(read(directory / "package.json") or "{}")
    except ValueError:
        return
    scripts = _at(package, "scripts")
    for name in ("start", "dev", "serve", "preview"):
        command = scripts.get(name) if isinstance(scripts, dict) else None
        if not isinstance(command, str):
            continue
        if match := _PORT_FLAG.search(command):
            yield int(match[1]), f"script {name!r} of package.json"
        elif known := next((word for word in re.split(r"[\s/]+", command) if word in _USUAL_PORTS), None):
            yield _USUAL_PORTS[known], f"the usual port of {known}, script {name!r} of package.json"
        elif (file := _SCRIPT.search(command)) and (match := _LISTEN.search(read(directory / file[0]))):
            yield int(match[1] or match[2]), f"it listens there in {file[0]}"
    main = _at(package, "main")
    for name in (*((main,) if isinstance(main, str) else ()), "server.js", "index.js", "app.js", "src/index.js"):
        if match := _LISTEN.search(read(directory / name)):
            yield int(match[1] or match[2]), f"it listens there in {name}"


def _folders(directory: Path) -> Iterator[Folder]:
    found = []
    for name in STATIC:
        path = directory / name
        try:
            if path.is_dir() and any(path.iterdir()):
                found.append(Folder(name, (path / "index.html").is_file()))
        except OSError:
            continue
    if (directory / "index.html").is_file():
        found.append(Folder(".", True))
    yield from sorted(found, key=lambda folder: not folder.index)
