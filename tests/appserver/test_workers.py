"""What the master hands to its workers, and how it sums up what they tell."""

from __future__ import annotations

from typing import Any

import pytest

from appserver.build import build
from appserver.config import Config
from stack.config.arguments import arguments
from stack.config.base import Limits, Timeouts
from stack.config.flags import parse
from stack.errors import ConfigError
from stack.hop.workers import merged


def test_a_worker_reads_what_its_master_was_given() -> None:
    config = Config(
        name="app-1",
        listen=("http://127.0.0.1:1",),
        app="shop.main:app",
        factory=True,
        workers=3,
        trusted=("10.0.0.0/8", "::1"),
        root_path="/shop",
        lifespan="on",
        limits=Limits(body=5),
        timeouts=Timeouts(drain=1.5),
    )
    given = arguments(config, name="app-1/2", workers=0, admin="", listen=("http+fd://7",), state_dir="/s")
    environ = {"HOPSTACK_TIMEOUTS_DRAIN": "99", "HOPSTACK_APP": "other:app", "HOPSTACK_FACTORY": "no"}
    assert parse("appserver", Config, given, environ) == Config(
        name="app-1/2",
        listen=("http+fd://7",),
        state_dir="/s",
        app="shop.main:app",
        factory=True,
        workers=0,
        trusted=("10.0.0.0/8", "::1"),
        root_path="/shop",
        lifespan="on",
        limits=Limits(body=5),
        timeouts=Timeouts(drain=1.5),
    )


def test_metrics_of_several_workers_are_one_page() -> None:
    page = '# HELP a_total A.\n# TYPE a_total counter\na_total{{hop="{0}"}} {1}\n# HELP b B.\n# TYPE b gauge\nb 1\n'
    assert merged([page.format("x/0", 1), page.format("x/1", 2), ""]).splitlines() == [
        "# HELP a_total A.",
        "# TYPE a_total counter",
        'a_total{hop="x/0"} 1',
        'a_total{hop="x/1"} 2',
        "# HELP b B.",
        "# TYPE b gauge",
        "b 2",
    ]


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (Config(), "--app is missing: name the application, as --app package.module:attribute"),
        (Config(app="a:b", root_path="shop"), "--root-path shop: it starts with a slash"),
    ],
)
def test_what_cannot_be_right_is_refused_before_anything_starts(config: Config, line: str) -> None:
    parts: dict[str, Any] = dict.fromkeys(("clock", "random", "net", "metrics", "state_dir"))
    with pytest.raises(ConfigError) as refused:
        build(config, **parts)
    assert str(refused.value) == line


def test_the_app_keeps_connections_longer_than_the_hop_before_does() -> None:
    # or the proxy would send a request on a connection that is just being closed
    from stack.config.base import UpstreamTimeouts

    assert Config().timeouts.idle > 2 * UpstreamTimeouts().idle


def test_a_workers_name_is_taken_and_no_other_slash() -> None:
    assert parse("appserver", Config, ["--name=app-1/0"], {}).name == "app-1/0"
    for name in ("a/b", "a b", "ä"):
        with pytest.raises(ConfigError, match="--name"):
            parse("appserver", Config, [f"--name={name}"], {})
