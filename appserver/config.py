"""The app server's options."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from stack.config.base import MIB, TCHAR, Bytes, HttpOptions, Seconds


class Config(HttpOptions, frozen=True, kw_only=True):
    """Serves one application, ASGI 3, WSGI or aiohttp, with a master and its workers."""

    name: Annotated[
        str,
        Meta(
            # a worker is called app-1/0 by its master; nothing here goes into Via
            pattern=rf"\A{TCHAR}*(?:/[0-9]+)*\Z",
            description="Name of this process in logs and metrics.",
            extra={"wanted": "a name of ASCII letters, digits and -._ without blanks, as app-1"},
        ),
    ] = ""
    app: Annotated[
        str, Meta(description="Application, as package.module:attribute: ASGI, WSGI, aiohttp, or a factory of one.")
    ] = ""
    interface: Annotated[
        Literal["auto", "asgi", "wsgi", "aiohttp"],
        Meta(description="What the application speaks. `auto`: found out by its shape."),
    ] = "auto"
    app_dir: Annotated[str, Meta(description="Directory that goes first on sys.path.")] = "."
    factory: Annotated[
        bool, Meta(description="The attribute is called to make the application. Default: found out by its shape.")
    ] = False
    workers: Annotated[
        int,
        Meta(ge=0, le=256, description="Worker processes; they share the sockets. 0: serve in this process."),
    ] = 1
    root_path: Annotated[
        str, Meta(description="Where the app is mounted, if the hop before took that prefix off the path (ASGI, WSGI).")
    ] = ""
    threads: Annotated[
        int,
        Meta(ge=1, le=1000, description="Threads of one worker for a WSGI app: requests it answers at the same time."),
    ] = 10
    spool: Annotated[
        Bytes,
        Meta(
            description="Content of one request that is taken, beyond `limits.buffer` into a temporary file, before a "
            "WSGI app begins; more is answered 413. 0: the app begins at once, and a slow client holds its thread."
        ),
    ] = 1024 * MIB
    lifespan: Annotated[
        Literal["auto", "on", "off"],
        Meta(description="ASGI lifespan: `auto` serves an app that does not know it, `on` refuses to, `off` skips it."),
    ] = "auto"
    websocket_max_size: Annotated[
        Bytes, Meta(description="One WebSocket message; a longer one closes with 1009. 0 is without bound. (ASGI)")
    ] = 16 * MIB
    websocket_ping: Annotated[
        float,
        Meta(
            ge=0,
            description="Between two pings of a WebSocket; a client that has not answered one by the next is gone. "
            "0: no pings. (ASGI)",
            extra={"unit": "s"},
        ),
    ] = 20.0
    websocket_deflate: Annotated[
        bool, Meta(description="Compress WebSocket messages (permessage-deflate) for clients that offer it. (ASGI)")
    ] = True
    worker_timeout: Annotated[
        Seconds,
        Meta(description="A worker whose event loop is blocked this long is killed and started again."),
    ] = 30.0
    start_timeout: Annotated[
        Seconds, Meta(description="Import of the app and its startup; a worker that takes longer has failed.")
    ] = 30.0
