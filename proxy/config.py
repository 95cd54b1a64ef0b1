"""What a reverse proxy is configured with."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from stack.config.base import Bytes, Count, HttpOptions, Options, PoolLimits, Seconds, UpstreamTimeouts
from stack.http.statuses import PATTERN, WANTED

COMPRESSIBLE = (
    "text/*",
    "*+json",
    "*+xml",
    "application/json",
    "application/javascript",
    "application/x-javascript",
    "application/xml",
    "application/x-ndjson",
    "application/wasm",
    "application/vnd.ms-fontobject",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/vnd.microsoft.icon",
    "image/x-icon",
)


class Compression(Options, frozen=True, kw_only=True):
    """What is compressed, and how hard."""

    codings: Annotated[
        tuple[str, ...],
        Meta(description="Content codings offered; the first settles where a client likes several equally. Repeats."),
    ] = ("zstd", "br", "gzip")
    minimum: Annotated[
        Bytes, Meta(description="Content shorter than this is left alone; one of unknown length is not.")
    ] = 1024
    types: Annotated[
        tuple[str, ...], Meta(description="Media types to compress, such as text/html, text/* or *+json. Repeats.")
    ] = COMPRESSIBLE
    br_level: Annotated[
        int, Meta(ge=0, le=11, description="Brotli's quality. 4 and 5 answer in time, 11 does not.")
    ] = 4
    zstd_level: Annotated[int, Meta(ge=1, le=19, description="Zstandard's level.")] = 3
    gzip_level: Annotated[
        int, Meta(ge=1, le=9, description="Gzip's level: up to 3 by isal where installed, else by zlib.")
    ] = 2


class Config(HttpOptions, frozen=True, kw_only=True):
    """Terminates TLS, compresses, serves static files, and forwards the rest to one app."""

    upstream: Annotated[
        str,
        Meta(
            description="The app, as [NAME=]http://HOST:PORT, https or h2c (HTTP/2 in the clear). The name stands in "
            "the log. Empty: there is no app, the static files are all."
        ),
    ] = ""
    upstream_ca: Annotated[
        str, Meta(description="Authority (PEM) an https app is verified against. Empty: the system's authorities.")
    ] = ""
    upstream_cert: Annotated[
        str, Meta(description="Certificate (PEM) shown to an https app that asks for a client's. Empty: none.")
    ] = ""
    upstream_key: Annotated[str, Meta(description="Private key (PEM) of --upstream-cert.")] = ""
    upstream_server_name: Annotated[
        str, Meta(description="Name that an https app is asked and verified for. Empty: the app's host.")
    ] = ""
    upstream_protocol: Annotated[
        Literal["h1", "h2", "auto"],
        Meta(description="Protocol offered to an https app by ALPN. HTTP/1.1 costs a third of HTTP/2 between hops."),
    ] = "h1"
    source: Annotated[str, Meta(description="Local IP address to connect to the app from. Empty: any.")] = ""
    upstream_pool: PoolLimits = PoolLimits()
    upstream_timeouts: UpstreamTimeouts = UpstreamTimeouts()
    health: Annotated[
        str,
        Meta(
            description="Path of the app that readiness follows: ready while it answers with a status of "
            "--health-status. Empty: always ready."
        ),
    ] = "/health"
    health_status: Annotated[
        tuple[Annotated[str, Meta(pattern=PATTERN, extra={"wanted": WANTED})], ...],
        Meta(
            description="Statuses that say that the app is well, as 200-299 or 204. 100-499 for an app without a page "
            "for it: whatever it answers, it runs. Repeats."
        ),
    ] = ("200-299",)
    health_host: Annotated[
        str, Meta(description="Host that the app's health is asked with. Empty: the app's own host and port.")
    ] = ""
    health_interval: Annotated[
        Seconds, Meta(description="Between two looks at a ready app; at another one a fifth of it.")
    ] = 1.0
    health_timeout: Annotated[Seconds, Meta(description="For an answer of the app's health; then it is not ready.")] = (
        2.0
    )
    compress: Annotated[bool, Meta(description="Compress responses.")] = True
    compression: Compression = Compression()
    static: Annotated[
        tuple[str, ...],
        Meta(
            description="Directory of static files, as [PREFIX=]DIR; the longest prefix that fits wins. /=DIR is a "
            "whole site and stands without --upstream. Repeats."
        ),
    ] = ()
    static_prefix: Annotated[
        str,
        Meta(description="Path under which a directory without a prefix of its own is; begins and ends with a slash."),
    ] = "/static/"
    static_max_age: Annotated[
        Count, Meta(description="Seconds that a static file keeps whose name has no content hash.", extra={"unit": "s"})
    ] = 300
