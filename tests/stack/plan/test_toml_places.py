"""Lines of keys: the same keys as tomllib finds, each where it is written."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.plan.toml_places import Key, places


def paths(value: Any, at: Key = ()) -> set[Key]:
    """Every key path and element of an array."""
    found = {at} if at else set()
    if isinstance(value, dict):
        for key, item in value.items():
            found |= paths(item, (*at, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            found |= paths(item, (*at, number))
    return found


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        pytest.param('# a\n\nname = "x"\n', ("name",), 3, id="behind comments"),
        pytest.param("[edges.fra]\ncache.size = 1\n", ("edges", "fra", "cache", "size"), 2, id="dotted in a table"),
        pytest.param("[edges.fra]\n[edges.nrt]\nx = 1\n", ("edges", "nrt", "x"), 3, id="the second table"),
        pytest.param('[zones."shop.test"]\nfile = "x"\n', ("zones", "shop.test", "file"), 2, id="a quoted key"),
        pytest.param("[zones.'shop.test']\n", ("zones", "shop.test"), 1, id="a key in single quotes"),
        pytest.param('"\\u0061\\"b" = 1\n', ('a"b',), 1, id="escapes in a key"),
        pytest.param('x = """\na = 1\n\\"""\n"""\ny = 2\n', ("y",), 5, id="behind text of several lines"),
        pytest.param("x = '''\n[a]\n'''''\ny = 2\n", ("y",), 4, id="quotes before the closing ones"),
        pytest.param('x = [\n  "]", # ]\n  [1,\n 2],\n]\n', ("x", 1, 1), 4, id="an array of several lines"),
        pytest.param("x = [\n 1,\n 2\n]\n", ("x", 1), 3, id="an array without a last comma"),
        pytest.param("x = []\ny = {}\nz = 1", ("z",), 3, id="empty ones"),
        pytest.param("a = {b = 1, c = {d = [ {e = 2} ]}}", ("a", "c", "d", 0, "e"), 1, id="inline tables"),
        pytest.param(
            "[[r]]\na = 1\n\n[[r]]\n[r.s]\nb = 1\n", ("r", 1, "s", "b"), 6, id="a table in an array of tables"
        ),
        pytest.param("[[r]]\n[[r.q]]\n[[r]]\n[[r.q]]\n[[r.q]]\n", ("r", 1, "q", 1), 5, id="arrays of tables in arrays"),
        pytest.param("a = 1979-05-27 07:32:00 # }\nb = 1", ("b",), 2, id="a time with a blank"),
        pytest.param("  [ a . b ] # x\n  c . d = 1\n", ("a", "b", "c", "d"), 2, id="blanks around dots"),
        pytest.param("a = 1\r\n[b]\r\nc = 2\r\n", ("b", "c"), 3, id="CRLF"),
        pytest.param("[a]\nb.c = 1\nb.d = 1\n[x]\n[a.e]\n", ("a", "e"), 5, id="a table continued later"),
    ],
)
def test_the_line_of_a_key(text: str, path: Key, line: int) -> None:
    found = places(text)
    assert found[path] == line
    assert set(found) == paths(tomllib.loads(text))


ODD = ["a", "b-c", "1", "a.b", "", 'q"q', "#", "= [", "é", "\t", "x y", "]"]
TEXTS = st.sampled_from(["", "]", "#", '"', "'", "a = 1", "[x]", "\n[y]\nz = 1\n", "\\", "}", ",", '"""', "'''", "é"])
SCALARS = st.one_of(st.integers(-5, 5), st.booleans(), TEXTS, st.just(1.5))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(ODD), inner, max_size=3),
        st.lists(st.dictionaries(st.sampled_from(ODD), inner, max_size=2), min_size=1, max_size=3),
    ),
    max_leaves=12,
)


class Writer:
    """A document in one of its spellings, and where it wrote each key."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.text = ""
        self.lines: dict[Key, int] = {}

    def note(self, path: Key) -> None:
        for length in range(1, len(path) + 1):
            self.lines.setdefault(path[:length], self.text.count("\n") + 1)

    def choose(self, *of: str) -> str:
        return self.draw(st.sampled_from(of))

    def key(self, name: str) -> str:
        if name in ("a", "b-c", "1") and self.choose("bare", "quoted") == "bare":
            return name
        if "'" not in name and name.isprintable() and self.choose("basic", "literal") == "literal":
            return f"'{name}'"
        return json.dumps(name)

    def table(self, table: dict[str, Any], at: Key, names: tuple[str, ...]) -> None:
        later: list[tuple[str, Any]] = []
        for name, value in table.items():
            if (isinstance(value, dict) and self.choose("header", "inline") == "header") or (
                isinstance(value, list)
                and value
                and all(isinstance(item, dict) for item in value)
                and self.choose("headers", "inline") == "headers"
            ):
                later.append((name, value))
            else:
                self.text += self.choose("", "\n", "# [x] = 1\n", "  ")
                self.note((*at, name))
                self.text += self.key(name) + self.choose(" = ", "=", "\t= ")
                self.value(value, (*at, name))
                self.text += self.choose("\n", " # ] }\n", "\n\n")
        for name, value in later:
            header = ".".join(map(self.key, (*names, name)))
            if isinstance(value, dict):
                self.note((*at, name))
                self.text += f"[{header}]{self.choose('', ' # x')}\n"
                self.table(value, (*at, name), (*names, name))
            else:
                for number, item in enumerate(value):
                    self.note((*at, name, number))
                    self.text += f"[[ {header} ]]\n"
                    self.table(item, (*at, name, number), (*names, name))

    def value(self, value: Any, at: Key) -> None:
        if isinstance(value, list):
            self.text += "[" + self.choose("", "\n", " # ]\n")
            for number, item in enumerate(value):
                self.note((*at, number))
                self.value(item, (*at, number))
                self.text += "," + self.choose("", "\n", " ", " # ,\n  ")
            self.text += "]"
        elif isinstance(value, dict):
            self.text += "{ "
            for number, (name, item) in enumerate(value.items()):
                self.text += ", " if number else ""
                self.note((*at, name))
                self.text += f"{self.key(name)} = "
                self.inline(item, (*at, name))
            self.text += "}"
        elif isinstance(value, str):
            self.string(value)
        else:
            self.text += json.dumps(value)

    def inline(self, value: Any, at: Key) -> None:
        """On one line, as TOML 1.0 wants it between braces; arrays there may have several."""
        self.value(value, at)

    def string(self, value: str) -> None:
        kind = self.choose("basic", "lines", "literal")
        if kind == "lines" and '"""' not in value and not value.endswith('"') and "\\" not in value:
            self.text += '"""\n' + value + '"""'
        elif kind == "literal" and "'" not in value and "\n" not in value:
            self.text += f"'{value}'"
        else:
            self.text += json.dumps(value, ensure_ascii=False)


@given(st.data())
def test_any_spelling_of_any_document(data: st.DataObject) -> None:
    document = data.draw(st.dictionaries(st.sampled_from(ODD), VALUES, max_size=4))
    writer = Writer(data.draw)
    writer.table(document, (), ())
    assert tomllib.loads(writer.text) == document, "the test's own writer"
    assert places(writer.text) == writer.lines
    assert set(writer.lines) == paths(document)


@given(st.text(alphabet="ab.=[]{}\"'#\n ,1\\", max_size=30))
def test_whatever_tomllib_takes_is_understood(text: str) -> None:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert set(places(text)) == paths(document)
