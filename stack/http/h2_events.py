"""What happens on a connection of HTTP/2, as `stack.http.h2` tells it."""

from __future__ import annotations

from typing import NamedTuple

from stack.http.message import Fields


class Head(NamedTuple):
    """A request's or a response's field section, interim responses' too.

    `priority`: of a PRIORITY_UPDATE that came before it.
    """

    stream: int
    fields: Fields
    ended: bool
    priority: bytes | None = None


class Data(NamedTuple):
    """`size` counts against the windows: content and padding. Give all of it back with `credit`."""

    stream: int
    content: bytes
    size: int
    ended: bool


class Trailers(NamedTuple):
    stream: int
    fields: Fields


class Reset(NamedTuple):
    """The stream is gone: reset by the peer, or by us for a fault of the peer."""

    stream: int
    code: int
    by_peer: bool
    reason: str = ""


class Opened(NamedTuple):
    """A window opened: of one stream, or (0) of the connection or of all streams."""

    stream: int


class Prioritized(NamedTuple):
    """The client has changed its mind about a request's priority (RFC 9218 §7.1)."""

    stream: int
    priority: bytes


class Away(NamedTuple):
    """The peer takes no stream above `last`."""

    last: int
    code: int


class Acknowledged(NamedTuple):
    """Our PING came back."""


class Failed(NamedTuple):
    """The connection is over; GOAWAY is in what is to be sent."""

    code: int
    reason: str


Event = Head | Data | Trailers | Reset | Opened | Prioritized | Away | Acknowledged | Failed
