from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from stack.trace.render import render
from tests.stack.trace.cases import HIT, MISS, TRACES, made

GOLDENS = Path(__file__).parent / "goldens"
COLOUR = re.compile(r"\x1b\[[\d;]*m")


@pytest.mark.parametrize("name", TRACES)
@pytest.mark.parametrize("form", ["ascii", "unicode"])
def test_looks_as_it_did(name: str, form: str) -> None:
    """To see what a change does: run with the golden removed, and look at the new one."""
    golden = GOLDENS / f"{name}.{form}.txt"
    text = render(TRACES[name](), unicode=form == "unicode") + "\n"
    if not golden.exists():
        golden.write_text(text)
        pytest.fail(f"{golden} was written: look at it, then run again")
    assert text == golden.read_text()


@pytest.mark.parametrize("width", [60, 80, 132, 400])
@pytest.mark.parametrize("name", TRACES)
def test_fits_the_terminal(name: str, width: int) -> None:
    for unicode in (True, False):
        lines = render(TRACES[name](), width=width, unicode=unicode).splitlines()
        assert max(map(len, lines)) <= width
        assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize("name", TRACES)
def test_without_unicode_all_is_ascii(name: str) -> None:
    assert render(TRACES[name](), unicode=False).isascii()


@pytest.mark.parametrize("name", TRACES)
def test_colour_changes_no_text(name: str) -> None:
    trace = TRACES[name]()
    coloured = render(trace, color=True)
    assert "\x1b[" in coloured
    assert "\n".join(line.rstrip() for line in COLOUR.sub("", coloured).splitlines()) == render(trace)
    assert "\x1b" not in render(trace)


def test_failures_are_red_and_faults_yellow() -> None:
    retried = render(TRACES["retried"](), color=True)
    assert any("connection refused" in line and "\x1b[31m" in line for line in retried.splitlines())
    fault = render(TRACES["fault"](), color=True)
    assert any("fault: latency" in line and "\x1b[33m" in line for line in fault.splitlines())


def test_what_a_server_sends_cannot_move_the_cursor() -> None:
    head = HIT.replace("edge-fra;", 'edge-fra; detail="\x1b[2J\x07\x9b";') + '\nproxy-status: "\x9b"; error="\x9b\x1b"'
    text = render(made(head, url="https://shop.test/\x1b[31m", notes=["\x9b"]))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\x9b" not in text
    assert "\\x1b[2J\\x07\\x9b" in text


def test_every_hop_is_visible_however_short_its_time() -> None:
    trace = made(MISS)
    spans = tuple(replace(span, busy=tuple((at, 0.001) for at, _ in span.busy)) for span in trace.spans)
    text = render(replace(trace, spans=spans, total_ms=100_000.0))
    for span in spans:
        line = next(line for line in text.splitlines() if line.strip().startswith(span.name))
        assert line.rstrip()[-1] in "▏▕·█▌▐", line


def test_no_time_at_all_is_no_division_by_zero() -> None:
    """A virtual clock stands still."""
    trace = made(HIT, before=(), sent_ms=0.0, first_ms=0.0, last_ms=0.0)
    assert "edge-fra HIT" in render(trace)


def test_a_trace_is_its_own_text() -> None:
    trace = made(HIT)
    assert str(trace) == render(trace)
