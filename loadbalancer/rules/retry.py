"""Whether a request may be sent to another backend. Only asked while no byte of an answer has gone down."""

from __future__ import annotations

import enum
from typing import Final

from stack.errors import (
    CertificateRefused,
    ConnectRefused,
    ConnectTimeout,
    DnsFailed,
    HopError,
    PoolExhausted,
    Retry,
    Side,
    TlsFailed,
)
from stack.http.message import SAFE

RETRIED_STATUS: Final = frozenset({502, 503, 504})
"""The backend, or something behind it, could not serve now; another may."""

BEFORE_SENDING: Final = (ConnectRefused, ConnectTimeout, DnsFailed, TlsFailed, CertificateRefused, PoolExhausted)
"""There was no connection: not a byte of the request, head or content, has left."""


class NotRetried(enum.Enum):
    """Why a failed attempt is the last one."""

    CLIENT = "client"  # the client is at fault or gone
    OURS = "ours"  # another backend cannot mend it
    METHOD = "method"  # it may have been acted upon, and twice is not the same as once (RFC 9110 §9.2.2)
    CONTENT = "content"  # the content has been passed on and is not kept
    SPENT = "spent"  # as many retries as are allowed
    TIME = "time"  # all attempts together have had their time
    NO_OTHER = "no-other"  # no backend is left to try


def after_error(error: HopError, method: bytes, *, replayable: bool) -> NotRetried | None:
    """None: another backend may be tried. `replayable`: the content is at hand in full.

    RFC 9110 §9.2.2: a proxy must not repeat a request that is not idempotent unless it knows that the original was
    never applied. Where it may have been, safe methods only: PUT and DELETE are idempotent each by itself, not among
    the requests of others that another backend has meanwhile answered.
    """
    if error.side is not Side.UPSTREAM:
        return NotRetried.CLIENT if error.side is Side.DOWNSTREAM else NotRetried.OURS
    if isinstance(error, BEFORE_SENDING):
        return None
    if method not in SAFE and error.retry is not Retry.SAFE:
        return NotRetried.METHOD
    return None if replayable else NotRetried.CONTENT


def after_answer(method: bytes, *, replayable: bool) -> NotRetried | None:
    """The same after an answer with one of RETRIED_STATUS: the request was received, whatever became of it."""
    if method not in SAFE:
        return NotRetried.METHOD
    return None if replayable else NotRetried.CONTENT
