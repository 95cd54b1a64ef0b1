"""One question to one server, over UDP, TCP, TLS or HTTPS, and what came back."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from stack.clock import Clock
from stack.config.listen import address as shown
from stack.net.dns_client import ask_tcp, ask_udp
from stack.trace.dig_message import Question, Response, Unreadable, Wish, query, read

TRIES: Final = 3
"""Datagrams that are sent; over a connection it is asked once."""


@dataclass(frozen=True, slots=True)
class Server:
    """Whom to ask. `name`: of the hop; empty for an address."""

    host: str
    port: int
    protocol: str
    """`udp`, `tcp`, `tls` or `https`."""
    name: str = ""

    def __str__(self) -> str:
        place = shown(self.host, self.port)
        return f"{self.name} ({place}, {self.protocol})" if self.name else f"{place} ({self.protocol})"


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a question. Without a response `failure` says why not."""

    question: Question
    server: Server
    protocol: str
    """What the response came over: TCP after a truncated one over UDP."""
    ms: float
    response: Response | None = None
    failure: str = ""
    """`timeout`, `connection` or `malformed`."""
    error: str = ""
    truncated: bool = False
    """The first response, over UDP, was."""


class Asker:
    """`within`: seconds for each try. `ca`: whom to trust besides the system's authorities. `again`: TCP after TC."""

    def __init__(
        self, *, clock: Clock, random: Random, within: float, ca: Path | None = None, again: bool = True
    ) -> None:
        self._clock, self._random, self._within, self._ca, self._again = clock, random, within, ca, again

    async def ask(self, question: Question, wish: Wish, server: Server) -> Reply:
        """Never raises for what a network or a server does."""
        message = query(question, wish, 0 if server.protocol == "https" else self._random.getrandbits(16))
        began = self._clock.now()
        protocol, truncated = server.protocol, False

        def came(response: Response | None = None, failure: str = "", error: str = "") -> Reply:
            ms = (self._clock.now() - began) * 1000
            return Reply(question, server, protocol, ms, response, failure, error, truncated)

        try:
            data = await self._send(server, protocol, message)
            if protocol == "udp" and data[2] & 0x02 and self._again:  # TC: RFC 2181 §9
                protocol, truncated = "tcp", True
                data = await self._send(server, protocol, message)
            return came(read(data))
        except TimeoutError:
            times = f", asked {TRIES} times" if protocol == "udp" else ""
            return came(failure="timeout", error=f"no reply from {server} within {self._within:g} s{times}")
        except ssl.SSLCertVerificationError as error:
            hint = "" if self._ca is not None else "; --cacert FILE says whom to trust"
            return came(failure="connection", error=f"{server}: its certificate is not believed: {_said(error)}{hint}")
        except ConnectionRefusedError:
            return came(failure="connection", error=f"{server}: nobody listens there (connection refused)")
        except _HttpStatus as error:
            return came(failure="malformed", error=f"{server}: answered {error} over HTTP, no DNS message")
        except EOFError:
            return came(failure="connection", error=f"{server}: closed the connection without an answer")
        except OSError as error:
            return came(failure="connection", error=f"{server}: {_said(error)}")
        except Unreadable as error:
            return came(failure="malformed", error=f"{server}: sent what is no DNS message: {error}")

    async def _send(self, server: Server, protocol: str, message: bytes) -> bytes:
        """The first response to it (RFC 5452 §4). Raises TimeoutError, OSError, EOFError."""
        place = (server.host, server.port)

        def accept(data: bytes) -> bool:
            return len(data) >= 12 and data[:2] == message[:2] and bool(data[2] & 0x80)

        if protocol == "udp":
            for left in range(TRIES, 0, -1):
                try:
                    return await ask_udp(place, message, accept=accept, clock=self._clock, timeout=self._within)
                except TimeoutError:
                    if left == 1:
                        raise
        if protocol == "https":
            return await asyncio.to_thread(self._post, server, message)
        tls = self._context() if protocol == "tls" else None
        return await ask_tcp(place, message, accept=accept, clock=self._clock, timeout=3 * self._within, tls=tls)

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._ca is not None:
            context.load_verify_locations(self._ca)
        return context

    def _post(self, server: Server, message: bytes) -> bytes:
        """RFC 8484 §4.1."""
        import http.client

        connection = http.client.HTTPSConnection(
            server.host, server.port, timeout=3 * self._within, context=self._context()
        )
        kind = "application/dns-message"
        try:
            connection.request("POST", "/dns-query", message, {"content-type": kind, "accept": kind})
            response = connection.getresponse()
            content = response.read(65536)
            if response.status != 200 or len(content) < 12:
                raise _HttpStatus(f"{response.status} {response.reason}")
        except http.client.HTTPException as error:
            raise EOFError(str(error)) from None
        finally:
            connection.close()
        return content


class _HttpStatus(Exception):
    """It answered, and not with a message."""


def _said(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return str(error.verify_message)
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(error.reason or 'broken off').lower().replace('_', ' ')}"
    return error.strerror or str(error) or type(error).__name__
