"""From `package.module:attr` to an application that can be served. Every failure is one line."""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final, Literal

from stack.errors import ConfigError

USUAL: Final = ("app", "application", "create_app", "make_app")
"""What is looked for in a module that is named without an attribute."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """An application and whose protocol it speaks."""

    kind: Literal["asgi", "wsgi", "aiohttp"]
    app: Any


Interface = Literal["auto", "asgi", "wsgi", "aiohttp"]


async def load(spec: str, *, directory: str, factory: bool = False, interface: Interface = "auto") -> Loaded:
    """Import and, where it is a factory, call. `directory` goes first on sys.path. ConfigError in one line."""
    path = _on_path(directory)
    module_name, _, attribute = spec.partition(":")
    if not module_name or module_name.endswith(".py") or "/" in module_name:
        raise ConfigError(f"--app {spec}: write it as package.module:attribute, such as shop.main:app")
    module = _import(spec, module_name, path)
    return await made(f"--app {spec}", _attribute(spec, module, attribute), factory=factory, interface=interface)


async def made(place: str, target: Any, *, factory: bool = False, interface: Interface = "auto") -> Loaded:
    """The application that `target` is or, as a factory, makes. `place` begins what a ConfigError says."""
    if factory:
        if not callable(target):
            raise ConfigError(f"{place} --factory: it is {_what(target)}, which cannot be called")
        return _served(place, await _call(place, target), interface)
    if (loaded := recognised(target, interface)) is not None:
        return loaded
    if is_factory(target):
        return _served(place, await _call(place, target), interface)
    raise ConfigError(f"{place}{_forced(interface)}: {_unfit(target, interface)}")


def _on_path(directory: str) -> str:
    path = os.path.abspath(directory or ".")
    if not os.path.isdir(path):
        raise ConfigError(f"--app-dir {directory}: there is no such directory")
    if path not in sys.path:
        sys.path.insert(0, path)
    return path


def recognised(target: Any, interface: Interface = "auto") -> Loaded | None:
    """The application itself, if it is one. aiohttp is not imported to find out."""
    web = sys.modules.get("aiohttp.web")
    if web is not None and isinstance(target, web.Application):
        return Loaded("aiohttp", target) if interface in ("auto", "aiohttp") else None
    if not callable(target):
        return None
    if interface in ("asgi", "wsgi"):  # said, not found out: what can be called that way is called that way
        return Loaded(interface, target) if _takes(target, 3 if interface == "asgi" else 2) else None
    if interface == "auto" and not inspect.isclass(target) and _asgi_shaped(target):
        return Loaded("asgi", target)
    if interface == "auto" and _wsgi_shaped(target):
        return Loaded("wsgi", target)
    return None


def is_factory(target: Any) -> bool:
    """Whether it can be called without an argument: `create_app()`, or a class whose instances are applications."""
    return callable(target) and _takes(target, 0)


def _takes(target: Callable[..., Any], count: int) -> bool:
    try:
        inspect.signature(target).bind(*(None,) * count)
    except TypeError:
        return False
    except ValueError:  # a builtin without a signature
        return False
    return True


def _asgi_shaped(target: Any) -> bool:
    """Whether it takes (scope, receive, send): exactly those, or a coroutine function that can and needs some."""
    if not _takes(target, 3):
        return False
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [p for p in inspect.signature(target).parameters.values() if p.default is p.empty and p.kind in kinds]
    if len(required) == 3:
        return True
    call = target if inspect.isroutine(target) else type(target).__call__
    return inspect.iscoroutinefunction(inspect.unwrap(call)) and not _takes(target, 0)


def _wsgi_shaped(target: Any) -> bool:
    """Whether it takes (environ, start_response): exactly two arguments, and answers without being awaited.

    A class may be an application too, its instances the responses (PEP 3333, "The Application/Framework Side").
    """
    if not _takes(target, 2) or _takes(target, 1):
        return False
    if inspect.isclass(target):
        return hasattr(target, "__iter__")
    call = target if inspect.isroutine(target) else type(target).__call__
    return not inspect.iscoroutinefunction(inspect.unwrap(call))


async def _call(place: str, factory: Callable[..., Any]) -> Any:
    try:
        made = factory()
        return await made if inspect.isawaitable(made) else made
    except Exception as error:
        raise ConfigError(f"{place}: calling it failed: {_blame(error)}") from error


def _served(place: str, made: Any, interface: Interface) -> Loaded:
    if (loaded := recognised(made, interface)) is not None:
        return loaded
    reason = _unfit(made, interface)
    raise ConfigError(f"{place}{_forced(interface)}: called as a factory it made what cannot be served: {reason}")


def _forced(interface: Interface) -> str:
    return "" if interface == "auto" else f" --interface {interface}"


def _unfit(target: Any, interface: Interface) -> str:
    """Why this is no application, and what to do."""
    if interface == "aiohttp":
        return f"it is {_what(target)}, not an aiohttp.web.Application or a factory of one"
    if isinstance(target, ModuleType):
        return "it is a module; name what in it to serve, as package.module:attribute"
    if not callable(target):
        return f"it is {_what(target)}; an ASGI or WSGI callable, an aiohttp Application or a factory of one is served"
    if inspect.isclass(target):
        if _takes(target, 1) and not _takes(target, 0):
            remedy = "wrap it with asgiref.compatibility.guarantee_single_callable"
            return f"it is a class made from a scope, which was ASGI 2; {remedy}"
        return f"it is {_what(target)} that needs arguments; name an instance, or a factory without arguments"
    applications = {"asgi": "an ASGI application takes (scope, receive, send)"}
    applications["wsgi"] = "a WSGI application takes (environ, start_response)"
    wanted = f"{applications.get(interface) or ', '.join(applications.values())}, a factory nothing"
    return f"it is {_what(target)}{_signature(target)}; {wanted}"


def _signature(target: Any) -> str:
    try:
        return str(inspect.signature(target))
    except (TypeError, ValueError):
        return ""


def _what(target: Any) -> str:
    if inspect.isclass(target):
        return f"the class {target.__qualname__}"
    if inspect.isroutine(target):
        return f"the function {getattr(target, '__qualname__', target)}"
    if target is None:
        return "None"
    return f"an instance of {type(target).__qualname__}"


# ── Finding ───────────────────────────────────────────────────────────────────────────────────


def _import(spec: str, name: str, directory: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(missing + "."):
            parent, _, last = missing.rpartition(".")
            near = _near(last, _modules(parent, directory))
            where = f"in the package {parent}" if parent else f"in {directory} or on sys.path"
            raise ConfigError(f"--app {spec}: there is no module {last!r} {where}{near}") from error
        raise ConfigError(f"--app {spec}: importing {name} failed: {_blame(error)}") from error
    except (Exception, SystemExit) as error:
        raise ConfigError(f"--app {spec}: importing {name} failed: {_blame(error)}") from error


def _modules(parent: str, directory: str) -> list[str]:
    """Names beside the missing one: of the package, or of the app's directory (all of sys.path would be noise)."""
    search = list(getattr(sys.modules.get(parent), "__path__", [])) if parent else [directory]
    return [module.name for module in pkgutil.iter_modules(search)]


