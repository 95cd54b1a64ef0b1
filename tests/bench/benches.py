"""The comparisons: who stands beside whom, driven by what, and the ratio to reach."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.bench import dns
from tests.bench.drivers import Dnsperf, EachItsOwn, H2load, Handshakes, Wrk
from tests.bench.meter import cpu, rss, tree
from tests.bench.peers import CACHE, CACHE_SMALL, CACHE_TLS, ORIGIN, PASS
from tests.bench.rounds import Driver, Load, Target
from tests.bench.servers import Servers
from tests.bench.warm import fill, is_hit

Make = Callable[[Servers], list[Target]]


@dataclass(frozen=True, slots=True)
class Bench:
    """`make` starts a peer and ours, in this order; further peers come last."""

    make: Make
    about: str
    limit: float | None = None
    """The ratio to the peer that ours may have."""
    driver: Driver = field(default_factory=Wrk)
    programs: tuple[str, ...] = ("wrk", "nginx")
    packages: tuple[str, ...] = ()
    extra: bool = False
    """Run only when named."""


def origin(run: Servers) -> int:
    return run.nginx("origin", ORIGIN)[1]


OBJECTS = 10_000


def edge(
    run: Servers, *, tls: bool = False, path: str = "page", objects: int = 100, varnish: bool = False
) -> list[Target]:
    """A hit in the edge's cache beside a hit in nginx's, and in Varnish's, which has no TLS. All is asked for before."""
    behind, scheme = origin(run), "https" if tls else "http"
    peer, peer_port = run.nginx("nginx-cache", CACHE_TLS if tls else CACHE, behind)
    ours, port = run.hop("cdn_edge", "edge", "--origin", f"http://127.0.0.1:{behind}", tls=tls)
    targets = [
        Target("nginx proxy_cache", (peer,), f"{scheme}://127.0.0.1:{peer_port}/{path}"),
        Target("cdn_edge hit", (ours,), f"{scheme}://127.0.0.1:{port}/{path}"),
    ]
    if varnish:
        others, other_port = run.varnish("varnish", behind, "1g")
        targets.append(Target("varnish, with its log", others, f"http://127.0.0.1:{other_port}/{path}"))
    for target in targets:
        fill(target.url, objects)
        if not is_hit(target.url):
            target.faults.append("what was asked for before is no hit")
    return targets


def edge_million(run: Servers) -> list[Target]:
    """A hit among a million objects beside one among ten thousand: a request's cost does not grow with their number."""
    behind = origin(run)
    targets = []
    for objects in (OBJECTS, 100 * OBJECTS):
        flags = ("--origin", f"http://127.0.0.1:{behind}", "--cache-size", "4G")
        ours, port = run.hop("cdn_edge", f"edge-{objects}", *flags)
        began, empty = time.monotonic(), rss(ours)
        target = Target(f"{objects:,} objects", (ours,), f"http://127.0.0.1:{port}/page-of-{objects}-")
        fill(target.url, objects)
        if not is_hit(target.url):
            target.faults.append("what was asked for before is no hit")
        target.loads = (
            Load(f"{objects:,} objects fetched", time.monotonic() - began, cpu((ours,)), rss(ours) - empty),
        )
        targets.append(target)
    return targets


SHARE = 10
"""Percent of a core."""


def edge_workers(run: Servers) -> list[Target]:
    """One process beside two workers, each with a tenth of a core: both are at their limit, with room for what drives
    them. What two may answer by then is told by the CPU that the busier one needs for each request."""
    behind = origin(run)
    flags = ("--origin", f"http://127.0.0.1:{behind}")
    one, one_port = run.hop("cdn_edge", "edge-1", *flags)
    two, two_port = run.hop("cdn_edge", "edge-2", *flags, "--workers", "2")
    targets = [
        Target("one process", (one,), f"http://127.0.0.1:{one_port}/page"),
        Target("two, the busier one", (two,), f"http://127.0.0.1:{two_port}/page", busiest=True),
    ]
    for target in targets:
        for _ in range(5):  # in both, as whichever is asked
            fill(target.url, OBJECTS)
    for pid in (one, *tree(two)):
        run.limit(pid, SHARE)
    return targets


