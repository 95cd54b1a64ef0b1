"""What a hop is to the process (or the test) that runs it."""

from __future__ import annotations

import random
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from stack.clock import Clock
from stack.http.message import Request, Response
from stack.net import Net
from stack.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from stack.hop.control import Control


@dataclass(frozen=True, slots=True)
class Bound:
    """A listening socket with the protocol it serves.

    `scheme`: http, https, h2c, dns (this one is UDP or TCP by the socket's type), tls, tcp.
    """

    scheme: str
    socket: socket.socket
    query: str = ""
    """Options of this listener alone."""

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.socket.getsockname()[:2]
        return str(host), int(port)


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the hop takes traffic, and why not."""

    ready: bool
    reason: str = ""


AdminHandler = Callable[[Request], Response | Awaitable[Response]]


class Hop(Protocol):
    """One server of the path. `build` makes it without I/O; `start` gives it its sockets."""

    name: str
    kind: str

    async def start(self, sockets: Sequence[Bound]) -> None:
        """Begin to serve. Returns when it listens; it may become ready later."""

    def readiness(self) -> Readiness: ...

    async def drain(self) -> None:
        """Stop accepting, finish what is in flight within the hop's own drain time, then cut off the rest."""

    async def stop(self) -> None:
        """Release everything. Safe after `drain`, and without it."""

    def stats(self) -> dict[str, Any]:
        """State for `/-/stats`: plain JSON values."""

    def routes(self) -> Mapping[tuple[bytes, bytes], AdminHandler]:
        """What the hop adds to its admin endpoint: (method, path) -> handler, such as (b"POST", b"/-/purge")."""


@runtime_checkable
class Joining(Protocol):
    """A hop that, as one of several workers, has something to say to its master, or to answer."""

    def joined(self, control: Control) -> Mapping[str, Callable[..., Any]]:
        """Called once before `start`: the line to the master. What it may ask, by name."""


class Build(Protocol):
    """The signature of `build` in every hop's `build.py`. Everything that is not a pure function is handed in."""

    def __call__(
        self, config: Any, *, clock: Clock, random: random.Random, net: Net, metrics: Metrics, state_dir: Path
    ) -> Hop: ...
