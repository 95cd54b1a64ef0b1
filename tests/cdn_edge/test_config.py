"""Options: their defaults, and what is said to wrong ones."""

from __future__ import annotations

import pytest

from cdn_edge import checks
from cdn_edge.build import upstream
from cdn_edge.config import Config, parse_origin, parse_targets
from stack.config import flags
from stack.errors import ConfigError


def config(*argv: str) -> Config:
    return flags.parse("cdn_edge", Config, argv, {})


def test_an_origin_is_all_that_is_needed() -> None:
    made = config("--origin", "http://127.0.0.1:8000")
    assert made.name == "edge"
    assert made.cache.size == 256 * 1024 * 1024
    assert (upstream(made).host, upstream(made).port, upstream(made).tls) == ("127.0.0.1", 8000, None)


def test_flags() -> None:
    made = config(
        "--origin", "h2c://localhost", "--source", "127.0.0.9", "--cache-size", "64M", "--cache-max-object", "1M",
        "--cache-set-cookie", "store", "--cache-heuristic-max", "1h", "--cache-stale-if-unreachable", "0",
    )  # fmt: skip
    assert made.cache.size == 64 * 1024 * 1024
    assert made.cache.heuristic_max == 3600
    assert made.cache.stale_if_unreachable == 0
    assert upstream(made).protocol == "h2"
    assert upstream(made).source == "127.0.0.9"


def test_an_https_origin_is_verified_by_its_name() -> None:
    made = upstream(config("--origin", "https://127.0.0.1:9441", "--origin-server-name", "shop.test"))
    assert made.tls is not None
    assert made.server_name == "shop.test"


def test_target_lists() -> None:
    assert parse_targets(Config().cache.targets).names == (
        b"hopstack-cdn-cache-control", b"cdn-cache-control", b"surrogate-control",
    )  # fmt: skip
    made = config("--cache-targets", "Acme-Cache-Control", "--cache-targets", "CDN-Cache-Control")
    assert parse_targets(made.cache.targets).names == (b"acme-cache-control", b"cdn-cache-control")
    assert parse_targets(config("--cache-targets", "none").cache.targets).names == ()


@pytest.mark.parametrize("name", ["", "a b", "Cache-Control", "expires", "hä"])
def test_what_is_no_target(name: str) -> None:
    with pytest.raises(ConfigError, match=r"no field name|heard anyway"):
        parse_targets((name,))


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ("--cache-slice 16383", "--cache-slice: wanted at least 16K, .* or 0 for none"),
        ("--cache-disk x --cache-disk-size 16383K", "--cache-disk-size: wanted at least 16M"),
        ("--cache-key-ignore-query a=b", "--cache-key-ignore-query: 'a=b' is no name"),
        ("--cache-key-only-query @all", "--cache-key-only-query: @all is no list"),
        ("--cache-key-headers *", r"--cache-key-headers: '\*' is no name"),
        ("--cache-key-cookies a=b", "--cache-key-cookies: 'a=b' is no name"),
        ("--cache-key-ignore-query a --cache-key-only-query b", "--cache-key-only-query: with ignore_query"),
        ("--cache-targets none --cache-targets A", "--cache-targets: `none` obeys none: give it alone"),
        ("--cache-targets Expires", "--cache-targets: 'Expires' is heard anyway"),
    ],
)
def test_what_does_not_fit(flags: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        checks.check(config(*flags.split()).cache)


@pytest.mark.parametrize("flags", ["", "--cache-slice 0", "--cache-slice 16K", "--cache-disk-size 1M"])
def test_what_fits(flags: str) -> None:
    checks.check(config(*flags.split()).cache)


@pytest.mark.parametrize(
    ("text", "port"), [("http://a", 80), ("https://a", 443), ("http://[::1]:8000/", 8000), ("HTTP://a:1", 1)]
)
def test_origins(text: str, port: int) -> None:
    assert parse_origin(text).port == port


@pytest.mark.parametrize(("text", "name"), [("lb-a=http://a:81", "lb-a"), ("http://a:81", "http://a:81")])
def test_an_origin_is_called_by_its_name_or_address(text: str, name: str) -> None:
    made = upstream(config("--origin", text))
    assert (made.name, made.host, made.port) == (name, "a", 81)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "needs an origin; give it as --origin http://HOST:PORT"),
        ("http://a:0", "--origin 'http://a:0': nobody can be reached at port 0"),
        ("http://hä", "--origin 'http://hä': 'hä' is not ASCII"),
        ("-x=http://a", "--origin '-x=http://a': a name is letters"),
        ("x=ftp://a", r"--origin 'x=ftp://a': wanted \[NAME=\]http://HOST:PORT, https or h2c"),
        ("127.0.0.1:8000", "http://HOST:PORT"),
        ("ftp://a", "http://HOST:PORT"),
        ("http://", "http://HOST:PORT"),
        ("http://a/path", "only scheme, host and port"),
        ("http://u:p@a", "only scheme, host and port"),
        ("http://a:99999", "--origin"),
    ],
)
def test_wrong_origins(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as raised:
        parse_origin(text)
    assert "\n" not in str(raised.value)


def test_a_wrong_source() -> None:
    with pytest.raises(ConfigError, match="--source 'lo': wanted an IP address"):
        upstream(config("--origin", "http://a", "--source", "lo"))


def test_a_name_that_is_no_token_would_let_requests_loop() -> None:
    with pytest.raises(ConfigError, match="--name 'edge fra': wanted a name"):
        config("--origin", "http://a", "--name", "edge fra")


def test_a_source_of_another_machine() -> None:
    with pytest.raises(
        ConfigError, match=r"--source '192.0.2.1': Cannot assign requested address; wanted an IP address"
    ):
        upstream(config("--origin", "http://a", "--source", "192.0.2.1"))


def test_a_server_name_that_is_none() -> None:
    with pytest.raises(ConfigError, match="--origin-server-name 'a b'"):
        upstream(config("--origin", "https://a", "--origin-server-name", "a b"))
