"""The pages of one visitor: cart and order. Nobody stores them."""

from __future__ import annotations

import secrets
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web

from appserver.shop import session
from appserver.shop.model import MOST, Added, Cart, Refused
from appserver.shop.replies import HTML, SESSION, reply, see_other
from appserver.shop.shop import Shop, asked

FORM: Final = "application/x-www-form-urlencoded"

NOTICES: Final = {
    Added.SOLD_OUT: "Sorry, somebody was quicker: that one is sold out.",
    Added.UNKNOWN: "We do not have a product of that name.",
    Refused.EMPTY: "There is nothing in your cart to order.",
    Refused.SHORT: "We have fewer of something than your cart holds. Nothing was ordered.",
}
STATUSES: Final = {Added.SOLD_OUT: 409, Added.UNKNOWN: 404, Refused.EMPTY: 409, Refused.SHORT: 409}


class CartPages:
    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/cart", self.cart),
            web.post("/cart/add", self.add),
            web.post("/cart/remove", self.remove),
            web.post("/cart/checkout", self.checkout),
            web.get("/orders/{number:[0-9A-F]{16}}", self.order),
        ]

    async def cart(self, request: web.Request) -> web.Response:
        return self._page(await self._cart(request, session.known(request)))

    async def add(self, request: web.Request) -> web.Response:
        fields = await form(request)
        slug, quantity = fields.get("slug", ""), pieces(fields.get("quantity", "1"))
        visitor = session.known(request)
        owner = visitor or session.begin()
        added = await asked(request, self._shop.repository.add(owner, slug, quantity, now=self._shop.now))
        if added in NOTICES:
            return self._page(await self._cart(request, visitor), added)
        response = see_other("/cart")
        session.remember(request, response, owner)  # again each time: the cart lives on from here
        return response

    async def remove(self, request: web.Request) -> web.Response:
        fields = await form(request)
        if (visitor := session.known(request)) is not None:
            await asked(request, self._shop.repository.remove(visitor, fields.get("slug", "")))
        return see_other("/cart")

    async def checkout(self, request: web.Request) -> web.Response:
        await form(request)
        visitor = session.known(request)
        if visitor is None:
            return self._page(Cart(), Refused.EMPTY)
        number = secrets.token_hex(8).upper()
        order = await asked(request, self._shop.repository.checkout(visitor, number, now=self._shop.now))
        if isinstance(order, Refused):
            return self._page(await self._cart(request, visitor), order)
        return see_other(f"/orders/{order.number}")

    async def order(self, request: web.Request) -> web.Response:
        visitor = session.known(request)
        number = request.match_info["number"]
        order = await asked(request, self._shop.repository.order(visitor, number)) if visitor is not None else None
        if order is None:
            raise web.HTTPNotFound
        return reply(self._shop.templates.render("order.html", order=order), HTML, SESSION)

    async def _cart(self, request: web.Request, visitor: str | None) -> Cart:
        return Cart() if visitor is None else await asked(request, self._shop.repository.cart(visitor))

    def _page(self, cart: Cart, refused: Added | Refused | None = None) -> web.Response:
        notice = "" if refused is None else NOTICES[refused]
        body = self._shop.templates.render("cart.html", cart=cart, notice=notice)
        return reply(body, HTML, SESSION, status=200 if refused is None else STATUSES[refused])


async def form(request: web.Request) -> dict[str, str]:
    """The fields of a form of ours; anything else is 415 or 400."""
    if request.content_type != FORM:
        raise web.HTTPUnsupportedMediaType
    try:
        return dict(
            parse_qsl((await request.read()).decode(), keep_blank_values=True, errors="strict", max_num_fields=8)
        )
    except ValueError:
        raise web.HTTPBadRequest from None


def pieces(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= MOST):
        raise web.HTTPUnprocessableEntity
    return int(text)
