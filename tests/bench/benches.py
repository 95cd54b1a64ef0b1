"""The comparisons: who stands beside whom, driven by what, and the ratio to reach."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.bench import dns
from tests.bench.drivers import Dnsperf, H2load, Handshakes, Wrk
from tests.bench.peers import CACHE, CACHE_TLS, ORIGIN, PASS
from tests.bench.rounds import Driver, Target
from tests.bench.servers import Servers

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


def edge(run: Servers, *, tls: bool = False, path: str = "page") -> list[Target]:
    """A hit in the edge's cache beside a hit in nginx's."""
    behind, scheme = origin(run), "https" if tls else "http"
    peer, peer_port = run.nginx("nginx-cache", CACHE_TLS if tls else CACHE, behind)
    ours, port = run.hop("cdn_edge", "edge", "--origin", f"http://127.0.0.1:{behind}", tls=tls)
    return [
        Target("nginx proxy_cache", (peer,), f"{scheme}://127.0.0.1:{peer_port}/{path}"),
        Target("cdn_edge hit", (ours,), f"{scheme}://127.0.0.1:{port}/{path}"),
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

BENCHES = {
    "edge": Bench(edge, "edge hit, HTTP/1.1", 1.2),
    "edge-tls": Bench(lambda run: edge(run, tls=True), "edge hit, HTTP/1.1 over TLS 1.3", 1.3),
    "edge-h2": Bench(
        lambda run: edge(run, tls=True), "edge hit, HTTP/2 over TLS 1.3", 7.0, H2load(), ("h2load", "nginx")
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
