"""What the DNS server is configured with: an authoritative server by its zones, a resolver by its root hints."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from stack.config.base import MIB, Bytes, Count, HttpOptions, Options, Seconds

Ttl = Annotated[int, Meta(ge=0, le=0x7FFF_FFFF, extra={"unit": "s"})]


class TcpOptions(Options, frozen=True, kw_only=True):
    """Connections of DNS over TCP."""

    idle: Annotated[Seconds, Meta(description="A connection without a query; then it is closed (RFC 7766 §6.2.3).")] = (
        10.0
    )
    connections: Annotated[
        Count, Meta(description="Open connections; above it the one that has been idle longest gives way.")
    ] = 400  # with the sockets of walks, below the 1024 descriptors that a process commonly has

    connections_per_address: Annotated[
        Count,
        Meta(
            description="Open connections of one address; above it its own that has been idle longest gives way."
            " 0 is without bound."
        ),
    ] = 0


class RrlOptions(Options, frozen=True, kw_only=True):
    """Response rate limiting over UDP. A client with a right cookie is never limited."""

    rate: Annotated[
        Count, Meta(description="Responses of one kind a second to one network; more are limited. 0: no limit.")
    ] = 0
    window: Annotated[
        Seconds,
        Meta(description="How long a network that asked too much must be quiet, at most, to be answered again."),
    ] = 15.0
    slip: Annotated[
        int,
        Meta(
            ge=0,
            le=10,
            description="Every so many limited responses one is truncated, so that a real client asks over TCP;"
            " the others are dropped. 0: all are.",
        ),
    ] = 2
    ipv4_prefix: Annotated[int, Meta(ge=1, le=32, description="Bits of an IPv4 address that are one network.")] = 24
    ipv6_prefix: Annotated[int, Meta(ge=1, le=128, description="Bits of an IPv6 address that are one network.")] = 56
    exempt: Annotated[tuple[str, ...], Meta(description="Addresses and networks that are never limited. Repeats.")] = ()
    entries: Annotated[
        Count, Meta(description="Networks and kinds that are kept; those seen longest ago are forgotten.")
    ] = 100_000


class WalkOptions(Options, frozen=True, kw_only=True):
    """How far a resolver goes for one question."""

    attempt: Annotated[Seconds, Meta(description="Waiting for one server's response; then the next is asked.")] = 0.8
    total: Annotated[Seconds, Meta(description="The whole walk; then the client is answered SERVFAIL.")] = 5.0
    queries: Annotated[Count, Meta(description="Queries sent for one question, those for name servers included.")] = 40
    depth: Annotated[
        Count, Meta(description="Questions within questions: name servers whose addresses must be looked up.")
    ] = 4
    glueless: Annotated[
        Count,
        Meta(
            description="Name servers without an address whose address is looked up, for one delegation (NXNSAttack)."
        ),
    ] = 3
    concurrent: Annotated[
        Count,
        Meta(
            ge=1,
            description="Walks at one time, each with a socket; above it the one that takes longest gives way, or else"
            " the question is answered SERVFAIL.",
        ),
    ] = 500
    links: Annotated[Count, Meta(description="Aliases (CNAME) followed for one question.")] = 12


class CacheOptions(Options, frozen=True, kw_only=True):
    """What a resolver remembers."""

    entries: Annotated[Count, Meta(description="RRsets and negative answers kept; the oldest give way.")] = 100_000
    bytes: Annotated[Bytes, Meta(description="Memory for them, and for the way to each zone; the oldest give way.")] = (
        64 * MIB
    )
    max_ttl: Annotated[Ttl, Meta(description="The longest that an answer is kept (RFC 8767 §4: at most a week).")] = (
        86_400
    )
    max_negative_ttl: Annotated[
        Ttl, Meta(description="The longest that NXDOMAIN and NODATA are kept (RFC 2308 §5: one to three hours).")
    ] = 3_600
    failure_ttl: Annotated[
        Ttl, Meta(description="How long a failed walk is not tried again (RFC 9520 §3.2: 1 s to 5 min).")
    ] = 2


class TransferOptions(Options, frozen=True, kw_only=True):
    """Zones to secondaries and from primaries (RFC 5936, RFC 1995)."""

    allow: Annotated[
        tuple[str, ...],
        Meta(
            description="Who may have whole zones, as NETWORK, #KEY (a TSIG key) or NETWORK#KEY; others are refused. "
            "Repeats."
        ),
    ] = ("127.0.0.0/8", "::1/128")
    concurrent: Annotated[
        Count, Meta(description="Transfers to secondaries at one time; further ones are answered SERVFAIL.")
    ] = 10
    history: Annotated[
        Count, Meta(description="Records of past changes kept for IXFR, over all zones; the oldest are forgotten.")
    ] = 100_000
    history_bytes: Annotated[Bytes, Meta(description="Memory for them.")] = 16 * MIB
    notify_from: Annotated[
        tuple[str, ...],
        Meta(
            description="Who may send NOTIFY for a secondary zone beside its primaries, as NETWORK, #KEY or "
            "NETWORK#KEY. Repeats."
        ),
    ] = ()
    bytes: Annotated[Bytes, Meta(description="The largest zone taken from a primary, as it comes over the wire.")] = (
        512 * MIB
    )
    ca: Annotated[
        str,
        Meta(
            description="Authority (PEM) that primaries at tls:// are verified against. Empty: the local CA of the "
            "state directory; system: the system's authorities."
        ),
    ] = ""
    attempt: Annotated[Seconds, Meta(description="Waiting for a primary's answer, or for its connection.")] = 3.0
    idle: Annotated[
        Seconds, Meta(description="A transfer from a primary of which nothing comes; then it is ended.")
    ] = 30.0
    total: Annotated[Seconds, Meta(description="A whole transfer from a primary; then it is ended.")] = 3600.0
    min_refresh: Annotated[
        Seconds, Meta(description="The least time between two looks at a primary, whatever the zone's SOA says.")
    ] = 2.0
    max_refresh: Annotated[Seconds, Meta(description="The most time between two looks at a primary.")] = 86_400.0


class Config(HttpOptions, frozen=True, kw_only=True):
    """A DNS server. With `zone` it is authoritative, with `resolver` it walks for its clients."""

    zone: Annotated[
        tuple[str, ...],
        Meta(description="A zone and its master file, as NAME=FILE; `.` is the root. Repeats."),
    ] = ()
    watch: Annotated[bool, Meta(description="Take up changes of zone files by itself, within seconds.")] = True
    secondary: Annotated[
        tuple[str, ...],
        Meta(
            description="A zone that is fetched from its primaries and kept up, as NAME=ADDRESS[:PORT][#KEY][,...]; "
            "#KEY signs with that TSIG key, tls://ADDRESS asks over TLS. Repeats."
        ),
    ] = ()
    notify: Annotated[
        tuple[str, ...],
        Meta(
            description="A secondary that is told of changes, as ADDRESS[:PORT][#KEY] or NAME=ADDRESS... for one "
            "zone alone. Repeats."
        ),
    ] = ()
    raise_serial: Annotated[
        bool,
        Meta(
            description="Serve a zone whose text changed without a newer serial with the next one, so that secondaries "
            "notice; it is remembered."
        ),
    ] = False
    tsig_key: Annotated[
        tuple[str, ...],
        Meta(description="A file with keys for TSIG (RFC 8945), as `tsig-keygen` writes it. Repeats."),
    ] = ()
    update: Annotated[
        tuple[str, ...],
        Meta(
            description="Who may change records by UPDATE (RFC 2136), as KEY [zone=ZONE] [name=PATTERN,...] "
            "[type=TYPE,...] [from=NETWORK,...]. Nobody else may. Repeats."
        ),
    ] = ()
    resolver: Annotated[bool, Meta(description="Resolve for clients instead of answering from zones.")] = False
    root: Annotated[
        tuple[str, ...], Meta(description="Address of a root server for the resolver, as ADDRESS[:PORT]. Repeats.")
    ] = ()
    port: Annotated[
        int,
        Meta(
            ge=1, le=65535, description="Port of all servers that the resolver is referred to: a referral names none."
        ),
    ] = 53
    server: Annotated[
        tuple[str, ...],
        Meta(
            description="Name of a server that the resolver may be referred to, as NAME=ADDRESS[:PORT]: faults are put"
            " on it by this name. Repeats."
        ),
    ] = ()
    allow: Annotated[
        tuple[str, ...],
        Meta(description="Addresses and networks that the resolver answers; others are refused. Repeats."),
    ] = ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10")
    access_log_sample: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="Share of the queries that have a line in the log. Failures, faults and what takes half a"
            " second have one always; metrics count all.",
        ),
    ] = 1.0
    payload: Annotated[
        int,
        Meta(
            ge=512,
            le=4096,
            description="The longest response over UDP, and what is announced by EDNS; 1232 is never fragmented.",
            extra={"unit": "bytes"},
        ),
    ] = 1232
    nsid: Annotated[
        str,
        Meta(
            max_length=128,
            description="What tells which server answered, in NSID (RFC 5001) and as id.server (RFC 4892);"
            " the hop's name unless given. `off`: nothing.",
        ),
    ] = ""
    version: Annotated[
        str,
        Meta(max_length=255, description="The answer to version.bind in class CH; such a question is refused without."),
    ] = ""
    cookies: Annotated[
        Literal["off", "on", "require"],
        Meta(
            description="Server cookies (RFC 7873). `require`: over UDP a wrong one is answered BADCOOKIE, and who has"
            " none is sent to TCP."
        ),
    ] = "on"
    cookie_secret: Annotated[
        str,
        Meta(
            description="File with the secrets of all servers that answer at one address, 32 hexadecimal digits a line:"
            " cookies are made with the first, all are accepted. Without it they are made, and anew each day."
        ),
    ] = ""
    workers: Annotated[
        int,
        Meta(
            ge=0,
            le=256,
            description="Processes that answer over UDP; one of them holds the zones and does everything else (Linux).",
        ),
    ] = 1
    answers: Annotated[Count, Meta(description="Finished responses kept for repeated queries. 0: none.")] = 20_000
    answers_bytes: Annotated[
        Bytes, Meta(description="Memory for them: half for those over UDP, half for those over connections.")
    ] = 96 * MIB
    tcp: TcpOptions = TcpOptions()
    rrl: RrlOptions = RrlOptions()
    transfer: TransferOptions = TransferOptions()
    walk: WalkOptions = WalkOptions()
    cache: CacheOptions = CacheOptions()
