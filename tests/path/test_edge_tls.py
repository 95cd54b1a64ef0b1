"""The edge's https listener: HTTP/2 and HTTP/1.1 by ALPN, by curl, with a certificate of the local CA."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from stack.net import ca
from tests.cdn_edge.processes import EdgeProcess, cacheable, edge, origin


async def curl(front: EdgeProcess, home: Path, *flags: str) -> str:
    port = front.url.rpartition(":")[2]
    command = [
        "curl", "-sS", "-i", "--cacert", str(ca.ca_path(home)), "--resolve", f"shop.test:{port}:127.0.0.1",
        *flags, f"https://shop.test:{port}/a",
    ]  # fmt: skip
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.mark.needs("curl")
@pytest.mark.parametrize(("flag", "version"), [("--http2", "HTTP/2"), ("--http1.1", "HTTP/1.1")])
async def test_curl_over_https(tmp_path: Path, flag: str, version: str) -> None:
    async with (
        origin(lambda _: cacheable(b"content", more=[(b"etag", b'"a"')])) as behind,
        edge(behind.url, "--server-names", "shop.test", home=tmp_path, scheme="https") as front,
    ):
        first = await curl(front, tmp_path, flag)
        assert first.startswith(f"{version} 200")
        assert "cache-status: edge; fwd=uri-miss; fwd-status=200; stored; ttl=" in first
        second = await curl(front, tmp_path, flag)
        assert "cache-status: edge; hit; ttl=" in second
        assert second.endswith("content")
        unchanged = await curl(front, tmp_path, flag, "-H", 'If-None-Match: "a"')
        assert unchanged.startswith(f"{version} 304")
        assert len(behind.seen) == 1
        assert behind.seen[0].get(b"x-forwarded-proto") == b"https"
