"""The same stack without await: a thread has the loop."""

from __future__ import annotations

import socket
import threading
import time
import urllib.error
import urllib.request
from typing import Any

import pytest

from stack.errors import ConfigError
from stack.testing import Late, SyncWebStack, WebStack, assert_cached
from tests.stack.testing.apps import MINUTE, Probe


def test_everything_without_await() -> None:
    threads = threading.active_count()
    with WebStack(Probe, replicas=2).sync() as web:
        assert web.get(MINUTE).cache.stored
        assert_cached(web.get(MINUTE))
        web.clock.advance(61)
        assert web.get(MINUTE).cache.reason == "stale"
        web.backends["app-1"].drain()
        assert {web.get(f"/{n}").backend for n in range(4)} == {"app-2"}
        assert web.backends["app-1"].state == "draining"
        web.backends["app-1"].ready()
        web.backends["app-2"].kill()
        assert {web.get(f"/{n}").status for n in range(4)} == {200}
        assert web.explain(MINUTE)["lookup"] in ("hit", "stale")
        assert web.purge(MINUTE) == 1
        with web.fault("client>edge-fra", status=503) as fault:
            assert web.post("/").status == 503
            assert fault.hits == 1
        user = web.client()
        user.get("/cookie?set=a%3D1")
        assert user.cookies["a"] == "1"
        assert web.trace.status == 200
        assert web.logs.of(web.responses[-1])
        assert web.config("edge-fra")["name"] == "edge-fra"
        assert web.metrics("edge-fra")
        assert web.stats("lb-a")["balance"] == "round-robin"
    assert threading.active_count() == threads
    with pytest.raises(RuntimeError, match="with SyncWebStack"):
        web.get("/")


def test_a_blocking_client_of_somebody_elses() -> None:
    with SyncWebStack(Probe) as web:
        with web.resolving(), urllib.request.urlopen(web.url("/"), context=web.ssl_context(), timeout=20) as response:
            assert response.status == 200
            with pytest.raises(urllib.error.URLError, match="knows no address"):
                urllib.request.urlopen(f"https://nowhere.{web.name}/", timeout=20)
            assert socket.getaddrinfo("127.0.0.1", 80)
        assert web.logs["resolver"][-1]["rcode"] == "NXDOMAIN"
        with pytest.raises(socket.gaierror):
            socket.getaddrinfo(web.name, 443)


def test_injected_waits_pass_for_a_client_of_somebody_elses_too() -> None:
    """It has no call of the stack's under way, and might wait for ever: requests has no time-out of its own."""
    with SyncWebStack(Probe, replicas=1) as web, web.resolving():
        began = web.clock.now()
        with web.fault("lb-a>proxy-1", latency=0.4) as fault:
            with urllib.request.urlopen(web.url("/"), context=web.ssl_context(), timeout=8) as got:
                assert got.status == 200
            assert fault.hits == 1
        assert web.clock.now() - began == pytest.approx(0.4)


def test_injected_waits_of_health_checks_alone_move_no_clock() -> None:
    with SyncWebStack(Probe, replicas=1) as web:
        web.fault("lb-a>proxy-1", latency=0.4, checks=True)
        web.clock.advance(2.1)
        now = web.clock.now()
        time.sleep(0.3)
        assert web.clock.now() == now


def test_a_wsgi_app() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain"), ("Cache-Control", "max-age=60")])
        return [f"{environ['wsgi.url_scheme']} {environ['REMOTE_ADDR']} {environ['HTTP_HOST']}".encode()]

    with SyncWebStack(app) as web:
        assert web.get("/").text == f"https 127.0.0.1 {web.url('').removeprefix('https://')}"
        assert_cached(web.get("/"))


def test_errors_come_through_and_nothing_is_left() -> None:
    threads = threading.active_count()
    with pytest.raises(ConfigError, match="no application"):
        SyncWebStack(7).start()
    with SyncWebStack(Probe, deadline=0.3) as web, pytest.raises(Late, match=r"within 0\.3 s"):
        web.get("/never")
    assert threading.active_count() == threads
