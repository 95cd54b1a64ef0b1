"""What every hop is configured with. One frozen field is one option; flag, environment and file spell it alike.

`timeouts.head` is `--timeouts-head` and `HOPSTACK_TIMEOUTS_HEAD`. Help and reference are derived from these records.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

KIB = 1024
MIB = 1024 * KIB


def unit(name: str) -> dict[str, Any]:
    """`extra` of a Meta: the unit that help and reference print behind the default."""
    return {"unit": name}


Seconds = Annotated[float, Meta(gt=0, extra={"unit": "s"})]
Bytes = Annotated[int, Meta(ge=0, extra={"unit": "bytes"})]
Count = Annotated[int, Meta(ge=0)]

TCHAR = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
"""A character of a token (RFC 9110 §5.6.2)."""
Name = Annotated[
    str,
    Meta(
        pattern=rf"\A{TCHAR}*\Z",
        extra={"wanted": "a name of ASCII letters, digits and -._ without blanks, as edge-fra"},
    ),
]
"""A pseudonym in Via (RFC 9110 §7.6.3): what is no token would not be found again in it, and a loop would not end."""


Protocol = Annotated[
    str,
    Meta(
        pattern=rf"\A(?!([hH]2[cC]?|[hH][tT][tT][pP]|[tT][lL][sS])\Z){TCHAR}+\Z",
        extra={"wanted": "a protocol, as websocket; h2c, h2, http and tls are never changed to"},
    ),
]
"""What Upgrade may change to; `stack.http.upgrade.NEVER` says why not all."""


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all option records: frozen, by keyword, and deaf to unknown keys."""


class Limits(Options, frozen=True, kw_only=True):
    """Bounds on what one client may send or hold."""

    head: Annotated[Bytes, Meta(description="Start line and header fields together; more is answered 431.")] = 32 * KIB
    fields: Annotated[Count, Meta(description="Header fields of one message; more is answered 431.")] = 100
    target: Annotated[Bytes, Meta(description="Request target; a longer one is answered 414.")] = 8 * KIB
    body: Annotated[Bytes, Meta(description="Content of one request; more is answered 413. 0 is without bound.")] = 0
    connections: Annotated[
        int, Meta(ge=1, description="Client connections of one process; above it accepting pauses.")
    ] = 16_384
    connections_per_address: Annotated[
        Count,
        Meta(
            description="Client connections of one address (IPv6: of one /64); more are closed at once. `trusted` "
            "peers have no such bound. 0 is without bound."
        ),
    ] = 0
    requests: Annotated[
        Count, Meta(description="Requests of one connection, after which it is closed. 0 is without bound.")
    ] = 10_000
    streams: Annotated[Count, Meta(description="Concurrent streams of one HTTP/2 connection; more are refused.")] = 100
    buffer: Annotated[Bytes, Meta(description="Content held for one message before the sender is paused.")] = 64 * KIB


class Timeouts(Options, frozen=True, kw_only=True):
    """A time-out for every phase of the client's side."""

    handshake: Annotated[Seconds, Meta(description="TLS handshake; then the connection is closed.")] = 10.0
    head: Annotated[Seconds, Meta(description="First byte to end of a request's head; answered 408.")] = 10.0
    body: Annotated[
        Seconds,
        Meta(
            description="Request content while it is wanted: so long may nothing come, and in each such time at least "
            "`body_rate`; answered 408."
        ),
    ] = 30.0
    body_rate: Annotated[
        Bytes,
        Meta(description="Request content of one second at the least, over `body`; answered 408. 0: any byte will do."),
    ] = 240
    idle: Annotated[Seconds, Meta(description="A kept-alive connection without a request; then it is closed.")] = 75.0
    send: Annotated[
        Seconds,
        Meta(
            description="A response that the client does not take: no byte in this time, or less than `send_rate`; "
            "then the connection is reset."
        ),
    ] = 30.0
    send_rate: Annotated[
        Bytes,
        Meta(
            description="What a client takes of a waiting response in one second at the least, over `send`. 0: any "
            "byte will do."
        ),
    ] = 240
    half_closed: Annotated[
        Seconds,
        Meta(
            description="A client that shut down its side before it was answered: it may still read, or have gone. "
            "The work goes on for this long."
        ),
    ] = 0.05
    linger: Annotated[
        Seconds,
        Meta(description="Idle connections stay open this long when the hop stops, for what is on its way already."),
    ] = 0.5
    tunnel_idle: Annotated[
        Seconds, Meta(description="A tunnel (WebSocket) through which no byte goes either way; then it is closed.")
    ] = 3600.0
    tunnel: Annotated[
        Seconds, Meta(description="The whole life of a tunnel (WebSocket); then it is closed, however busy.")
    ] = 86400.0
    drain: Annotated[
        Seconds, Meta(description="Requests in flight when the hop stops; what lasts longer is cut off.")
    ] = 10.0


class UpstreamTimeouts(Options, frozen=True, kw_only=True):
    """A time-out for every phase of the next hop's side."""

    connect: Annotated[Seconds, Meta(description="TCP connect and TLS handshake; answered 504.")] = 5.0
    send: Annotated[
        Seconds,
        Meta(description="A next hop that takes no byte of the request, or less than `send_rate`; answered 504."),
    ] = 30.0
    send_rate: Annotated[
        Bytes,
        Meta(
            description="What a next hop takes of a request in one second at the least, over `send`. 0: any byte will "
            "do."
        ),
    ] = 240
    expect: Annotated[
        Seconds,
        Meta(
            description="A next hop that answers a request with Expect: 100-continue neither by 100 nor finally; then "
            "the content is sent."
        ),
    ] = 1.0
    head: Annotated[Seconds, Meta(description="End of the request to end of the response's head; answered 504.")] = 60.0
    body: Annotated[Seconds, Meta(description="Between two reads of a response's content; the response is cut.")] = 60.0
    idle: Annotated[
        Seconds,
        Meta(description="An unused connection; then it is closed. Keep it below the next hop's own idle time."),
    ] = 30.0
    acquire: Annotated[Seconds, Meta(description="Waiting for a free connection of a full pool; answered 503.")] = 5.0


