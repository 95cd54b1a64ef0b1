"""`hopstack trace` against real processes: what each hop did, in words, with times that add up."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stack.clock import eventually
from tests.loadbalancer.processes import BackendProcess, balancer
from tests.stack.trace.test_archive import OURS, VALIDATOR
from tests.support.stack import Stack

COLOUR = re.compile(r"\x1b\[[\d;]*m")


def traced(stack: Stack, *argv: str, status: int = 0) -> list[dict[str, Any]]:
    """The requests of `--json`, each held to the documented form."""
    done = stack.hopstack("trace", "--json", *argv)
    assert (done.returncode, done.stderr) == (status, ""), done.stdout + done.stderr
    document = json.loads(done.stdout)
    assert [error.message for error in OURS.iter_errors(document)] == []
    requests: list[dict[str, Any]] = document["requests"]
    return requests


def decisions(request: dict[str, Any]) -> dict[str, str]:
    return {span["name"]: span["decision"] for span in request["spans"]}


def adds_up(request: dict[str, Any]) -> bool:
    """To a tenth of a millisecond for each hop, as Server-Timing has it; the client has some time between its own."""
    own = sum(span["own_ms"] for span in request["spans"])
    budget = sum(row["ms"] or 0.0 for row in request["budget"])
    total: float = request["total_ms"]
    return 0.3 * total < own < total + 0.6 and abs(budget - total) < 0.6


def test_a_miss_shows_every_hop_and_the_second_request_the_hit(stack: Stack) -> None:
    url = stack.url(f"/products/shoes?trace={os.getpid()}")
    miss, hit = traced(stack, url, "--repeat", "2")
    assert [span["kind"] for span in miss["spans"]] == [
        *("dns", "dns", "dns", "tcp", "tls", "http"),
        *("cdn_edge", "loadbalancer", "proxy", "appserver", "database"),
    ]
    said = decisions(miss)
    assert said["dns-root"] == "A shop.test: referral to test"
    assert said["dns-tld"] == "A shop.test: referral to shop.test"
    assert said["dns-shop"].startswith("A shop.test: 127.0.1.")
    assert said["tls"] == "TLS 1.3, h2, shop.test verified"
    edge = miss["edge"]
    assert re.fullmatch(r"MISS uri-miss, stored \d+ s", said[edge])
    proxy = said["lb-a"].removeprefix("to ")
    assert said[proxy] == "to the app, zstd"
    assert said[proxy.replace("proxy", "app")] == "answered"
    assert said["db"] == "1 query"
    assert adds_up(miss)
    assert all(row["ms"] is not None for row in miss["budget"])
    assert (hit["reused"], [span["kind"] for span in hit["spans"]]) == (True, ["http", "cdn_edge"])
    assert (hit["cache"][0]["result"], hit["cache"][0]["cache"]) == ("hit", edge)
    assert adds_up(hit)


async def test_the_request_id_leads_to_every_hops_log(stack: Stack) -> None:
    (request,) = traced(stack, stack.url(f"/products/shoes?log={os.getpid()}"))
    hops = [span["name"] for span in request["spans"] if span["kind"] in ("cdn_edge", "loadbalancer", "proxy")]

    def logged() -> bool:
        return all(any(line["request_id"] == request["request_id"] for line in stack.log(hop)) for hop in hops)

    assert len(hops) == 3
    await eventually(logged, within=10)


def test_the_edge_that_was_asked_for(stack: Stack) -> None:
    (request,) = traced(stack, "/cart", "--edge", "nrt", "--http1.1")
    assert (request["edge"], request["protocol"]) == ("edge-nrt", "HTTP/1.1")
    assert request["address"] == f"127.0.1.2:{stack.https}"
    assert request["url"] == stack.url("/cart")
    assert decisions(request)["edge-nrt"] == "MISS uri-miss, not stored: no-store"


@contextlib.contextmanager
def fault(stack: Stack, *argv: str) -> Iterator[None]:
    added = stack.hopstack("fault", "add", "--name", "of-the-test", *argv)
    assert added.returncode == 0, added.stderr
    try:
        yield
    finally:
        stack.hopstack("fault", "clear", "of-the-test")


def test_an_attempt_that_failed_has_a_line_of_its_own(stack: Stack) -> None:
    with fault(stack, "lb-a>proxy-2", "refused", "checks=no"):
        requests = traced(stack, "/cart", "--repeat", "6")  # one of three in turn begins with proxy-2
    attempts = [
        [(span["name"], span["decision"]) for span in request["spans"] if span["kind"] == "attempt"]
        for request in requests
    ]
    two = next(tried for tried in attempts if tried)
    assert two[0] == ("proxy-2", "attempt 1: connection refused; fault: refused")
    assert re.fullmatch(r"proxy-[13]", two[1][0])
    assert two[1][1] == "attempt 2: answered"


def test_an_injected_wait_is_named_and_drawn(stack: Stack) -> None:
    with fault(stack, "edge-fra>lb-a", "latency=80ms"):
        (request,) = traced(stack, "/cart", "--edge", "fra")
        text = stack.hopstack("trace", "/cart", "--edge", "fra").stdout
    edge = next(span for span in request["spans"] if span["name"] == "edge-fra")
    assert edge["decision"].startswith("fault: latency; MISS")
    assert edge["injected"]
    assert 79 <= sum(took for _, took in edge["faults_ms"]) <= edge["total_ms"]  # a timer may be a moment early
    line = next(line for line in text.splitlines() if line.startswith("edge-fra"))
    assert "!" in line
    assert "! injected fault" in " ".join(text.split())


def test_an_error_of_a_hops_own_is_status_1_and_says_whose(stack: Stack) -> None:
    with fault(stack, "edge-*>lb-a", "refused"):
        (request,) = traced(stack, f"/products/shoes?refused={os.getpid()}", status=1)
    (error,) = request["proxy_status"]
    assert (request["status"], error["hop"], error["error"]) == (502, request["edge"], "connection_refused")
    assert "of-the-test" in error["why"]
    assert [span["kind"] for span in request["spans"]][-2:] == ["http", "cdn_edge"]
    assert request["spans"][-1]["error"]


def test_a_response_that_breaks_off_is_status_5(stack: Stack) -> None:
    with fault(stack, "client>edge-*", "truncate=100"):
        (request,) = traced(stack, "/cart", "--http1.1", status=5)
    assert (request["status"], request["size"], request["failure"]) == (200, 100, "connection")
    assert request["error"].startswith("the response broke off")


def test_nothing_answers_in_time(stack: Stack) -> None:
    with fault(stack, "client>edge-*", "blackhole"):
        (request,) = traced(stack, "/cart", "--timeout", "1", status=6)
    assert request["error"] == "waiting for the response took more than 1 s"
    assert [span["kind"] for span in request["spans"]] == ["dns", "dns", "dns", "tcp", "tls", "http"]


async def test_a_backend_that_was_killed_shows_two_attempts(tmp_path: Path) -> None:
    two = [BackendProcess("b1"), BackendProcess("b2")]
    try:
        async with balancer(*(one.flag for one in two), "--check", "none", home=tmp_path) as lb:
            for _ in range(4):
                await eventually(lambda: _answers(lb), within=10)
            two[0].kill()
            stack = Stack(tmp_path, 0)
            requests = [traced(stack, f"{lb.url}/{number}")[0] for number in range(2)]
    finally:
        for one in two:
            one.kill()
    tried = [
        [(span["name"], span["error"]) for span in request["spans"] if span["kind"] == "attempt"]
        for request in requests
    ]
    assert [("b1", True), ("b2", False)] in tried
    assert all(request["status"] == 200 for request in requests)


async def _answers(lb: Any) -> bool:
    status, _ = await lb.get()
    return bool(status == 200)


def test_a_name_that_does_not_exist_is_status_4_and_names_the_server(stack: Stack) -> None:
    (request,) = traced(stack, f"https://nope.shop.test:{stack.https}/", status=4)
    assert request["error"] == "nope.shop.test does not exist, says dns-shop (NXDOMAIN)"
    assert [span["name"] for span in request["spans"]] == ["dns-root", "dns-tld", "dns-shop"]


def test_a_port_where_nobody_listens_is_status_5(stack: Stack) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        (request,) = traced(stack, f"https://shop.test:{port}/", status=5)
    assert request["failure"] == "connection"
    assert request["error"].endswith("connection refused: nothing listens there")


def test_without_a_stack_its_name_is_nobodys(tmp_path: Path) -> None:
    nobody = Stack(tmp_path, 0)
    done = nobody.hopstack("trace", "https://shop.test:8443/")
    assert done.returncode == 3
    assert "`hopstack up` starts a stack" in " ".join(done.stdout.split())


def test_an_archive_for_the_browser(stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "trace.har"
    done = stack.hopstack("trace", "/cart", "--repeat", "2", "--har", str(path), "-H", "Cookie: session=s3cret")
    assert done.returncode == 0, done.stderr
    text = path.read_text()
    assert [error.message for error in VALIDATOR.iter_errors(json.loads(text))] == []
    first, second = json.loads(text)["log"]["entries"]
    assert first["timings"]["dns"] > 0
    assert 0 < first["timings"]["ssl"] < first["timings"]["connect"]
    assert second["timings"]["connect"] == -1
    assert first["response"]["httpVersion"] == "HTTP/2"
    assert "s3cret" not in text


def test_the_content_goes_to_a_file_as_it_can_be_read(stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    done = stack.hopstack("trace", "/cart", "-o", str(path))
    assert done.returncode == 0, done.stderr
    assert path.read_bytes().startswith(b"<!doctype html>")
    piped = stack.hopstack("trace", "/cart", "-o", "-")
    assert piped.stdout.startswith("<!doctype html>")
    assert "lb-a" in piped.stderr


def test_off_a_terminal_it_is_plain_ascii_of_80_columns(stack: Stack) -> None:
    done = stack.hopstack("trace", "/products/shoes", "-v")
    assert done.stdout.isascii()
    assert "\x1b" not in done.stdout
    waterfall = done.stdout.partition("\nGET https://")[2]
    assert max(map(len, waterfall.splitlines())) <= 80
    assert "> traceparent: 00-" in done.stdout
    assert "< cache-status: edge-" in done.stdout


@pytest.mark.parametrize(("environ", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_on_a_terminal_it_has_colour_and_bars(stack: Stack, environ: dict[str, str], coloured: bool) -> None:
    text = _in_terminal(stack, environ, "trace", "/cart")
    assert bool(COLOUR.search(text)) is coloured
    assert "█" in text
    assert max(len(COLOUR.sub("", line)) for line in text.splitlines()) <= 100


def _in_terminal(stack: Stack, environ: dict[str, str], *argv: str) -> str:
    """What it prints on a terminal of 100 columns."""
    mine, its = pty.openpty()
    env = {**stack.env, "TERM": "xterm", "COLUMNS": "100", "PYTHONUTF8": "1", **environ}
    if "NO_COLOR" not in environ:
        env.pop("NO_COLOR", None)
    process = subprocess.Popen([sys.executable, "-m", "stack", *argv], stdin=its, stdout=its, stderr=its, env=env)
    os.close(its)
    out = b""
    with contextlib.suppress(OSError):  # the last process that had the terminal has gone
        while piece := os.read(mine, 65536):
            out += piece
    os.close(mine)
    assert process.wait(30) == 0, out
    return out.decode().replace("\r\n", "\n")
