"""Where each key of a TOML text stands: tomllib gives the values, this their lines. Pure.

The text has been accepted by tomllib, so nothing is checked here: only what must be passed over is understood
(strings, comments, brackets), and what names things (tables, arrays of tables, dotted and quoted keys).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

Key = tuple[str | int, ...]
"""A path of keys; an element of an array is its index."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"[ \t]*")
_GAP = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SCALAR = re.compile(r"[^,\]}#\n]*")
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_SHORT: Mapping[str, str] = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b"}


def places(text: str) -> dict[Key, int]:
    """The line, from 1, on which each key path and each element of an array first stands."""
    return _Scanner(text.replace("\r\n", "\n")).scan()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._counted = 0
        self._found: dict[Key, int] = {}
        self._arrays: dict[Key, int] = {}
        """Arrays of tables, by the number of their last element."""

    def scan(self) -> dict[Key, int]:
        table: Key = ()
        while True:
            self._skip(_GAP)
            if self._at >= len(self._text):
                return self._found
            if self._text.startswith("[[", self._at):
                self._at += 2
                name = self._keys()
                array = self._entered(name[:-1]) + name[-1:]
                self._note(array)
                self._arrays[array] = self._arrays.get(array, -1) + 1
                table = (*array, self._arrays[array])
                self._found[table] = self._now()
                self._at += 2
            elif self._text[self._at] == "[":
                self._at += 1
                table = self._entered(self._keys())
                self._note(table)
                self._at += 1
            else:
                self._pair(table)

    def _entered(self, name: tuple[str, ...]) -> Key:
        """The path that a header means: an array of tables on the way stands for its last element."""
        path: Key = ()
        for part in name:
            path = (*path, part)
            if path in self._arrays:
                path = (*path, self._arrays[path])
        return path

    def _pair(self, table: Key) -> None:
        path = (*table, *self._keys())
        self._note(path, len(table))
        self._at += 1  # the equals sign
        self._skip(_BLANK)
        self._value(path)

    def _value(self, path: Key) -> None:
        mark = self._text[self._at]
        if mark in "\"'":
            self._string()
        elif mark == "[":
            self._at += 1
            number = 0
            while not self._closed("]"):
                self._found.setdefault((*path, number), self._now())
                self._value((*path, number))
                number += 1
        elif mark == "{":
            self._at += 1
            while not self._closed("}"):
                self._pair(path)
        else:
            self._skip(_SCALAR)

    def _closed(self, bracket: str) -> bool:
        """Whether the bracket comes next, after an end of line or a comma."""
        self._skip(_GAP)
        if self._text[self._at] == ",":
            self._at += 1
            self._skip(_GAP)
        if self._text[self._at] != bracket:
            return False
        self._at += 1
        return True

    def _keys(self) -> tuple[str, ...]:
        """A dotted key, and the blanks around it."""
        names: list[str] = []
        while True:
            self._skip(_BLANK)
            if self._text[self._at] in "\"'":
                names.append(self._string())
            else:
                match = _BARE.match(self._text, self._at)
                assert match is not None
                names.append(match[0])
                self._at = match.end()
            self._skip(_BLANK)
            if self._text[self._at] != ".":
                return tuple(names)
            self._at += 1

    def _string(self) -> str:
        quote = self._text[self._at]
        if self._text.startswith(quote * 3, self._at):
            end = self._end(quote * 3, self._at + 3)
            while self._text.startswith(quote, end + 3):
                end += 1  # up to two quotes may stand before the closing three
            self._at = end + 3
            return ""  # no key is written like this
        start = self._at + 1
        end = self._end(quote, start)
        self._at = end + 1
        text = self._text[start:end]
        return _ESCAPE.sub(_unescaped, text) if quote == '"' else text

    def _end(self, quotes: str, at: int) -> int:
        while not self._text.startswith(quotes, at):
            at += 2 if quotes[0] == '"' and self._text[at] == "\\" else 1
        return at

    def _note(self, path: Key, above: int = 0) -> None:
        """This path and what it implies, the first time that they are met."""
        for length in range(above + 1, len(path) + 1):
            self._found.setdefault(path[:length], self._now())

    def _now(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def _skip(self, what: re.Pattern[str]) -> None:
        match = what.match(self._text, self._at)
        assert match is not None
        self._at = match.end()


def _unescaped(match: re.Match[str]) -> str:
    code = match[1] or match[2] or match[3]
    return chr(int(code, 16)) if code else _SHORT.get(match[4], match[4])