class PoolLimits(Options, frozen=True, kw_only=True):
    """Connections to one next hop."""

    connections: Annotated[
        Count, Meta(description="Open connections to one next hop, in use and idle; tunnels are not counted.")
    ] = 1024
    idle: Annotated[Count, Meta(description="Idle connections kept for reuse.")] = 256
    waiting: Annotated[Count, Meta(description="Requests waiting for a connection; more are answered 503 at once.")] = (
        1024
    )


class HopOptions(Options, frozen=True, kw_only=True):
    """What every hop is configured with."""

    config: Annotated[
        str,
        Meta(
            description="The file of the whole stack; this process is the one in it that --name says. Flags and "
            "environment win over it."
        ),
    ] = ""
    name: Annotated[Name, Meta(description="Name of this process in Via, logs and metrics.")] = ""
    listen: Annotated[
        tuple[str, ...],
        Meta(
            description="Address to serve, as SCHEME://HOST:PORT, or SCHEME+fd://N for a socket that is passed in. "
            "Repeats."
        ),
    ] = ()
    admin: Annotated[
        str, Meta(description="Admin endpoint, as http://127.0.0.1:PORT or http+fd://N. Empty: none. Loopback only.")
    ] = ""
    state_dir: Annotated[
        str, Meta(description="Directory for the local CA and other state. Default: $HOPSTACK_HOME, else .hopstack.")
    ] = ""
    access_log: Annotated[str, Meta(description="Access log: `-` for standard output, a path, or `off`.")] = "-"


class HttpOptions(HopOptions, frozen=True, kw_only=True):
    """What every HTTP hop is configured with besides."""

    access_log_skip: Annotated[
        tuple[str, ...],
        Meta(
            description="Request targets whose success, or 404, is not logged: a balancer asks all the time. "
            "`none` logs all. Repeats."
        ),
    ] = ("/health",)

    cert: Annotated[
        tuple[str, ...],
        Meta(
            description="Certificate chain (PEM) of https listeners. Repeats, each with its --key: the client's server "
            "name (SNI) chooses, the first is the default. Empty: the local CA issues one."
        ),
    ] = ()
    key: Annotated[tuple[str, ...], Meta(description="Private key (PEM) of a --cert, in the same order. Repeats.")] = ()
    server_names: Annotated[
        tuple[str, ...],
        Meta(description="Names the certificate issued by the local CA is for, besides loopback. Repeats."),
    ] = ()
    tls_profile: Annotated[
        Literal["intermediate", "modern"],
        Meta(description="Mozilla's profile for https listeners: TLS 1.2 and 1.3, or 1.3 alone (modern)."),
    ] = "intermediate"
    sni_unknown: Annotated[
        Literal["default", "reject"],
        Meta(
            description="A server name that no certificate has: the first certificate, or no handshake (the alert "
            "unrecognized_name)."
        ),
    ] = "default"
    misdirected: Annotated[
        Literal["refuse", "serve"],
        Meta(
            description="A request for a host that is neither the server name of its TLS connection nor in the "
            "certificate: answered 421, or served. Trusted peers are always served."
        ),
    ] = "refuse"
    client_ca: Annotated[
        str,
        Meta(
            description="Authority (PEM) of the client certificates that https listeners ask for. Empty: none is asked "
            "for. One listener's own: --listen 'https://HOST:PORT?client_ca=FILE'."
        ),
    ] = ""
    client_cert: Annotated[
        Literal["required", "optional"],
        Meta(
            description="With a client authority: whether a client without a certificate is refused. One listener's "
            "own: ?client_cert=required, optional or none."
        ),
    ] = "required"
    trusted: Annotated[
        tuple[str, ...],
        Meta(
            description="Addresses or networks of peers whose Forwarded, X-Forwarded-*, X-Request-ID and traceparent "
            "are believed. They must overwrite or extend Forwarded themselves: it is preferred over X-Forwarded-For, "
            "and a client's own would pass for theirs. Repeats."
        ),
    ] = ()
    fault: Annotated[
        tuple[str, ...],
        Meta(
            description="Fault to inject, as `lb-a>proxy-2 latency=200ms share=0.2`: a link or a hop, what it does, "
            "to which requests; docs/faults.md has it all. Repeats."
        ),
    ] = ()
    upgrade: Annotated[
        tuple[Protocol, ...],
        Meta(
            description="Protocol that a client may change to, by Upgrade or by extended CONNECT; Upgrade to another "
            "one is ignored. HTTP/2 and TLS never are changed to. `none`: no tunnels. Repeats."
        ),
    ] = ("websocket",)
    otlp: Annotated[
        str,
        Meta(description="OpenTelemetry collector that spans are sent to, as http://127.0.0.1:4318. Empty: none."),
    ] = ""
    otlp_sample: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="Share of the requests whose spans are sent, where no trusted peer has decided by traceparent.",
        ),
    ] = 1.0
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
