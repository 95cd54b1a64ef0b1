"""What the benches make of the programs' output and of their figures; no process but in the last test."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench import __main__ as command
from tests.bench import dns, machine, report
from tests.bench.benches import BENCHES, Bench, chosen
from tests.bench.drivers import Dnsperf, Driven, dnsperf_said, h2load_said, openssl_said, wrk_said, zipf
from tests.bench.latency import added
from tests.bench.rounds import Load, Target, compare, percentile, ratio
from tests.bench.servers import servers

WRK = """Running 3s test @ http://127.0.0.1:8080/page
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.03ms    1.01ms  20.11ms   92.11%
  36912 requests in 3.10s, 47.11MB read
{complaint}Requests/sec:  11907.10
"""
H2LOAD = """starting benchmark...
Application protocol: {protocol}
finished in 3.00s, 12345.67 req/s, 12.34MB/s
requests: 37035 total, 37099 started, 37035 done, {good} succeeded, {failed} failed, {errored} errored, 0 timeout
status codes: {good} 2xx, 0 3xx, 0 4xx, {server} 5xx
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (WRK.format(complaint=""), Driven(36912)),
        (
            WRK.format(complaint="  Non-2xx or 3xx responses: 12\n"),
            Driven(36912, "Non-2xx or 3xx responses: 12"),
        ),
        (
            WRK.format(complaint="  Socket errors: connect 0, read 3, write 0, timeout 1\n"),
            Driven(36912, "Socket errors: connect 0, read 3, write 0, timeout 1"),
        ),
        (
            "unable to connect to 127.0.0.1:1 Connection refused\n",
            Driven(0, "wrk said: unable to connect to 127.0.0.1:1 Connection refused"),
        ),
        ("", Driven(0, "wrk said: nothing")),
    ],
    ids=["well", "statuses", "sockets", "nobody-listens", "silence"],
)
def test_what_wrk_says(text: str, said: Driven) -> None:
    assert wrk_said(text) == said


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, Driven(37035)),
        ({"failed": 3}, Driven(37035, "3 requests failed")),
        ({"errored": 2, "server": 5}, Driven(37035, "7 requests failed")),
        ({"protocol": "http/1.1"}, Driven(0, "h2 was not negotiated")),
    ],
    ids=["well", "failed", "errors-and-5xx", "another-protocol"],
)
def test_what_h2load_says(fields: dict[str, object], said: Driven) -> None:
    text = H2LOAD.format(**{"protocol": "h2", "good": 37035, "failed": 0, "errored": 0, "server": 0, **fields})
    assert h2load_said(text) == said
    assert h2load_said("Could not connect\n").fault == "h2load said: Could not connect"


def test_what_openssl_says() -> None:
    well = "****\n\n1526 connections in 0.87s; 1754.02 connections/user sec, bytes read 0\n1526 connections in 3 real seconds, 0 bytes read per connection\n"
    assert openssl_said(well) == Driven(1526)
    refused = "connect:errno=111\n40D7:error:8000006F:system library:BIO_connect:Connection refused\n"
    assert openssl_said(refused) == Driven(
        0, "openssl said: 40D7:error:8000006F:system library:BIO_connect:Connection refused"
    )


@pytest.mark.parametrize(
    ("lost", "codes", "fault"),
    [
        (0, "NOERROR 5 (50.00%), NXDOMAIN 5 (50.00%)", ""),
        (7, "NOERROR 10 (100.00%)", "7 queries lost"),
        (0, "NOERROR 5 (50.00%), SERVFAIL 5 (50.00%)", "answered SERVFAIL"),
    ],
    ids=["well", "lost", "servfail"],
)
def test_what_dnsperf_says(lost: int, codes: str, fault: str) -> None:
    text = f"  Queries sent:         10\n  Queries completed:    10 (100.00%)\n  Queries lost:         {lost} (0.00%)\n"
    assert dnsperf_said(f"{text}\n  Response codes:       {codes}\n") == Driven(10, fault)
    assert dnsperf_said("Error: unable to open file: q\n").fault == "dnsperf said: Error: unable to open file: q"


def test_the_ratio_is_of_rounds_and_not_of_medians() -> None:
    # in the second round the machine was half as fast, for both
    assert ratio([12.0, 24.0, 12.0], [10.0, 20.0, 10.0]) == pytest.approx(1.2)
    assert ratio([12.0, 99.0, 12.0], [10.0, 10.0, 10.0]) == pytest.approx(1.2)
    assert math.isnan(ratio([], [1.0]))


