"""The shop as JSON, under /api/. Errors are problem documents (RFC 9457)."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from aiohttp import web

from appserver.shop import session
from appserver.shop.model import MOST, Added, Cart, Product
from appserver.shop.replies import API, JSON, PROBLEM, SESSION, json, problem, publish, reply
from appserver.shop.shop import Shop, asked

CURRENCY = "EUR"


class More(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What POST /api/cart takes."""

    slug: Annotated[str, msgspec.Meta(pattern="^[a-z0-9-]{1,40}$")]
    quantity: Annotated[int, msgspec.Meta(ge=1, le=MOST)] = 1


class Api:
    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/products", self.products),
            web.get("/api/products/{slug:[a-z0-9-]{1,40}}", self.product),
            web.get("/api/cart", self.cart),
            web.post("/api/cart", self.add),
        ]

    async def products(self, request: web.Request) -> web.Response:
        products = await asked(request, self._shop.repository.products())
        body = json({"products": [self._described(product) for product in products]})
        return self._published(request, body, *products)

    async def product(self, request: web.Request) -> web.Response:
        product = await asked(request, self._shop.repository.product(request.match_info["slug"]))
        if product is None:
            raise web.HTTPNotFound
        return self._published(request, json(self._described(product)), product)

    async def cart(self, request: web.Request) -> web.Response:
        visitor = session.known(request)
        cart = Cart() if visitor is None else await asked(request, self._shop.repository.cart(visitor))
        return reply(json(_cart(cart)), JSON, SESSION)

    async def add(self, request: web.Request) -> web.Response:
        """201 where the cart held none of it, 200 where there are now more."""
        if request.content_type != JSON:
            raise web.HTTPUnsupportedMediaType(headers={"Accept-Post": JSON})
        try:
            more = msgspec.json.decode(await request.read(), type=More)
        except msgspec.ValidationError as error:  # JSON, but not what is asked for
            return _refused(422, "Unprocessable Content", str(error))
        except msgspec.DecodeError as error:
            return _refused(400, "Bad Request", str(error))
        except UnicodeDecodeError:
            return _refused(400, "Bad Request", "The content is not UTF-8")
        owner = session.known(request) or session.begin()
        added = await asked(request, self._shop.repository.add(owner, more.slug, more.quantity, now=self._shop.now))
        if added is Added.UNKNOWN:
            return _refused(422, "Unprocessable Content", f"There is no product {more.slug!r}", reason=added.value)
        if added is Added.SOLD_OUT:
            return _refused(409, "Conflict", f"{more.slug!r} is sold out", reason=added.value)
        cart = await asked(request, self._shop.repository.cart(owner))
        response = reply(json(_cart(cart)), JSON, SESSION, status=201 if added is Added.NEW else 200)
        session.remember(request, response, owner)
        return response

    def _published(self, request: web.Request, body: bytes, *products: Product) -> web.Response:
        changed = max((product.updated for product in products), default=None)
        return publish(request, body, JSON, API, modified=changed, now=self._shop.clock.time())

    def _described(self, product: Product) -> dict[str, Any]:
        return {
            "slug": product.slug,
            "name": product.name,
            "tagline": product.tagline,
            "description": product.description,
            "price": {"cents": product.price, "currency": CURRENCY},
            "stock": product.stock,
            "page": f"/products/{product.slug}",
            "image": self._shop.assets.path(f"{product.slug}.svg"),
        }


def _cart(cart: Cart) -> dict[str, Any]:
    return {
        "lines": [
            {
                "slug": line.slug,
                "name": line.name,
                "quantity": line.quantity,
                "stock": line.stock,
                "price": {"cents": line.price, "currency": CURRENCY},
                "total": {"cents": line.total, "currency": CURRENCY},
            }
            for line in cart.lines
        ],
        "count": cart.count,
        "total": {"cents": cart.total, "currency": CURRENCY},
    }


def _refused(status: int, title: str, detail: str, **more: Any) -> web.Response:
    return reply(problem(status, title, detail, **more), PROBLEM, SESSION, status=status)
