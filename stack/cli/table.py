"""What `up` and `status` print."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from stack.cli.site import site

HEADINGS = ("NAME", "KIND", "STATE", "ADDRESS", "PID", "READY")
WIDTH = 80


def table(status: dict[str, Any]) -> str:
    """A line for each hop, in the order of the path. Its further addresses and restarts are below: 80 columns do."""
    rows = [HEADINGS]
    for hop in status["hops"]:
        first, *further = hop["urls"] or ["-"]
        ready = f"{hop['ready_ms']} ms" if hop["ready_ms"] is not None else "-"
        rows.append((hop["name"], hop["kind"], hop["state"], first, str(hop["pid"] or "-"), ready))
        for restarts, address in zip_longest(_restarts(hop), further, fillvalue=""):
            rows.append(("", "", restarts, address, "", ""))
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = [_line(row, widths) for row in rows]
    for hop in status["hops"]:
        if hop["reason"]:
            lines += textwrap.wrap(f"{hop['name']}: {hop['reason']}", WIDTH, subsequent_indent="  ")
    return "\n".join(lines)


def _restarts(hop: dict[str, Any]) -> list[str]:
    match hop["restarts"]:
        case 0:
            return []
        case 1:
            return ["(1 restart)"]
        case many:
            return [f"({many} restarts)"]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def invitation(status: dict[str, Any]) -> str:
    """Two lines to paste: to the first edge, by address and by the stack's own DNS."""
    found = site(status)
    if found is None:
        return "No edge listens for clients; the table says where the hops are."
    ca, url = shlex.quote(status["ca"]), shlex.quote(found.url + ("/products/shoes" if status.get("demo") else "/"))
    own = next((hop.get("certificate", "") for hop in status["hops"] if hop["name"] == found.edge), "")
    trust = f"--cacert {shlex.quote(own) if own else ca} " if found.scheme == "https" else ""
    lines = [
        f"One request through every hop, beginning at {found.edge}:",
        f"  curl -i {trust}--resolve {found.resolve} {url}",
    ]
    if own:
        lines.append("The certificate is yours: if it is not signed by itself, --cacert takes its authority.")
    elif found.doh:
        lines += [
            "The same, with the name resolved by the stack's own DNS:",
            f"  curl -i --cacert {ca} --doh-url {found.doh} {url}",
        ]
    return "\n".join(lines)