@pytest.mark.parametrize(
    ("values", "part", "found"),
    [
        ([5.0], 0.99, 5.0),
        ([4.0, 1.0, 3.0, 2.0], 0.5, 2.0),
        ([*map(float, range(1, 101))], 0.99, 99.0),
        ([1.0, 2.0], 1.0, 2.0),
    ],
)
def test_percentiles_are_by_nearest_rank(values: list[float], part: float, found: float) -> None:
    assert percentile(values, part) == found


def test_what_a_hop_adds_is_taken_round_by_round() -> None:
    assert added([150.0, 350.0, 160.0], [100.0, 300.0, 100.0]) == 50.0
    assert added([150.0, 350.0, 160.0], []) == 160.0
    assert math.isnan(added([], [1.0]))


class Script:
    """A driver that says what was written for it, and notes whom it drove."""

    def __init__(self, said: list[Driven]) -> None:
        self._said: Iterator[Driven] = iter(said)
        self.drove: list[str] = []

    def drive(self, url: str, seconds: int) -> Driven:
        self.drove.append(f"{url} {seconds}")
        return next(self._said)


def test_rounds_alternate_and_the_warm_up_does_not_count() -> None:
    peer, ours = Target("peer", (), "p"), Target("ours", (), "o")
    driver = Script([Driven(1)] * 2 + [Driven(100)] * 3 + [Driven(200, "timeout")])
    compare([peer, ours], driver, rounds=2, seconds=3)
    assert driver.drove == ["p 1", "o 1", "p 3", "o 3", "o 3", "p 3"]
    assert (len(peer.micros), len(ours.micros)) == (2, 2)
    assert (peer.faults, ours.faults) == (["timeout"], [])
    assert peer.rate == pytest.approx(50.0)


def test_a_round_without_answers_is_a_fault_and_no_figure() -> None:
    target = Target("t", (), "t")
    compare([target], Script([Driven(1), Driven(0), Driven(10)]), rounds=2, seconds=1)
    assert target.faults == ["no request was answered"]
    assert len(target.micros) == 1


def test_records_and_lines_name_what_is_above_its_limit(capsys: pytest.CaptureFixture[str]) -> None:
    peer = Target("peer", (), "", [10.0, 11.0], [100.0, 100.0])
    ours = Target("ours", (), "", [15.0, 16.5], [90.0, 90.0])
    records = report.compared("edge", Bench(lambda run: [], "a hit", 1.2), [peer, ours])
    assert [(record["ratio"], record["met"]) for record in records] == [(1.0, None), (1.5, False)]
    assert "1.20 !!" in report.line(records[1])
    third = [Target("ours, log", (), "", [15.0], held=held) for held in (False, True)]
    bench = Bench(lambda run: [], "a hit", 1.2)
    assert [report.compared("edge", bench, [peer, ours, one])[2]["met"] for one in third] == [None, False]
    assert command.ended(records, check=False) == 0
    assert command.ended(records, check=True) == 1
    assert "edge: ours: 1.50, wanted at most 1.20" in capsys.readouterr().out
    ours.faults.append("timeout")
    assert command.ended(report.compared("edge", Bench(lambda run: [], "a hit"), [peer, ours]), check=False) == 1
    assert "edge: ours: timeout" in capsys.readouterr().out


def test_a_target_that_never_answered_is_a_line_too() -> None:
    record = report.compared(
        "edge", Bench(lambda run: [], "a hit", 1.2), [Target("peer", (), "", [1.0]), Target("ours", (), "")]
    )[1]
    assert record["ratio"] is None
    assert record["met"] is False
    assert "ours" in report.line(record)


def test_what_is_missing_is_a_line_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "find", lambda program: None if program in ("h2load", "haproxy") else program)
    monkeypatch.setattr(machine, "installed", lambda package: None)
    assert command.main(["edge-h2", "chain", "app"]) == 2
    said = capsys.readouterr().out
    assert "missing: h2load, haproxy" in said or "missing: haproxy, h2load" in said
    assert "apt-get install haproxy nghttp2-client" in said
    assert "pip install granian uvicorn" in said
    assert command.missing(["edge", "startup"]) == []


