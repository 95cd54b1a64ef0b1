"""`make bench`: what a hop costs beside the program that people run for the same job.

CPU microseconds a request, in rounds that alternate with the peer's, both with their access log on (DNS: without); the latency that a
hop adds at a steady rate; and how long the whole stack takes to start. `make bench BENCH="edge-tls --rounds 3"` selects.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.bench import hit_ratio, latency, machine, report, startup
from tests.bench.benches import BENCHES, chosen
from tests.bench.rounds import compare
from tests.bench.servers import servers

DEBIAN = {
    "wrk": "wrk",
    "nginx": "nginx",
    "varnishd": "varnish",
    "varnishncsa": "varnish",
    "haproxy": "haproxy",
    "h2load": "nghttp2-client",
    "openssl": "openssl",
    "dnsperf": "dnsperf",
    "nsd": "nsd",
    "knotd": "knot",
    "named": "bind9",
}
"""The package of each program."""
OTHERS = ("latency", "startup", "hit-ratio")


def missing(names: Sequence[str]) -> list[str]:
    """What the benches need and this machine has not, each as a line with its remedy."""
    benches = [BENCHES[name] for name in names if name in BENCHES]
    programs = {program for bench in benches for program in bench.programs}
    packages = {package for bench in benches for package in bench.packages}
    if "latency" in names:
        programs |= {"nginx", "haproxy"}
        packages |= {"uvicorn", "granian"}
    gone = sorted(program for program in programs if machine.find(program) is None)
    lacking = sorted(package for package in packages if machine.installed(package) is None)
    lines = []
    if gone:
        debian = " ".join(sorted({DEBIAN[program] for program in gone}))
        lines.append(f"missing: {', '.join(gone)}; on Debian: apt-get install {debian}")
    if lacking:
        lines.append(f"missing: {', '.join(lacking)}; {sys.executable} -m pip install {' '.join(lacking)}")
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    options = arguments(argv)
    names = options.names or [*chosen(()), *OTHERS]
    if lines := missing(names):
        print("\n".join(lines))
        return 2
    about = machine.described()
    print(f"{about['interpreter']}\n{about['processor']}, Linux {about['kernel']}, load {about['load']}")
    if warning := machine.busy(os.getloadavg()[0], os.cpu_count() or 1):
        print(warning)
    records: list[report.Record] = []
    for name in names:
        with tempfile.TemporaryDirectory(prefix="hopstack-bench-") as home:
            if name == "startup":
                records += starting(options.rounds)
            elif name == "hit-ratio":
                records += hitting()
            elif name == "latency":
                records += waiting(options)
            else:
                records += costing(name, Path(home), options)
    if options.json:
        found = {"machine": about, "rounds": options.rounds, "seconds": options.seconds, "results": records}
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    return ended(records, check=options.check)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    default = ", ".join([*chosen(()), *OTHERS])
    extra = ", ".join(name for name, bench in BENCHES.items() if bench.extra)
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="bench", help=f"{default}; only when named: {extra}")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds of each target (default: 5)")
    parser.add_argument("--seconds", type=int, default=3, help="of one round (default: 3)")
    parser.add_argument("--rate", type=int, default=2000, help="requests a second where latency is measured")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there, too")
    parser.add_argument("--check", action="store_true", help="exit 1 where a ratio is above what it may be")
    options = parser.parse_args(argv)
    unknown = sorted(set(options.names) - {*BENCHES, *OTHERS})
    if unknown:
        parser.error(f"no bench is called {', '.join(unknown)}; there are {default}, {extra}")
    if options.rounds < 1 or options.seconds < 1:
        parser.error("--rounds and --seconds are at least 1")
    return options


def costing(name: str, home: Path, options: argparse.Namespace) -> list[report.Record]:
    bench = BENCHES[name]
    print(f"\n{name}: {bench.about}\n{report.HEADING}", flush=True)
    with servers(home) as run:
        targets = bench.make(run)
        compare(targets, bench.driver, rounds=options.rounds, seconds=options.seconds)
        records = report.compared(name, bench, targets)
    print("\n".join(map(report.line, records)), flush=True)
    if loads := report.loaded(name, targets):
        print(f"until the first answer{report.STARTUP_HEADING[22:]}")
        print("\n".join(map(report.startup_line, loads)), flush=True)
    return records + loads


def waiting(options: argparse.Namespace) -> list[report.Record]:
    print(f"\nlatency at {options.rate} requests a second, open loop\n{report.LATENCY_HEADING}", flush=True)
    records: list[report.Record] = []
    rounds = min(options.rounds, 3)
    seconds = min(options.seconds, 2)
    for name in latency.MEASURED:
        with tempfile.TemporaryDirectory(prefix="hopstack-bench-") as home, servers(Path(home)) as run:
            base, found = latency.targets(name, run)
            everyone = [*([base] if base else ()), *found]
            latency.compare(everyone, rate=options.rate, rounds=rounds, seconds=seconds)
            records += (these := report.timed(name, options.rate, base, found))
            print("\n".join(map(report.latency_line, these)), flush=True)
    return records


def starting(rounds: int) -> list[report.Record]:
    print(f"\nstartup: `hopstack up` until every hop is ready\n{report.STARTUP_HEADING}", flush=True)
    records = report.started(startup.starts(rounds))
    print("\n".join(map(report.startup_line, records)), flush=True)
    return records


def hitting() -> list[report.Record]:
    print(f"\nhit-ratio: eviction policies, percent of the requests (of the bytes)\n{hit_ratio.HEADING}", flush=True)
    records: list[report.Record] = []
    for row in hit_ratio.rows():
        print(hit_ratio.line(row), flush=True)
        records.append(hit_ratio.record(row))
    return records


def ended(records: Sequence[report.Record], *, check: bool) -> int:
    """Say what was wrong and what is above its limit. 1 for faults, and with `check` for limits."""
    faulty = [record for record in records if record["faults"]]
    above = [record for record in records if record.get("met") is False]
    print()
    for record in faulty:
        print(f"{record['bench']}: {record['target']}: {'; '.join(sorted(set(record['faults'])))}")
    for record in above:
        value = record.get("ratio") or record.get("seconds")
        print(f"{record['bench']}: {record['target']}: {value:.2f}, wanted at most {record['limit']:.2f}")
    if not faulty and not above:
        print("All within what they may be.")
    return 1 if faulty or (check and above) else 0


if __name__ == "__main__":
    sys.exit(main())
