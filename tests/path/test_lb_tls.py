"""Backends over https are verified, by name or address, against the authority that is configured, and nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from stack.clock import eventually
from stack.net import ca
from tests.loadbalancer.processes import ROOT, balancer
from tests.support.origin import OK


@contextlib.asynccontextmanager
async def https(context: ssl.SSLContext) -> AsyncIterator[int]:
    """An https backend that answers `ok`; its port."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(OK)
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def certified(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("check", ["tcp", "http:/health", "none"])
async def test_only_the_right_certificate_is_believed(tmp_path: Path, host: str, check: str) -> None:
    ours, others = trustme.CA(), trustme.CA()
    authority = tmp_path / "ca.pem"
    ours.cert_pem.write_to_path(str(authority))
    async with (
        https(certified(ours, host)) as right,
        https(certified(ours, "other.test", "127.0.0.9")) as wrong_name,
        https(certified(others, host)) as wrong_authority,
    ):
        ports = {"right": right, "wrong-name": wrong_name, "wrong-authority": wrong_authority}
        flags = [f"--backend={name}=https://{host}:{port}" for name, port in ports.items()]
        async with balancer(
            *flags, "--backend-ca", str(authority), "--check", check, "--retries", "2", home=tmp_path
        ) as lb:
            assert [await lb.post("/orders", data=b"x") for _ in range(6)] == [(200, "ok")] * 6
            await lb.becomes({"wrong-name": "down", "wrong-authority": "down"})
            states = await lb.backends()
            assert states["right"]["attempts"]["answered"] == 6
            assert states["wrong-name"]["attempts"]["answered"] == 0
            assert states["wrong-authority"]["attempts"]["answered"] == 0
            assert states["wrong-authority"]["reason"].startswith(("check: certificate: ", "traffic: "))
            if (last := states["wrong-authority"]["last_check"]) is not None:
                assert last["result"] == "certificate"
                assert "certificate" in last["detail"]


async def test_the_local_authority_is_the_default(tmp_path: Path) -> None:
    cert, key = ca.issue(tmp_path, "proxy-1", ["localhost"], ["127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    async with https(context) as port:
        async with balancer(f"--backend=https://127.0.0.1:{port}", home=tmp_path) as lb:
            assert await lb.get() == (200, "ok")
            assert (await lb.states()) == {f"127.0.0.1:{port}": "up"}


async def test_source_binds_the_local_address(tmp_path: Path) -> None:
    peers: set[str] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.add(writer.get_extra_info("peername")[0])
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(OK)
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with balancer(
        f"--backend=http://127.0.0.1:{port}", "--source", "127.0.0.7", "--check", "http:/", home=tmp_path
    ) as lb:
        await lb.get()
        await eventually(lambda: peers == {"127.0.0.7"})
    server.close()


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ([], "--backend"),
        (["--backend", "127.0.0.1:1"], "http://HOST:PORT"),
        (["--backend", "http://127.0.0.1:1", "--check", "ping"], "http:/PATH"),
        (["--backend", "http://127.0.0.1:1", "--balance", "best"], "round-robin, least-connections"),
        (["--backend", "http://127.0.0.1:1", "--source", "eth0"], "IP address"),
        (["--backend", "https://127.0.0.1:1", "--backend-ca", "/nonexistent.pem"], "/nonexistent.pem"),
        (["--backend", "http://127.0.0.1:1", "--wieght", "a=1"], "--weight"),
    ],
)
def test_what_is_wrong_is_one_line_and_status_2(tmp_path: Path, flags: list[str], named: str) -> None:
    command = [sys.executable, "-m", "loadbalancer", "--listen", "http://127.0.0.1:0", "--state-dir", str(tmp_path)]
    ended = subprocess.run([*command, *flags], cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert named in ended.stderr
