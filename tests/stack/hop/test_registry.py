from __future__ import annotations

import subprocess
import sys

import pytest

from stack.config.base import HopOptions
from stack.errors import ConfigError
from stack.hop import registry
from stack.path import HOPS


@pytest.mark.parametrize("kind", HOPS)
def test_every_hop_has_options_and_is_built_from_them(kind: str) -> None:
    parts = registry.load(kind)
    assert issubclass(parts.config, HopOptions)
    assert callable(parts.build)


def test_the_options_alone_are_light() -> None:
    heavy = ("aiohttp", "cryptography", "uvloop", "h2", "rich", "click")
    program = (
        "import sys; from stack.hop import registry; from stack.path import HOPS\n"
        f"for kind in HOPS: registry.config(kind)\nprint([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("kind", "message"),
    [("cdn_egde", "did you mean cdn_edge?"), ("os", "one of dns_server, cdn_edge"), ("stack.cli", "one of dns_server")],
)
def test_only_a_hop_is_imported(kind: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        registry.load(kind)
