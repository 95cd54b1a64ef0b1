"""docs/configuration.md: its files are read, and its errors are those that a user sees."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stack.errors import ConfigErrors
from stack.hop import registry
from stack.plan.document import Document
from stack.plan.make import make_plan

GUIDE = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text()
FILES = re.findall(r"```toml\n(.*?)```(?:\n\n```text\n(.*?)```)?", GUIDE, re.DOTALL)


@pytest.mark.parametrize(("text", "errors"), FILES)
def test_an_example_is_what_it_says(text: str, errors: str, tmp_path: Path) -> None:
    (tmp_path / "public").mkdir()
    document = Document.of_text(text, directory=tmp_path)
    if errors:
        with pytest.raises(ConfigErrors) as raised:
            make_plan(document, kinds=registry, state_dir=tmp_path, environ={})
        assert str(raised.value).splitlines() == errors.splitlines()
    else:
        made = make_plan(document, kinds=registry, state_dir=tmp_path, environ={})
        assert [str(problem) for problem in made.warnings] == []


def test_there_are_examples() -> None:
    assert len(FILES) >= 8