def test_starts_have_lines_and_limits_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    peer = Target("peer", (), "", [10.0], loads=(Load("peer", 0.5, 0.4, 10_000_000),))
    slow, fast = Load("ours, from text", 70.0, 60.0, 200_000_000, 60.0), Load("ours, kept", 0.5, 0.4, 200_000_000, 5.0)
    records = report.loaded("dns-million", [peer, Target("ours", (), "", [10.0], loads=(slow, fast))])
    assert [(record["target"], record["met"]) for record in records] == [
        ("peer", None),
        ("ours, from text", False),
        ("ours, kept", True),
    ]
    lines = list(map(report.startup_line, records))
    assert ["!!" in line for line in lines] == [False, True, False]
    assert lines[1].endswith("200")
    assert command.ended(records, check=True) == 1
    assert "dns-million: ours, from text: 70.00, wanted at most 60.00" in capsys.readouterr().out


def test_a_bench_that_does_not_exist_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["egde"])
    assert ended.value.code == 2
    assert "no bench is called egde; there are edge," in capsys.readouterr().err


@pytest.mark.parametrize(("load", "said"), [(0.1, ""), (0.39, ""), (0.4, "load 0.40 on 2 cores"), (11.0, "load 11.00")])
def test_a_busy_machine_is_told(load: float, said: str) -> None:
    warning = machine.busy(load, 2)
    assert said in warning
    assert bool(warning) is bool(said)


def test_extras_run_only_when_named() -> None:
    assert "connect" not in chosen(())
    assert chosen(["connect"]) == ["connect"]
    assert {name: BENCHES[name].limit for name in chosen(())} == {
        "edge": 1.0,
        "edge-16k": None,
        "edge-tls": 1.1,
        "edge-tls-16k": None,
        "edge-h2": 6.0,
        "edge-h2-16k": None,
        "edge-miss": 1.5,
        "edge-evict": 1.5,
        "loadbalancer": 1.6,
        "proxy": 1.6,
        "app": 1.1,
        "chain": 1.7,
        "dns-repeat": 1.3,
        "dns-names": 2.5,
        "dns-tcp": None,
        "dns-large": 1.25,
    }


def test_popular_pages_are_asked_for_as_zipf_says() -> None:
    drawn = zipf(1000)
    assert drawn == zipf(1000)
    first, tenth = drawn.count(0), drawn.count(9)
    assert first / tenth == pytest.approx(10, rel=0.25)
    assert len(set(drawn)) > 900


@pytest.mark.needs("wrk", "nginx", "varnishd")
def test_one_bench_from_end_to_end(tmp_path: Path) -> None:
    """Real processes: a table, figures of both sides in JSON, and no fault."""
    argv = [sys.executable, "-m", "tests.bench", "edge", "--rounds", "1", "--seconds", "1", "--json"]
    done = subprocess.run(
        [*argv, str(tmp_path / "found.json")], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nginx proxy_cache" in done.stdout
    found = json.loads((tmp_path / "found.json").read_text())
    assert "CPython" in found["machine"]["interpreter"]
    everyone = peer, ours, other = found["results"]
    names = [one["target"] for one in everyone]
    assert names == ["nginx proxy_cache", "cdn_edge hit", "varnish, with its log"]
    assert all(one["us_per_request"] > 0 and one["rss_bytes"] > 0 and not one["faults"] for one in everyone)
    assert other["limit"] is None
    assert ours["ratio"] == pytest.approx(ours["us_per_request"] / peer["us_per_request"], rel=0.02)


@pytest.mark.needs("dnsperf", "nsd", "knotd", "named")
def test_name_servers_side_by_side(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "tests.bench", "dns-repeat", "--rounds", "1", "--seconds", "1", "--json"]
    done = subprocess.run(
        [*argv, str(tmp_path / "found.json")], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "found.json").read_text())["results"]
    assert [one["target"] for one in results] == ["nsd", "dns_server", "dns_server, query log", "knot", "bind9"]
    assert all(one["us_per_request"] > 0 and not one["faults"] for one in results)


@pytest.mark.needs("dnsperf", "nsd", "knotd")
def test_a_large_zone_is_loaded_from_text_and_from_what_is_kept(tmp_path: Path) -> None:
    with servers(tmp_path) as run:
        targets = dns.large(run, 30_000)
        assert [target.name for target in targets] == [
            "dns_server, 100",
            *(f"{name}, 30,000" for name in ("dns_server", "nsd", "knot")),
        ]
        text, compiled, nsd, knot = (load for target in targets for load in target.loads)
        assert text.seconds > 0
        assert compiled.cpu < text.cpu
        assert min(load.bytes for load in (text, compiled, nsd, knot)) > 5_000_000
        compare(targets, Dnsperf(), rounds=1, seconds=1)
        assert [(len(target.micros), target.faults) for target in targets] == [(1, [])] * 4
