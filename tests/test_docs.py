"""The docs name code and words that exist, and every promise names a test that exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from stack.path import STEPS

ROOT = Path(__file__).parents[1]
LIFE = (ROOT / "docs" / "life-of-a-request.md").read_text()
DOCS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(ROOT.glob("*/README.md")),
]


def symbols(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
            if isinstance(node, ast.ClassDef):
                found |= {f"{node.name}.{part.name}" for part in node.body if hasattr(part, "name")}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


@pytest.mark.parametrize("reference", sorted(set(re.findall(r"`([\w/]+\.py::[\w.]+)`", LIFE))))
def test_a_named_symbol_exists(reference: str) -> None:
    file, _, symbol = reference.partition("::")
    candidates = [ROOT / file] if "/" in file else sorted(ROOT.glob(f"*/{file}"))
    assert candidates
    for path in candidates:
        assert symbol in symbols(path), f"{path} has no {symbol}"


def test_a_named_word_exists() -> None:
    known = {
        step: {word for kind in STEPS.values() for word in kind.get(step, ())}
        for kind in STEPS.values()
        for step in kind
    }
    named = re.findall(r"`(\w+)`: ([a-z][a-z0-9, \n-]*[a-z0-9])\.", LIFE)
    assert len(named) >= 12
    for step, words in named:
        for word in re.split(r",\s*", words):
            assert word in known[step], f"{step}: {word}"


def test_marks_in_the_code_are_in_the_vocabulary() -> None:
    """`exchange.mark("step", "word")` with literals; computed words are enums that their own tests hold to STEPS."""
    found = 0
    for kind, steps in STEPS.items():
        for path in (ROOT / kind).rglob("*.py"):
            for step, word in re.findall(r'\.mark\(\s*"([\w-]+)",\s*(?:"([\w-]+)")?', path.read_text()):
                found += 1
                assert step in steps, f"{path}: {step}"
                assert not word or word in steps[step], f"{path}: {step} {word}"
    assert found > 10


@pytest.mark.parametrize("doc", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_within_the_project_lead_somewhere(doc: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", doc.read_text()):
        assert (doc.parent / target).exists(), f"{doc}: {target}"


def test_every_promise_names_a_test() -> None:
    rows = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (ROOT / "docs" / "promises.md").read_text())
    assert len(rows) > 30
    for file, test in rows:
        text = (ROOT / file).read_text()
        assert not test or f"def {test}" in text, f"{file} has no {test}"


@pytest.mark.parametrize(
    "file",
    [path for part in ("path", "compose") for path in sorted((ROOT / "tests" / part).glob("test_*.py"))],
    ids=lambda path: path.stem,
)
def test_every_test_of_the_whole_is_a_promise(file: Path) -> None:
    promises, name = (ROOT / "docs" / "promises.md").read_text(), str(file.relative_to(ROOT))
    if f"`{name}`" not in promises:  # each by itself, then
        tests = re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE)
        assert [test for test in tests if f"`{name}::{test}`" not in promises] == []


@pytest.mark.parametrize(
    ("library", "door"),
    [
        ("asyncpg", "appserver/shop/postgres.py"),
        ("aiosqlite", "appserver/shop/sqlite.py"),
        ("brotli", "proxy/codecs/br.py"),
        ("cryptography", "stack/net/ca.py"),
        ("dns", "dns_server/master.py stack/trace/dig_message.py"),
        ("dnslib", "stack/trace/dns.py"),
        ("h2", "stack/trace/h2_client.py"),
        ("hpack", "stack/http/hpack_tables.py"),
        ("isal", "proxy/codecs/gzip.py"),
        ("jinja2", "appserver/shop/rendering.py"),
        ("uvloop", "stack/hop/process.py"),
        ("watchfiles", "stack/supervisor/watch.py"),
        ("zstandard", "proxy/codecs/zstd.py"),
    ],
)
def test_a_library_has_one_door(library: str, door: str) -> None:
    """docs/architecture.md, the import rule. A hop and the tools may have one each."""
    found = {
        str(path.relative_to(ROOT))
        for part in ("stack", *STEPS)
        for path in (ROOT / part).rglob("*.py")
        if re.search(rf"^\s*(?:import|from) {library}\b", path.read_text(), re.MULTILINE)
    }
    assert found == set(door.split())


def test_no_source_file_is_long() -> None:
    for path in ROOT.rglob("*.py"):
        if not {".venv", "build", "dist"} & set(path.relative_to(ROOT).parts):
            assert path.read_text().count("\n") <= 500, path
