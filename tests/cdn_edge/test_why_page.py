"""The worked examples of docs/why-not-cached.md: each is what the edge says, and the line it advises mends it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cdn_edge.lab import Lab

PAGE = (Path(__file__).parents[2] / "docs" / "why-not-cached.md").read_text("utf-8")
FIREFOX, CHROME = "User-Agent: Firefox/140", "User-Agent: Chrome/140"

# title, response, fields of the first request, of the second; a response that the page advises
EXAMPLES = [
    ("A cookie on every page", "Set-Cookie: session=1\nCache-Control: max-age=600", "", "", "Set-Cookie: session=1\n"),
    ("No lifetime, no validator", "", "", "", ""),
    ("Vary: User-Agent", "Cache-Control: max-age=600\nVary: User-Agent", FIREFOX, CHROME, "Cache-Control: max-age=600\n"),
    ("private", "Cache-Control: private, max-age=600", "", "", None),
    ("Authorization", "Cache-Control: max-age=600", "Authorization: Basic eA==", "Authorization: Basic eQ==", None),
    ("Query parameters", "Cache-Control: max-age=600", "", "", None),
    ("Developer tools", "Cache-Control: max-age=600", "", "Cache-Control: no-cache", None),
]  # fmt: skip
SECTIONS = dict(
    re.findall(r"^### (.+?)\n(.*?)(?=^##|\Z)", PAGE.partition("## Worked examples")[2], re.MULTILINE | re.DOTALL)
)


def test_each_example_is_tried() -> None:
    worked = PAGE.partition("## Worked examples")[2].partition("<!--")[0]
    assert re.findall(r"^### (.+)$", worked, re.MULTILINE) == [title for title, *_ in EXAMPLES]


@pytest.mark.parametrize(("title", "response", "first", "second", "mended"), EXAMPLES, ids=[one[0] for one in EXAMPLES])
async def test_an_example(title: str, response: str, first: str, second: str, mended: str | None) -> None:
    section = SECTIONS[title]
    lab = Lab(name="edge-fra")
    lab.origin(lab.response(response))
    one, other = ("/a?utm_source=news", "/a?utm_source=mail") if title.startswith("Query") else ("/a", "/a")
    await lab.ask(one, first)
    reply = await lab.ask(other, second)
    [shown] = re.findall(r"^cache-status: (.+)$", section, re.MULTILINE)
    assert reply.cache_status == shown
    if mended is not None:
        advised = re.findall(r"^```http\n(.+?)```", section, re.MULTILINE | re.DOTALL)
        lab = Lab(name="edge-fra")
        lab.origin(lab.response(mended + "".join(advised).strip()))
        await lab.ask("/a", first)
        assert (await lab.ask("/a", second)).is_hit
