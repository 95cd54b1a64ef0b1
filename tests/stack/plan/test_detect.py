"""What stands in a directory, found by reading: small project trees of each kind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stack.plan.detect import look

FASTAPI = "from fastapi import FastAPI\n\napp = FastAPI()\n"
FLASK = "import flask\napp = flask.Flask(__name__)\n"

Tree = dict[str, str]


def planted(directory: Path, tree: Tree) -> Path:
    for name, text in tree.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


APPS = [
    pytest.param({"main.py": FASTAPI}, "main:app", ".", "FastAPI", 3, id="FastAPI in main.py"),
    pytest.param(
        {"app.py": "from starlette.applications import Starlette as S\nrouted = S()\n"},
        "app:routed", ".", "Starlette", 2, id="an alias, another name",
    ),
    pytest.param({"wsgi.py": FLASK}, "wsgi:app", ".", "Flask", 2, id="flask.Flask"),
    pytest.param(
        {"s.py": "from aiohttp import web\napp: web.Application = web.Application()\n"},
        "s:app", ".", "aiohttp", 2, id="aiohttp, annotated",
    ),
    pytest.param({"q.py": "from quart import Quart\napp = Quart(__name__)\n"}, "q:app", ".", "Quart", 2, id="Quart"),
    pytest.param(
        {"shop/__init__.py": "", "shop/main.py": FASTAPI}, "shop.main:app", ".", "FastAPI", 3, id="in a package"
    ),
    pytest.param(
        {"src/shop/__init__.py": "", "src/shop/web/__init__.py": "", "src/shop/web/main.py": FASTAPI},
        "shop.web.main:app", "src", "FastAPI", 3, id="src layout",
    ),
    pytest.param({"shop/__init__.py": FLASK}, "shop:app", ".", "Flask", 2, id="in __init__.py"),
    pytest.param({"backend/main.py": FASTAPI}, "main:app", "backend", "FastAPI", 3, id="a folder that is no package"),
    pytest.param(
        {"app/main.py": "from app.db import x\n" + FASTAPI, "app/db.py": "x = 1"},
        "app.main:app", ".", "FastAPI", 4, id="a package without __init__.py that calls itself so",
    ),
    pytest.param(
        {"f.py": "from flask import Flask\ndef create_app(config=None):\n    app = Flask('x')\n    return app\n"},
        "f:create_app", ".", "Flask", 2, id="a factory",
    ),
    pytest.param(
        {"f.py": "from aiohttp import web\nasync def make():\n    return web.Application()\n"},
        "f:make", ".", "aiohttp", 2, id="a factory by what it returns",
    ),
    pytest.param(
        {"f.py": "from flask import Flask\ndef create_app():\n    return Flask('x')\napp = create_app()\n"},
        "f:app", ".", "Flask", 4, id="the object before its factory",
    ),
    pytest.param(
        {"f.py": "from .factory import create_app\napp = create_app()\n", "factory.py": ""},
        "f:app", ".", "an application", 2, id="a factory from elsewhere",
    ),
    pytest.param(
        {"raw.py": "async def app(scope, receive, send):\n    pass\n"}, "raw:app", ".", "ASGI", 1, id="raw ASGI"
    ),
    pytest.param(
        {"raw.py": "def application(environ, start_response):\n    return []\n"},
        "raw:application", ".", "WSGI", 1, id="raw WSGI",
    ),
    pytest.param(
        {
            "manage.py": "", "site1/__init__.py": "", "site1/settings.py": "WSGI_APPLICATION = 'site1.wsgi.application'",
            "site1/wsgi.py": "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n",
            "site1/asgi.py": "from django.core.asgi import get_asgi_application\napplication = get_asgi_application()\n",
        },
        "site1.wsgi:application", ".", "Django (WSGI)", 2, id="Django as it is made",
    ),
    pytest.param(
        {
            "site1/__init__.py": "", "site1/settings.py": "ASGI_APPLICATION = 'site1.asgi.application'",
            "site1/wsgi.py": "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n",
            "site1/asgi.py": "from django.core.asgi import get_asgi_application\napplication = get_asgi_application()\n",
        },
        "site1.asgi:application", ".", "Django (ASGI)", 2, id="Django on ASGI",
    ),
    pytest.param(
        {"main.py": FASTAPI, "admin.py": FLASK, "Procfile": "web: gunicorn -w 4 admin:app --bind :8000\n"},
        "admin:app", ".", "Flask", 2, id="what the Procfile runs",
    ),
    pytest.param(
        {"main.py": FASTAPI, "b.py": FASTAPI, "Dockerfile": 'CMD ["uvicorn", "b:app", "--host", "0.0.0.0"]\n'},
        "b:app", ".", "FastAPI", 3, id="what the Dockerfile runs",
    ),
    pytest.param(
        {"main.py": FASTAPI, "b.py": FASTAPI, "pyproject.toml": '[tool.fastapi]\nentrypoint = "b:app"\n'},
        "b:app", ".", "FastAPI", 3, id="pyproject.toml",
    ),
    pytest.param(
        {"main.py": "try:\n    from fastapi import FastAPI\n    app = FastAPI()\nexcept ImportError:\n    app = None\n"},
        "main:app", ".", "FastAPI", 3, id="within try",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("tree", "target", "directory", "framework", "line"), APPS)
def test_an_app_is_found(tree: Tree, target: str, directory: str, framework: str, line: int, tmp_path: Path) -> None:
    first = look(planted(tmp_path, tree)).apps[0]
    assert (first.target, first.directory, first.framework, first.line) == (target, directory, framework, line)


NO_APPS = [
    pytest.param({"a.py": "app = 3\n"}, id="another app"),
    pytest.param({"a.py": "app = FastAPI(\n"}, id="a syntax error"),
    pytest.param({"a.py": "\x00"}, id="no Python"),
    pytest.param({"venv/pyvenv.cfg": "", "venv/lib/a.py": FASTAPI}, id="in a virtual environment"),
    pytest.param({"env2/pyvenv.cfg": "", "env2/a.py": FASTAPI}, id="in one of another name"),
    pytest.param({"node_modules/x/a.py": FASTAPI}, id="in node_modules"),
    pytest.param({"tests/test_a.py": FASTAPI}, id="in a test"),
    pytest.param({".hidden/a.py": FASTAPI}, id="hidden"),
    pytest.param(
        {"a.py": "from flask import Flask\nif __name__ == '__main__':\n    app = Flask('x')\n"}, id="a script's"
    ),
    pytest.param(
        {"a.py": "from flask import Flask\ndef create(config):\n    return Flask('x')\n"}, id="needs arguments"
    ),
    pytest.param({"a.py": "class FastAPI: ...\napp = FastAPI()\n"}, id="a class of that name"),
    pytest.param({}, id="an empty directory"),
]


@pytest.mark.parametrize("tree", NO_APPS)
def test_no_app_is_found(tree: Tree, tmp_path: Path) -> None:
    assert look(planted(tmp_path, tree)).apps == []


def test_nothing_of_the_users_runs(tmp_path: Path) -> None:
    planted(tmp_path, {"main.py": f"open({str(tmp_path / 'ran')!r}, 'w')\n" + FASTAPI})
    assert look(tmp_path).apps
    assert not (tmp_path / "ran").exists()


def package(**scripts: str) -> str:
    return json.dumps({"scripts": scripts})


SERVERS = [
    pytest.param({"package.json": package(start="next start")}, 3000, "next", id="Next.js"),
    pytest.param({"package.json": package(dev="vite --port 4000")}, 4000, "dev", id="a port in a script"),
    pytest.param({"package.json": package(dev="vite")}, 5173, "vite", id="vite"),
    pytest.param({"package.json": package(start="PORT=8099 node x.js")}, 8099, "start", id="PORT="),
    pytest.param(
        {"package.json": package(start="node src/server.js"), "src/server.js": "app.listen(process.env.PORT || 4567)"},
        4567, "src/server.js", id="listen in the script's file",
    ),
    pytest.param({"index.js": "const port = process.env.PORT ?? 8181;\n"}, 8181, "index.js", id="a port with a default"),
    pytest.param({"server.js": "http.createServer(f).listen(9090)"}, 9090, "server.js", id="node alone"),
    pytest.param({"main.go": 'http.ListenAndServe(":8088", nil)'}, 8088, "main.go", id="Go"),
    pytest.param({"Gemfile": "gem 'rails'"}, 3000, "Rails", id="Rails"),
    pytest.param({"Procfile": "web: bin/serve -p 7000\n"}, 7000, "Procfile", id="a Procfile"),
    pytest.param({"Dockerfile": "FROM x\nEXPOSE 8765/tcp\n"}, 8765, "Dockerfile", id="EXPOSE"),
]  # fmt: skip


@pytest.mark.parametrize(("tree", "port", "why"), SERVERS)
def test_a_server_in_another_language(tree: Tree, port: int, why: str, tmp_path: Path) -> None:
    first = look(planted(tmp_path, tree)).servers[0]
    assert first.url == f"http://127.0.0.1:{port}"
    assert why in first.why


@pytest.mark.parametrize(
    "tree",
    [
        {"package.json": "{"},
        {"package.json": "[]"},
        {"package.json": '{"scripts": []}'},
        {"Dockerfile": "EXPOSE $PORT"},
    ],
    ids=["no JSON", "a list", "scripts that are none", "a variable"],
)
def test_no_server(tree: Tree, tmp_path: Path) -> None:
    assert look(planted(tmp_path, tree)).servers == []


def test_folders_those_with_an_index_first(tmp_path: Path) -> None:
    planted(tmp_path, {"public/a.css": "", "dist/index.html": "", "index.html": ""})
    (tmp_path / "static").mkdir()
    assert [(folder.path, folder.index) for folder in look(tmp_path).folders] == [
        ("dist", True),
        (".", True),
        ("public", False),
    ]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("@app.get('/healthz')\n", "/healthz"),
        ('app.router.add_get("/health", h)\n', "/health"),
        ("urlpatterns = [path('health/', view)]\n", "/health/"),
        ("x = '/health'\n", ""),
        ("@app.get('/healthy-food')\n", ""),
    ],
)
def test_a_health_path(text: str, path: str, tmp_path: Path) -> None:
    assert look(planted(tmp_path, {"main.py": "\n" + text})).health == path
