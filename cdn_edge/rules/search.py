"""No-Vary-Search: which parts of a query a response does not depend on (draft-ietf-httpbis-no-vary-search)."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from stack.http.message import Fields, combined
from stack.http.structured_parsing import dictionary

FIELD: Final = b"no-vary-search"
_LONGEST: Final = 8192
"""Bytes of a value that is read."""


@dataclass(frozen=True, slots=True)
class Variance:
    """What two queries may differ in (section 3)."""

    ignored: frozenset[bytes] | None = frozenset()
    """Names; None for all but `kept`."""
    kept: frozenset[bytes] = frozenset()
    ordered: bool = True
    """Whether the order of parameters of different names matters."""

    def canonical(self, query: bytes) -> bytes:
        """The same for all queries that mean the same, and for no others (section 5.1).

        Values are compared as they are decoded, byte for byte: what is no UTF-8 is not taken for all that is none.
        """
        pairs: list[tuple[bytes, bytes]] = []
        for piece in query.split(b"&"):
            if piece:
                name, _, value = piece.partition(b"=")
                pairs.append((_decoded(name), _decoded(value)))
        if self.ignored is None:
            pairs = [pair for pair in pairs if pair[0] in self.kept]
        else:
            pairs = [pair for pair in pairs if pair[0] not in self.ignored]
        if not self.ordered:
            pairs.sort(key=lambda pair: pair[0])
        return "&".join([f"{quote_from_bytes(name)}={quote_from_bytes(value)}" for name, value in pairs]).encode()


def variance(fields: Fields) -> Variance | None:
    """What a response says. None where it says nothing, nothing valid, or what goes without saying (section 4.1)."""
    value = combined(fields, FIELD)
    if value is None or len(value) > _LONGEST:
        return None
    members = dictionary(value)
    if members is None:
        return None
    key_order, params, kept = members.get("key-order", False), members.get("params", False), members.get("except")
    if not isinstance(key_order, bool):
        return None
    names = _names(params) if isinstance(params, list) else frozenset()
    if names is None or not isinstance(params, bool | list):
        return None
    excepted = _names([] if kept is None else kept) if isinstance(kept, list | None) else None
    if excepted is None or (kept is not None and params is not True):
        return None
    found = Variance(None if params is True else names, excepted, ordered=not key_order)
    return None if found == Variance() else found


class _Path:
    __slots__ = ("mark", "said", "streak", "without")

    def __init__(self, said: Variance | None, mark: bytes) -> None:
        self.said = said
        self.mark = mark
        self.without: dict[bytes, None] = {}
        """Keys of URLs that were answered without it, the latest."""
        self.streak = 0
        """How many in a row."""


class Learned:
    """What the responses of each path say of its queries: the keys of requests follow it.

    A path that says something new gets new keys: what was stored under the old ones is never found again, and leaves in
    its time. A URL of it that says nothing is kept apart; if all do, the path is as any other again.
    """

    def __init__(self, *, most: int = 1024, exceptions: int = 16, first: int = 1) -> None:
        """`most` paths are known, and `exceptions` of each; the ones that came first go first.

        `first`: the number of the first change, behind those of processes before this one.
        """
        self._paths: OrderedDict[bytes, _Path] = OrderedDict()
        self._most = most
        self._exceptions = exceptions
        self._changes = first
        self._touched: OrderedDict[bytes, int] = OrderedDict()
        self._forgotten = 0
        self.now = 0
        """Counts invalidations."""

    def __len__(self) -> int:
        return len(self._paths)

    def key(self, exact: bytes) -> bytes:
        """The key that a request with the key `exact` has by now."""
        path, _, query = exact.partition(b"?")
        learned = self._paths.get(path)
        if learned is None:
            return exact
        # a blank is in no URL, so no URL has such a key
        if learned.said is None or exact in learned.without:
            return exact + learned.mark
        return b"%b?%b%b" % (path, learned.said.canonical(query), learned.mark)

    def learn(self, exact: bytes, said: Variance | None) -> bytes:
        """A response that may be stored says so of its query. Returns the key it is to be stored under."""
        path = exact.partition(b"?")[0]
        learned = self._paths.get(path)
        if learned is None:
            if said is not None:
                self._change(path, said)
        elif said is not None:
            learned.streak = 0
            learned.without.pop(exact, None)
            if said != learned.said:
                self._change(path, said)
        elif learned.said is not None:
            learned.streak += 1
            learned.without[exact] = None
            if learned.streak > self._exceptions:
                self._change(path, None)
            elif len(learned.without) > self._exceptions:
                del learned.without[next(iter(learned.without))]
        return self.key(exact)

    def _change(self, path: bytes, said: Variance | None) -> None:
        self._changes += 1
        self._paths[path] = _Path(said, b" search:%d" % self._changes)
        if len(self._paths) > self._most:
            self._paths.popitem(last=False)

    def touch(self, exact: bytes) -> None:
        """What is stored for this URL is not valid any more."""
        self.now += 1
        path = exact.partition(b"?")[0]
        self._touched[path] = self.now
        self._touched.move_to_end(path)
        if len(self._touched) > self._most:
            self._forgotten = self._touched.popitem(last=False)[1]

    def touched(self, exact: bytes, since: int) -> bool:
        """Whether a URL of the same path was touched since `now` was `since`; it may have been an equal one."""
        return max(self._touched.get(_path(exact), 0), self._forgotten) > since


def _path(key: bytes) -> bytes:
    """Of a key with a mark, too."""
    return key.partition(b"?")[0].partition(b" ")[0]


def _decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def _names(members: list[object]) -> frozenset[bytes] | None:
    """Strings, as a query would have them; None where one is none."""
    if any(type(member) is not str for member in members):
        return None
    return frozenset(_decoded(str(member).encode()) for member in members)
