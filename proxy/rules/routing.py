"""Who answers a request: the app, or the proxy itself from its static files."""

from __future__ import annotations

import enum


class Route(enum.Enum):
    """The words of the step `route`."""

    APP = "app"
    STATIC = "static"
    NONE = "none"  # there is no app, and no directory for this path


def route(path: bytes, prefixes: tuple[bytes, ...], *, app: bool = True) -> tuple[Route, bytes]:
    """The prefix comes with STATIC. Compared as sent, without decoding: an address spelt another way is the app's.

    `prefixes` are the longest first; each ends in a slash, so that `/static` and `/statics` are the app's.
    """
    if path.startswith(prefixes):
        return Route.STATIC, next(prefix for prefix in prefixes if path.startswith(prefix))
    return Route.APP if app else Route.NONE, b""
