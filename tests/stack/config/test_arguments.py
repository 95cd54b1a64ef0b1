"""What one process tells another is what that one reads."""

from __future__ import annotations

import msgspec
import pytest

from cdn_edge.config import Cache, Config
from stack.config import flags
from stack.config.arguments import arguments


@pytest.mark.parametrize("changed_only", [False, True])
def test_small_and_large_numbers_arrive(changed_only: bool) -> None:
    config = msgspec.structs.replace(
        flags.parse("cdn_edge", Config, [], {}),
        otlp_sample=0.00005,
        cache=Cache(heuristic=1e-7, stale_if_unreachable=1e16),
    )
    assert flags.parse("cdn_edge", Config, arguments(config, changed_only=changed_only), {}) == config
