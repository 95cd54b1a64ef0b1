"""`--app`: what is recognised, and that every mistake is one line naming what was looked for and what is near."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appserver.loader import load
from stack.errors import ConfigError

SOURCE = """
from aiohttp import web

async def app(scope, receive, send): ...

class Instance:
    async def __call__(self, scope, receive, send): ...

class Old:
    def __init__(self, scope): ...
    async def __call__(self, receive, send): ...

class Needy:
    def __init__(self, one, two): ...
    async def __call__(self, scope, receive, send): ...

def wrapped(scope, receive, send):
    return app(scope, receive, send)

def create_app():
    return app

def create_with_defaults(*args, **kwargs):
    return app

async def create_later():
    return web.Application()

def create_nothing(): ...

def create_badly():
    raise RuntimeError("no\\ndatabase")

def wsgi(environ, start_response): ...

class Flaskish:
    def __call__(self, environ, start_response): ...

class Pep3333:
    def __init__(self, environ, start_response): ...
    def __iter__(self): ...

class Djangoish(Flaskish):
    def __init__(self, *args, **kwargs): ...

def get_wsgi_application():
    return Djangoish()

async def two(environ, start_response): ...

def both(*arguments): ...

flaskish = Flaskish()

def one(scope): ...

instance = Instance()
shop = web.Application()
number = 7
nothing = None
"""


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[str]:
    names = "loadme", "loadmepkg", "brokenimport", "brokensyntax", "brokenexit", "emptymod", "onlyfactory"
    (tmp_path / "loadme.py").write_text(SOURCE)
    (tmp_path / "loadmepkg").mkdir()
    (tmp_path / "loadmepkg" / "__init__.py").write_text("")
    (tmp_path / "loadmepkg" / "main.py").write_text(SOURCE)
    (tmp_path / "brokenimport.py").write_text("x = 1\nimport nosuchlibrary\n")
    (tmp_path / "brokensyntax.py").write_text("x = 1\ndef (:\n")
    (tmp_path / "brokenexit.py").write_text("import sys\nsys.exit('go away')\n")
    (tmp_path / "emptymod.py").write_text("x = 1\n")
    (tmp_path / "onlyfactory.py").write_text(
        SOURCE.replace("async def app(", "async def _app(").replace("return app", "return _app")
    )
    yield str(tmp_path)
    sys.path[:] = [entry for entry in sys.path if entry != str(tmp_path)]
    for name in [name for name in sys.modules if name.partition(".")[0] in names]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("spec", "factory", "kind"),
    [
        ("loadme:app", False, "asgi"),
        ("loadme:instance", False, "asgi"),
        ("loadme:instance.__call__", False, "asgi"),
        ("loadme:wrapped", False, "asgi"),
        ("loadme:Instance", False, "asgi"),
        ("loadme:create_app", False, "asgi"),
        ("loadme:create_app", True, "asgi"),
        ("loadme:create_with_defaults", False, "asgi"),
        ("loadme:create_later", False, "aiohttp"),
        ("loadme:create_later", True, "aiohttp"),
        ("loadme:shop", False, "aiohttp"),
        ("loadme:wsgi", False, "wsgi"),
        ("loadme:flaskish", False, "wsgi"),
        ("loadme:flaskish.__call__", False, "wsgi"),
        ("loadme:Flaskish", False, "wsgi"),
        ("loadme:Pep3333", False, "wsgi"),
        ("loadme:Djangoish", False, "wsgi"),
        ("loadme:get_wsgi_application", False, "wsgi"),
        ("loadmepkg.main:app", False, "asgi"),
        ("loadme", False, "asgi"),
        ("onlyfactory", False, "asgi"),
    ],
)
async def test_an_application_is_recognised(directory: str, spec: str, factory: bool, kind: str) -> None:
    loaded = await load(spec, directory=directory, factory=factory)
    assert loaded.kind == kind
    assert loaded.app is not None


@pytest.mark.parametrize(
    ("spec", "factory", "words"),
    [
        ("laodme:app", False, ["there is no module 'laodme'", "near it: loadme"]),
        ("loadmepkg.mian:app", False, ["no module 'mian' in the package loadmepkg", "near it: main"]),
        ("nosuch.main:app", False, ["there is no module 'nosuch'"]),
        ("loadme:ap", False, ["the module loadme has no 'ap'", "near it: app"]),
        ("loadme:instance.calll", False, ["loadme.instance has no 'calll'"]),
        ("emptymod", False, ["emptymod has none of app, application, create_app, make_app", "emptymod:NAME"]),
        ("loadme.py:app", False, ["write it as package.module:attribute"]),
        ("./loadme:app", False, ["write it as package.module:attribute"]),
        (":app", False, ["write it as package.module:attribute"]),
        ("brokenimport:app", False, ["importing brokenimport failed", "nosuchlibrary", "brokenimport.py:2"]),
        ("brokensyntax:app", False, ["importing brokensyntax failed", "SyntaxError", "brokensyntax.py:2"]),
        ("brokenexit:app", False, ["importing brokenexit failed", "SystemExit: go away"]),
        ("loadme:number", False, ["an instance of int", "an ASGI or WSGI callable, an aiohttp Application"]),
        ("loadme:nothing", False, ["it is None"]),
        ("loadme:sys", False, ["has no 'sys'"]),
        ("loadme:web", False, ["it is a module"]),
        ("loadme:one", False, ["the function one(scope)", "takes (scope, receive, send)"]),
        ("loadme:Old", False, ["ASGI 2", "asgiref"]),
        ("loadme:Needy", False, ["the class Needy that needs arguments"]),
        ("loadme:two", False, ["the function two(environ, start_response)", "a WSGI application takes (environ,"]),
        ("loadme:create_nothing", False, ["called as a factory it made what cannot be served", "None"]),
        ("loadme:create_badly", True, ["calling it failed", "RuntimeError: no database", "loadme.py:32"]),
        ("loadme:number", True, ["--factory", "an instance of int, which cannot be called"]),
        ("loadme:app", True, ["calling it failed", "TypeError"]),
    ],
)
async def test_a_mistake_is_one_line(directory: str, spec: str, factory: bool, words: list[str]) -> None:
    with pytest.raises(ConfigError) as failed:
        await load(spec, directory=directory, factory=factory)
    line = str(failed.value)
    assert "\n" not in line
    assert line.startswith(f"--app {spec}")
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("spec", "interface", "kind"),
    [
        ("loadme:both", "wsgi", "wsgi"),
        ("loadme:both", "asgi", "asgi"),
        ("loadme:get_wsgi_application", "wsgi", "wsgi"),
        ("loadme:create_app", "asgi", "asgi"),
        ("loadme:create_later", "aiohttp", "aiohttp"),
    ],
)
async def test_what_it_speaks_may_be_said(directory: str, spec: str, interface: Any, kind: str) -> None:
    assert (await load(spec, directory=directory, interface=interface)).kind == kind


@pytest.mark.parametrize(
    ("spec", "interface", "words"),
    [
        ("loadme:wsgi", "asgi", ["an ASGI application takes (scope, receive, send)"]),
        ("loadme:wrapped", "wsgi", ["a WSGI application takes (environ, start_response), a factory"]),
        ("loadme:shop", "wsgi", ["an instance of Application"]),
        ("loadme:wsgi", "aiohttp", ["not an aiohttp.web.Application or a factory of one"]),
        ("loadme:create_app", "aiohttp", ["called as a factory", "not an aiohttp.web.Application"]),
    ],
)
async def test_what_it_speaks_is_not_what_was_said(directory: str, spec: str, interface: Any, words: list[str]) -> None:
    with pytest.raises(ConfigError) as failed:
        await load(spec, directory=directory, interface=interface)
    assert str(failed.value).startswith(f"--app {spec} --interface {interface}: ")
    for word in words:
        assert word in str(failed.value)


async def test_the_directory_must_exist() -> None:
    with pytest.raises(ConfigError, match="--app-dir /nowhere/at/all: there is no such directory"):
        await load("x:y", directory="/nowhere/at/all", factory=False)


async def test_the_directory_goes_first_on_the_path(directory: str) -> None:
    await load("loadme:app", directory=directory, factory=False)
    assert sys.path[0] == directory
