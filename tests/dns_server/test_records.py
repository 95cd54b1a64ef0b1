"""`/-/records` and `/-/changes` of the admin endpoint; what the command line makes of them is in tests/stack/cli."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest

from dns_server import records
from dns_server.book import Book
from dns_server.changes import Changes
from dns_server.records import record_pages
from dns_server.rules.names import from_text
from dns_server.rules.zone import Zones
from dns_server.zonefile import load_text
from stack.clock import SystemClock
from stack.errors import HopError
from stack.http.message import Request, Response

TEXT = "$TTL 60\n@ IN SOA ns h 5 1 1 1 30\n@ IN NS ns\nns IN A 192.0.2.1\n" + "".join(
    f"host{number} IN A 192.0.2.{number}\n" for number in range(10, 30)
)


@pytest.fixture
async def changes(tmp_path: Path) -> Changes:
    """The primary of shop.test and a secondary of mirror.test."""
    book = Book()
    book.fetched = frozenset({from_text("mirror.test")})
    made = Changes(book, tmp_path, clock=SystemClock())
    await made.load(Zones([load_text(from_text("shop.test"), TEXT)[0]]))
    book.put(load_text(from_text("mirror.test"), TEXT)[0])
    return made


async def ask(changes: Changes, method: str, path: str, content: Any = None) -> tuple[int, Any]:
    page = record_pages(changes)[method.encode(), path.partition("?")[0].encode()]
    body = content if isinstance(content, bytes) else b"" if content is None else json.dumps(content).encode()
    try:
        response = page(Request(method.encode(), path.encode(), [], authority=b"localhost", body=body))
        if isinstance(response, Awaitable):
            response = await response
    except HopError as error:
        return error.status, error.detail
    assert isinstance(response, Response)
    assert isinstance(response.body, bytes)
    return response.status, json.loads(response.body)


async def test_a_long_answer_says_that_there_is_more(changes: Changes, monkeypatch: pytest.MonkeyPatch) -> None:
    status, answer = await ask(changes, "GET", "/-/records?zone=shop.test")
    assert (status, len(answer["records"]), answer["more"]) == (200, 23, False)
    monkeypatch.setattr(records, "MOST", 5)
    status, answer = await ask(changes, "GET", "/-/records")
    assert (status, len(answer["records"]), answer["more"]) == (200, 5, True)


async def test_a_row_says_where_it_comes_from(changes: Changes) -> None:
    wanted = {"name": "host10.shop.test", "type": "a", "data": "192.0.2.99"}
    status, answer = await ask(changes, "PUT", "/-/records", wanted)
    assert (status, answer["serial"], answer["changed"], answer["cached_s"]) == (200, 6, True, 60)
    (row,) = (await ask(changes, "GET", "/-/records?name=host10.shop.test"))[1]["records"]
    assert row.pop("at") > 0
    assert row == {
        "zone": "shop.test.", "name": "host10.shop.test.", "type": "A", "ttl": 60, "data": ["192.0.2.99"],
        "source": "changed", "by": "the admin endpoint", "text": {"ttl": 60, "data": ["192.0.2.10"]},
    }  # fmt: skip
    (row,) = (await ask(changes, "GET", "/-/records?name=host10.mirror.test"))[1]["records"]
    assert row["source"] == "primary"
    status, answer = await ask(changes, "DELETE", "/-/changes?zone=shop.test")
    assert answer == {"reset": [{"zone": "shop.test.", "name": "host10.shop.test.", "type": "A", "serial": 7}]}


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "said"),
    [
        ("PUT", "/-/records", b"{", 400, 'Send {"name"'),
        ("PUT", "/-/records", b"[]", 400, 'Send {"name"'),
        ("PUT", "/-/records", {"type": "A", "data": ["192.0.2.1"]}, 400, "A name is missing"),
        ("PUT", "/-/records", {"name": "a.shop.test", "data": ["192.0.2.1"]}, 400, "A type is missing"),
        ("PUT", "/-/records", {"name": "a.shop.test", "type": "A"}, 400, "Data is missing"),
        ("PUT", "/-/records", {"name": "a.shop.test", "type": "A", "data": [1]}, 400, "Data is missing"),
        ("PUT", "/-/records", {"name": 7, "type": "A", "data": ["192.0.2.1"]}, 400, "name is text"),
        ("PUT", "/-/records", {"name": "a.shop.test", "type": "A", "ttl": -1, "data": ["192.0.2.1"]}, 400, "A TTL is"),
        (
            "PUT",
            "/-/records",
            {"name": "a.shop.test", "type": "A", "ttl": True, "data": ["192.0.2.1"]},
            400,
            "A TTL is",
        ),
        ("PUT", "/-/records", {"name": "a.other.test", "type": "A", "data": ["192.0.2.1"]}, 404, "is in no zone"),
        ("PUT", "/-/records", {"name": "a.mirror.test", "type": "A", "data": ["192.0.2.1"]}, 404, "from a primary"),
        (
            "PUT",
            "/-/records",
            {"name": "host10.shop.test", "type": "CNAME", "data": ["a."]},
            409,
            "CNAME and other data",
        ),
        ("DELETE", "/-/records?name=host10.mirror.test", None, 404, "from a primary"),
        ("DELETE", "/-/records?name=host10.shop.test&data=192.0.2.1", None, 400, "by name, type and data"),
        ("DELETE", "/-/changes?zone=mirror.test", None, 404, "from a primary"),
        ("GET", "/-/records?zone=nope.test", None, 404, "it has shop.test., mirror.test."),
        ("GET", "/-/records?type=TXTT", None, 400, "did you mean TXT?"),
        ("PUT", "/-/records", b" " * ((1 << 20) + 1), 413, "At most"),
    ],
)
async def test_what_is_wrong_is_said(
    changes: Changes, method: str, path: str, content: Any, status: int, said: str
) -> None:
    before = changes.book.zones
    found = await ask(changes, method, path, content)
    assert found[0] == status
    assert said in found[1]
    assert changes.book.zones is before
