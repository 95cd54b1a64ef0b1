"""Profiles: what a name stands for, and that whoever says something himself is heard."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdn_edge.config import Cache, Config, Profile
from cdn_edge.profiles import PROFILES, profiled
from cdn_edge.rules.judging import Policy
from stack.config.arguments import arguments
from stack.config.flags import options, parse

REFERENCE = Path(__file__).parents[2] / "docs" / "caching.md"


def cache(*flags: str, environ: dict[str, str] | None = None) -> Cache:
    return profiled(parse("cdn_edge", Config, flags, environ or {})).cache


@pytest.mark.parametrize(
    ("flags", "set_cookie", "guess"),
    [
        ([], "explicit", False),
        (["--profile", "careful"], "explicit", False),
        (["--profile", "rfc9111"], "store", True),
        (["--cache-profile", "rfc9111"], "store", True),
        (["--profile", "careful", "--cache-profile", "rfc9111"], "store", True),
        (["--profile", "rfc9111", "--cache-set-cookie", "explicit"], "explicit", True),
        (["--cache-set-cookie", "explicit", "--profile", "rfc9111", "--no-cache-guess-for-cookies"], "explicit", False),
        (["--cache-set-cookie", "store"], "store", False),
    ],
)
def test_what_is_given_wins_over_the_profile(flags: list[str], set_cookie: str, guess: bool) -> None:
    made = cache(*flags)
    assert (made.set_cookie, made.guess_for_cookies) == (set_cookie, guess)


def test_the_environment_names_a_profile_too() -> None:
    assert cache(environ={"HOPSTACK_CACHE_PROFILE": "rfc9111"}).set_cookie == "store"
    assert (
        cache(environ={"HOPSTACK_PROFILE": "rfc9111", "HOPSTACK_CACHE_SET_COOKIE": "explicit"}).set_cookie == "explicit"
    )


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_leaves_nothing_open_and_speaks_of_what_every_other_does(profile: Profile) -> None:
    assert PROFILES[profile].keys() == PROFILES["careful"].keys()
    made = cache("--profile", profile)
    assert made.profile == profile
    assert {name: getattr(made, name) for name in PROFILES[profile]} == dict(PROFILES[profile])


def test_options_of_a_profile_have_no_default_of_their_own() -> None:
    named = {option.path[-1]: option for option in options(Cache)}
    assert all(named[name].default is None for name in PROFILES["careful"])


def test_the_policy_itself_is_the_careful_one() -> None:
    known = {name: getattr(Policy(), name) for name in PROFILES["careful"] if hasattr(Policy(), name)}
    assert known
    assert known == {name: PROFILES["careful"][name] for name in known}


@pytest.mark.parametrize("name", PROFILES["careful"])
def test_the_page_and_the_help_name_what_a_profile_changes(name: str) -> None:
    values = [{True: "yes", False: "no"}.get(PROFILES[one][name], PROFILES[one][name]) for one in PROFILES]
    rows = [line for line in REFERENCE.read_text().splitlines() if line.startswith(f"| `{name}` |")]
    assert len(rows) == 1
    assert [cell.strip(" `") for cell in rows[0].split("|")[2:4]] == values
    doc = next(option.doc for option in options(Cache) if option.path == (name,))
    assert all(f"{value} with {one}" in doc for one, value in zip(PROFILES, values, strict=True))


def test_a_process_that_is_started_by_another_follows_the_same_profile() -> None:
    config = parse("cdn_edge", Config, ["--profile", "rfc9111", "--cache-set-cookie", "explicit"], {})
    for changed_only in (False, True):
        flags = arguments(config, changed_only=changed_only)
        environ = {} if changed_only else {"HOPSTACK_CACHE_PROFILE": "careful"}
        made = profiled(parse("cdn_edge", Config, flags, environ)).cache
        assert (made.profile, made.set_cookie, made.guess_for_cookies) == ("rfc9111", "explicit", True)
