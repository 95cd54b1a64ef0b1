"""Web applications in Python sources, by their syntax trees: ASGI, WSGI, aiohttp, Django, and factories of them."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MADE_BY: Final[Mapping[str, str]] = {
    "fastapi.FastAPI": "FastAPI",
    "starlette.applications.Starlette": "Starlette",
    "quart.Quart": "Quart",
    "litestar.Litestar": "Litestar",
    "sanic.Sanic": "Sanic",
    "falcon.asgi.App": "Falcon (ASGI)",
    "falcon.App": "Falcon (WSGI)",
    "flask.Flask": "Flask",
    "bottle.Bottle": "Bottle",
    "bottle.default_app": "Bottle",
    "aiohttp.web.Application": "aiohttp",
    "django.core.asgi.get_asgi_application": "Django (ASGI)",
    "django.core.wsgi.get_wsgi_application": "Django (WSGI)",
}
"""What an application is made by, and what it is called."""

_USUAL_NAMES: Final = ("app", "application", "asgi", "wsgi", "api", "server")
_USUAL_FILES: Final = ("asgi", "main", "app", "wsgi", "__init__", "server", "api", "web")
_WORDS: Final = re.compile(
    r"\b(?:fastapi|starlette|quart|litestar|sanic|falcon|flask|bottle|aiohttp|django\.core\.[aw]sgi"
    r"|receive|start_response|(?:create|make|get|build|init)_?\w*app\w*)\b"
)
"""One of them stands in every module with an application; parsing all others would take most of the time."""
_FACTORY: Final = re.compile(r"(?:create|make|get|build|init)_?(?:\w+_)?(?:app|application|api)|app_factory")
_RAW: Final = {("scope", "receive", "send"): "ASGI", ("environ", "start_response"): "WSGI"}


@dataclass(frozen=True, slots=True)
class PythonApp:
    """`target` is what `--app` takes, to be imported from `directory` (relative; `.` is the project's own)."""

    target: str
    directory: str
    framework: str
    file: str
    line: int
    why: str
    rank: tuple[int, ...] = ()


def apps_in(directory: Path, sources: Mapping[Path, str], hinted: Mapping[str, str]) -> list[PythonApp]:
    """Likeliest first. `hinted`: what the project's files run, and where they say so."""
    asgi_django = any("ASGI_APPLICATION" in text for text in sources.values())
    found: dict[tuple[str, str], PythonApp] = {}
    for path, text in sources.items():
        if not _WORDS.search(text):
            continue
        tree = _parsed(text)
        if tree is None:
            continue
        root, module = _module(directory, path, tree)
        for name, framework, node, factory in _applications(tree):
            target = f"{module}:{name}"
            rank = (
                target not in hinted,
                factory,
                framework == ("Django (WSGI)" if asgi_django else "Django (ASGI)"),
                len(path.parts),
                _position(name, _USUAL_NAMES),
                _position(path.stem, _USUAL_FILES),
            )
            written = "a factory" if factory else ast.unparse(node).splitlines()[0][:60]
            why = hinted.get(target, f"`{written}`" if not factory else f"`{name}()`, a factory")
            app = PythonApp(target, root, framework, str(path), node.lineno, why, tuple(map(int, rank)))
            found.setdefault((target, root), app)
    return sorted(found.values(), key=lambda app: app.rank)


def _position(name: str, usual: tuple[str, ...]) -> int:
    return usual.index(name) if name in usual else len(usual)


def _parsed(text: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the user's own invalid escapes
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _module(directory: Path, path: Path, tree: ast.Module) -> tuple[str, str]:
    """From where a file is imported, and its name there: below the topmost package; `src` and its like are none."""
    parts = list(path.with_suffix("").parts)
    start = len(parts) - 1
    while start > 0 and (directory.joinpath(*parts[:start]) / "__init__.py").is_file():
        start -= 1
    if start > 0 and _imports_from(tree, parts[0]):
        start = 0  # a package without __init__.py, which calls itself by its name
    root = "/".join(parts[:start]) or "."
    inside = parts[start:]
    if inside[-1] == "__init__" and len(inside) > 1:
        inside.pop()
    return root, ".".join(inside)


def _imports_from(tree: ast.Module, package: str) -> bool:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").partition(".")[0] == package):
            return True
        if isinstance(node, ast.Import) and any(name.name.partition(".")[0] == package for name in node.names):
            return True
    return False


def _applications(tree: ast.Module) -> Iterator[tuple[str, str, ast.stmt, bool]]:
    """(name, framework, where, whether it is a factory) of what stands at the top level of a module."""
    known = dict(_imported(tree))
    factories: dict[str, str] = {}
    statements = list(_top_level(tree.body))
    for node in statements:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = tuple(argument.arg for argument in node.args.args)
            private = node.name.startswith("_")
            if (
                not private
                and (raw := _RAW.get(arguments))
                and (raw == "ASGI") == isinstance(node, ast.AsyncFunctionDef)
            ):
                yield node.name, raw, node, False
            elif framework := _made_in(node, known):
                factories[node.name] = framework
    for node in statements:
        target, value = _assigned(node)
        if target is None or target.startswith("_") or not isinstance(value, ast.Call):
            continue
        called = _dotted(value.func, known)
        if made := MADE_BY.get(called) or factories.get(called):
            yield target, made, node, False
        elif target in ("app", "application") and _FACTORY.fullmatch(called.rpartition(".")[2]):
            yield target, "an application", node, False
    for node in statements:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in factories:
            needed = len(node.args.args) - len(node.args.defaults) + node.args.kw_defaults.count(None)
            if not needed and not node.name.startswith("_"):
                yield node.name, factories[node.name], node, True


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        if isinstance(node, ast.If):
            if "__name__" not in ast.unparse(node.test):  # what only runs as a script cannot be imported
                yield from _top_level(node.body)
                yield from _top_level(node.orelse)
        elif isinstance(node, ast.Try):
            yield from _top_level(node.body)
            yield from _top_level(node.orelse)
        elif isinstance(node, ast.With):
            yield from _top_level(node.body)


def _imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Names of the module to what they stand for; also of imports within functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for name in node.names:
                yield name.asname or name.name, f"{node.module}.{name.name}"
        elif isinstance(node, ast.Import):
            for name in node.names:
                if name.asname:
                    yield name.asname, name.name
                else:
                    yield name.name.partition(".")[0], name.name.partition(".")[0]


def _dotted(node: ast.expr, known: Mapping[str, str]) -> str:
    """`web.Application` as aiohttp.web.Application."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([known.get(node.id, node.id), *reversed(parts)])


def _assigned(node: ast.stmt) -> tuple[str | None, ast.expr | None]:
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id, node.value
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id, node.value
    return None, None


def _made_in(function: ast.FunctionDef | ast.AsyncFunctionDef, known: Mapping[str, str]) -> str:
    """The framework of the application that a function makes and returns; empty if it does not."""
    made: dict[str, str] = {}
    returned = ""
    for node in ast.walk(function):
        if isinstance(node, ast.stmt):
            target, value = _assigned(node)
            if target is not None and isinstance(value, ast.Call):
                made[target] = MADE_BY.get(_dotted(value.func, known), "")
        if isinstance(node, ast.Return):
            if isinstance(node.value, ast.Call):
                returned = returned or MADE_BY.get(_dotted(node.value.func, known), "")
            elif isinstance(node.value, ast.Name):
                returned = returned or made.get(node.value.id, "")
    if not returned and _FACTORY.fullmatch(function.name):
        return next((framework for framework in made.values() if framework), "")
    return returned
