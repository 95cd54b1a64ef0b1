"""The shop as an aiohttp application: its parts put together, and what surrounds every handler."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from appserver.shop import database, session
from appserver.shop.api import Api
from appserver.shop.cart import CartPages
from appserver.shop.catalog import PRODUCTS
from appserver.shop.guard import Forged, forged
from appserver.shop.health import Health
from appserver.shop.model import Unavailable
from appserver.shop.pages import Pages
from appserver.shop.replies import ALWAYS, HTML, MISSING, NEVER, PROBLEM, problem, reply
from appserver.shop.shop import Shop, record
from stack.clock import Clock, SystemClock
from stack.http.reason import phrase
from stack.net.tasks import Tasks

log = logging.getLogger("hopstack.shop")

LARGEST: Final = 16 * 1024
"""Bytes of a request's content."""
SWEEP: Final = 3600.0
"""Seconds between two looks for carts that were left behind."""

WORDS: Final = {
    400: ("That did not reach us whole", "We could not read what your browser sent."),
    403: ("That did not come from our pages", "To keep your cart yours, we act only on forms sent from this shop."),
    404: ("We looked everywhere", "There is nothing at this address. Perhaps it moved, perhaps it was never there."),
    405: ("Not like this", "This address does not take that kind of request."),
    413: ("That is too much", "What was sent is larger than anything we take."),
    415: ("We cannot read that", "This address takes another kind of content."),
    422: ("That does not add up", "Please take between one and twenty pieces."),
    500: ("Something fell off a shelf", "The fault is ours. Please try again in a moment."),
    503: ("The storeroom does not answer", "Please try again in a moment. What is in your cart stays there."),
}
"""Heading and text of an error page, by status."""


class Refused(Exception):
    """What `guarded` says no to."""

    def __init__(self, reason: Forged) -> None:
        super().__init__(reason.value)
        self.reason = reason


def make(environ: Mapping[str, str] | None, clock: Clock | None) -> web.Application:
    environ = os.environ if environ is None else environ
    shop = Shop(SystemClock() if clock is None else clock)
    hostname = environ.get("HOPSTACK_NAME") or socket.gethostname()

    async def opened(_: web.Application) -> AsyncIterator[None]:
        repository = database.repository(database.url(environ), shop.clock)
        await repository.open(PRODUCTS)
        shop.repository = repository
        tasks = Tasks()
        tasks.spawn(swept(shop), name="sweep")
        yield
        await tasks.close()
        await repository.close()

    app = web.Application(middlewares=[answered(shop), guarded], client_max_size=LARGEST)
    app.cleanup_ctx.append(opened)
    for part in (Pages(shop), CartPages(shop), Api(shop), Health(shop, hostname)):
        app.add_routes(part.routes())
    return app


async def swept(shop: Shop) -> None:
    """Every instance does it: it costs a look at an index."""
    while True:
        try:
            forgotten = await shop.repository.forget(shop.now - session.LIFETIME)
        except Unavailable as error:
            log.warning("carts were not swept: %s", error)
        else:
            if forgotten:
                log.info("%d lines of abandoned carts thrown away", forgotten)
        await shop.clock.sleep(SWEEP)


def answered(shop: Shop) -> Middleware:
    """The outermost: every failure becomes a page, or a problem document under /api/; every response is guarded."""

    def failed(request: web.Request, status: int, headers: dict[str, str], reason: str = "") -> web.Response:
        policy = MISSING if status == 404 else NEVER
        title = phrase(status)
        heading, text = WORDS.get(status, (title, ""))
        if request.path.startswith("/api/"):
            more = {"reason": reason} if reason else {}
            return reply(problem(status, title, text, **more), PROBLEM, policy, status=status, headers=headers)
        body = shop.templates.render("error.html", status=status, heading=heading, text=text, reason=reason)
        return reply(body, HTML, policy, status=status, headers=headers)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = await handler(request)
        except Refused as error:
            _note(request, f"forged: {error.reason.value}")
            response = failed(request, 403, {}, error.reason.value)
        except web.HTTPException as error:
            kept = {name: error.headers[name] for name in ("Allow", "Accept-Post") if name in error.headers}
            response = failed(request, error.status, kept)
        except Unavailable as error:
            log.error("%s %s: the database does not answer: %s", request.method, request.path, error)
            _note(request, repr(error))
            response = failed(request, 503, {"Retry-After": "2"})
        except ConnectionError:
            raise  # the client has gone
        except Exception as error:
            log.exception("%s %s failed", request.method, request.path)
            _note(request, repr(error))
            response = failed(request, 500, {})
        response.headers.update(ALWAYS)
        return response

    return middleware


def _note(request: web.Request, detail: str) -> None:
    if (exchange := record(request)) is not None:
        exchange.detail = detail


@web.middleware
async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What changes something is done for the shop's own pages only."""
    if request.match_info.http_exception is not None:
        return await handler(request)  # 404 and 405 tell more than 403
    refused = forged(
        request.method,
        request.headers,
        scheme=request.scheme,
        host=request.host,
        content_type=request.content_type,
    )
    if refused is not None:
        raise Refused(refused)
    return await handler(request)
