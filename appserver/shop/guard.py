"""Whether a request that changes something comes from the shop's own pages (cross-site request forgery)."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


class Forged(enum.Enum):
    """Why a request is not taken for one of the shop's own."""

    CROSS_SITE = "cross-site"  # Sec-Fetch-Site: the browser says so
    ORIGIN = "origin"  # Origin names another site
    UNKNOWN = "unknown-origin"  # a form from nowhere: every browser says where one comes from


def forged(method: str, headers: Mapping[str, str], *, scheme: str, host: str, content_type: str) -> Forged | None:
    """None for a request that may be acted upon.

    Sec-Fetch-Site where there is one: scripts cannot set it, and it knows of ports and schemes. Browsers send it to
    https and localhost only, so Origin is asked next. A program sends neither; what it sends as JSON is believed,
    because no page of another site can send that without asking first (CORS), which the shop does not answer.
    """
    if method in SAFE:
        return None
    if (site := headers.get("Sec-Fetch-Site")) is not None:
        # `none`: from the browser itself, such as a reload
        return None if site in ("same-origin", "none") else Forged.CROSS_SITE
    if (origin := headers.get("Origin")) is not None:
        return None if _same(origin, scheme, host) else Forged.ORIGIN
    return None if content_type == "application/json" else Forged.UNKNOWN


def _same(origin: str, scheme: str, host: str) -> bool:
    """RFC 6454 §5: scheme, host and port. `null` is the origin of nobody."""
    default = _DEFAULT_PORTS.get(scheme, "")
    return origin.lower().removesuffix(default) == f"{scheme}://{host}".lower().removesuffix(default)
