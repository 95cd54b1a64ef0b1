"""What the query log and the metrics say of a query, which lines are drawn, and that a client can make no series."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from dns_server.query_log import SLOW, Cell, QueryLog
from dns_server.responses import Finished
from dns_server.rules.query import parse
from dns_server.rules.rrset import Answer
from stack.clock import VirtualClock
from stack.telemetry.metrics import Metrics
from stack.telemetry.requests import BOUNDS
from tests.support.dns_faults import Server
from tests.support.dns_network import edns, question

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    started = await Server(tmp_path).start()
    yield started
    await started.hop.drain()
    await started.hop.stop()
    await started.net.close()


class Log:
    """A query log into a file, on a virtual clock."""

    def __init__(self, file: Path, **more: Any) -> None:
        self.clock, self.metrics, self.file = VirtualClock(), Metrics(), file
        self.log = QueryLog(str(file), hop="dns", clock=self.clock, metrics=self.metrics, random=Random(1), **more)

    def ask(self, answer: Answer, *, name: str = "www.shop.test", type: str = "A", took: float = 0.0) -> None:
        query = parse(question(name, type))
        assert query is not None
        self.log.finished(query, answer, "192.0.2.9", "udp", self.clock.now() - took, 50)

    def lines(self) -> list[dict[str, Any]]:
        self.log.lines.flush()
        return [json.loads(line) for line in self.file.read_text().splitlines()]


async def test_a_line_says_all_of_a_query(server: Server) -> None:
    asked = question("WWW.shop.test", "A", id=7, flags=0x0100, opt=edns(1400, flags=0x8000))
    assert isinstance(server.hop.handler.answer(asked, "192.0.2.9", "udp"), bytes)
    server.hop.handler.answer(question("x.example", "TYPE65280", opt=edns()), "2001:db8::1", "tcp")
    first, second = server.lines()
    assert list(first) == [
        "time", "hop", "client", "proto", "name", "type", "zone", "rcode", "flags", "marks", "edns", "bytes", "ms",
    ]  # fmt: skip
    assert (first["name"], first["type"], first["zone"], first["edns"]) == ("WWW.shop.test.", "A", "shop.test.", 1400)
    assert first["flags"] == ["aa", "rd", "edns", "do"]
    assert "zone" not in second
    assert (second["type"], second["rcode"]) == ("TYPE65280", "REFUSED")
    assert second["ede"] == [20, "no zone of this server has the name"]


async def test_a_truncated_response_is_seen_as_one(server: Server) -> None:
    for _ in range(3):
        server.hop.handler.answer(question("big.shop.test", "TXT"), "192.0.2.9", "udp")
    server.hop.handler.answer(question("big.shop.test", "TXT"), "192.0.2.9", "tcp")
    assert ["tc" in line["flags"] for line in server.lines()] == [True, True, True, False]
    samples = server.metrics.samples()
    assert samples['hopstack_dns_truncated_total{protocol="udp"}'] == 3
    assert samples['hopstack_dns_truncated_total{protocol="tcp"}'] == 0


async def test_metrics_by_zone_and_of_zones(server: Server) -> None:
    for _ in range(5):
        server.hop.handler.answer(question("www.shop.test", "MX"), "192.0.2.9", "udp")
    server.hop.handler.answer(question("www.other.test"), "192.0.2.9", "udp")
    samples = server.metrics.samples()
    labels = 'type="MX",rcode="NOERROR",protocol="udp",zone="shop.test.",word="nodata"'
    assert samples[f"hopstack_dns_queries_total{{{labels}}}"] == 5
    labels = 'type="A",rcode="REFUSED",protocol="udp",zone="",word="refused"'
    assert samples[f"hopstack_dns_queries_total{{{labels}}}"] == 1
    assert samples['hopstack_dns_zone_names{zone="shop.test."}'] == 5
    assert samples['hopstack_dns_zone_changed_seconds{zone="shop.test."}'] == server.clock.time()
    assert samples['hopstack_dns_responses_total{how="kept"}'] == 4
    assert samples['hopstack_dns_responses_total{how="made"}'] == 2
    assert samples['hopstack_dns_seconds_count{protocol="udp"}'] == 6
    assert server.metrics.samples() == samples  # looking at them changes nothing


def test_latency_in_buckets(tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    for took in (0.0, 0.0004, 0.003, 7.0, 60.0):
        log.ask(Answer("answered"), took=took)
    log.log.lines.close()
    answer = Answer("answered")
    query = parse(question("www.shop.test"))
    assert query is not None
    log.log.burst([Finished(b"", query, answer, Cell(()))] * 10, [], 0.002)
    samples = log.metrics.samples()
    found = {
        bound: samples[f'hopstack_dns_seconds_bucket{{protocol="udp",le="{bound}"}}']
        for bound in ("0.0005", "0.0025", "0.005", "10", "+Inf")
    }
    assert found == {"0.0005": 2, "0.0025": 12, "0.005": 13, "10": 14, "+Inf": 15}
    assert samples['hopstack_dns_seconds_sum{protocol="udp"}'] == pytest.approx(67.0234)
    assert len(BOUNDS) == 14


def test_a_client_makes_no_series(tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    for number in range(1000, 3000):
        log.ask(Answer("answered"), name=f"n{number}.test", type=f"TYPE{number}")
    series = [name for name in log.metrics.samples() if name.startswith("hopstack_dns_queries_total")]
    assert len(series) == 1


def failed(word: str, rcode: int) -> Callable[[], Answer]:
    return lambda: Answer(word, rcode)


def faulty() -> Answer:
    answer = Answer("answered")
    answer.faults = ("cable",)
    return answer


@pytest.mark.parametrize(
    ("make", "took", "always"),
    [
        (failed("answered", 0), 0.0, False),
        (failed("nxdomain", 3), 0.0, False),
        (failed("refused", 5), 0.0, False),
        (failed("servfail", 2), 0.0, True),
        (failed("formerr", 1), 0.0, True),
        (faulty, 0.0, True),
        (failed("answered", 0), SLOW, True),
    ],
)
def test_which_lines_are_drawn(tmp_path: Path, make: Callable[[], Answer], took: float, always: bool) -> None:
    log = Log(tmp_path / "log", share=0.1)
    for _ in range(500):
        log.ask(make(), took=took)
    lines = log.lines()
    if always:
        assert len(lines) == 500
        assert all("sample" not in line for line in lines)
    else:
        assert 25 < len(lines) < 85
        assert all(line["sample"] == 0.1 for line in lines)
    counted = [value for name, value in log.metrics.samples().items() if name.startswith("hopstack_dns_queries_total")]
    assert counted == [500]


def test_no_share_leaves_what_is_notable(tmp_path: Path) -> None:
    log = Log(tmp_path / "log", share=0.0)
    for answer in (Answer("answered"), Answer("servfail", 2)):
        log.ask(answer)
    assert [line["rcode"] for line in log.lines()] == ["SERVFAIL"]


async def test_every_key_and_metric_is_documented(server: Server) -> None:
    """docs/dns.md and the code tell of the same."""
    text = (DOCS / "dns.md").read_text().partition("## Looking in")[2].partition("## Faults")[0]
    server.add("dns-shop rcode=SERVFAIL qname=broken.*")
    await server.ask("broken.shop.test")
    await server.ask()
    keys = {key for line in server.lines() for key in line} | {"walk", "cookie", "sample", "ede"}
    table = {key for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)}
    assert keys - table == set()
    names = {
        re.sub(r"(_bucket|_sum|_count)$", "", re.split(r"[{ ]", name)[0])
        for name in server.metrics.samples()
        if name.startswith("hopstack_dns_")
    }
    whole = (DOCS / "dns.md").read_text()
    assert [name for name in sorted(names) if f"`{name}" not in whole] == []