def _attribute(spec: str, module: ModuleType, attribute: str) -> Any:
    if not attribute:
        for name in USUAL:
            if hasattr(module, name):
                return getattr(module, name)
        raise ConfigError(
            f"--app {spec}: {module.__name__} has none of {', '.join(USUAL)}; name the attribute, as {spec}:NAME"
        )
    target: Any = module
    passed = module.__name__
    for name in attribute.split("."):
        if not hasattr(target, name):
            owner = f"the module {passed}" if target is module else passed
            near = _near(name, (known for known in dir(target) if not known.startswith("_")))
            raise ConfigError(f"--app {spec}: {owner} has no {name!r}{near}")
        target = getattr(target, name)
        passed += f".{name}"
    return target


def _near(name: str, known: Iterable[str]) -> str:
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return f"; near it: {', '.join(close)}"
    return f"; there is: {', '.join(known[:8])}" if known else ""


def _blame(error: BaseException) -> str:
    """`ValueError: no such table (shop/db.py:41)`: the error and the innermost line outside the import machinery."""
    text = " ".join(str(error).split())
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} ({error.filename}:{error.lineno})"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen") and frame.filename not in (__file__, importlib.__file__)
    ]
    place = f" ({os.path.relpath(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}{': ' + text if text else ''}{place}"
