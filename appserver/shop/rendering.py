"""Templates, compiled once. The one door to Jinja2."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from appserver.shop.assets import Assets
from appserver.shop.model import MOST

TEMPLATES = Path(__file__).with_name("templates")


class Templates:
    def __init__(self, assets: Assets) -> None:
        environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            auto_reload=False,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters["money"] = money
        environment.filters["day"] = day
        environment.globals.update(asset=assets.path, most=MOST)
        self._templates = {name: environment.get_template(name) for name in environment.list_templates(["html"])}
        self.changed = max(int(path.stat().st_mtime) for path in TEMPLATES.iterdir())
        """Unix seconds of the last change to any template."""

    def render(self, name: str, **values: Any) -> bytes:
        return self._templates[name].render(values).encode()


def money(cents: int) -> str:
    """`€1,250.00`."""
    return f"€{cents // 100:,}.{cents % 100:02}"


def day(unix: int) -> str:
    moment = datetime.fromtimestamp(unix, UTC)
    return f"{moment.day} {moment:%B %Y}"
