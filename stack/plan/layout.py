"""What stack.toml is made of: its sections, and what each may say besides the options of its hops.

An entry of a section is one process, and takes every option of that hop: `[edges.fra]` is edge-fra. Everything that
reads or explains the file (schema, reference, errors) is derived from here and from the hops' records.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from msgspec import Meta

from stack.config.base import HttpOptions, Options

Path = tuple[str, ...]
"""Of an option in its record: ("timeouts", "head")."""

KEY: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,38}[A-Za-z0-9])?")
"""An entry's key: part of a process's name."""
MOST: Final = 100
"""Entries of one section, and replicas: as many as the port ranges hold."""


class Site(Options, frozen=True, kw_only=True):
    """Top-level keys: what the stack is called, and what stands behind it. `hopstack up` has a flag for each."""

    name: Annotated[
        str,
        Meta(description="The site's name. Default: shop.test for the demo shop, else the directory's name and .test."),
    ] = ""
    app: Annotated[
        str, Meta(description="Your application, as package.module:attribute. Empty: the demo shop, or what follows.")
    ] = ""
    app_dir: Annotated[
        str, Meta(description="Directory that the application is imported from. Default: that of the file, else `.`.")
    ] = ""
    origin: Annotated[
        tuple[str, ...],
        Meta(
            description="Servers that run already and take the place of the app, as http://127.0.0.1:3000; a proxy "
            "for each. Repeats."
        ),
    ] = ()
    static: Annotated[
        tuple[str, ...],
        Meta(
            description="Directory of files that the proxies serve, as [PREFIX=]DIR; the prefix is / without an app "
            "or origin, else /static/. Repeats."
        ),
    ] = ()
    replicas: Annotated[
        int,
        Meta(ge=1, le=MOST, description="Instances of the app, each behind a proxy. For origins: their number."),
    ] = 3
    port_base: Annotated[
        int | None,
        Meta(
            ge=1,
            le=60_000,
            description="http on N+80, https on N+443, DNS on N+53, DNS over HTTPS on N+54, over TLS on N+55, the rest "
            "above N+100. Default: 8080, 8443, 5053, 8053, 8853, the rest above 8100.",
        ),
    ] = None
    health: Annotated[
        str,
        Meta(
            description="Path that says by 2xx or 3xx whether the app is well. Default: /health; of your own app any "
            "answer below 500 counts."
        ),
    ] = ""
    database_url: Annotated[
        str,
        Meta(
            description="DATABASE_URL of the apps. Default: for the demo shop, SQLite in the state directory.",
        ),
    ] = ""


class Entry(Options, frozen=True, kw_only=True):
    """What an entry that is a process may say besides the options of its hop."""

    host: Annotated[
        str,
        Meta(
            description="Address by which other hops reach this one, where it is another than it listens on: in "
            "containers. Default: the first it listens on."
        ),
    ] = ""


class DnsEntry(Entry, frozen=True, kw_only=True):
    """[dns.NAME]: an authoritative server or, with `resolver`, one that walks."""

    zones: Annotated[
        tuple[str, ...], Meta(description="Zones of this file that it serves, beside those that name it as server.")
    ] = ()
    primary: Annotated[
        str,
        Meta(
            description="The [dns.NAME] from which it fetches its zones, as a secondary that is notified of changes; "
            "without `zones`, all that one has."
        ),
    ] = ""


class BalancerEntry(Entry, frozen=True, kw_only=True):
    """[balancers.NAME]."""

    pool: Annotated[
        str, Meta(description="Name of the pool that it balances. Default: hosts, or the one pool there is.")
    ] = ""


class Zone(Options, frozen=True, kw_only=True):
    """[zones.NAME]: a zone, from a master file (RFC 1035 §5) or, without one, generated."""

    file: Annotated[str, Meta(description="Master file, relative to stack.toml. Empty: generated from the edges.")] = ""
    server: Annotated[
        str, Meta(description="The [dns.NAME] that serves it. Default: root, tld or shop by its place in the tree.")
    ] = ""
    records: Annotated[
        tuple[str, ...], Meta(description="Records besides, as in a master file: `api 60 IN A 127.0.1.1`.")
    ] = ()


class Pool(Options, frozen=True, kw_only=True):
    """[pools.NAME]: backends, with every option of a balancer that is about them."""

    members: Annotated[
        tuple[str, ...], Meta(description="Names of hops, or [NAME=]http://HOST:PORT. Default: every proxy.")
    ] = ()


class Route(Options, frozen=True, kw_only=True):
    """[routes.NAME]: files under a path, served by every proxy."""

    prefix: Annotated[str, Meta(description="Path that begins and ends with a slash.")] = "/static/"
    static: Annotated[str, Meta(description="Directory of the files, relative to stack.toml.")]


class Tls(Options, frozen=True, kw_only=True):
    """[tls]: the certificate that clients see, at every edge."""

    cert: Annotated[
        tuple[str, ...],
        Meta(
            description="Certificate chain (PEM). Repeats, each with its key; the first is the default. Empty: the "
            "local CA issues one."
        ),
    ] = ()
    key: Annotated[tuple[str, ...], Meta(description="Private key (PEM) of a cert, in the same order. Repeats.")] = ()
    server_names: Annotated[tuple[str, ...], Meta(description="Names that the local CA issues it for. Repeats.")] = ()
    tls_profile: Annotated[
        Literal["intermediate", "modern"], Meta(description="Mozilla's profile: TLS 1.2 and 1.3, or 1.3 alone.")
    ] = "intermediate"
    sni_unknown: Annotated[
        Literal["default", "reject"],
        Meta(description="A server name that no certificate has: the first certificate, or no handshake."),
    ] = "default"
    misdirected: Annotated[
        Literal["refuse", "serve"],
        Meta(description="A request for a host that its connection is not for: answered 421, or served."),
    ] = "refuse"
    client_ca: Annotated[
        str, Meta(description="Authority (PEM) of the client certificates that are asked for. Empty: none is.")
    ] = ""
    client_cert: Annotated[
        Literal["required", "optional"], Meta(description="Whether a client without a certificate is refused.")
    ] = "required"


@dataclass(frozen=True, slots=True)
class Section:
    """A section whose entries are processes."""

    title: str
    kind: str
    prefix: str
    extra: type[Entry]

    def process(self, key: str) -> str:
        return "resolver" if self.title == "dns" and key == "resolver" else self.prefix + key


SECTIONS: Final[Mapping[str, Section]] = {
    item.title: item
    for item in (
        Section("dns", "dns_server", "dns-", DnsEntry),
        Section("edges", "cdn_edge", "edge-", Entry),
        Section("balancers", "loadbalancer", "lb-", BalancerEntry),
        Section("proxies", "proxy", "proxy-", Entry),
        Section("apps", "appserver", "app-", Entry),
    )
}
"""In the order of the path."""

NAMED: Final[Mapping[str, type[Options]]] = {"zones": Zone, "pools": Pool, "routes": Route}
"""Sections of named entries that are no processes. `faults` is one too; its keys are those of a fault."""
SHARED: Final = ("defaults", "limits", "timeouts", "cache", "tls")
"""Sections of options for several hops: all that have them, or the edges (`cache`, `tls`)."""
ALL: Final = (*SECTIONS, *NAMED, "faults", *SHARED)

OWN: Final = frozenset({"config", "name"})
"""Options that no file gives: the entry's key is the name."""
LINKS: Final = frozenset(
    {"origin", "upstream", "backend", "weight", "zone", "resolver", "root", "port", "secondary", "notify"}
)
"""Options that say who is next."""
SINGLE: Final = OWN | LINKS | {"listen", "source", "app", "static", "health"}
"""Options that make no sense for all hops at once: neither in [defaults] nor in the environment of a stack.

`app`, `static` and `health` are top-level keys.
"""
NOT_OF_ENVIRONMENT: Final = SINGLE | {"admin"}
"""In containers every hop may have the same admin endpoint; the environment of one process says it for that alone."""
NOT_OF_POOLS: Final = frozenset(HttpOptions.__struct_fields__) | {"backend", "source"}
"""Options of a balancer that a pool does not take: those of every hop, and what the pool says otherwise."""

FILES: Final = frozenset(
    {
        "cert",
        "key",
        "tsig_key",
        "static",
        "app_dir",
        "state_dir",
        "access_log",
        "origin_ca",
        "backend_ca",
        "upstream_ca",
        "client_ca",
        "ca",
        "disk",
        "origin_cert",
        "origin_key",
        "backend_cert",
        "backend_key",
        "upstream_cert",
        "upstream_key",
        "file",
    }
)
"""Options that are paths: relative to the file that says them."""
WORDS: Final = frozenset({"", "-", "off", "system"})
"""Values of those that are no paths."""


def prefixed(text: str) -> tuple[str, str]:
    """`/files/=DIR` apart; without a prefix that is empty. A directory may have a `=` in its name."""
    prefix, mark, directory = text.partition("=")
    return (prefix, directory) if mark and prefix.startswith("/") and prefix.endswith("/") else ("", text)


TABLES: Final = frozenset({"weight", "zone"})
"""Options that repeat NAME=VALUE, and may be written as a table."""
