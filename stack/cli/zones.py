"""The zones of a running stack, for `hopstack status`: those whose text is faulty, so that they stayed as they were."""

from __future__ import annotations

import textwrap
from typing import Any, Final

import msgspec

from stack.hop.ask import ask

PATIENCE: Final = 0.5
"""Seconds that a hop is asked for: one that hangs does not hold up what the others say."""
WIDTH: Final = 80


def gather(status: dict[str, Any]) -> None:
    """Asks the DNS servers, and adds `zones_fault` to each that answers."""
    for hop in status["hops"]:
        if hop.get("kind") == "dns_server" and hop.get("admin") and hop.get("pid"):
            try:
                code, content = ask(hop["admin"], "GET", "/-/zones", patience=PATIENCE)
                if code == 200:
                    hop["zones_fault"] = msgspec.json.decode(content, type=dict[str, Any]).get("fault", "")
            except (OSError, ValueError):  # it has just gone, or hangs: its state says so
                continue


def lines(status: dict[str, Any]) -> list[str]:
    told = [f"{hop['name']}: {hop['zones_fault']}; zones with a fault stay as they were"
            for hop in status["hops"] if hop.get("zones_fault")]  # fmt: skip
    return [line for text in told for line in textwrap.wrap(text, WIDTH, subsequent_indent="  ")]
