"""What a failed attempt says about the backend (passive health), and its word in log, header and metric."""

from __future__ import annotations

import enum

from stack.errors import (
    CertificateRefused,
    ConnectRefused,
    ConnectTimeout,
    DnsFailed,
    HopError,
    PoolExhausted,
    Refused,
    ResponseTimeout,
    Side,
    TlsFailed,
)


class Blame(enum.Enum):
    NONE = "none"  # the client's fault, or ours: says nothing about the backend
    SUSPECT = "suspect"  # may have been this one request's doing: counts, and a check looks sooner
    DEAD = "dead"  # nobody serves there, whatever the request: it leaves at once


_DEAD = (ConnectRefused, DnsFailed, TlsFailed, CertificateRefused)


def blame(error: HopError, *, streamed: bool) -> Blame:
    """`streamed`: the request's content came from the client while it was sent.

    Before the request was sent it cannot be at fault. Afterwards one request that kills every backend it meets must
    not empty the whole pool, so such failures only count when no answer comes between them. And a backend that gave
    up on a slow upload did so because of the client.
    """
    if error.side is not Side.UPSTREAM or isinstance(error, (PoolExhausted, Refused)):
        return Blame.NONE
    if isinstance(error, _DEAD):
        return Blame.DEAD
    if isinstance(error, ConnectTimeout):
        return Blame.SUSPECT  # a dropped SYN is also what a full accept queue looks like
    return Blame.NONE if streamed else Blame.SUSPECT


def word(error: HopError) -> str:
    """The attempt's word in `stack.path.STEPS`."""
    if error.side is Side.DOWNSTREAM:
        return "client"
    if isinstance(error, ConnectRefused):
        return "refused"
    if isinstance(error, (ConnectTimeout, ResponseTimeout)):
        return "timeout"
    return "failed"
