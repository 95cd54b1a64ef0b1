"""What a stack is made from, and is made from again."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack.errors import ConfigError
from stack.supervisor.source import chosen


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("HOPSTACK_REPLICAS", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def apps(source: object) -> int:
    return len(source.plan().of("appserver"))  # type: ignore[attr-defined]


def test_a_file_that_comes_later_is_found_and_then_missed(here: Path) -> None:
    source = chosen(here / "home", {})
    assert (apps(source), source.config) == (3, None)
    (here / "stack.toml").write_text("replicas = 2")
    assert (apps(source), source.config) == (2, here / "stack.toml")
    (here / "stack.toml").write_text("replicass = 2")
    with pytest.raises(ConfigError, match=r"^stack\.toml:1: replicass"):
        source.plan()
    (here / "stack.toml").unlink()
    with pytest.raises(ConfigError, match=r"stack\.toml: No such file"):
        source.plan()


def test_flags_win_again_and_again(here: Path) -> None:
    (here / "stack.toml").write_text("replicas = 2\nname = 'file.test'")
    source = chosen(here / "home", {"replicas": 1, "name": None})
    for _ in range(2):
        assert apps(source) == 1
        assert source.plan().name == "file.test"


def test_a_named_file_is_meant_wherever_the_process_goes(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "other.toml").write_text("replicas = 2")
    source = chosen(here / "home", {}, config="other.toml")
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    assert apps(source) == 2


def test_no_file_at_all(here: Path) -> None:
    (here / "stack.toml").write_text("replicas = 2")
    source = chosen(here / "home", {}, no_config=True)
    assert (apps(source), source.config) == (3, None)
    with pytest.raises(ConfigError, match="--no-config"):
        chosen(here / "home", {}, config="a", no_config=True)
