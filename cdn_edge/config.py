"""What a CDN edge is configured with, and how its origin is written."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from cdn_edge.rules.directives import CACHE_CONTROL, Targets
from stack.config.base import MIB, Bytes, HttpOptions, Name, Options, PoolLimits, Seconds, UpstreamTimeouts, unit
from stack.config.upstream import UpstreamSpec, parse_upstream
from stack.errors import ConfigError
from stack.http.fields import TOKEN

KIND: Final = "edge"
_EXAMPLE: Final = "http://127.0.0.1:8000"
Profile = Literal["careful", "rfc9111"]


class Key(Options, frozen=True, kw_only=True):
    """What a stored response is found by, besides scheme, host and path. The origin sees every URL as it came."""

    sort_query: Annotated[
        bool, Meta(description="Parameters in another order are the same URL; those of one name keep their order.")
    ] = False
    ignore_query: Annotated[
        tuple[str, ...],
        Meta(
            description="A query parameter that is not in the key, as fbclid or utm_*; @tracking is a list of those "
            "that advertising appends. A query with a `;` is left as it is. Repeats."
        ),
    ] = ()
    only_query: Annotated[
        tuple[str, ...], Meta(description="A query parameter that alone is in the key, with `*` as above. Repeats.")
    ] = ()
    headers: Annotated[
        tuple[str, ...],
        Meta(description="A request header that responses are told apart by, as if Vary named it. Repeats."),
    ] = ()
    cookies: Annotated[
        tuple[str, ...], Meta(description="A cookie that responses are told apart by, of any others. Repeats.")
    ] = ()


class Cache(Options, frozen=True, kw_only=True):
    """The shared cache in memory."""

    size: Annotated[
        Bytes,
        Meta(
            description=(
                "Memory for stored responses: content, heads and bookkeeping together. "
                "What is still coming in may take an eighth of it besides."
            )
        ),
    ] = 256 * MIB
    max_object: Annotated[
        Bytes,
        Meta(description="Content longer than this, or than an eighth of the size, passes through and is not stored."),
    ] = 16 * MIB
    key: Key = Key()
    request_errors: Annotated[
        Literal["never", "explicit"] | None,
        Meta(
            description="Responses that find fault with the request (400, 413, 415 ...), which fields that are not in "
            "the key can bring about: whether an explicit lifetime makes them storable. 429 and 431 are never stored. "
            "Left out: the profile's, never with careful, explicit with rfc9111."
        ),
    ] = None
    no_vary_search: Annotated[
        bool, Meta(description="No-Vary-Search is obeyed: URLs that differ in what it names have one stored response.")
    ] = True
    vary_encodings: Annotated[
        Literal["classes", "exact"],
        Meta(
            description="Accept-Encoding: the codings that matter, and the origin is asked for these (classes); or "
            "every coding with its weight (exact)."
        ),
    ] = "classes"
    vary_most: Annotated[
        int,
        Meta(
            ge=2,
            description="Responses that are stored under one URL for different values of what they vary by; above it "
            "one that nobody has asked for again makes room.",
        ),
    ] = 200
    vary_languages: Annotated[
        Literal["ordered", "unordered"] | None,
        Meta(
            description="Accept-Language: whether languages of one weight in another order are another wish. Left out: "
            "the profile's, ordered with careful, unordered with rfc9111."
        ),
    ] = None
    slice: Annotated[
        Bytes,
        Meta(
            description=(
                "Large content is kept in slices of this size, each fetched and evicted alone, if the origin gives a "
                "strong ETag, Content-Length and Accept-Ranges: bytes. At least 16K; 0 keeps none."
            )
        ),
    ] = MIB
    slice_from: Annotated[Bytes, Meta(description="Content longer than this is large.")] = 4 * MIB
    disk: Annotated[
        str,
        Meta(
            description=(
                "Directory in which stored responses are kept besides, each edge's below its name: what leaves the "
                "memory, and what a restart finds again. Empty: none."
            )
        ),
    ] = ""
    disk_size: Annotated[Bytes, Meta(description="Room in --cache-disk, content and index together. At least 16M.")] = (
        1024 * MIB
    )
    heuristic: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="Share of the time since Last-Modified that a response without a lifetime is fresh for.",
        ),
    ] = 0.1
    heuristic_max: Annotated[
        float, Meta(ge=0, extra=unit("s"), description="At most this long. 0 never guesses a lifetime.")
    ] = 86_400.0
    stale_if_unreachable: Annotated[
        float,
        Meta(
            ge=0,
            extra=unit("s"),
            description=(
                "Staleness that is served while the origin refuses connections, breaks off or is silent, "
                "where stale-if-error does not say. An error it answers with is passed on."
            ),
        ),
    ] = 86_400.0
    stale_with_s_maxage: Annotated[
        bool,
        Meta(
            description=(
                "Whether stale-while-revalidate and stale-if-error count in a response with s-maxage, as many "
                "frameworks mean them. RFC 9111 section 5.2.2.10 forbids it."
            )
        ),
    ] = False
    request_directives: Annotated[
        Literal["obey", "ignore"],
        Meta(
            description=(
                "Cache-Control and Pragma of requests: obey, or ignore, so that no client can have the origin asked "
                "for what is fresh here. They go on with what is passed on."
            )
        ),
    ] = "obey"
    set_cookie: Annotated[
        Literal["explicit", "store", "pass", "strip"] | None,
        Meta(
            description=(
                "Responses with Set-Cookie: stored only if they say public or s-maxage, or have a lifetime for shared "
                "caches only (explicit); like any other (store: the letter of RFC 9111, which shares one user's cookie "
                "with all); never (pass); or stored and sent without their cookies (strip). "
                "Left out: the profile's, explicit with careful, store with rfc9111."
            )
        ),
    ] = None
    guess_for_cookies: Annotated[
        bool | None,
        Meta(
            description=(
                "Whether a response to a request with Cookie, without a lifetime and without public, is stored on a "
                "guessed lifetime like any other. Left out: the profile's, no with careful, yes with rfc9111."
            )
        ),
    ] = None
    profile: Annotated[
        Profile | None,
        Meta(
            description=(
                "Defaults of what the RFC leaves open: careful where a user's own could reach others, or the letter of "
                "RFC 9111 (rfc9111). Options that are given win over it. Left out: careful."
            )
        ),
    ] = None
    targets: Annotated[
        tuple[str, ...],
        Meta(
            description=(
                "Response field that is obeyed in place of Cache-Control and Expires (RFC 9213). Of several the first "
                "that is valid and not empty. Surrogate-Control goes no further than this edge. `none` obeys none. "
                "Repeats."
            )
        ),
    ] = ("hopstack-CDN-Cache-Control", "CDN-Cache-Control", "Surrogate-Control")
    status: Annotated[
        Literal["all", "trusted", "none"],
        Meta(
            description="Who gets Cache-Status and X-Cache: all clients, those of --trusted, or none. "
            "Log and metrics have the words in any case."
        ),
    ] = "all"
    status_key: Annotated[bool, Meta(description="Put what a response is stored under into Cache-Status, as key=.")] = (
        False
    )
    negative_ttl: Annotated[
        float,
        Meta(
            ge=0,
            extra=unit("s"),
            description=(
                "Freshness of a 404, 405, 410, 414 or 501 that says nothing of its own, not even Last-Modified. "
                "0: none is guessed."
            ),
        ),
    ] = 0.0


class OriginTimeouts(UpstreamTimeouts, frozen=True, kw_only=True):
    """A time-out for every phase of the next hop's side. The outermost hop waits longest."""

    head: Annotated[Seconds, Meta(description="End of the request to end of the response's head; answered 504.")] = (
        100.0
    )


