"""Zones from master files: read, compiled and checked. Every fault is reported with file and line."""

from __future__ import annotations

from pathlib import Path

from dns_server.rules.draft import Draft
from dns_server.rules.faults import Fault, told
from dns_server.rules.names import to_text
from dns_server.rules.zone import Zone, finish
from stack.errors import ConfigError


def load(origin: bytes, path: Path) -> tuple[Zone, list[Fault]]:
    """The zone in a file, with warnings. Raises ConfigError with every fault, with file and line."""
    from dns_server import master  # dnspython costs 40 ms, and a resolver never needs it

    sources = master.Sources()
    try:
        text = sources.read(str(path))
    except master.CannotRead as fault:
        raise ConfigError(f"zone {to_text(origin)}: cannot read {fault}") from None
    draft = Draft(origin)
    master.read_into(draft, text, str(path), sources=sources)
    return _finished(draft)


def load_text(origin: bytes, text: str, place: str = "<text>") -> tuple[Zone, list[Fault]]:
    """Like `load`, from a string; `place` stands for the file's name."""
    from dns_server import master

    draft = Draft(origin)
    master.read_into(draft, text, place)
    return _finished(draft)


def _finished(draft: Draft) -> tuple[Zone, list[Fault]]:
    zone, faults = finish(draft)
    if zone is None:
        raise ConfigError("; ".join(told(fault for fault in faults if fault.fatal)))
    return zone, faults


# One record's data, for records that are set, shown and updated while the server runs.


def rdata_from_text(type: int, text: str, origin: bytes) -> bytes:
    """Wire form; names without a final dot are below `origin`. Raises ValueError with what is wrong."""
    from dns_server import master

    return master.rdata_from_text(type, text, origin)


def rdata_to_text(type: int, rdata: bytes) -> str:
    """As a master file writes it. Raises ValueError for rdata that does not fit its type."""
    from dns_server import master

    return master.rdata_to_text(type, rdata)
