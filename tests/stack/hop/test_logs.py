from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator

import pytest

from stack.errors import ConfigError
from stack.hop import logs


@pytest.fixture(autouse=True)
def _root() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before, level


def said(capsys: pytest.CaptureFixture[str], wanted: str) -> str:
    logs.configure("edge-fra", wanted)
    logger = logging.getLogger("hopstack.test")
    logger.debug("not\neverybody's")
    try:
        raise ValueError("why")
    except ValueError:
        logger.exception("failed")
    return capsys.readouterr().err


def test_text_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    first, *rest = said(capsys, "").splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z edge-fra error failed: ValueError: why", first)
    assert rest[0].startswith("Traceback")


def test_json_is_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    debug, error = map(json.loads, said(capsys, "json,debug").splitlines())
    assert (debug["level"], debug["message"], debug["hop"]) == ("debug", "not\neverybody's", "edge-fra")
    assert error["trace"].startswith("Traceback")


def test_a_word_that_is_none() -> None:
    with pytest.raises(ConfigError, match="HOPSTACK_LOG 'loud': wanted one of debug, info"):
        logs.configure("x", "loud")
