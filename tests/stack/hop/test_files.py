"""Files that others may read at any moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack.hop.files import write_whole


@pytest.mark.parametrize("content", ["näme = 1\n", b"n\xc3\xa4me = 1\n"], ids=["text", "bytes"])
def test_it_takes_the_place_of_the_old(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "stack.toml"
    path.write_text("old")
    with path.open() as reader:
        write_whole(path, content)
        assert reader.read() == "old", "who has begun to read reads on"
    assert path.read_bytes() == b"n\xc3\xa4me = 1\n"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_leaves_the_old_and_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "taken"
    path.mkdir()
    with pytest.raises(IsADirectoryError) as told:
        write_whole(path, "x")
    assert told.value.filename == str(path)
    assert list(tmp_path.iterdir()) == [path]


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as told:
        write_whole(tmp_path / "none" / "file", "x")
    assert told.value.filename == str(tmp_path / "none" / "file")
