"""DNS servers side by side: one zone, one process or thread each, no query log but where the name says so."""

from __future__ import annotations

import contextlib
import json
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Final

from tests.bench import peers
from tests.bench.meter import pss, spent, tree
from tests.bench.rounds import Load, Target
from tests.bench.servers import Servers, free_port, hop_argv

ORIGIN: Final = "bench.test"
NAMES: Final = 100_000
"""Names of the zone with an address; as many others are asked for that are not there."""
REPEATED: Final = 200
STARTED: Final = 300
"""Seconds within which the largest zone has to be loaded."""
SHARE: Final = 10
"""Percent of a core for each process where two are beside one."""
APEX: Final = (
    "$TTL 300\n@ IN SOA ns1 hostmaster 1 3600 600 86400 30\n@ IN NS ns1\n@ IN NS ns2\n"
    "ns1 IN A 192.0.2.1\nns2 IN A 192.0.2.2\n"
)


def records(count: int) -> Iterator[str]:
    return (f"h{number} IN A 10.{number >> 16}.{number >> 8 & 255}.{number & 255}\n" for number in range(count))


def zone_file(run: Servers, count: int = NAMES) -> Path:
    path = run.home / f"{count}.zone"
    if not path.exists():
        with path.open("w") as file:
            file.write(APEX)
            file.writelines(records(count))
    return path


def repeated(run: Servers, count: int = NAMES) -> Path:
    """A file of questions for dnsperf: 200 names that are there, spread over the zone."""
    path = run.home / f"repeated-{count}"
    path.write_text("".join(f"h{number * (count // REPEATED)}.{ORIGIN} A\n" for number in range(REPEATED)))
    return path


def different(run: Servers, count: int = NAMES) -> Path:
    """Every name of the zone, and as many that are not there, in one random order."""
    path = run.home / f"different-{count}"
    questions = [f"{letter}{number}.{ORIGIN} A\n" for letter in "hx" for number in range(count)]
    Random(1).shuffle(questions)
    path.write_text("".join(questions))
    return path


def drawn(run: Servers, count: int) -> Path:
    """As many questions for every zone: half for names of it, half for some that are not there."""
    path, random = run.home / f"drawn-{count}", Random(1)
    questions = [f"h{random.randrange(count)}.{ORIGIN} A\n" for _ in range(NAMES)]
    questions += [f"x{number}.{ORIGIN} A\n" for number in range(NAMES)]
    random.shuffle(questions)
    path.write_text("".join(questions))
    return path


