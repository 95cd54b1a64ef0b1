"""`hopstack init`: the file is valid, also with each of its options switched on; nothing is overwritten."""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

from stack.cli.main import cli, main
from stack.errors import ConfigErrors
from stack.hop import registry
from stack.plan.document import Document
from stack.plan.make import make_plan
from stack.plan.model import StackPlan
from stack.plan.schema import schema

TREES = {
    "nothing": {},
    "an app": {"main.py": "from fastapi import FastAPI\napp = FastAPI()\n@app.get('/healthz')\ndef h(): ...\n"},
    "two apps and files": {
        "a.py": "import flask\napp = flask.Flask('a')\n",
        "src/b/__init__.py": "import flask\napp = flask.Flask('b')\n",
        "static/a.css": "",
    },
    "an app and a front end": {
        "main.py": "import flask\napp = flask.Flask('a')\n",
        "package.json": '{"scripts": {"dev": "vite"}}',
    },
    "src": {"src/b/__init__.py": "import flask\napp = flask.Flask('b')\n"},
    "a server": {"package.json": '{"scripts": {"start": "next start"}}', "Dockerfile": "EXPOSE 8080\n"},
    "a site": {"dist/index.html": "", "public/a.css": ""},
    "files": {"public/a.css": ""},
    "files here": {"index.html": ""},
    'odd " \\ names': {'pub"lic/a': "", "main.py": "import flask\napp = flask.Flask('''\n''')\n"},
}
OFF = re.compile(r"#(?=[a-z_.]+ = )")
"""The mark of an option that is off."""


def planned(text: str, directory: Path) -> StackPlan:
    document = Document.of_text(text, directory=directory)
    return make_plan(document, kinds=registry, state_dir=directory / ".hopstack", environ={})


@pytest.fixture(params=TREES)
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    directory = tmp_path / str(request.param)
    directory.mkdir()
    for name, text in TREES[request.param].items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


def init(*argv: str) -> str:
    done = CliRunner().invoke(cli, ["init", *argv], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    assert not done.return_value
    return done.output


@pytest.fixture(autouse=True)
def no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOPSTACK_HOME", raising=False)


def test_the_file_is_valid_and_so_is_every_option_that_is_off(project: Path) -> None:
    said = init(str(project))
    text = (project / "stack.toml").read_text()
    assert "hopstack up" in said
    lines = text.splitlines()
    off = [number for number, line in enumerate(lines) if OFF.match(line)]
    assert len(off) >= 12
    validator = jsonschema.Draft202012Validator(schema(registry))
    every = [OFF.sub("", line) for line in lines]
    variants = [lines, every]
    if project.name in ("nothing", "two apps and files"):
        variants += ([*lines[:at], every[at], *lines[at + 1 :]] for at in off)
    for variant in variants:
        written = "\n".join(variant)
        try:
            plan = planned(written, project)
        except ConfigErrors as error:
            pytest.fail(f"{set(variant) - set(lines)}: {error}")
        assert len(plan.hops) >= 6
        assert validator.is_valid(tomllib.loads(written))


def test_it_reads_well(project: Path) -> None:
    init(str(project))
    lines = (project / "stack.toml").read_text().splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0] == "#:schema .hopstack/stack.schema.json"
    assert "@name" not in lines
    for before, line in itertools.pairwise(lines):
        assert not (before == "" and line == ""), "two empty lines"


def test_the_schema_is_where_the_file_says(tmp_path: Path) -> None:
    init(str(tmp_path))
    found = json.loads((tmp_path / ".hopstack" / "stack.schema.json").read_text())
    assert found == json.loads(json.dumps(schema(registry)))
    assert (tmp_path / ".hopstack" / ".gitignore").read_text() == "*\n"


def test_what_was_found_stands_in_the_plan(tmp_path: Path) -> None:
    (tmp_path / "src" / "b").mkdir(parents=True)
    (tmp_path / "src" / "b" / "__init__.py").write_text("import flask\napp = flask.Flask('b')\n")
    said = init(str(tmp_path))
    assert 'Flask in src/b/__init__.py, line 2: app = "b:app"' in said
    plan = planned((tmp_path / "stack.toml").read_text(), tmp_path)
    app = plan.hop("app-1").config
    assert app.app == "b:app"  # type: ignore[attr-defined]
    assert Path(app.app_dir) == tmp_path / "src"  # type: ignore[attr-defined]


def test_what_was_not_taken_is_named(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import flask\napp = flask.Flask('a')\n")
    (tmp_path / "other.py").write_text("import flask\napp = flask.Flask('b')\n")
    (tmp_path / "package.json").write_text('{"scripts": {"dev": "vite"}}')
    said = init(str(tmp_path))
    assert "also other:app (Flask); `--app other:app` takes it" in said
    assert "`--origin http://127.0.0.1:5173` takes it instead" in said
    assert "other:app" in (tmp_path / "stack.toml").read_text()


def test_what_is_there_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "stack.toml").write_text("replicas = 2\n")
    assert main(["init", str(tmp_path)]) == 2
    assert (tmp_path / "stack.toml").read_text() == "replicas = 2\n"
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "--force" in error
    assert main(["init", str(tmp_path), "--force"]) == 0
    assert "replicas" not in tomllib.loads((tmp_path / "stack.toml").read_text())


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--app", "x:y"], {"app": "x:y"}),
        (["--origin", "http://127.0.0.1:3000"], {"origin": "http://127.0.0.1:3000"}),
        (
            ["--origin", "http://127.0.0.1:3000", "--origin", "http://127.0.0.1:3001"],
            {"origin": ["http://127.0.0.1:3000", "http://127.0.0.1:3001"]},
        ),
        (["--static", "public"], {"static": "public"}),
        (["--name", "my.test", "--app", "x:y"], {"name": "my.test", "app": "x:y"}),
    ],
)
def test_what_is_said_wins(argv: list[str], said: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import flask\napp = flask.Flask('x')\n")
    (tmp_path / "public").mkdir()
    init(str(tmp_path), *argv)
    assert tomllib.loads((tmp_path / "stack.toml").read_text()) == said


@pytest.mark.parametrize(
    "argv", [["--origin", "127.0.0.1:3000"], ["--static", "nowhere"], ["--name", "no name"]], ids=lambda argv: argv[0]
)
def test_a_wrong_wish_is_an_error_and_nothing_is_written(
    argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", str(tmp_path), *argv]) == 2
    assert argv[0].strip("-") in capsys.readouterr().err
    assert not (tmp_path / "stack.toml").exists()


def test_no_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path / "none")]) == 2
    assert "no such directory" in capsys.readouterr().err


def test_another_state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOPSTACK_HOME", str(tmp_path / "state"))
    (tmp_path / "project").mkdir()
    init(str(tmp_path / "project"))
    assert (tmp_path / "project" / "stack.toml").read_text().startswith("#:schema ../state/stack.schema.json\n")
    assert (tmp_path / "state" / "stack.schema.json").is_file()


def test_a_file_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(self: Path, *_: object) -> int:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "write_bytes", refused)
    assert main(["init", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"hopstack: {tmp_path / 'stack.toml'}: Permission denied\n"