class Config(HttpOptions, frozen=True, kw_only=True):
    """A CDN edge."""

    name: Annotated[Name, Meta(description="Name of this process in Via, Cache-Status, logs and metrics.")] = KIND
    origin: Annotated[
        str,
        Meta(
            description="What the edge stands before, as [NAME=]http://HOST:PORT, https or h2c (HTTP/2 in the clear)."
        ),
    ] = ""
    origin_ca: Annotated[
        str, Meta(description="Authority (PEM) that an https origin is verified against. Empty: the system's.")
    ] = ""
    origin_cert: Annotated[
        str, Meta(description="Certificate (PEM) shown to an https origin that asks for a client's. Empty: none.")
    ] = ""
    origin_key: Annotated[str, Meta(description="Private key (PEM) of --origin-cert.")] = ""
    origin_server_name: Annotated[
        str, Meta(description="Name that an https origin is asked and verified for. Empty: the origin's host.")
    ] = ""
    origin_protocol: Annotated[
        Literal["h1", "h2", "auto"],
        Meta(description="Protocol offered to an https origin by ALPN. HTTP/1.1 costs a third of HTTP/2 between hops."),
    ] = "h1"
    profile: Annotated[Profile | None, Meta(description="Short for --cache-profile, which wins.")] = None
    source: Annotated[str, Meta(description="Local IP address to connect to the origin from. Empty: any.")] = ""
    origin_pool: PoolLimits = PoolLimits()
    origin_timeouts: OriginTimeouts = OriginTimeouts()
    workers: Annotated[
        int,
        Meta(
            ge=0,
            le=256,
            description="Processes that share the sockets, each with a store of its own: a share of --cache-size and "
            "--cache-disk-size. 1: this process alone. 0: what such a process is started with.",
        ),
    ] = 1
    cache: Cache = Cache()


def parse_targets(names: tuple[str, ...]) -> Targets:
    """`--cache-targets`. ConfigError for what is no field name, or no field of its own."""
    if "none" in names:
        if len(names) > 1:
            raise ConfigError("`none` obeys none: give it alone, or leave it out")
        return Targets(())
    wanted = []
    for name in names:
        line = name.strip().lower().encode("ascii", "replace")
        if TOKEN.fullmatch(line) is None:
            raise ConfigError(f"{name!r} is no field name; write it as CDN-Cache-Control, or none alone")
        if line in (CACHE_CONTROL, b"expires", b"pragma"):
            raise ConfigError(f"{name!r} is heard anyway, behind all targets; leave it out")
        if line not in wanted:
            wanted.append(line)
    return Targets(tuple(wanted))


def parse_origin(text: str) -> UpstreamSpec:
    """ConfigError for what is no scheme, host and port."""
    if not text:
        raise ConfigError(f"an edge needs an origin; give it as --origin http://HOST:PORT, such as {_EXAMPLE}")
    return parse_upstream(text, option="--origin", example=_EXAMPLE)
