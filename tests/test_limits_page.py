"""docs/limits.md names every bound there is, with the default that it has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appserver.config import Config as AppServer
from cdn_edge.config import Config as Edge
from dns_server.config import Config as Dns
from loadbalancer.config import Config as Balancer
from proxy.config import Config as Proxy
from stack.config.base import Limits, PoolLimits, Timeouts
from stack.path import HOPS

PAGE = (Path(__file__).parents[1] / "docs" / "limits.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| ")]
OPTIONS = {
    match[1]: row[2] for row in ROWS if len(row) > 2 and (match := re.fullmatch(r"`([a-z_]+(?:\.[a-z_]+)?)`", row[1]))
}
UNITS = {"s": 1, "h": 3600, "K": 1024, "M": 1024**2, "G": 1024**3, "": 1}


def value(text: str) -> float:
    match = re.fullmatch(r"([0-9.]+)([a-zA-Z]?)", text)
    assert match is not None, text
    return float(match[1]) * UNITS[match[2]]


def default(option: str) -> Any:
    first = re.split(r"[_.]", option)[0]
    record: Any = {
        "origin": Edge(), "backend": Balancer(), "spool": AppServer(), "tcp": Dns(), "rrl": Dns(), "payload": Dns(),
    }.get(first, Proxy())  # fmt: skip
    for part in option.split("."):
        record = getattr(record, part)
    return record


@pytest.mark.parametrize("option", OPTIONS)
def test_a_default_is_the_records(option: str) -> None:
    assert value(OPTIONS[option]) == default(option)


def test_every_bound_is_there() -> None:
    records: dict[str, Any] = {
        "limits": Limits,
        "timeouts": Timeouts,
        "upstream_timeouts": type(Proxy().upstream_timeouts),
        "upstream_pool": PoolLimits,
        "tcp": type(Dns().tcp),
    }
    wanted = {f"{name}.{field.name}" for name, record in records.items() for field in msgspec.structs.fields(record)}
    inner = {field.name for field in msgspec.structs.fields(type(Proxy().upstream_timeouts))}
    for name, config in (("backend_timeouts", Balancer()), ("origin_timeouts", Edge())):
        for field in msgspec.structs.fields(type(getattr(config, name))):
            value = getattr(getattr(config, name), field.name)
            if field.name not in inner or value != getattr(Proxy().upstream_timeouts, field.name):
                wanted.add(f"{name}.{field.name}")
    assert wanted - OPTIONS.keys() == set()


def test_what_is_kept_names_sources_that_exist() -> None:
    root = Path(__file__).parents[1]
    named = re.findall(r"`((?:" + "|".join([*HOPS, "stack"]) + r")/[a-z0-9_/]+\.py)`", PAGE)
    assert len(named) > 10
    assert [name for name in named if not (root / name).is_file()] == []
