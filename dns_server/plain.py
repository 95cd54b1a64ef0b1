"""The plain lines of master files: a record on one line, of a common type, without escapes and parentheses.

Most of a large file is of this kind, and one regular expression reads it forty times as fast as a tokenizer that takes
every character by itself. Whatever is the least bit unusual is left to that (see `master`): the result is the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from socket import AF_INET, AF_INET6, inet_pton
from typing import Final

from dns_server.rules import types
from dns_server.rules.draft import Draft
from dns_server.rules.names import MAX_LABEL, MAX_NAME

LINE: Final = re.compile(
    r"(@|[A-Za-z0-9_*.-]+)?[ \t]+"  # owner, or that of the last record
    r"(?:([0-9]{1,9})[ \t]+)?(?:[Ii][Nn][ \t]+)?(?:([0-9]{1,9})[ \t]+)?"  # TTL and class in either order
    r"([A-Za-z]+)[ \t]+"
    r'((?:[^\n;()"\\]++|"[^"\\\n]*+"(?=[ \t;\n]))++)(?:;[^\n]*+)?\n'
)
BLANK: Final = re.compile(r"[ \t]*(?:;[^\n]*)?\n")
_LONGEST: Final = 32_000
"""Characters of a TXT that surely fits a record: at most two octets each."""
_STRINGS: Final = re.compile(r'(?:"[^"]*"|[^ \t"]+)(?:[ \t]+(?:"[^"]*"|[^ \t"]+))*')
_STRING: Final = re.compile(r'"([^"]*)"|([^ \t"]+)')
_SPACE: Final = re.compile("[ \t]+")
_NOT_PRINTABLE: Final = re.compile(rb"[^\x20-\x7e\t]")
_NAME: Final = bytes(range(0x30, 0x3A)) + bytes(range(0x41, 0x5B)) + bytes(range(0x61, 0x7B)) + b"_*.-"
_LENGTH: Final = [bytes((size,)) for size in range(MAX_LABEL + 1)]
_MOST_NAMES: Final = 10_000


@dataclass(slots=True)
class State:
    """What a line leaves to those below it."""

    origin: bytes
    owner: bytes
    ttl: int | None
    """Of a record that has none of its own, if that is known."""
    stated: int | None = None
    """The last TTL that was written out."""
    sticky: bool = False
    """Whether a TTL that is written out does not become that of the next (`$TTL` was there)."""


class PlainLines:
    """Reads them into a draft."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self._names: dict[str, bytes | None] = {}
        self._origin = b""
        self._rdata: Mapping[str, tuple[int, Callable[[str], bytes | None]]] = {
            "A": (types.A, _a),
            "AAAA": (types.AAAA, _aaaa),
            "CNAME": (types.CNAME, self._name),
            "DNAME": (types.DNAME, self._name),
            "DS": (types.DS, _ds),
            "MX": (types.MX, self._mx),
            "NS": (types.NS, self._name),
            "PTR": (types.PTR, self._name),
            "SRV": (types.SRV, self._srv),
            "TXT": (types.TXT, _txt),
        }

    def read(self, text: str, at: int, place: int, state: State) -> tuple[int, int]:
        """From `at`, the beginning of the line at `place`, up to the first line that is not plain: gives where that
        begins and its place. `state` is in step with what was read."""
        if state.origin != self._origin:
            self._names, self._origin = {}, state.origin
        line, blank, add, rdatas, name = LINE.match, BLANK.match, self.draft.add, self._rdata, self._name
        while True:
            found = line(text, at)
            if found is None:
                found = blank(text, at)
                if found is None:
                    return at, place
            else:
                owner_text, ttl_text, second, type_text, rdata_text = found.groups()
                known = rdatas.get(type_text) or rdatas.get(type_text.upper())
                if known is None or (ttl_text and second):
                    return at, place
                owner = name(owner_text) if owner_text is not None else state.owner
                ttl = int(ttl_text or second) if ttl_text or second else state.ttl
                rdata = known[1](rdata_text.rstrip(" \t"))
                if owner is None or ttl is None or rdata is None:
                    return at, place
                if ttl_text or second:
                    state.stated = ttl
                    if not state.sticky:
                        state.ttl = ttl
                state.owner = owner
                add(owner, known[0], ttl, rdata, place)
            at = found.end()
            place += 1

    def _name(self, text: str) -> bytes | None:
        try:
            return self._names[text]
        except KeyError:
            if len(self._names) >= _MOST_NAMES:
                self._names.clear()
            wire = self._names[text] = name(text, self._origin)
            return wire

    def _mx(self, text: str) -> bytes | None:
        words = _SPACE.split(text)
        if len(words) != 2 or (exchange := self._name(words[1])) is None:
            return None
        return _numbers(words[:1], exchange)

    def _srv(self, text: str) -> bytes | None:
        words = _SPACE.split(text)
        if len(words) != 4 or (server := self._name(words[3])) is None:
            return None
        return _numbers(words[:3], server)


def name(text: str, origin: bytes) -> bytes | None:
    """The wire form of a name in a file; None for one that is not plain."""
    if text == "@":
        return origin
    if text == ".":
        return b"\0"
    try:
        raw = text.encode("ascii")
    except UnicodeEncodeError:
        return None
    if raw.translate(None, _NAME):
        return None
    wire = b""
    if raw.endswith(b"."):
        raw, origin = raw[:-1], b"\0"
    for label in raw.split(b"."):
        if not 0 < len(label) <= MAX_LABEL:
            return None
        wire += _LENGTH[len(label)] + label
    wire += origin
    return wire if len(wire) <= MAX_NAME else None


def _a(text: str) -> bytes | None:
    try:
        return inet_pton(AF_INET, text)
    except (OSError, ValueError):
        return None


def _aaaa(text: str) -> bytes | None:
    try:
        return inet_pton(AF_INET6, text)
    except (OSError, ValueError):
        return None


def _ds(text: str) -> bytes | None:
    words = _SPACE.split(text)
    # other digests have other sizes, or none that is known
    if len(words) != 4 or words[2] != "2" or len(words[3]) != 64 or not words[3].isalnum():
        return None
    algorithm = _numbers(words[1:2], b"")
    try:
        digest = bytes.fromhex(words[3])
    except ValueError:
        return None
    return _numbers(words[:1], algorithm[1:] + b"\2" + digest) if algorithm and not algorithm[0] else None


def _txt(text: str) -> bytes | None:
    if len(text) > _LONGEST or _STRINGS.fullmatch(text) is None:
        return None
    wire = b""
    for quoted, bare in _STRING.findall(text):
        try:
            raw = (quoted or bare).encode("ascii")
        except UnicodeEncodeError:
            return None
        if len(raw) > 255 or _NOT_PRINTABLE.search(raw):
            return None
        wire += bytes((len(raw),)) + raw
    return wire


def _numbers(words: list[str], rest: bytes) -> bytes | None:
    """16 bits each."""
    wire = b""
    for word in words:
        if not word.isascii() or not word.isdigit() or len(word) > 5 or int(word) > 0xFFFF:
            return None
        wire += int(word).to_bytes(2, "big")
    return wire + rest
