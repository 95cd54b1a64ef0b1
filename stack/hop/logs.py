"""What a process has to say besides its access log: one line an event on standard error.

`HOPSTACK_LOG` is a level (debug, info, warning, error), a format (text, json), or both: `debug,json`.
"""

from __future__ import annotations

import datetime
import json
import logging
import sys
from typing import Final

from stack.errors import ConfigError

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def configure(name: str, wanted: str = "") -> None:
    """ConfigError for a word that is neither a level nor a format."""
    level, as_json = logging.INFO, False
    for word in filter(None, wanted.lower().replace(" ", "").split(",")):
        if word in _LEVELS:
            level = _LEVELS[word]
        elif word in ("json", "text"):
            as_json = word == "json"
        else:
            raise ConfigError(f"HOPSTACK_LOG {word!r}: wanted one of {', '.join(_LEVELS)}, json, text")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line(name, as_json=as_json))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("asyncio").setLevel(max(level, logging.WARNING))


class _Line(logging.Formatter):
    """`2026-01-31T12:00:00.000Z edge-fra warning the message`."""

    def __init__(self, name: str, *, as_json: bool) -> None:
        super().__init__()
        self._name, self._as_json = name, as_json

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        when = f"{at:%Y-%m-%dT%H:%M:%S}.{int(record.msecs):03d}Z"
        level, message = record.levelname.lower(), record.getMessage()
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            message = f"{message}: {type(error).__name__}: {error}"
        # an unexpected error is a defect: its trace is worth its lines wherever it is logged
        trace = self.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""
        if self._as_json:
            line = {"time": when, "hop": self._name, "level": level, "logger": record.name, "message": message}
            return json.dumps(line | ({"trace": trace} if trace else {}), ensure_ascii=False)
        message = message.replace("\n", " ")
        return f"{when} {self._name} {level} {message}" + (f"\n{trace}" if trace else "")
