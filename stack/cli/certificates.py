"""The certificates of a running stack, for `hopstack status`: until when, and what could not be loaded."""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from stack.hop.ask import ask

ENCRYPTED: Final = frozenset({"https", "tls"})
PATIENCE: Final = 0.5
"""Seconds that a hop is asked for: one that hangs does not hold up what the others say."""
SOON: Final = 14.0
"""Days; those of the local CA are renewed a month before."""
DAY: Final = 86_400.0
WIDTH: Final = 80


def gather(status: dict[str, Any]) -> None:
    """Asks the hops that end TLS, and adds `tls` to each that answers."""
    for hop in status["hops"]:
        if hop.get("admin") and hop.get("pid") and not ENCRYPTED.isdisjoint(hop["listen"]):
            try:
                code, content = ask(hop["admin"], "GET", "/-/certificates", patience=PATIENCE)
                if code == 200:
                    hop["tls"] = msgspec.json.decode(content, type=dict[str, Any])
            except (OSError, ValueError):  # it has just gone, or hangs: its state says so
                continue


def lines(status: dict[str, Any], now: float) -> list[str]:
    """`now`: Unix time. First what is wrong, then until when all of them last."""
    told: list[str] = []
    ends: list[float] = []
    for hop in status["hops"]:
        tls = hop.get("tls")
        if not tls:
            continue
        if tls["error"]:
            told.append(f"{hop['name']}: certificates: {tls['error']}; those in use stay")
        for one in tls["certificates"]:
            ends.append(one["expires"])
            days = (one["expires"] - now) / DAY
            if days < SOON:
                told.append(f"{hop['name']}: {one['cert']} {_when(days)}, {_date(one['expires'])}")
    if ends:
        first = min(ends)
        told.append(f"Certificates: the first of {len(ends)} {_when((first - now) / DAY)}, {_date(first)}")
    return [line for text in told for line in textwrap.wrap(text, WIDTH, subsequent_indent="  ")]


def _when(days: float) -> str:
    if days < 0:
        return "HAS ENDED"
    return f"ends in {days:.0f} days" if days >= 2 else f"ends in {days * 24:.0f} hours"


def _date(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d}"
