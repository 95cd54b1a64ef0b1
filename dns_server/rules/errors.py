"""Answers that are an error, and what is said about the reason (RFC 8914)."""

from __future__ import annotations

from typing import Final

from dns_server.rules import edns, types
from dns_server.rules.edns import ExtendedError
from dns_server.rules.rrset import Answer

NOT_ALLOWED: Final = ExtendedError(edns.PROHIBITED, "this address is not allowed to ask here")
CLASS: Final = ExtendedError(edns.NOT_SUPPORTED, "only class IN is served")
OPERATION: Final = ExtendedError(edns.NOT_SUPPORTED, "this operation is not supported")
FOREIGN: Final = ExtendedError(edns.NOT_AUTHORITATIVE, "no zone of this server has the name")
TYPE: Final = ExtendedError(edns.NOT_SUPPORTED, "a resolver does not answer this type")
NO_RECURSION: Final = ExtendedError(edns.OTHER, "not known here, and no recursion was wished")
BUSY: Final = ExtendedError(edns.OTHER, "too many walks at one time")
ALIASES: Final = ExtendedError(edns.OTHER, "too many aliases")
FAILED_BEFORE: Final = ExtendedError(edns.CACHED_ERROR, "it failed a moment ago")


def answer(rcode: int, explained: ExtendedError | None = None) -> Answer:
    if rcode == types.NOTIMP:
        explained = explained or OPERATION
    return Answer(types.rcode_name(rcode).lower(), rcode, explained=explained)


def over_tcp() -> Answer:
    """Nothing but the wish to be asked over TCP, where nobody asks in another's name."""
    found = Answer("truncated")
    found.truncated = True
    return found


def limited(answer: Answer) -> Answer:
    """In place of one that is sent too often."""
    found = Answer("rate-limited", answer.rcode, authoritative=answer.authoritative)
    found.truncated = True
    return found
