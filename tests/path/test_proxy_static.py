"""Files below --static, through the real server: whole, in part, conditional, coded beforehand, and nothing else."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stack.clock import eventually
from stack.http.message import Request, Response
from stack.telemetry.exchange import Exchange
from tests.proxy.processes import Proxy, proxy
from tests.support.wire import serving

pytestmark = pytest.mark.needs("curl")

CSS = b"body { color: #222 }\n" * 5000
FILM = os.urandom(3_000_000)


def app(request: Request, exchange: Exchange) -> Response:
    return Response(200, [(b"content-type", b"text/plain")], b"from the app")


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Proxy]:
    root = tmp_path / "built"
    root.mkdir()
    (root / "site.3f2a9c1b.css").write_bytes(CSS)
    (root / "film.mp4").write_bytes(FILM)
    (root / "app.js").write_bytes(b"let a = 1\n")
    (root / "app.js.br").write_bytes(b"\x0b\x02\x80hello\x03")  # brotli for `hello`
    (root / ".env").write_text("SECRET=1")
    (root / "out").symlink_to("/etc")
    (tmp_path / "secret.txt").write_text("secret")
    async with (
        serving(app) as (service, _),
        proxy(service.port, "--static", str(root), home=tmp_path) as running,
    ):
        yield running


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
async def test_a_file(front: Proxy, version: str) -> None:
    reply = await front.curl("/static/site.3f2a9c1b.css", version)
    assert (reply.code, reply.status, reply.body) == (0, 200, CSS)
    assert reply.fields["content-type"] == "text/css; charset=utf-8"
    assert reply.fields["cache-control"] == "public, max-age=31536000, immutable"
    assert reply.fields["x-content-type-options"] == "nosniff"
    assert 'desc="static"' in reply.fields["server-timing"]
    again = await front.curl("/static/site.3f2a9c1b.css", version, "--header", f"if-none-match: {reply.fields['etag']}")
    assert (again.status, again.body, again.fields["etag"]) == (304, b"", reply.fields["etag"])


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
async def test_a_file_is_compressed_on_the_way(front: Proxy, version: str) -> None:
    reply = await front.curl("/static/site.3f2a9c1b.css", version, "--compressed")
    assert (reply.code, reply.body, reply.fields["content-encoding"]) == (0, CSS, "zstd")
    tag = reply.fields["etag"]
    assert tag.startswith('W/"')
    again = await front.curl("/static/site.3f2a9c1b.css", version, "--compressed", "--header", f"if-none-match: {tag}")
    assert (again.status, again.fields["etag"]) == (304, tag)


async def test_a_file_compressed_beforehand(front: Proxy) -> None:
    reply = await front.curl("/static/app.js", "--compressed")
    assert (reply.code, reply.body, reply.fields["content-encoding"]) == (0, b"hello", "br")
    assert (await front.curl("/static/app.js")).body == b"let a = 1\n"


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
async def test_a_long_file_and_its_parts(front: Proxy, version: str) -> None:
    reply = await front.curl("/static/film.mp4", version)
    assert (reply.code, reply.body) == (0, FILM)
    part = await front.curl("/static/film.mp4", version, "--range", "1000000-2499999")
    assert (part.code, part.status, part.body) == (0, 206, FILM[1_000_000:2_500_000])
    assert part.fields["content-range"] == "bytes 1000000-2499999/3000000"
    past = await front.curl("/static/film.mp4", version, "--range", "3000000-")
    assert (past.status, past.fields["content-range"]) == (416, "bytes */3000000")
    head = await front.curl("/static/film.mp4", version, "--head")
    assert (head.status, head.fields["content-length"]) == (200, "3000000")


@pytest.mark.parametrize(
    "path",
    [
        "/static/../secret.txt",
        "/static/..%2fsecret.txt",
        "/static/%2e%2e/secret.txt",
        "/static/%2e%2e%2fsecret.txt",
        "/static/..%5csecret.txt",
        "/static//etc/passwd",
        "/static/out/passwd",
        "/static/.env",
        "/static/%2eenv",
        "/static/",
        "/static/nowhere",
    ],
)
@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
async def test_nothing_else(front: Proxy, path: str, version: str) -> None:
    reply = await front.curl(path, version)
    assert reply.status == 404
    assert b"secret" not in reply.body.lower().replace(path.encode(), b"")
    assert b"root:" not in reply.body
    assert b"from the app" not in reply.body


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
async def test_a_nul_is_no_part_of_a_path(front: Proxy, version: str) -> None:
    assert (await front.curl("/static/app.js%00", version)).status == 400


async def test_only_reading(front: Proxy) -> None:
    reply = await front.curl("/static/app.js", "--request", "DELETE")
    assert (reply.status, reply.fields["allow"]) == (405, "GET, HEAD")


async def test_the_rest_is_the_apps(front: Proxy) -> None:
    assert (await front.curl("/statics")).body == b"from the app"
    assert (await front.curl("/")).body == b"from the app"


async def test_a_file_cut_short_while_it_is_sent_ends_visibly(front: Proxy, tmp_path: Path) -> None:
    path = tmp_path / "built" / "cut.mp4"
    path.write_bytes(bytes(50_000_000))
    client = await front.start_curl("/static/cut.mp4", "--limit-rate", "5M", "--output", str(tmp_path / "out"))
    out = tmp_path / "out"
    await eventually(lambda: out.exists() and out.stat().st_size > 0)
    os.truncate(path, 1000)
    assert await client.wait() != 0
    assert out.stat().st_size < 50_000_000
    assert (await front.curl("/static/app.js")).status == 200


async def test_a_site_without_an_app(tmp_path: Path) -> None:
    root, assets = tmp_path / "public", tmp_path / "built"
    (root / "docs").mkdir(parents=True)
    assets.mkdir()
    (root / "index.html").write_text("<h1>front</h1>")
    (root / "docs" / "index.html").write_text("<h1>docs</h1>")
    (root / "404.html").write_text("<h1>not here</h1>")
    (root / ".env").write_text("SECRET=1")
    (assets / "site.css").write_bytes(CSS)
    flags = ("--static", f"/={root}", "--static", f"/assets/={assets}")
    async with proxy(None, *flags, home=tmp_path / "home") as running:
        assert (await running.curl("/")).body == b"<h1>front</h1>"
        moved = await running.curl("/docs?page=2")
        assert (moved.status, moved.fields["location"]) == (308, "/docs/?page=2")
        # --include shows both heads, the second behind the first
        assert (await running.curl("/docs", "--location")).body.endswith(b"<h1>docs</h1>")
        assert (await running.curl("/assets/site.css", "--compressed")).body == CSS
        for path in ("/nowhere", "/.env", "/assets", "/docs/../.env"):
            missing = await running.curl(path)
            assert (missing.status, missing.body) == (404, b"<h1>not here</h1>"), path
        assert (await running.curl("/", "--request", "POST")).status == 405
        assert (await running.stats())["upstream"] is None