def answers(port: int) -> bool:
    """Whether it answers for the zone: sockets are there before zones are read."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        probe.settimeout(0.2)
        probe.connect(("127.0.0.1", port))
        try:
            probe.send(b"\0\1\0\0\0\1\0\0\0\0\0\0\x05bench\x04test\0\0\x06\0\1")
            return probe.recv(512)[3:8] == b"\0\0\1\0\1"
        except OSError:
            return False


def nsd(run: Servers, zone: Path) -> tuple[int, int]:
    return _peer(run, "nsd", ["nsd", "-d", "-c", "{conf}"], peers.NSD, zone)


def knot(run: Servers, zone: Path) -> tuple[int, int]:
    return _peer(run, "knot", ["knotd", "-c", "{conf}"], peers.KNOT, zone)


def named(run: Servers, zone: Path) -> tuple[int, int]:
    return _peer(run, "named", ["named", "-f", "-n", "1", "-c", "{conf}"], peers.NAMED, zone)


def _peer(run: Servers, name: str, argv: list[str], conf: str, zone: Path) -> tuple[int, int]:
    port, folder = free_port(), run.folder(name)
    (folder / "conf").write_text(conf.format(dir=folder, port=port, zone=zone, origin=ORIGIN))
    return run.start(
        name, [word.format(conf=folder / "conf") for word in argv], port, ready=answers, within=STARTED
    ), port


def ours(
    run: Servers,
    zone: Path,
    *flags: str,
    log: bool = False,
    name: str = "dns",
    ready: Callable[[int], bool] = answers,
) -> tuple[int, int]:
    """As a user starts it: every option by default, but where the query log goes."""
    port, folder = free_port(), run.folder(name)
    flags = ("--zone", f"{ORIGIN}={zone}", "--access-log", str(folder / "query.log") if log else "off", *flags)
    return run.start(
        name,
        hop_argv("dns_server", name, folder, f"dns://127.0.0.1:{port}", *flags),
        port,
        ready=ready,
        within=STARTED,
    ), port


def side_by_side(run: Servers, zone: Path, questions: Path) -> list[Target]:
    def target(name: str, started: tuple[int, int], *, held: bool = False) -> Target:
        return Target(name, (started[0],), f"dns://127.0.0.1:{started[1]}{questions}", held=held)

    return [
        target("nsd", nsd(run, zone)),
        target("dns_server", ours(run, zone)),
        target("dns_server, query log", ours(run, zone, log=True, name="dns-log"), held=True),
        target("knot", knot(run, zone)),
        target("bind9", named(run, zone)),
    ]


def repeat(run: Servers) -> list[Target]:
    return side_by_side(run, zone_file(run, 1000), repeated(run, 1000))


def names(run: Servers) -> list[Target]:
    return side_by_side(run, zone_file(run), different(run))


FROM_TEXT: Final = 60e-6
FROM_COMPILED: Final = 5e-6
"""Seconds for each record that a large zone may take until the server answers from it."""


def large(run: Servers, count: int) -> list[Target]:
    """Zones of 100 records and of `count`, with no finished responses kept, so that each answer is one of the zone's;
    how long the large one takes to load, and how much memory, beside others with the same."""

    def loaded(name: str, start: Callable[[], tuple[int, int]], limit: float | None = None) -> tuple[int, int, Load]:
        began = time.monotonic()
        pid, port = start()
        return pid, port, Load(name, time.monotonic() - began, spent(pid), pss(pid), limit)

    small, zone = zone_file(run, 100), zone_file(run, count)
    few, many = drawn(run, 100), drawn(run, count)
    few_pid, few_port = ours(run, small, "--answers", "0", name="dns-small")

    def start() -> tuple[int, int]:
        return ours(run, zone, "--answers", "0")

    text_pid, _, text = loaded("dns_server, from text", start, max(FROM_TEXT * count, 5))
    kept = list((run.home / "dns").glob("**/*.compiled"))
    run.stop(text_pid)
    pid, port, compiled = loaded("dns_server, compiled", start, max(FROM_COMPILED * count, 2))
    if not kept:
        raise SystemExit("the server kept no compiled zone: the second start is no other than the first")
    nsd_pid, nsd_port, nsd_load = loaded("nsd", lambda: nsd(run, zone))
    knot_pid, knot_port, knot_load = loaded("knot", lambda: knot(run, zone))
    return [
        Target("dns_server, 100", (few_pid,), f"dns://127.0.0.1:{few_port}{few}"),
        Target(f"dns_server, {count:,}", (pid,), f"dns://127.0.0.1:{port}{many}", loads=(text, compiled)),
        Target(f"nsd, {count:,}", (nsd_pid,), f"dns://127.0.0.1:{nsd_port}{many}", loads=(nsd_load,)),
        Target(f"knot, {count:,}", (knot_pid,), f"dns://127.0.0.1:{knot_port}{many}", loads=(knot_load,)),
    ]


def workers(run: Servers) -> list[Target]:
    """One process beside two, each with a tenth of a core: so both are at their limit, with room for what drives them.
    What one of two may answer by then is told by the CPU that the busier one needs for each query."""
    zone, admin = zone_file(run, 1000), free_port()

    def both_answer(port: int) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{admin}/-/stats", timeout=2) as response:
                return all(worker["answers"] for worker in json.load(response)["workers"])
        except OSError:
            return False

    one = ours(run, zone)
    two = ours(run, zone, "--workers", "2", "--admin", f"http://127.0.0.1:{admin}", name="dns-2", ready=both_answer)
    for pid in (one[0], *tree(two[0])):
        run.limit(pid, SHARE)
    questions = repeated(run, 1000)
    return [
        Target("one process", (one[0],), f"dns://127.0.0.1:{one[1]}{questions}"),
        Target("two, the busier one", (two[0],), f"dns://127.0.0.1:{two[1]}{questions}", busiest=True),
    ]
