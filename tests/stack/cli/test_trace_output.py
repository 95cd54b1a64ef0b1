"""Where `hopstack trace` uses colour and more than ASCII."""

from __future__ import annotations

import io
import sys

import pytest

from stack.cli.trace_output import Printer
from stack.trace.run import Order, Outcome
from stack.trace.target import parse
from tests.stack.trace.cases import TRACES


class Terminal(io.TextIOWrapper):
    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding=encoding)

    def isatty(self) -> bool:
        return True

    @property
    def text(self) -> str:
        self.flush()
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode(self.encoding)


def shown(monkeypatch: pytest.MonkeyPatch, encoding: str = "utf-8", *, to_stderr: bool = False, **env: str) -> str:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "90")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    terminal = Terminal(encoding)
    monkeypatch.setattr(sys, "stderr" if to_stderr else "stdout", terminal)
    outcome = Outcome(Order(target=parse("https://shop.test/")), 0.0, trace=TRACES["miss"]())
    Printer(to_stderr=to_stderr, verbose=False, secrets=False).show(outcome, 1, 1)
    return terminal.text


def test_a_terminal_has_both(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch)
    assert "\x1b[" in text
    assert "█" in text


def test_standard_error_is_looked_at_where_it_is_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[" in shown(monkeypatch, to_stderr=True)


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colour_where_it_is_not_wanted(monkeypatch: pytest.MonkeyPatch, env: dict[str, str]) -> None:
    text = shown(monkeypatch, **env)
    assert "\x1b" not in text
    assert "█" in text


def test_an_empty_no_color_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """no-color.org: when present and not an empty string."""
    assert "\x1b[" in shown(monkeypatch, NO_COLOR="")


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_terminal_that_is_not_utf_8_gets_ascii(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    assert shown(monkeypatch, encoding).isascii()


def test_off_a_terminal_neither(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    outcome = Outcome(Order(target=parse("https://shop.test/")), 0.0, trace=TRACES["miss"]())
    Printer(to_stderr=False, verbose=False, secrets=False).show(outcome, 1, 1)
    text = capsys.readouterr().out
    assert text.isascii()
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) == 80
