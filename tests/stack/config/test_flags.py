from __future__ import annotations

import enum
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta

from stack.config import flags
from stack.config.base import Bytes, Count, HopOptions, HttpOptions, Options, Seconds
from stack.errors import ConfigError


class Coding(enum.Enum):
    BR = "br"
    GZIP = "gzip"


class Inner(Options, frozen=True, kw_only=True):
    """Nested."""

    head: Annotated[Seconds, Meta(description="Until the head.")] = 10.0
    body_size: Annotated[Bytes, Meta(description="Of the body.")] = 64 * 1024


class Config(Options, frozen=True, kw_only=True):
    """A hop for tests. With two sentences."""

    name: Annotated[str, Meta(description="Its name, 100% of it.")] = ""
    backends: Annotated[tuple[str, ...], Meta(description="Repeats.")] = ("a", "b")
    sizes: tuple[Bytes, ...] = ()
    count: Annotated[Count, Meta(le=10)] = 3
    weight: float = 1.0
    compress: Annotated[bool, Meta(description="Whether to.")] = True
    balance: Literal["round-robin", "least"] = "round-robin"
    coding: Coding = Coding.BR
    limit: Annotated[int, Meta(ge=1)] | None = None
    token: str = ""
    timeouts: Inner = Inner()
    changed: Inner = Inner(head=1.0)


def parse(*argv: str, **environ: str) -> Config:
    return flags.parse("hop", Config, argv, environ)


