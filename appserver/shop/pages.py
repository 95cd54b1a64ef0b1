"""The pages that are the same for everybody, and so may be kept by an edge. None of them looks at the cookie."""

from __future__ import annotations

import re
from typing import Final

from aiohttp import web

from appserver.shop.model import Product
from appserver.shop.replies import DAY, FOREVER, HTML, PAGE, SEARCH, publish, reply
from appserver.shop.shop import Shop, asked

LONGEST: Final = 80
"""Characters of a search; what is beyond is not looked at."""
WORDS: Final = 6

_WORD: Final = re.compile(r"\w+")


class Pages:
    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self.front),
            web.get("/products/{slug:[a-z0-9-]{1,40}}", self.product),
            web.get("/search", self.search),
            web.get("/static/{name}", self.static),
            web.get("/favicon.ico", self.favicon),
            web.get("/robots.txt", self.robots),
        ]

    async def front(self, request: web.Request) -> web.Response:
        products = await asked(request, self._shop.repository.products())
        body = self._shop.templates.render("front.html", products=products)
        return self._published(request, body, PAGE, products)

    async def product(self, request: web.Request) -> web.Response:
        product = await asked(request, self._shop.repository.product(request.match_info["slug"]))
        if product is None:
            raise web.HTTPNotFound
        body = self._shop.templates.render("product.html", product=product)
        return self._published(request, body, PAGE, (product,))

    async def search(self, request: web.Request) -> web.Response:
        query = " ".join(request.query.get("q", "").split())[:LONGEST]
        words = terms(query)
        found = await asked(request, self._shop.repository.search(words)) if words else ()
        body = self._shop.templates.render("search.html", query=query, words=words, products=found)
        return self._published(request, body, SEARCH, found)

    def _published(self, request: web.Request, body: bytes, policy: str, products: tuple[Product, ...]) -> web.Response:
        changed = max((self._shop.changed, *(product.updated for product in products)))
        return publish(request, body, HTML, policy, modified=changed, now=self._shop.clock.time())

    async def static(self, request: web.Request) -> web.Response:
        """Behind the proxy this is its own; asked directly, the shop has them too."""
        asset = self._shop.assets.get(request.match_info["name"])
        if asset is None:
            raise web.HTTPNotFound
        now = self._shop.clock.time()
        return publish(request, asset.content, asset.content_type, FOREVER, modified=None, now=now)

    async def favicon(self, request: web.Request) -> web.Response:
        """Browsers ask for it unless a page names another, which ours do."""
        location = self._shop.assets.path("favicon.svg")
        return web.Response(status=302, headers={"Location": location, "Cache-Control": DAY})

    async def robots(self, request: web.Request) -> web.Response:
        return reply(b"User-agent: *\nDisallow: /cart\nDisallow: /search\n", "text/plain; charset=utf-8", DAY)


def terms(query: str) -> tuple[str, ...]:
    """The words to look for, each once, in the order in which they were typed."""
    return tuple(dict.fromkeys(_WORD.findall(query.casefold())))[:WORDS]
