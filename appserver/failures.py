"""What escapes an application is its own failure, not the server's: logged with the request, told as a 500."""

from __future__ import annotations

import logging

from stack.errors import HopError
from stack.http.message import Request
from stack.telemetry.exchange import Exchange

log = logging.getLogger("hopstack.app")


class AppFailed(HopError):
    """The app raised, or broke the protocol, before its response began."""

    title = "The application failed"


def named(error: BaseException, request: Request, exchange: Exchange) -> HopError:
    """As the client is told. A HopError has its name already: the client has gone, or sent too much."""
    if isinstance(error, HopError):
        return error
    told("the app failed", error, request, exchange)
    return AppFailed(private=repr(error))


def told(what: str, error: BaseException, request: Request, exchange: Exchange) -> None:
    """To the log, with the traceback."""
    log.error("%s: %r, request %s", what, request, exchange.request_id.decode("latin-1"), exc_info=error)
