"""Zones from master files: read, compiled and checked. Every fault is reported with file and line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dns_server.rules.draft import Draft
from dns_server.rules.faults import Fault, fatal, told
from dns_server.rules.names import to_text
from dns_server.rules.zone import Zone, finish
from dns_server.sources import CannotRead, Sources
from stack.errors import ConfigError

# dnspython, behind `master`, costs 40 ms, and a resolver never needs it: so it is imported where it is used


@dataclass(frozen=True, slots=True)
class Text:
    """A zone as its text says it."""

    zone: Zone
    sources: Mapping[str, bytes]
    """Every file that was read: digest of its content by path."""
    warnings: Sequence[Fault]


class TextFault(ConfigError):
    """No zone; `sources` are the files that may be mended, `faults` what is wrong in them."""

    def __init__(self, message: str, sources: Mapping[str, bytes], faults: Sequence[Fault] = ()) -> None:
        super().__init__(message)
        self.sources = sources
        self.faults = faults


def read(origin: bytes, path: Path) -> Text:
    """Raises TextFault with every fault, with file and line."""
    from dns_server import master

    sources = Sources()
    try:
        text = sources.read(str(path))
    except CannotRead as fault:
        raise TextFault(f"zone {to_text(origin)}: cannot read {fault}", sources.digests) from None
    draft = Draft(origin)
    master.read_into(draft, text, str(path), sources=sources)
    return _finished(draft, sources.digests)


def load(origin: bytes, path: Path) -> tuple[Zone, Sequence[Fault]]:
    """The zone in a file, with warnings. Raises ConfigError with every fault, with file and line."""
    text = read(origin, path)
    return text.zone, text.warnings


def load_text(origin: bytes, text: str, place: str = "<text>") -> tuple[Zone, Sequence[Fault]]:
    """Like `load`, from a string; `place` stands for the file's name."""
    from dns_server import master

    draft = Draft(origin)
    master.read_into(draft, text, place)
    found = _finished(draft, {})
    return found.zone, found.warnings


def _finished(draft: Draft, sources: Mapping[str, bytes]) -> Text:
    zone, faults = finish(draft)
    if zone is None:
        found = fatal(faults)
        raise TextFault("; ".join(told(found)), sources, found)
    return Text(zone, sources, faults)


# One record's data, for records that are set, shown and updated while the server runs.


def rdata_from_text(type: int, text: str, origin: bytes) -> bytes:
    """Wire form; names without a final dot are below `origin`. Raises ValueError with what is wrong."""
    from dns_server import master

    return master.rdata_from_text(type, text, origin)


def rdata_to_text(type: int, rdata: bytes) -> str:
    """As a master file writes it. Raises ValueError for rdata that does not fit its type."""
    from dns_server import master

    return master.rdata_to_text(type, rdata)