@pytest.mark.parametrize(
    ("argv", "path", "value"),
    [
        (["--name", "edge"], "name", "edge"),
        (["--name=a=b"], "name", "a=b"),
        (["--name", ""], "name", ""),
        (["--backends", "x", "--backends=y"], "backends", ("x", "y")),
        (["--sizes", "1K", "--sizes", "2"], "sizes", (1024, 2)),
        (["--count", "10"], "count", 10),
        (["--weight", "2.5"], "weight", 2.5),
        (["--no-compress"], "compress", False),
        (["--compress"], "compress", True),
        (["--balance", "least"], "balance", "least"),
        (["--coding", "gzip"], "coding", Coding.GZIP),
        (["--limit", "5"], "limit", 5),
        (["--timeouts-head", "500ms"], "timeouts.head", 0.5),
        (["--timeouts-head", "2s"], "timeouts.head", 2.0),
        (["--timeouts-head", "1.5m"], "timeouts.head", 90.0),
        (["--timeouts-head", "1h"], "timeouts.head", 3600.0),
        (["--timeouts-head", "7"], "timeouts.head", 7.0),
        (["--timeouts-body-size", "256M"], "timeouts.body_size", 256 << 20),
        (["--timeouts-body-size", "1.5KiB"], "timeouts.body_size", 1536),
        (["--timeouts-body-size", "2gb"], "timeouts.body_size", 2 << 30),
        (["--timeouts-body-size", "512"], "timeouts.body_size", 512),
        (["--timeouts-body-size", "512B"], "timeouts.body_size", 512),
        # a nested record whose default is not its class's own keeps what was not given
        (["--changed-body-size", "1"], "changed.head", 1.0),
        (["--changed-body-size", "1"], "changed.body_size", 1),
    ],
)
def test_a_flag_is_a_field(argv: list[str], path: str, value: Any) -> None:
    found: Any = parse(*argv)
    for name in path.split("."):
        found = getattr(found, name)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("argv", "environ", "message"),
    [
        (["--timeouts-hed", "5"], {}, "there is no flag --timeouts-hed: did you mean --timeouts-head?"),
        (["--no-compres"], {}, "there is no flag --no-compres: did you mean --no-compress?"),
        (["--qqqq"], {}, "there is no flag --qqqq: see --help"),
        (["--time", "5"], {}, "there is no flag --time: "),
        (["stray"], {}, "'stray' is not an option: every option is a flag, see --help"),
        (["--name"], {}, "--name: expected one argument"),
        (["--timeouts-head", "0"], {}, "--timeouts-head '0': wanted a duration in seconds above 0, as 500ms, 2s or 1m"),
        (["--timeouts-head", "5 parsecs"], {}, "--timeouts-head '5 parsecs': wanted a duration in seconds above 0"),
        (["--timeouts-head", "inf"], {}, "--timeouts-head 'inf': wanted a duration"),
        (["--timeouts-head", "9" * 400], {}, "wanted a duration"),
        (["--timeouts-body-size", "-1"], {}, "--timeouts-body-size '-1': wanted a size in bytes from 0, as 512, 64K"),
        (["--timeouts-body-size", "0.3"], {}, "--timeouts-body-size '0.3': wanted a size"),
        (["--timeouts-body-size", "5m5"], {}, "--timeouts-body-size '5m5': wanted a size"),
        (["--sizes", "1K", "--sizes", "x"], {}, "--sizes 'x': wanted a size"),
        (["--count", "11"], {}, "--count '11': wanted a whole number from 0 up to 10"),
        (["--count", "3K"], {}, "--count '3K': wanted a whole number"),
        (["--count", "1.5"], {}, "--count '1.5': wanted a whole number"),
        (["--weight", "heavy"], {}, "--weight 'heavy': wanted a number"),
        (["--balance", "random"], {}, "--balance 'random': wanted one of round-robin, least"),
        (["--coding", "zip"], {}, "--coding 'zip': wanted one of br, gzip"),
        (["--limit", "0"], {}, "--limit '0': wanted a whole number from 1"),
        ([], {"HOPSTACK_TIMEOUTS_HEAD": "soon"}, "HOPSTACK_TIMEOUTS_HEAD 'soon': wanted a duration"),
        ([], {"HOPSTACK_COMPRESS": "maybe"}, "HOPSTACK_COMPRESS 'maybe': wanted yes or no"),
        ([], {"HOPSTACK_SIZES": "1 x"}, "HOPSTACK_SIZES 'x': wanted a size"),
    ],
)
def test_a_fault_is_one_line_that_names_place_value_and_remedy(
    argv: list[str], environ: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(*argv, **environ)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_flag_wins_over_the_environment_and_that_over_the_default() -> None:
    environ = {"HOPSTACK_COUNT": "4", "HOPSTACK_WEIGHT": "4", "HOPSTACK_COMPRESS": "no", "HOPSTACK_BACKENDS": "x y"}
    found = parse("--count", "5", "--backends", "z", **environ)
    assert (found.count, found.weight, found.compress, found.backends) == (5, 4.0, False, ("z",))
    assert parse(**environ).backends == ("x", "y")
    assert parse(HOPSTACK_BACKENDS="").backends == ()
    assert parse() == Config()


def test_a_needed_option_that_is_missing() -> None:
    class Needy(Options, frozen=True, kw_only=True):
        zone: Annotated[str, Meta(description="A zone file.")]

    with pytest.raises(ConfigError, match=r"--zone is needed: A zone file\."):
        flags.parse("hop", Needy, [], {})
    assert flags.parse("hop", Needy, [], {"HOPSTACK_ZONE": "x"}).zone == "x"


def test_what_a_record_itself_refuses_is_a_config_error() -> None:
    class Strict(Options, frozen=True, kw_only=True):
        low: int = 1
        high: int = 2

        def __post_init__(self) -> None:
            if self.low > self.high:
                raise ValueError("--low must not be above --high")

    with pytest.raises(ConfigError, match="--low must not be above --high"):
        flags.parse("hop", Strict, ["--low", "3"], {})


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["--name=edge", "--weight=2.5", "--timeouts-head=1m"],
        ["--name=a=b", "--name=", "--token=--name"],
        ["--backends=x", "--name=edge", "--backends=y"],
        ["--no-compress"],
        ["--no-compress", "--compress"],
    ],
)
def test_flags_that_one_process_gives_another_need_no_parser(argv: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read as the parser would read them, without the 20 ms that it takes."""
    known = flags.options(Config)
    parsed = vars(flags._parser("hop", Config, known).parse_args(argv))
    by_flag = {option.flag: option.path for option in known}
    monkeypatch.delattr(flags, "_parser")
    assert flags._flags("hop", Config, known, argv) == {by_flag[flag]: value for flag, value in parsed.items()}


@pytest.mark.parametrize("argv", [["--compress=yes"], ["--no-compress=1"], ["--no-name=x"], ["--nmae=x"], ["--name"]])
def test_what_is_wrong_is_the_parsers_to_say(argv: list[str]) -> None:
    with pytest.raises(ConfigError, match="--"):
        parse(*argv)


def test_help_names_flag_doc_unit_and_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse("--help")
    assert caught.value.code == 0
    out = " ".join(capsys.readouterr().out.split())
    for part in (
        "--name NAME Its name, 100% of it.",
        "--timeouts-head TIME Until the head. (default: 10s)",
        "--timeouts-body-size SIZE Of the body. (default: 64K)",
        "--compress, --no-compress Whether to. (default: yes)",
        "--backends BACKENDS Repeats. (default: a b)",
        "HOPSTACK_TIMEOUTS_HEAD",
    ):
        assert part in out


def test_options_of_a_hop_are_all_documented_with_a_default() -> None:
    for option in flags.options(HttpOptions):
        assert option.doc.endswith("."), option.flag
        assert option.variable == "HOPSTACK_" + option.flag[2:].replace("-", "_").upper()


def test_effective_configuration_hides_secrets() -> None:
    class App(Options, frozen=True, kw_only=True):
        key: str = ""
        api_token: str = ""
        password: str = ""
        monkey: str = "banana"
        database: str = ""
        env: dict[str, str] = {}  # noqa: RUF012
        urls: tuple[str, ...] = ()
        inner: Inner = Inner()

    config = App(
        key="k", api_token="t", database="postgresql://shop:hunter2@db:5432/shop",
        env={"DATABASE_PASSWORD": "p", "MODE": "x"}, urls=("redis://:pw@cache/0", "http://a:80/b@c"),
    )  # fmt: skip
    assert flags.effective(config) == {
        "key": "***", "api_token": "***", "password": "", "monkey": "banana",
        "database": "postgresql://shop:***@db:5432/shop",
        "env": {"DATABASE_PASSWORD": "***", "MODE": "x"},
        "urls": ["redis://:***@cache/0", "http://a:80/b@c"],
        "inner": {"head": 10.0, "body_size": 65536},
    }  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["ä", "edge fra", "a,b", "a/0", "a(b)", "a:1", "a\n", "a;b", '"a"'],
    ids=lambda name: f"rfc9110-5.6.2-{name!r}",
)
def test_a_name_that_could_not_be_found_again_in_via_is_refused(name: str) -> None:
    with pytest.raises(ConfigError) as raised:
        flags.parse("hop", HopOptions, ["--name", name], {})
    assert (
        str(raised.value)
        == f"--name {name!r}: wanted a name of ASCII letters, digits and -._ without blanks, as edge-fra"
    )
    with pytest.raises(ConfigError, match="HOPSTACK_NAME"):
        flags.parse("hop", HopOptions, [], {"HOPSTACK_NAME": name})


@pytest.mark.parametrize("name", ["", "edge-fra", "Edge_1.example", "1", "a'b*"])
def test_a_name_is_a_token(name: str) -> None:
    assert flags.parse("hop", HopOptions, ["--name", name], {}).name == name


def test_help_says_that_forwarded_is_preferred(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        flags.parse("hop", HttpOptions, ["--help"], {})
    said = " ".join(capsys.readouterr().out.split())
    assert "overwrite or extend Forwarded themselves: it is preferred over X-Forwarded-For" in said


def test_a_secret_that_repeats_is_hidden_one_by_one() -> None:
    assert flags.effective(HttpOptions(cert=("a.pem", "b.pem"), key=("a-key.pem", "b-key.pem")))["key"] == [
        "***",
        "***",
    ]
