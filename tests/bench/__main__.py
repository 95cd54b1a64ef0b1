"""`make bench`: what a hop costs beside the program that people run for the same job.

Usage: python -m tests.bench [edge] [loadbalancer] [proxy] [--rounds N] [--seconds N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from tests.bench.meter import Target, compare, rss
from tests.bench.servers import CACHE, ORIGIN, PASS, Servers, servers

PACKAGES = {"wrk": "wrk", "nginx": "nginx", "haproxy": "haproxy"}


def edge(run: Servers, origin: int) -> list[Target]:
    """A hit in the edge's cache beside a hit in nginx's."""
    peer, peer_port = run.nginx("nginx-cache", CACHE, origin)
    ours, port = run.hop("cdn_edge", "edge", "--origin", f"http://127.0.0.1:{origin}")
    return [
        Target("nginx proxy_cache", peer, f"http://127.0.0.1:{peer_port}/"),
        Target("cdn_edge hit", ours, f"http://127.0.0.1:{port}/"),
    ]


def loadbalancer(run: Servers, origin: int) -> list[Target]:
    """Round robin over two servers, checked, beside HAProxy."""
    peer, peer_port = run.haproxy("haproxy", origin)
    backends = [f"{name}=http://127.0.0.1:{origin}" for name in ("a", "b")]
    flags = [flag for backend in backends for flag in ("--backend", backend)]
    ours, port = run.hop("loadbalancer", "lb", *flags, "--check", "http:/health")
    return [
        Target("haproxy", peer, f"http://127.0.0.1:{peer_port}/"),
        Target("loadbalancer", ours, f"http://127.0.0.1:{port}/"),
    ]


def proxy(run: Servers, origin: int) -> list[Target]:
    """To one upstream, compression on and not due, beside nginx proxy_pass."""
    peer, peer_port = run.nginx("nginx-pass", PASS, origin)
    ours, port = run.hop("proxy", "proxy", "--upstream", f"http://127.0.0.1:{origin}", "--compression-minimum", "1400")
    return [
        Target("nginx proxy_pass", peer, f"http://127.0.0.1:{peer_port}/"),
        Target("proxy", ours, f"http://127.0.0.1:{port}/"),
    ]


BENCHES = {"edge": edge, "loadbalancer": loadbalancer, "proxy": proxy}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="bench", help=", ".join(BENCHES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    unknown = set(options.names) - set(BENCHES)
    if unknown:
        parser.error(f"no bench is called {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    missing = [name for name in PACKAGES if not (shutil.which(name) or shutil.which(name, path="/usr/sbin"))]
    if missing:
        print(f"missing: {', '.join(missing)}; apt-get install {' '.join(PACKAGES[name] for name in missing)}")
        return 2
    results = []
    faults = 0
    print(f"{'':24}{'us/request':>12}{'range':>18}{'ratio':>8}{'req/s':>10}{'MB':>7}")
    for name in options.names or BENCHES:
        with tempfile.TemporaryDirectory(prefix="hopstack-bench-") as home, servers(Path(home)) as run:
            _, origin = run.nginx("origin", ORIGIN)
            targets = BENCHES[name](run, origin)
            compare(targets, rounds=options.rounds, seconds=options.seconds, connections=options.connections)
            for target in targets:
                ratio = target.median / targets[0].median
                span = f"{min(target.micros):.1f}..{max(target.micros):.1f}"
                rate = sorted(target.rates)[len(target.rates) // 2]
                megabytes = rss(target.pid) / 1e6
                print(f"{target.name:24}{target.median:12.1f}{span:>18}{ratio:8.2f}{rate:10.0f}{megabytes:7.0f}")
                faults += target.faults
                if target.faults:
                    print(f"  {target.name}: wrk saw errors in {target.faults} rounds")
                results.append(
                    {
                        "bench": name,
                        "target": target.name,
                        "us_per_request": round(target.median, 2),
                        "ratio": round(ratio, 3),
                        "requests_per_second": round(rate),
                        "rss_bytes": rss(target.pid),
                        "faults": target.faults,
                    }
                )
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
