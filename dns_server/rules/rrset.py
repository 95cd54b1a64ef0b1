"""RRsets, packed when they are made: zone, cache and answer all hold these."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import Struct

from dns_server.rules import types
from dns_server.rules.edns import ExtendedError
from dns_server.rules.names import is_at_or_below, to_text
from dns_server.rules.rdata import Parts, parts, target

_FIXED = Struct(">HHI")
_RECORD = Struct(">HHIH")


class RRset:
    """All records of one owner and type (RFC 2181 §5). `owner` keeps the letter case it was written with."""

    __slots__ = ("head", "hinged", "owner", "parts", "rdatas", "records", "targets", "ttl", "type")

    def __init__(self, owner: bytes, type: int, ttl: int, rdatas: Iterable[bytes], cls: int = types.IN) -> None:
        """`rdatas` in wire form, names written out. Raises RdataFault for rdata that does not fit the type."""
        self.owner = owner
        self.type = type
        self.ttl = ttl
        self.rdatas = tuple(rdatas)
        self.head = _FIXED.pack(type, cls, ttl)
        """What stands between owner and rdata length."""
        split = [parts(type, rdata) for rdata in self.rdatas]
        self.parts: Sequence[Parts] | None = [p for p in split if p is not None] or None
        """Set for types whose names are compressed."""
        self.records: tuple[bytes, ...] = (
            () if self.parts else tuple(_RECORD.pack(type, cls, ttl, len(rdata)) + rdata for rdata in self.rdatas)
        )
        """Set for all other types: everything behind the owner."""
        self.hinged: tuple[bytes, ...] | None = None
        """Set by `hinge`."""
        self.targets = tuple(name for rdata in self.rdatas if (name := target(type, rdata)) is not None)

    def hinge(self) -> RRset:
        """Pack it for questions at or below its owner: joined by a pointer to the owner, the pieces are the records.

        What a zone says most often is its SOA, under names that do not exist: then nothing is left to compress. The
        root is not worth a pointer.
        """
        key = self.owner.lower()
        if self.parts is None or key == b"\0":
            return self
        joined = b""
        pieces: list[bytes] = []
        for record in self.parts:
            pieces.append(joined)
            rdata = [b""]
            for index, part in enumerate(record):
                if index & 1 and is_at_or_below(part.lower(), key):
                    rdata[-1] += part[: len(part) - len(key)]
                    rdata.append(b"")
                else:
                    rdata[-1] += part
            size = sum(map(len, rdata)) + 2 * (len(rdata) - 1)
            rdata[0] = self.head + size.to_bytes(2, "big") + rdata[0]
            pieces += rdata[:-1]
            joined = rdata[-1]
        self.hinged = (*pieces, joined)
        return self

    def with_ttl(self, ttl: int) -> RRset:
        return self if ttl == self.ttl else RRset(self.owner, self.type, ttl, self.rdatas)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, RRset)
            and (self.owner.lower(), self.type, self.ttl) == (other.owner.lower(), other.type, other.ttl)
            and set(self.rdatas) == set(other.rdatas)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<RRset {to_text(self.owner)} {self.ttl} {types.type_name(self.type)} x{len(self.rdatas)}>"


Placed = tuple[bytes, RRset]
"""An RRset under the owner it is answered with: a wildcard's is the name that was asked (RFC 4592 §3.3.1)."""


class Answer:
    """What a question came to: the sections of the response, and the word for log and metrics."""

    __slots__ = (
        "additional", "answer", "authoritative", "authority", "explained", "faults", "glue", "marks", "rcode", "said",
        "truncated", "walk", "word",
    )  # fmt: skip

    def __init__(
        self,
        word: str,
        rcode: int = types.NOERROR,
        *,
        authoritative: bool = False,
        explained: ExtendedError | None = None,
    ) -> None:
        self.word = word
        """One of `stack.path.STEPS["dns_server"]["answer"]`."""
        self.rcode = rcode
        self.authoritative = authoritative
        self.explained = explained
        """Why, for a client that speaks EDNS (RFC 8914)."""
        self.answer: list[Placed] = []
        self.authority: list[Placed] = []
        self.glue: list[Placed] = []
        """Additional records without which a referral is of no use; a response that has no room for them is
        truncated (RFC 9471 §3.1)."""
        self.additional: list[Placed] = []
        """Further additional records: left out without a word when there is no room (RFC 2181 §9)."""
        self.marks: tuple[tuple[str, str], ...] = ()
        """(step, word) of what came before the answer, for the log: of the resolver's cache and walk."""
        self.walk: tuple[str, ...] = ()
        """Who was asked on the walk, and what each said."""
        self.truncated = False
        """TC is set though everything fits."""
        self.faults: tuple[str, ...] = ()
        """Names of the faults that were injected into it."""
        self.said = ""
        """What the query log writes of it, once it has."""

    def least_ttl(self) -> int:
        """Seconds for which all of the answer holds; 0 when it says nothing."""
        return min((rrset.ttl for _, rrset in (*self.answer, *self.authority)), default=0)
