"""The cookie that carries a cart from one request to the next, and from one instance to another."""

from __future__ import annotations

import re
import secrets
from typing import Final

from aiohttp import web

COOKIE: Final = "session"
LIFETIME: Final = 30 * 86400
"""Seconds a cart is kept after it was last changed."""

_ID: Final = re.compile(r"[0-9a-f]{32}")


def known(request: web.Request) -> str | None:
    """The session of the request; None where there is none, or what is there was never one of ours."""
    value = request.cookies.get(COOKIE, "")
    return value if _ID.fullmatch(value) else None


def begin() -> str:
    """128 random bits: nobody guesses another's."""
    return secrets.token_hex(16)


def remember(request: web.Request, response: web.Response, session: str) -> None:
    """Only ever on an answer that nobody stores."""
    response.set_cookie(
        COOKIE,
        session,
        max_age=LIFETIME,
        path="/",
        httponly=True,
        samesite="Lax",
        # as the client sees it: the server believes X-Forwarded-Proto from a trusted peer
        secure=request.scheme == "https",
    )
