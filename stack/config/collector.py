"""A collector of spans as it is written: `http://HOST:PORT`, with a path where its own is below one."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from stack.config.upstream import UpstreamSpec, parse_upstream

EXAMPLE: Final = "http://127.0.0.1:4318"
_TRACES: Final = "/v1/traces"
_PATH: Final = re.compile(r"/[!-~]*")


def parse_collector(text: str) -> tuple[UpstreamSpec, str]:
    """The collector and the path for traces: `/v1/traces` below the URL's own. ConfigError for anything else."""
    try:
        parts = urlsplit(text)
        path = parts.path.rstrip("/")
    except ValueError:  # brackets that do not close: said below
        parts, path = urlsplit(""), ""
    bare = text
    if path and "://" in text and not parts.query and not parts.fragment and _PATH.fullmatch(path):
        bare = text[: text.index(path, text.find("://") + 3)]
    spec = parse_upstream(bare, option="--otlp", schemes=("http", "https"), named=False, example=EXAMPLE)
    return spec, path if path.endswith(_TRACES) else path + _TRACES
