"""A guest book, as it worked on the author's machine. Three of its bugs show only on the way to a real user."""

from __future__ import annotations

import html
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def create_app() -> GuestBook:
    """One for each process: `hopstack up --app guestbook:create_app`."""
    return GuestBook()


class GuestBook:
    """An ASGI app: sign in, see your own page, invite somebody."""

    def __init__(self) -> None:
        self.sessions: dict[str, str] = {}

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        request = Request(scope, receive)
        page = {"/": self.home, "/login": self.login, "/invite": self.invite}.get(scope["path"], self.missing)
        status, headers, body = await page(request)
        raw = [(name.encode(), value.encode()) for name, value in [("content-type", "text/html"), *headers]]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": body.encode()})

    async def home(self, request: Request) -> Answer:
        """Greets whoever is signed in."""
        name = self.sessions.get(request.cookies.get("session", ""), "stranger")
        return 200, [("cache-control", "public, max-age=60")], f"<h1>Welcome, {html.escape(name)}</h1>"

    async def login(self, request: Request) -> Answer:
        """Takes a name, and remembers it under a new session."""
        form = await request.form()
        session = secrets.token_hex(16)
        self.sessions[session] = form.get("name", "stranger")
        cookie = f"session={session}; Path=/; HttpOnly; SameSite=Lax"
        return 303, [("location", "/"), ("set-cookie", cookie)], ""

    async def invite(self, request: Request) -> Answer:
        """A link to send to a friend, and where the visitor seems to be."""
        link = f"http://{request.headers['host']}/"
        visitor = html.escape(request.headers.get("x-forwarded-for", request.client).split(",")[-1].strip())
        return 200, [("cache-control", "no-store")], f'<a href="{link}">Join us</a> You come from {visitor}.'

    async def missing(self, request: Request) -> Answer:
        return 404, [], "<h1>Not here</h1>"


Answer = tuple[int, list[tuple[str, str]], str]


class Request:
    """What the pages want to know of a request."""

    def __init__(self, scope: MutableMapping[str, Any], receive: Receive) -> None:
        self.scheme: str = scope["scheme"]
        self.client: str = scope["client"][0]
        self.headers = {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}
        parsed = SimpleCookie(self.headers.get("cookie", ""))
        self.cookies = {name: morsel.value for name, morsel in parsed.items()}
        self._receive = receive

    async def form(self) -> dict[str, str]:
        body, more = b"", True
        while more:
            message = await self._receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        return {name: values[0] for name, values in parse_qs(body.decode()).items()}