def edge_miss(run: Servers, *, full: bool = False) -> list[Target]:
    """Ever new URLs: fetched and stored; where the store is `full`, something else is evicted for each."""
    behind = origin(run)
    peer, peer_port = run.nginx("nginx-cache", CACHE_SMALL if full else CACHE, behind)
    size = ("--cache-size", "16MB") if full else ()
    ours, port = run.hop("cdn_edge", "edge", "--origin", f"http://127.0.0.1:{behind}", *size)
    others, other_port = run.varnish("varnish", behind, "16m" if full else "1g")
    return [
        Target("nginx proxy_cache", (peer,), f"http://127.0.0.1:{peer_port}/page"),
        Target("cdn_edge miss", (ours,), f"http://127.0.0.1:{port}/page"),
        Target("varnish, with its log", others, f"http://127.0.0.1:{other_port}/page"),
    ]


def balancer_flags(port: int) -> list[str]:
    backends = [flag for name in ("a", "b") for flag in ("--backend", f"{name}=http://127.0.0.1:{port}")]
    return [*backends, "--check", "http:/health"]


def loadbalancer(run: Servers) -> list[Target]:
    """Round robin over two servers, checked, beside HAProxy."""
    behind = origin(run)
    peer, peer_port = run.haproxy("haproxy", behind)
    ours, port = run.hop("loadbalancer", "lb", *balancer_flags(behind))
    return [
        Target("haproxy", (peer,), f"http://127.0.0.1:{peer_port}/page"),
        Target("loadbalancer", (ours,), f"http://127.0.0.1:{port}/page"),
    ]


def proxy_flags(port: int) -> list[str]:
    return ["--upstream", f"http://127.0.0.1:{port}", "--compression-minimum", "1400"]


def proxy(run: Servers, *, path: str = "page") -> list[Target]:
    """To one upstream, compression on and not due, beside nginx proxy_pass."""
    behind = origin(run)
    peer, peer_port = run.nginx("nginx-pass", PASS, behind)
    ours, port = run.hop("proxy", "proxy", *proxy_flags(behind))
    return [
        Target("nginx proxy_pass", (peer,), f"http://127.0.0.1:{peer_port}/{path}"),
        Target("proxy", (ours,), f"http://127.0.0.1:{port}/{path}"),
    ]


def app(run: Servers) -> list[Target]:
    """One ASGI app in one worker: uvicorn with uvloop and httptools, ours, granian."""
    peer, peer_port = run.uvicorn("uvicorn")
    ours, port = run.appserver("app")
    other, other_port = run.granian("granian")
    return [
        Target("uvicorn", (peer,), f"http://127.0.0.1:{peer_port}/page"),
        Target("appserver", (ours,), f"http://127.0.0.1:{port}/page"),
        Target("granian", (other,), f"http://127.0.0.1:{other_port}/page"),
    ]


def chain(run: Servers) -> list[Target]:
    """What a response passes that no cache may keep: three intermediaries on each side, before the same app."""
    _, behind = run.appserver("app")
    last, last_port = run.nginx("nginx-pass", PASS, behind)
    middle, middle_port = run.haproxy("haproxy", last_port)
    first, first_port = run.nginx("nginx-cache", CACHE, middle_port)
    proxy, proxy_port = run.hop("proxy", "proxy", *proxy_flags(behind))
    lb, lb_port = run.hop("loadbalancer", "lb", *balancer_flags(proxy_port))
    edge, edge_port = run.hop("cdn_edge", "edge", "--origin", f"http://127.0.0.1:{lb_port}")
    return [
        Target("nginx, haproxy, nginx", (first, middle, last), f"http://127.0.0.1:{first_port}/page"),
        Target("edge, lb, proxy", (edge, lb, proxy), f"http://127.0.0.1:{edge_port}/page"),
    ]


_DNS = ("dnsperf", "nsd", "knotd", "named")
_CLOSE = Wrk(connections=32, close=True)
_LARGE = Wrk(connections=16, pages=8)
_MANY = Wrk(pages=OBJECTS, order="zipf")
_CACHES = ("wrk", "nginx", "varnishd", "varnishncsa")

