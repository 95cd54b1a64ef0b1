"""What is told of the hops, and how often."""

from __future__ import annotations

import logging
import re

import pytest

from stack.cli.report import Reporter, log_in_lines
from stack.hop.child import Event, State

WHY = "--app a:b: there is no module 'a'"


@pytest.fixture
def said() -> list[str]:
    return []


def event(new: State, reason: str = "", name: str = "app-1", old: State = State.STARTING) -> Event:
    return Event(name, old, new, reason)


def test_a_start_that_fails_is_told_once_by_who_started_it(said: list[str]) -> None:
    reporter = Reporter(said.append)
    reporter.last_words = lambda name: [f"hopstack: appserver: {WHY}"]
    reporter(event(State.FAILED, WHY))
    assert said == []
    reporter.last_words = lambda name: ["connecting to the database", f"hopstack: appserver: {WHY} (2)"]
    for name in ("app-1", "app-2", "app-3"):
        reporter(event(State.FAILED, f"{WHY} (2)", name))
    assert said == ["app-1, before it failed:", "  connecting to the database"]


@pytest.mark.parametrize(("is_up", "steps", "told"), [(False, True, False), (True, True, True), (True, False, False)])
def test_steps_are_told_when_it_is_up(said: list[str], is_up: bool, steps: bool, told: bool) -> None:
    reporter = Reporter(said.append, steps=steps)
    reporter.is_up = is_up
    reporter(event(State.NOT_READY, "no backend"))
    assert bool(said) is told
    reporter(event(State.RESTARTING, "killed by SIGKILL"))
    assert said[-1].endswith(" app-1 restarting: killed by SIGKILL"), "always"


def test_who_is_given_up_is_quoted(said: list[str]) -> None:
    reporter = Reporter(said.append)
    reporter.last_words = lambda name: ["Traceback", "ValueError"]
    reporter(event(State.CRASH_LOOP, "5 exits in a row"))
    assert said[0].endswith(" app-1 crash-loop: 5 exits in a row")
    assert said[1:] == ["  Traceback", "  ValueError"]


@pytest.mark.parametrize("debug", [False, True])
def test_what_is_logged_has_a_traceback_for_who_asks(
    debug: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOPSTACK_LOG", "debug" if debug else "")
    root = logging.getLogger()
    before = root.handlers[:]
    try:
        log_in_lines()
        logging.getLogger("x").error("task died", exc_info=ValueError("no\nluck"))
    finally:
        root.handlers[:] = before
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "hopstack: task died: ValueError: no luck"
    assert (len(told) > 1) is debug


@pytest.mark.parametrize(
    ("terminal", "when"), [(True, r"\d\d:\d\d:\d\d"), (False, r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")]
)
def test_off_a_terminal_a_line_has_the_time_that_logs_are_put_in_order_by(
    terminal: bool, when: str, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.isatty", lambda _: terminal)
    Reporter(said.append)(event(State.RESTARTING, "killed by SIGKILL"))
    assert re.fullmatch(f"{when} app-1 restarting: killed by SIGKILL", said[0])
