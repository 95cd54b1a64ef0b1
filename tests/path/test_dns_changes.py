"""`hopstack dns` against the running stack: in force when it returns, there after a restart, gone by a reset."""

from __future__ import annotations

import json
from collections.abc import Iterator

import dns.message
import dns.query
import pytest

from tests.support.stack import Stack


@pytest.fixture
def changed(stack: Stack) -> Iterator[Stack]:
    yield stack
    stack.hopstack("dns", "reset")


def resolved(stack: Stack, name: str, type: str) -> list[str]:
    """By the stack's own resolver."""
    query = dns.message.make_query(name, type)
    response = dns.query.udp(query, "127.0.0.1", port=stack.base + 53, timeout=5)
    return sorted(rdata.to_text() for rrset in response.answer for rdata in rrset)


def test_a_change_is_seen_at_once_survives_a_restart_and_is_undone(changed: Stack) -> None:
    stack = changed
    before = resolved(stack, "www.shop.test", "A")
    assert before
    made = stack.hopstack("dns", "set", "www", "60", "A", "192.0.2.1")
    assert made.returncode == 0, made.stderr
    assert resolved(stack, "www.shop.test", "A") == ["192.0.2.1"]
    made = stack.hopstack("dns", "set", "fresh.shop.test", "TXT", "one two", "--json")
    assert json.loads(made.stdout)["flushed"] == ["resolver"]
    assert resolved(stack, "fresh.shop.test", "TXT") == ['"one two"']
    made = stack.hopstack("restart", "dns-shop")
    assert made.returncode == 0, made.stderr
    assert resolved(stack, "www.shop.test", "A") == ["192.0.2.1"]
    made = stack.hopstack("dns", "show", "--changed")
    assert 'fresh.shop.test. 60 IN TXT "one two"\n; set by hopstack dns; the text has none\n' in made.stdout
    made = stack.hopstack("dns", "unset", "fresh")
    assert made.returncode == 0, made.stderr
    assert resolved(stack, "fresh.shop.test", "TXT") == []
    made = stack.hopstack("dns", "reset")
    assert made.returncode == 0, made.stderr
    assert resolved(stack, "www.shop.test", "A") == before
    assert stack.hopstack("dns", "show", "--changed").stdout == "Nothing differs from the zones' texts.\n"


def test_a_fault_is_a_line_and_status_2(changed: Stack) -> None:
    made = changed.hopstack("dns", "set", "www", "CNAME", "other.example")
    assert (made.returncode, made.stdout) == (2, "")
    assert made.stderr.startswith("hopstack: www.shop.test. has a CNAME and other data")
    assert made.stderr.count("\n") == 1
