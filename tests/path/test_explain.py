"""`hopstack explain` against an edge alone: what it says is what the edge then does, and asking changes nothing."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from stack.http.message import Request, Response
from tests.cdn_edge.processes import ROOT, EdgeProcess, cacheable, edge, origin


async def explain(front: EdgeProcess, path: str, *argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stack", "explain", front.url + path, "--admin", front.admin, *argv]
    return await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, cwd=ROOT, timeout=60)


async def record(front: EdgeProcess, path: str, *argv: str) -> dict[str, Any]:
    done = await explain(front, path, "--json", *argv)
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)["edge"]
    return found


def answer(request: Request) -> Response:
    if request.target == b"/cookie":
        return cacheable(b"x", more=[(b"set-cookie", b"session=secret")])
    return cacheable(request.get(b"accept-language") or b"-", more=[(b"vary", b"Accept-Language")])


async def test_what_it_says_is_what_happens(tmp_path: Path) -> None:
    async with origin(answer) as behind, edge(behind.url, home=tmp_path) as front:
        assert (await record(front, "/a"))["lookup"] == "uri-miss"
        assert behind.seen == []
        await front.ask("/a", headers={"accept-language": "de"})
        before = await front.cache()
        hit = await record(front, "/a", "-H", "Accept-Language: de")
        assert (hit["lookup"], hit["answer"], len(hit["variants"])) == ("hit", 200, 1)
        missed = await explain(front, "/a", "-H", "Accept-Language: en")
        assert missed.returncode == 0
        assert missed.stdout.startswith("edge: MISS, vary-miss\n")
        assert "- accept-language: de;q=1000   (stored)" in missed.stdout
        assert "+ accept-language: en;q=1000   (asked)" in missed.stdout
        assert await front.cache() == before
        assert len(behind.seen) == 1
        assert (await front.ask("/a", headers={"accept-language": "de"})).is_hit
        assert "fwd=vary-miss" in (await front.ask("/a", headers={"accept-language": "en"})).cache_status


async def test_why_an_answer_was_not_stored(tmp_path: Path) -> None:
    async with origin(answer) as behind, edge(behind.url, home=tmp_path) as front:
        reply = await front.ask("/cookie")
        assert "detail=set-cookie" in reply.cache_status
        said = (await explain(front, "/cookie")).stdout
        assert "set-cookie: the response sets a cookie" in said
        assert "Cache-Control: public" in said
        assert "secret" not in said


async def test_an_edge_that_is_not_there(tmp_path: Path) -> None:
    async with origin(answer) as behind, edge(behind.url, home=tmp_path) as front:
        pass
    done = await explain(front, "/a")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no answer" in done.stderr
    assert "Traceback" not in done.stderr
