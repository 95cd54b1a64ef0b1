"""Who answers a request: the app, or the proxy itself from its static files."""

from __future__ import annotations

import enum


class Route(enum.Enum):
    """The words of the step `route`."""

    APP = "app"
    STATIC = "static"


def route(path: bytes, static_prefix: bytes | None) -> Route:
    """Compared as sent, without decoding: an address spelt another way is the app's to answer or to refuse.

    `static_prefix` ends in a slash, so that `/static` and `/statics` are the app's.
    """
    return Route.STATIC if static_prefix is not None and path.startswith(static_prefix) else Route.APP
