"""One request passes DNS, edge, load balancer, proxy, app and database, and every hop is named in its response."""

from __future__ import annotations

import json
import re

import pytest

from stack.clock import eventually
from tests.support.stack import Stack


def fields(answer: str) -> dict[str, list[str]]:
    """Head of the last response in what `curl -i` printed."""
    heads = [part for part in answer.replace("\r\n", "\n").split("\n\n") if part.startswith("HTTP/")]
    found: dict[str, list[str]] = {}
    for line in heads[-1].split("\n")[1:]:
        name, _, value = line.partition(":")
        found.setdefault(name.lower(), []).append(value.strip())
    return found


@pytest.mark.needs("curl")
@pytest.mark.parametrize("protocol", ["--http1.1", "--http2"])
@pytest.mark.parametrize(("edge", "address"), [("edge-fra", "127.0.1.1"), ("edge-nrt", "127.0.1.2")])
async def test_every_hop_is_named(stack: Stack, protocol: str, edge: str, address: str) -> None:
    query = f"?path={edge}{protocol}"  # a page that no cache has yet
    answer = stack.curl(f"/products/shoes{query}", "-i", protocol, edge=address)
    assert re.match(r"HTTP/(1\.1|2) 200", answer)
    found = fields(answer)
    via = ", ".join(found["via"])
    assert re.fullmatch(rf"1\.1 proxy-[123], 1\.1 lb-a, (1\.1|2) {edge}|1\.1 proxy-[123], 1\.1 lb-a, 1\.1 {edge}", via)
    timing = ", ".join(found["server-timing"])
    proxy = via.split(",")[0].removeprefix("1.1 ")
    app = proxy.replace("proxy", "app")
    for name in (f"{edge}.lookup", "lb-a.choose", f"{proxy}.forward", f"{app}.app", f"{app}.db"):
        assert f"{name};dur=" in timing, timing
    assert f"{edge}; fwd=uri-miss" in found["cache-status"][0]
    [request_id] = found["x-request-id"]

    for hop in (edge, "lb-a", proxy, app):

        def logged(hop: str = hop) -> bool:
            return any(line["request_id"] == request_id for line in stack.log(hop))

        await eventually(logged)
    traces = {
        line["trace_id"]
        for hop in (edge, "lb-a", proxy, app)
        for line in stack.log(hop)
        if line["request_id"] == request_id
    }
    assert len(traces) == 1


@pytest.mark.needs("curl")
async def test_every_hop_knows_the_client(stack: Stack) -> None:
    """And nobody can say that he is somebody else."""
    answer = stack.curl(
        "/products/shoes?client",
        "-i",
        "--interface",
        "127.0.0.77",
        "-H",
        "X-Forwarded-For: 6.6.6.6",
        "-H",
        "Forwarded: for=6.6.6.6",
    )
    [request_id] = fields(answer)["x-request-id"]

    def clients() -> dict[str, str]:
        hops = ("edge-fra", "lb-a", *(f"{kind}-{number}" for kind in ("proxy", "app") for number in (1, 2, 3)))
        return {hop: line["client"] for hop in hops for line in stack.log(hop) if line["request_id"] == request_id}

    await eventually(lambda: len(clients()) == 4)
    assert set(clients().values()) == {"127.0.0.77"}


@pytest.mark.needs("curl")
async def test_the_second_request_is_a_hit_and_shows_no_old_timings(stack: Stack) -> None:
    first = fields(stack.curl("/products/lamp?hit", "-i"))
    second = fields(stack.curl("/products/lamp?hit", "-i"))
    assert "stored" in first["cache-status"][0]
    assert second["cache-status"][0].startswith("edge-fra; hit")
    assert "lb-a" not in ", ".join(second["server-timing"])
    assert int(second["age"][0]) <= 30
    assert first["x-request-id"] != second["x-request-id"]


@pytest.mark.needs("curl")
async def test_the_name_is_resolved_by_the_stack_itself(stack: Stack) -> None:
    doh = f"https://localhost:{stack.base + 54}/dns-query"
    before = len(stack.log("dns-shop"))
    answer = stack.curl("/api/products", "--resolve", f"+localhost:{stack.base + 54}:127.0.0.1", "--doh-url", doh)
    assert json.loads(answer)

    import subprocess

    done = subprocess.run(
        [
            "curl",
            "-sS",
            "-i",
            "--max-time",
            "20",
            "--cacert",
            str(stack.ca),
            "--doh-url",
            doh,
            stack.url("/products/shoes?doh"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "cache-status: edge-" in done.stdout
    await eventually(lambda: len(stack.log("dns-shop")) > before)


@pytest.mark.needs("curl")
async def test_an_answer_in_the_clear_too(stack: Stack) -> None:
    import urllib.request

    request = urllib.request.Request(
        f"http://127.0.1.1:{stack.base + 80}/products/shoes", headers={"Host": "shop.test"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.status == 200
        assert "edge-fra" in answer.headers["via"]


@pytest.mark.needs("nghttp", "h2load")
async def test_real_http2_clients(stack: Stack) -> None:
    import subprocess

    url = f"https://127.0.1.1:{stack.https}/products/shoes"
    shown = subprocess.run(
        ["nghttp", "-nv", "-H", ":authority: shop.test", url], capture_output=True, text=True, timeout=30, check=False
    ).stdout
    assert ":status: 200" in shown
    assert "PROTOCOL_ERROR" not in shown
    loaded = subprocess.run(
        ["h2load", "-n200", "-c4", "-m10", "-H", ":authority: shop.test", url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    ).stdout
    assert "200 succeeded, 0 failed, 0 errored, 0 timeout" in loaded
    assert "200 2xx" in loaded
