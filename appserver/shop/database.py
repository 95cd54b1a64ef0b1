"""From a URL to the repository that speaks to it. Only the library that is needed is imported."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from appserver.shop.model import Repository
from stack.clock import Clock
from stack.errors import ConfigError

_PASSWORD: Final = re.compile(r"(//[^/@:]*):.*@")


def url(environ: Mapping[str, str]) -> str:
    """`DATABASE_URL`, else the file `shop.db` in the state directory."""
    if given := environ.get("DATABASE_URL"):
        return given
    state = Path(environ.get("HOPSTACK_HOME") or ".hopstack").absolute()
    return f"sqlite:///{state / 'shop.db'}"


def shown(url: str) -> str:
    """The URL without its password, for messages."""
    return _PASSWORD.sub(r"\1:***@", url.partition("?")[0])


def repository(url: str, clock: Clock) -> Repository:
    """Not yet open. ConfigError where the URL names no database that the shop knows."""
    scheme = url.partition(":")[0]
    if scheme == "sqlite":
        from appserver.shop.sqlite import Sqlite

        # as SQLAlchemy writes it: three slashes and a path, which is absolute if it begins with a fourth
        path = unquote(url.removeprefix("sqlite:///"))
        if not url.startswith("sqlite:///") or not path:
            raise ConfigError(f"DATABASE_URL {url}: write it as sqlite:////absolute/path/shop.db")
        return Sqlite(Path(path), clock)
    if scheme in ("postgresql", "postgres"):
        from appserver.shop.postgres import Postgres

        return Postgres(url, clock)
    raise ConfigError(f"DATABASE_URL {shown(url)}: the shop knows sqlite:////path and postgresql://user:pw@host/db")