BENCHES = {
    "edge": Bench(
        lambda run: edge(run, objects=OBJECTS, varnish=True),
        "edge hit, HTTP/1.1, 10,000 objects",
        1.0,
        _MANY,
        _CACHES,
    ),
    "edge-16k": Bench(
        lambda run: edge(run, path="16k", objects=OBJECTS, varnish=True),
        "edge hit, HTTP/1.1, 10,000 objects of 16 KiB",
        None,
        _MANY,
        _CACHES,
    ),
    "edge-tls": Bench(lambda run: edge(run, tls=True, objects=OBJECTS), "edge hit, HTTP/1.1 over TLS 1.3", 1.1, _MANY),
    "edge-tls-16k": Bench(
        lambda run: edge(run, tls=True, path="16k", objects=OBJECTS),
        "edge hit, HTTP/1.1 over TLS 1.3, 16 KiB",
        None,
        _MANY,
    ),
    "edge-h2": Bench(
        lambda run: edge(run, tls=True, objects=OBJECTS),
        "edge hit, HTTP/2 over TLS 1.3",
        6.0,
        H2load(pages=OBJECTS),
        ("h2load", "nginx"),
    ),
    "edge-h2-16k": Bench(
        lambda run: edge(run, tls=True, path="16k", objects=OBJECTS),
        "edge hit, HTTP/2 over TLS 1.3, 16 KiB",
        None,
        H2load(pages=OBJECTS),
        ("h2load", "nginx"),
    ),
    "edge-miss": Bench(edge_miss, "edge miss: fetched and stored", 1.5, Wrk(order="new"), _CACHES),
    "edge-evict": Bench(
        lambda run: edge_miss(run, full=True),
        "edge miss: fetched and stored, and something else evicted",
        1.5,
        Wrk(order="new"),
        _CACHES,
    ),
    "edge-million": Bench(
        edge_million,
        "edge hit among 1,000,000 objects beside one among 10,000, by Zipf of all; memory of all",
        1.1,
        EachItsOwn("zipf"),
        extra=True,
    ),
    "edge-million-uniform": Bench(
        edge_million,
        "edge hit among 1,000,000 objects beside one among 10,000, any of them",
        1.1,
        EachItsOwn("uniform"),
        extra=True,
    ),
    "edge-workers": Bench(
        edge_workers,
        "edge hit, two workers: the CPU of the busier one beside that of one process",
        None,
        _MANY,
        extra=True,
    ),
    "loadbalancer": Bench(loadbalancer, "load balancer", 1.6, programs=("wrk", "nginx", "haproxy")),
    "proxy": Bench(proxy, "reverse proxy", 1.6),
    "app": Bench(app, "ASGI app", 1.1, programs=("wrk",), packages=("uvicorn", "granian")),
    "chain": Bench(chain, "three intermediaries before an app", 1.7, programs=("wrk", "nginx", "haproxy")),
    "dns-repeat": Bench(dns.repeat, "DNS over UDP, 200 names again and again", 1.3, Dnsperf(), _DNS),
    "dns-names": Bench(dns.names, "DNS over UDP, 200,000 names, half of them NXDOMAIN", 2.5, Dnsperf(), _DNS),
    "dns-workers": Bench(
        dns.workers,
        "DNS over UDP, two workers: 1/1.7 of the CPU in the busier one is 1.7 times the answers",
        0.588,
        Dnsperf(clients=250, asked=500),
        ("dnsperf",),
        extra=True,
    ),
    "dns-tcp": Bench(dns.repeat, "DNS over TCP, 200 names, pipelined", None, Dnsperf(tcp=True), _DNS),
    "dns-large": Bench(
        lambda run: dns.large(run, 100_000),
        "DNS over UDP, a zone of 100,000 records beside one of 100, nothing kept",
        1.25,
        Dnsperf(),
        ("dnsperf", "nsd", "knotd"),
    ),
    "dns-million": Bench(
        lambda run: dns.large(run, 1_000_000),
        "DNS over UDP, a zone of 1,000,000 records beside one of 100, nothing kept",
        1.25,
        Dnsperf(),
        ("dnsperf", "nsd", "knotd"),
        extra=True,
    ),
    "connect": Bench(edge, "edge hit, a connection for each request", driver=_CLOSE, extra=True),
    "connect-tls": Bench(
        lambda run: edge(run, tls=True), "edge hit, a resumed TLS 1.3 session for each", driver=_CLOSE, extra=True
    ),
    "handshake": Bench(
        lambda run: edge(run, tls=True),
        "a full TLS 1.3 handshake and no request",
        None,
        Handshakes(),
        ("nginx", "openssl"),
        extra=True,
    ),
    "edge-64k": Bench(lambda run: edge(run, path="64k"), "edge hit, 64 KiB", driver=_LARGE, extra=True),
    "edge-1m": Bench(lambda run: edge(run, path="1m"), "edge hit, 1 MiB", driver=_LARGE, extra=True),
    "proxy-64k": Bench(lambda run: proxy(run, path="64k"), "reverse proxy, 64 KiB", driver=_LARGE, extra=True),
    "proxy-1m": Bench(lambda run: proxy(run, path="1m"), "reverse proxy, 1 MiB", driver=_LARGE, extra=True),
}


def chosen(names: Sequence[str]) -> list[str]:
    """Those named, or all that are not extra."""
    return list(names) or [name for name, bench in BENCHES.items() if not bench.extra]
