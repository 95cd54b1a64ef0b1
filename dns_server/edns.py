"""What is answered to the options of a query: cookies, the server's name, how long a connection may be idle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dns_server.config import Config
from dns_server.cookies import Cookies, secrets
from dns_server.responses import Finished
from dns_server.rules import edns, types
from dns_server.rules.edns import option
from dns_server.rules.query import PLAIN_UDP, Query

_CLIENT_COOKIE = b"\0\x0c\0\x0a\0\x08"
_BOTH_COOKIES = b"\0\x1c\0\x0a\0\x18"
"""Length of the options, and the head of the only one."""
_ROOM = PLAIN_UDP - 2 - 28
"""Octets behind the id that leave room for a cookie whatever the client takes."""
Repeated = tuple[bytes, Finished, bool]
"""The response, what it is made from, and whether the client's cookie is right."""

_STREAMS = ("tcp", "tls")
_PRIVATE = ("tls", "https")


class Edns:
    """Options that are not known here are ignored (RFC 6891 §6.1.2)."""

    def __init__(self, *, nsid: bytes, cookies: Cookies | None, require: bool, idle: float) -> None:
        """`nsid`: what says which server answered (RFC 5001); empty: nothing. `require`: over UDP only a client with a
        right cookie is answered. `idle`: seconds for which a connection is kept without a query.
        """
        self._nsid = option(edns.NSID, nsid) if nsid else b""
        self.cookies = cookies
        self.require = require
        # RFC 7828 §3.1: in tenths of a second
        self._keepalive = option(edns.KEEPALIVE, min(int(idle * 10), 0xFFFF).to_bytes(2, "big"))

    def stop(self) -> None:
        """The server stops: who asks how long a connection is kept is told to close it (RFC 7828 §3.3.2)."""
        self._keepalive = option(edns.KEEPALIVE, b"\0\0")

    def reload(self, config: Config, state_dir: Path) -> None:
        """Read the secrets of cookies anew. Raises ConfigError."""
        if self.cookies is not None and config.cookie_secret:
            self.cookies.secrets = secrets(config, state_dir)
            self.cookies.forget()

    def repeated(self, message: bytes, client: str, kept: Callable[[bytes], Finished | None]) -> Repeated | None:
        """The finished response to a query that differs from another by a cookie at its end alone: nothing of it has
        to be read again. None when it is not so."""
        if message[-14:-8] == _CLIENT_COOKIE:
            size = 8
        elif message[-30:-24] == _BOTH_COOKIES:
            size = 24
        else:
            return None
        bare = len(message) - size - 6
        known = kept(message[2:bare] + b"\0\0")
        # the other query ended with its OPT, so this one ends with the same OPT and the cookie
        if known is None or (asked := known.query).bare != bare or asked.rcode:
            return None
        if known.answer.explained or len(known.tail) > _ROOM:
            return None
        if self.cookies is None:
            return message[:2] + known.tail, known, False
        judged = self.cookies.judge(message[-size:], client)
        assert judged is not None
        return b"%b%b\0\x1c\0\x0a\0\x18%b" % (message[:2], known.tail[:-2], judged[0]), known, judged[1]

    def options(self, query: Query, client: str, protocol: str) -> bytes:
        """The options for the response; the query's `rcode`, `vouched` and `padded` are set by what was sent."""
        answered = b""
        cookie: bytes | None = None
        for code, data in query.options:
            if code == edns.COOKIE:
                if cookie is None:  # RFC 7873 §5.2: the first is the one
                    cookie = data
            elif code == edns.NSID:
                answered = answered or self._nsid
            elif code == edns.KEEPALIVE:
                if protocol in _STREAMS:  # RFC 7828 §3.2.1: nothing to a client that asks over UDP
                    query.keeps_alive = True
            elif code == edns.PADDING:
                # RFC 7830 §6: nobody sees the length of what is encrypted, and padding in the open only amplifies
                query.padded = protocol in _PRIVATE
        if query.keeps_alive:
            answered += self._keepalive
        if cookie is not None and self.cookies is not None:
            return answered + self._cookie(query, cookie, client, protocol)
        return answered

    def _cookie(self, query: Query, cookie: bytes, client: str, protocol: str) -> bytes:
        assert self.cookies is not None
        judged = self.cookies.judge(cookie, client)
        if judged is None:
            query.rcode = types.FORMERR
            return b""
        answer, query.vouched = judged
        alone = len(cookie) == 8
        if query.empty:
            # RFC 7873 §5.4: a question about the cookie alone
            query.rcode = types.NOERROR if query.vouched or alone else types.BADCOOKIE
        elif self.require and protocol == "udp" and not query.vouched and not query.rcode:
            query.rcode = types.BADCOOKIE  # §5.2.3, §5.2.4
        return option(edns.COOKIE, answer)
