"""Next hops that are not of the stack: servers that the user runs, or does not run yet."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from stack.plan.model import HopPlan, StackPlan

OPTIONS: Final = ("upstream", "backend", "origin")
"""What a hop calls its next one, by kind."""
PATIENCE: Final = 0.5
"""Seconds that a server has to accept a connection, when somebody wants to know whether it is there."""
_URL: Final = re.compile(r"[a-z0-9]+://[^\s,;]+")


def outside(plan: StackPlan) -> dict[str, tuple[str, ...]]:
    """URLs by the hop that is told of them."""
    served = {_place(url) for hop in plan.hops for url in hop.urls()}
    found = {hop.name: tuple(url for url in _next(hop) if _place(url) not in served) for hop in plan.hops}
    return {name: urls for name, urls in found.items() if urls}


def excused(plan: StackPlan) -> frozenset[str]:
    """Hops that may say that they are not ready: the stack is up before the user's own server is."""
    told = outside(plan)
    return frozenset({*told, *(hop.name for hop in plan.of("loadbalancer"))}) if told else frozenset()


def absent(plan: StackPlan) -> list[str]:
    """URLs where nobody accepts a connection now."""
    return [url for url in dict.fromkeys(url for urls in outside(plan).values() for url in urls) if not _accepts(url)]


def waiting(plan: StackPlan) -> list[str]:
    """What to tell of servers that are not there yet."""
    return [
        f"Nobody answers at {url} yet: requests for it are answered 502 or 503 until somebody does."
        for url in absent(plan)
    ]


def _next(hop: HopPlan) -> Iterator[str]:
    for option in OPTIONS:
        value = getattr(hop.config, option, ())
        for text in (value,) if isinstance(value, str) else value:
            if isinstance(text, str):
                yield from _URL.findall(text)


def _place(url: str) -> str:
    parts = urlsplit(url)
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _accepts(url: str) -> bool:
    parts = urlsplit(url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname or "", port), PATIENCE).close()
    except (OSError, ValueError):
        return False
    return True
