"""Compiled zones on disk: what reading a large text came to, for as long as the text is the same.

    magic, digest of all that follows, header (its length, JSON), lengths of keys, lengths of nodes, keys, nodes

The header names every file that was read, with the digest of its content. Nothing is executed, and no length is
believed before the digest is: what is torn, changed or of another version is as good as not there.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from struct import error as StructError
from typing import Final
from urllib.parse import quote

from dns_server.rules.faults import Fault
from dns_server.rules.names import to_text
from dns_server.rules.zone import Zone
from dns_server.sources import content

MAGIC: Final = f"hopstack compiled zone 1 {sys.byteorder}\n".encode()
"""Changed with every change of `rules.packed`."""
STEP: Final = 250
"""Names that are taken up in one step: less than a millisecond."""
_DIGEST: Final = 32
_MOST_HEADER: Final = 1 << 24
_SIZES: Final = Struct("=IQ")


@dataclass(frozen=True, slots=True)
class Compiled:
    """A file that is whole; its zone is made by `steps`."""

    origin: bytes
    sources: Mapping[str, bytes]
    """Digest by path."""
    warnings: Sequence[Fault]
    count: int
    body: bytes
    """Behind the header."""

    def steps(self, nodes: dict[bytes, bytes]) -> Iterator[None]:
        """Fill `nodes`, some names at a time."""
        count, body = self.count, self.body
        keys = memoryview(body)[:count]
        sizes = memoryview(body)[count : 5 * count].cast("I")
        at, behind = 5 * count, 5 * count + sum(keys)
        for start in range(0, count, STEP):
            for key, size in zip(keys[start : start + STEP], sizes[start : start + STEP], strict=True):
                end, after = at + key, behind + size
                nodes[body[at:end]] = body[behind:after]
                at, behind = end, after
            yield

    def zone(self) -> Zone:
        """All at once."""
        nodes: dict[bytes, bytes] = {}
        for _ in self.steps(nodes):
            pass
        return Zone(self.origin, nodes)


def path(directory: Path, origin: bytes, file: Path) -> Path:
    """Where the compiled form of that zone from that file is kept."""
    mark = hashlib.sha256(os.fsencode(file.absolute())).hexdigest()[:16]
    name = quote(to_text(origin.lower()).rstrip(".") or "@", safe="")[:150]
    return directory / f"{name}-{mark}.compiled"


def save(path: Path, zone: Zone, sources: Mapping[str, bytes], warnings: Sequence[Fault]) -> None:
    """Whole or not at all, for this user's eyes. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    header = json.dumps(
        {
            "origin": zone.origin.hex(),
            "sources": {file: digest.hex() for file, digest in sources.items()},
            "warnings": [[fault.place, fault.message] for fault in warnings],
            "count": len(zone.packed),
        }
    ).encode()
    keys, nodes = zone.packed.keys(), zone.packed.values()
    pack = Struct("=I").pack
    parts = (
        _SIZES.pack(len(header), len(zone.packed)),
        header,
        bytes(map(len, keys)),
        b"".join([pack(len(node)) for node in nodes]),
        b"".join(keys),
        b"".join(nodes),
    )
    summed = hashlib.blake2b(digest_size=_DIGEST)
    for part in parts:
        summed.update(part)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.writelines((MAGIC, summed.digest(), *parts))
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def load(path: Path, origin: bytes) -> Compiled | None:
    """What is there, if it is whole and of the zone with that name; whether its sources are the same is another
    question."""
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                return None
            digest, sizes = file.read(_DIGEST), file.read(_SIZES.size)
            size, count = _SIZES.unpack(sizes)
            raw = file.read(min(size, _MOST_HEADER))
            body = file.read()  # by itself: a copy of it would take its time
    except (OSError, StructError):
        return None
    summed = hashlib.blake2b(sizes, digest_size=_DIGEST)
    summed.update(raw)
    summed.update(body)
    if summed.digest() != digest:
        return None
    header = json.loads(raw)  # written by us, and whole
    if bytes.fromhex(header["origin"]) != origin:
        return None
    return Compiled(
        origin,
        {file: bytes.fromhex(text) for file, text in header["sources"].items()},
        [Fault(place, message, fatal=False) for place, message in header["warnings"]],
        count,
        body,
    )


def fits(sources: Mapping[str, bytes]) -> bool:
    """Whether every file still has the content that it had."""
    return all(content(file) == digest for file, digest in sources.items())
