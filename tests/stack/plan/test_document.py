"""What is no TOML, or cannot be read: file, line, column, and what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack.errors import ConfigError, ConfigErrors
from stack.plan.document import Document, written


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name = shop\n", "stack.toml:1:8: not TOML: this is no value; text stands in quotes"),
        ("a = 1\nname\n", "stack.toml:2:5: not TOML: a key and its value are written as key = value"),
        ("[edges.fra\n", "stack.toml:1:11: not TOML: the name of a table stands in brackets, as [edges.fra]"),
        ("a = 1\na = 2\n", "stack.toml:2:6: not TOML: this key is given twice"),
        ("[a]\n[a]\n", "stack.toml:2:3: not TOML: this table stands here a second time; write it once"),
        ('a = "x\n', "stack.toml:1:7: not TOML: the text is not closed: a quote is missing"),
        ("a = 'x\n", "stack.toml:1: not TOML: the text is not closed: a quote is missing"),
        ('a = """x\n', "stack.toml:1: not TOML: the text is not closed: a quote is missing"),
        ("a = [\n\n", "stack.toml:1: not TOML: the array is not closed: ] is missing"),
        ("a = 1\nb =", "stack.toml:2: not TOML: the value is missing"),
        ("a = [1\nb = 2", "stack.toml:2:1: not TOML: the array is not closed: ] is missing"),
        ("x = 1 2\n", "stack.toml:1:7: not TOML: something is left over behind the value; "
         "each key has a line of its own, and text stands in quotes"),
        ("zones.shop.test! = 1\n", "stack.toml:1:16: not TOML: a key and its value are written as key = value"),
        ('a = "\\p"\n', "stack.toml:1:8: not TOML: a backslash in text is written twice, or the text stands in single "
         "quotes"),
    ],
)  # fmt: skip
def test_what_is_no_toml(text: str, line: str) -> None:
    with pytest.raises(ConfigErrors) as raised:
        Document.of_text(text)
    assert str(raised.value) == line


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"stack.toml: No such file or directory; `hopstack init` writes one"):
        Document.read(tmp_path / "stack.toml")


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Is a directory"):
        Document.read(tmp_path)


def test_a_file_in_another_encoding(tmp_path: Path) -> None:
    file = tmp_path / "stack.toml"
    file.write_bytes('a = 1\nname = "bücher"\n'.encode("latin-1"))
    with pytest.raises(ConfigErrors, match=r"stack.toml:2: not UTF-8"):
        Document.read(file)


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "stack.toml"
    file.write_bytes(b'\xef\xbb\xbfname = "a.test"\r\nreplicas = 2\r\n')
    document = Document.read(file)
    assert document.values == {"name": "a.test", "replicas": 2}
    assert document.line(("replicas",)) == 2


def test_a_file_that_is_far_too_large(tmp_path: Path) -> None:
    file = tmp_path / "stack.toml"
    file.write_bytes(b"#" * (5 << 20))
    with pytest.raises(ConfigError, match="larger than 4 MiB"):
        Document.read(file)


def test_brackets_without_end() -> None:
    with pytest.raises(ConfigError, match=r"stack\.toml"):
        Document.of_text("a = " + "[" * 100_000)


def test_a_number_without_end() -> None:
    with pytest.raises(ConfigErrors, match=r"stack\.toml:2: not TOML: a number with so many digits"):
        Document.of_text("a = 1\nreplicas = " + "9" * 6000)


def test_an_unknown_key_stands_where_the_nearest_known_one_does() -> None:
    document = Document.of_text("\n[edges.fra]\nlisten = 1\n")
    assert document.line(("edges", "fra", "listen")) == 3
    assert document.line(("edges", "fra", "cache", "size")) == 2
    assert document.line(("apps",)) == 1
    assert Document.of({"a": 1}).line(("a",)) == 0


def test_a_built_one_takes_paths_and_tuples() -> None:
    assert Document.of({"static": (Path("/srv"),), "edges": {"fra": {}}}).values == {
        "static": ["/srv"],
        "edges": {"fra": {}},
    }


def test_how_a_key_path_is_written() -> None:
    assert written(("zones", "shop.test", "records", 2)) == 'zones."shop.test".records[2]'
    assert written(("a", 'b"c')) == 'a."b\\"c"'
