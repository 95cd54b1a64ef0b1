"""From flags to a proxy; what is wrong with them in one line that names the remedy."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from proxy.build import ProxyHop, app, build
from proxy.config import Compression, Config
from stack.clock import VirtualClock
from stack.config import flags
from stack.config.base import HttpOptions
from stack.errors import ConfigError
from stack.net import Net
from stack.telemetry.metrics import Metrics


def made(config: Config, tmp_path: Path) -> ProxyHop:
    clock, random = VirtualClock(), Random(1)
    return build(config, clock=clock, random=random, net=Net(clock, random), metrics=Metrics(), state_dir=tmp_path)


@pytest.mark.parametrize(
    ("text", "name", "host", "port", "authority", "tls"),
    [
        ("http://127.0.0.1:9001", "127.0.0.1:9001", "127.0.0.1", 9001, b"127.0.0.1:9001", False),
        ("http://127.0.0.1:9001/", "127.0.0.1:9001", "127.0.0.1", 9001, b"127.0.0.1:9001", False),
        ("app-1=http://127.0.0.1:9001", "app-1", "127.0.0.1", 9001, b"127.0.0.1:9001", False),
        ("http://[::1]:9001", "[::1]:9001", "::1", 9001, b"[::1]:9001", False),
        ("http://app", "app:80", "app", 80, b"app:80", False),
        ("https://app", "app:443", "app", 443, b"app:443", True),
    ],
)
def test_the_app(text: str, name: str, host: str, port: int, authority: bytes, tls: bool) -> None:
    upstream, found = app(Config(upstream=text))
    assert (upstream.name, upstream.host, upstream.port, found) == (name, host, port, authority)
    assert (upstream.tls is not None) is tls


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (
            Config(upstream="127.0.0.1:9001"),
            "--upstream '127.0.0.1:9001': wanted [NAME=]http://HOST:PORT, https or h2c, such",
        ),
        (Config(upstream="http://127.0.0.1:x"), "--upstream 'http://127.0.0.1:x': Port could not be cast"),
        (Config(upstream="http://127.0.0.1:99999"), "--upstream 'http://127.0.0.1:99999': Port out of range"),
        (Config(upstream="http://h:0"), "--upstream 'http://h:0': nobody can be reached at port 0"),
        (Config(upstream="http://hä:1"), "--upstream 'http://hä:1': 'hä' is not ASCII"),
        (Config(upstream="http://a/b"), "only scheme, host and port"),
        (Config(upstream="http://u@a"), "only scheme, host and port"),
        (Config(upstream="ftp://a"), "wanted [NAME=]http://HOST:PORT, https or h2c"),
        (Config(upstream="h2://a"), "wanted [NAME=]http://HOST:PORT, https or h2c"),
        (Config(upstream="http://a", source="eth0"), "--source 'eth0': wanted an IP address of this machine"),
        (
            Config(upstream="http://a", source="192.0.2.1"),
            "--source '192.0.2.1': Cannot assign requested address; wanted",
        ),
        (Config(upstream="http://a", static=("/nowhere/at/all",)), "--static '/nowhere/at/all': it is no directory"),
        (
            Config(upstream="http://a", static=("/tmp",), static_prefix="static"),
            "--static-prefix 'static' is no prefix: it",
        ),
        (Config(upstream="http://a", static=("/a=built",)), "begins and ends with a slash, as /assets/=built"),
        (Config(upstream="http://a", static=("/=/tmp",)), "--static /=/tmp: no request would reach the app; leave"),
        (Config(upstream="http://a", static=("/tmp", "/tmp")), "--static '/tmp': there is another directory for"),
        (Config(), "--upstream is missing: name the app, as http://127.0.0.1:9001; or --static /=DIR"),
        (Config(upstream="http://a", health_status=("300-200",)), "--health-status '300-200': no status is in it"),
        (Config(upstream="http://a", health="health"), "--health 'health': it is a path of the app"),
        (Config(upstream="http://a", health_host="a/b"), "--health-host 'a/b': wanted HOST or HOST:PORT"),
        (
            Config(upstream="http://a", compression=Compression(codings=("lzma",))),
            "--compression-codings 'lzma': it is",
        ),
        (Config(upstream="http://a", compression=Compression(types=("*/json",))), "--compression-types '*/json' is no"),
        (Config(upstream="http://a", trusted=("10.0.0.1/8",)), "--trusted 10.0.0.1/8: "),
        (Config(upstream="https://a", upstream_ca="/nowhere.pem"), "/nowhere.pem: no such file"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(config: Config, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        made(config, tmp_path)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_readiness_and_statistics(tmp_path: Path) -> None:
    hop = made(Config(name="proxy-1", upstream="app-1=http://127.0.0.1:1"), tmp_path)
    assert (hop.name, hop.kind) == ("proxy-1", "proxy")
    assert not hop.readiness().ready
    upstream = hop.stats()["upstream"]
    assert (upstream["name"], upstream["address"], upstream["health"]["ready"]) == ("app-1", "127.0.0.1:1", False)


async def test_without_a_health_check_it_is_ready(tmp_path: Path) -> None:
    assert made(Config(upstream="http://127.0.0.1:1", health=""), tmp_path).readiness().ready


def test_flags() -> None:
    given = flags.parse(
        "proxy",
        Config,
        [
            "--listen", "https://127.0.0.1:9441", "--upstream", "http://127.0.0.1:9001", "--cert", "c.pem",
            "--key", "k.pem", "--static", "built", "--static-prefix", "/assets/", "--compression-codings", "br",
            "--compression-codings", "gzip", "--compression-minimum", "2K", "--health-interval", "500ms",
            "--upstream-timeouts-head", "5",
        ],
        {},
    )  # fmt: skip
    assert given.listen == ("https://127.0.0.1:9441",)
    assert (given.static, given.static_prefix) == (("built",), "/assets/")
    assert given.compression == Compression(codings=("br", "gzip"), minimum=2048)
    assert (given.health_interval, given.upstream_timeouts.head) == (0.5, 5.0)
    assert flags.parse("proxy", Config, ["--health-status", "204", "--health-status", "300-399"], {}).health_status == (
        "204",
        "300-399",
    )
    with pytest.raises(ConfigError, match="--health-status 'well': wanted a status or a range of them"):
        flags.parse("proxy", Config, ["--health-status", "well"], {})


async def test_files_alone_are_always_ready(tmp_path: Path) -> None:
    hop = made(Config(static=(f"/={tmp_path}",)), tmp_path)
    assert hop.readiness().ready
    assert hop.stats()["upstream"] is None


def test_every_option_is_documented() -> None:
    common = {option.path for option in flags.options(HttpOptions)}
    assert [option.flag for option in flags.options(Config) if option.path not in common and not option.doc] == []
