"""docs/reference is what the sources say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stack.cli import pages
from stack.cli.main import COMMANDS
from stack.config import flags
from stack.hop import registry
from stack.path import HOPS, STEPS
from stack.plan.document import Document
from stack.plan.layout import ALL, Site
from stack.plan.make import make_plan
from stack.plan.reference import EXAMPLES
from stack.plan.schema import schema


def test_the_pages_are_up_to_date() -> None:
    stale = pages.differences()
    assert not stale, f"docs/reference: {', '.join(stale)} differ from the sources; mend them with `{pages.MEND}`"


def test_a_page_that_differs_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pages.write(tmp_path)
    assert pages.differences(tmp_path) == []
    (tmp_path / "proxy.md").write_text("old\n")
    (tmp_path / "gone.md").write_text("of a hop that is no more\n")
    (tmp_path / "steps.md").unlink()
    assert pages.differences(tmp_path) == ["gone.md", "proxy.md", "steps.md"]
    monkeypatch.setattr(pages, "differences", lambda: ["proxy.md"])
    assert pages.main(["--check"]) == 1
    assert "make docs" in capsys.readouterr().err
    pages.write(tmp_path)
    assert not (tmp_path / "gone.md").exists()


@pytest.mark.parametrize("kind", HOPS)
def test_every_option_is_there_in_its_three_spellings(kind: str) -> None:
    text = (pages.PLACE / f"{kind}.md").read_text()
    for option in flags.options(registry.config(kind)):
        _, mark, rest = text.partition(f"\n### {'.'.join(option.path)}\n")
        assert mark, option.path
        entry = rest.partition("\n#")[0]
        assert option.doc in entry
        assert f"`{option.flag}`" in entry
        assert f"`{option.variable}`" in entry
        assert "default `" in entry or "needed" in entry


def test_ranges_units_and_choices() -> None:
    edge = (pages.PLACE / "cdn_edge.md").read_text()
    assert 'a size in bytes from 0, as 512, 64K or 256M · default `"256M"`' in edge
    assert 'a duration in seconds above 0, as 500ms, 2s or 1m · default `"10s"`' in edge
    assert 'one of `h1`, `h2`, `auto` · default `"h1"`' in edge
    assert "a number from 0 up to 1 · default `0.1`" in edge
    assert "`true` or `false` · default `true`" in (pages.PLACE / "proxy.md").read_text()


def test_every_command_section_and_word_is_there() -> None:
    commands = (pages.PLACE / "command-line.md").read_text()
    for section in COMMANDS.values():
        for name in section:
            assert f"\n## hopstack {name}\n" in commands
    assert "\n## hopstack config check\n" in commands
    assert max(map(len, commands.splitlines())) <= 80
    file = (pages.PLACE / "stack-toml.md").read_text()
    for title in ALL:
        assert f"\n## {title}\n" in file
    steps = (pages.PLACE / "steps.md").read_text()
    for kind in STEPS.values():
        for step, words in kind.items():
            assert f"| {step} | {', '.join(words)} |" in steps


@pytest.mark.parametrize("title", ALL)
def test_the_example_of_a_section_holds(title: str, tmp_path: Path) -> None:
    (tmp_path / "public").mkdir()
    document = Document.of_text(EXAMPLES[title], directory=tmp_path)
    plan = make_plan(document, kinds=registry, state_dir=tmp_path, environ={})
    assert plan.hops
    assert EXAMPLES[title] in (pages.PLACE / "stack-toml.md").read_text()


def test_every_top_level_key_is_a_flag_of_up() -> None:
    text = (pages.PLACE / "command-line.md").read_text().partition("## hopstack up\n")[2].partition("\n## ")[0]
    for option in flags.options(Site):
        assert f"{option.flag} " in text, option.flag


def test_the_schema_beside_them() -> None:
    found = json.loads((pages.PLACE / "stack.schema.json").read_text())
    assert found == json.loads(json.dumps(schema(registry)))
