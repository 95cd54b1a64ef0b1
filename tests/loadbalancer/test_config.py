from __future__ import annotations

import pytest

from loadbalancer.config import BackendSpec, CheckSpec, Config, parse_backends, parse_check
from stack.config import flags
from stack.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://127.0.0.1:9441", BackendSpec("127.0.0.1:9441", "https", "127.0.0.1", 9441)),
        ("http://127.0.0.1:9001/", BackendSpec("127.0.0.1:9001", "http", "127.0.0.1", 9001)),
        ("proxy-1=https://127.0.0.1:9441", BackendSpec("proxy-1", "https", "127.0.0.1", 9441)),
        ("h2c://10.0.0.1:80", BackendSpec("10.0.0.1:80", "h2c", "10.0.0.1", 80)),
        ("http://app.internal", BackendSpec("app.internal:80", "http", "app.internal", 80)),
        ("https://App", BackendSpec("app:443", "https", "app", 443)),
        ("six=http://[::1]:8080", BackendSpec("six", "http", "::1", 8080)),
        ("http://[::1]:8080", BackendSpec("[::1]:8080", "http", "::1", 8080)),
    ],
)
def test_backends_as_they_are_written(text: str, expected: BackendSpec) -> None:
    assert parse_backends([text]) == (expected,)


def test_address() -> None:
    assert parse_backends(["six=http://[::1]:8080"])[0].address == "http://[::1]:8080"


@pytest.mark.parametrize(
    ("specs", "weights", "place", "remedy"),
    [
        ([], [], "--backend", "http://HOST:PORT"),
        (["127.0.0.1:9441"], [], "127.0.0.1:9441", "http://HOST:PORT"),
        (["ftp://127.0.0.1:21"], [], "ftp://", "http://HOST:PORT"),
        (["http://"], [], "http://", "http://HOST:PORT"),
        (["http://a:99999"], [], "http://a:99999", "HOST:PORT"),
        (["http://a:x"], [], "http://a:x", "HOST:PORT"),
        (["http://a:0"], [], "http://a:0", "port 0"),
        (["http://hä:1"], [], "hä", "xn--"),
        (["http://a..b:1"], [], "a..b", "host name"),
        (["http://a:1/path"], [], "/path", "only scheme, host and port"),
        (["http://u:p@a:1"], [], "--backend", "only scheme, host and port"),
        (["b ad=http://a:1"], [], "b ad", "letters"),
        (["x=http://a:1", "x=http://b:1"], [], "x", "name of its own"),
        (["http://a:1", "http://a:1"], [], "a:1", "name of its own"),
        (["x=http://a:1"], ["y=2"], "y", "there is x"),
        (["x=http://a:1"], ["x=101"], "x=101", "0 to 100"),
        (["x=http://a:1"], ["x=-1"], "x=-1", "0 to 100"),
        (["x=http://a:1"], ["x"], "--weight x", "NAME=N"),
        (["x=http://a:1"], ["x=0"], "--weight", "weight 0"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(specs: list[str], weights: list[str], place: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_backends(specs, weights)
    assert place in str(caught.value)
    assert remedy in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights() -> None:
    specs = parse_backends(["x=http://a:1", "http://b:2", "z=http://c:3"], ["x=5", "b:2=0"])
    assert [spec.weight for spec in specs] == [5, 0, 1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", CheckSpec("none")),
        ("tcp", CheckSpec("tcp")),
        ("http:/health", CheckSpec("http", "/health")),
        ("http:/health?deep=1", CheckSpec("http", "/health?deep=1")),
    ],
)
def test_checks_as_they_are_written(text: str, expected: CheckSpec) -> None:
    assert parse_check(text) == expected


@pytest.mark.parametrize(
    "text", ["", "http", "http:", "http:health", "https:/health", "http:/a b", "http:/a\r\nx: y", "udp"]
)
def test_checks_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match="wanted none, tcp or http:/PATH"):
        parse_check(text)


def test_the_flags_of_the_design() -> None:
    words = (
        "--listen http://127.0.0.1:8003 --backend https://127.0.0.1:9441 --backend https://127.0.0.1:9442 "
        "--balance round-robin --check http:/health --check-interval 500ms --no-panic --backend-timeouts-connect 1s"
    )
    config = flags.parse("loadbalancer", Config, words.split(), {})
    assert config.backend == ("https://127.0.0.1:9441", "https://127.0.0.1:9442")
    assert (config.check, config.check_interval, config.panic) == ("http:/health", 0.5, False)
    assert config.backend_timeouts.connect == 1.0


def test_statuses_repeat() -> None:
    assert flags.parse("loadbalancer", Config, [], {}).check_status == ("200-399",)
    given = flags.parse("loadbalancer", Config, ["--check-status", "200-299", "--check-status", "404"], {})
    assert given.check_status == ("200-299", "404")
    with pytest.raises(ConfigError, match="--check-status '2xx': wanted a status or a range of them, as 200 or"):
        flags.parse("loadbalancer", Config, ["--check-status", "2xx"], {})


def test_a_wrong_balance_names_the_right_ones() -> None:
    with pytest.raises(ConfigError, match="round-robin, least-connections"):
        flags.parse("loadbalancer", Config, ["--balance", "best"], {})
