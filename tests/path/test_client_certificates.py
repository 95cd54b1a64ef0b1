"""Hops that show a certificate to the next one: an edge, a balancer and a proxy before a server that requires one."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stack.clock import eventually
from tests.cdn_edge.processes import edge
from tests.loadbalancer.processes import ROOT, balancer
from tests.proxy.processes import proxy
from tests.support.certificates import Authority, authority
from tests.support.origin import OK


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ours"))


@contextlib.asynccontextmanager
async def strict(by: Authority, subjects: list[str]) -> AsyncIterator[int]:
    """A server called inner.test that answers who shows a certificate, and writes down whose."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*by.files("inner.test"))
    context.load_verify_locations(by.path)
    context.verify_mode = ssl.CERT_REQUIRED

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shown = writer.get_extra_info("peercert")
        subjects.append(dict(part[0] for part in shown["subject"])["commonName"])
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(OK)
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def test_an_edge_shows_its_certificate(ours: Authority, tmp_path: Path) -> None:
    cert, key = ours.files("edge@inner.test", common="the edge")
    subjects: list[str] = []
    async with strict(ours, subjects) as port:
        flags = ("--origin-ca", ours.path, "--origin-server-name", "inner.test")
        url = f"https://127.0.0.1:{port}"
        async with edge(url, *flags, "--origin-cert", cert, "--origin-key", key, home=tmp_path) as front:
            assert (await front.ask("/a")).status == 200
        assert subjects == ["the edge"]
        async with edge(url, *flags, home=tmp_path) as front:
            assert (await front.ask("/a")).status == 502


async def test_a_balancer_shows_its_certificate_to_checks_too(ours: Authority, tmp_path: Path) -> None:
    cert, key = ours.files("lb@inner.test", common="the balancer")
    subjects: list[str] = []
    async with strict(ours, subjects) as port:
        flags = ("--backend-ca", ours.path, "--backend-server-name", "inner.test")
        shown = ("--backend-cert", cert, "--backend-key", key)
        async with balancer(
            f"--backend=https://127.0.0.1:{port}", *flags, *shown, "--check", "http:/", home=tmp_path
        ) as lb:
            assert await lb.get() == (200, "ok")
            await eventually(lambda: len(subjects) >= 2)
        assert set(subjects) == {"the balancer"}


@pytest.mark.needs("curl")
async def test_a_proxy_shows_its_certificate(ours: Authority, tmp_path: Path) -> None:
    cert, key = ours.files("proxy@inner.test", common="the proxy")
    subjects: list[str] = []
    async with strict(ours, subjects) as port:
        flags = ("--upstream-ca", ours.path, "--upstream-server-name", "inner.test")
        shown = ("--upstream-cert", cert, "--upstream-key", key)
        home = tmp_path / "home"
        home.mkdir()
        async with proxy(port, *flags, *shown, home=home, scheme="https", ready=False) as front:
            assert (await front.curl("/")).status == 200
        assert set(subjects) == {"the proxy"}


@pytest.mark.parametrize(
    ("kind", "flags", "said"),
    [
        ("cdn_edge", ("--origin", "https://127.0.0.1:1", "--origin-cert", "c.pem"), "--origin-key is missing"),
        ("loadbalancer", ("--backend", "https://127.0.0.1:1", "--backend-key", "k.pem"), "--backend-cert is missing"),
        ("proxy", ("--upstream", "https://127.0.0.1:1", "--upstream-cert", "c.pem"), "--upstream-key is missing"),
    ],
)
def test_one_without_the_other_is_told(tmp_path: Path, kind: str, flags: tuple[str, ...], said: str) -> None:
    command = [sys.executable, "-m", kind, "--listen", "http://127.0.0.1:0", "--state-dir", str(tmp_path), *flags]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert said in ended.stderr
