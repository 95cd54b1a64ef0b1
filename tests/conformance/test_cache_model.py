"""The edge against a cache written from the RFC's text, under random requests, responses, failures and steps of the clock."""

from __future__ import annotations

import asyncio
import os
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.cache_world import Ask, Says, Step, Wait, World

LONG = int(os.environ.get("CACHE_MODEL_EXAMPLES", "0"))
"""`make test-long`: so many, new ones each time. Else the same in every run, that no run fails for what another found."""
EXAMPLES = LONG or 700

_DIRECTIVES = (
    "max-age=10", "max-age=10", "max-age=60", "max-age=60", "max-age=0", "max-age=5", 'max-age="60"', "max-age=x", "MAX-AGE=60",
    "s-maxage=20", "s-maxage=0", "public", "public", "private", "no-store", "no-cache", "must-revalidate", "proxy-revalidate",
    "stale-while-revalidate=7", "stale-while-revalidate=7", "stale-if-error=9", "stale-if-error=9", "immutable", "must-understand",
    'no-cache="x-user"', 'private="x-user"', 'private="set-cookie"', "ext", 'ext="max-age=99, no-store"', "no-transform",
)  # fmt: skip
_CONTROL = st.one_of(
    st.just("max-age=60"),
    st.just("max-age=10"),
    st.none(),
    st.lists(st.sampled_from(_DIRECTIVES), min_size=1, max_size=3).map(", ".join),
)
_TARGETED = st.sampled_from(
    [None] * 12 + ["max-age=30", "no-store", "private, max-age=9", "max-age=9, must-revalidate", "max-age="]
)
_SAYS = st.builds(
    Says,
    targeted=_TARGETED,
    status=st.sampled_from([200] * 14 + [203, 204, 301, 302, 404, 410, 500, 503, 299]),
    control=_CONTROL,
    expires=st.sampled_from([None] * 6 + [15, 15, -5, "0", "soon"]),
    age=st.sampled_from([None] * 6 + ["3", "20", "x", "4, 7"]),
    date=st.sampled_from([0] * 6 + [None, -4, 6]),
    etag=st.sampled_from(["strong", "strong", "weak", None]),
    modified=st.booleans(),
    vary=st.sampled_from([None] * 6 + ["Accept-Language", "accept-language, Accept-Encoding", "Cookie", "*"]),
    cookie=st.sampled_from([False] * 7 + [True]),
    ranges=st.sampled_from([True, True, False]),
    changed=st.sampled_from([False, False, True]),
    fails=st.sampled_from([None] * 10 + ["refused", "silent", "cut"]),
)
_FIELD = st.sampled_from(
    [
        *[("Accept-Language", value) for value in ("en", "de", "en, de", "en,de", "de, en")],
        *[("Accept-Encoding", value) for value in ("gzip", "br, gzip", "gzip,br")],
        *[("Cache-Control", value) for value in ("no-cache", "no-store", "max-age=0", "max-age=8", "min-fresh=5", "max-stale")],
        *[("Cache-Control", value) for value in ("max-stale=6", "only-if-cached", "max-age=8, max-stale=9", "stale-if-error=20")],
        ("Pragma", "no-cache"),
        *[("If-None-Match", value) for value in ("{tag}", "W/{tag}", '"other"', '"other", {tag}', "*")],
        *[("If-Modified-Since", value) for value in ("{then}", "{before}", "never")],
        *[("If-Match", value) for value in ("{tag}", '"other"')],
        ("If-Unmodified-Since", "{before}"),
        *[("Range", value) for value in ("bytes=0-2", "bytes=3-", "bytes=-4", "bytes=3-3", "bytes=900-", "lines=1-2")],
        *[("If-Range", value) for value in ("{tag}", '"other"', "W/{tag}")],
        ("Authorization", "Basic x"),
        ("Cookie", "id=7"),
        ("Cookie", "id=8"),
    ]
)  # fmt: skip
_FIELDS = st.one_of(
    st.just(()),
    st.just((("Accept-Language", "en"),)),
    st.lists(_FIELD, max_size=3, unique_by=lambda line: line[0]).map(tuple),
)
_TARGET = st.sampled_from(["/a", "/a", "/a", "/b"])
_ASK = st.one_of(
    st.builds(Ask, target=_TARGET, fields=_FIELDS, says=_SAYS),
    st.builds(Ask, target=_TARGET, fields=_FIELDS, says=_SAYS),
    st.builds(Ask, target=_TARGET, method=st.just("HEAD"), fields=_FIELDS, says=_SAYS),
    st.builds(
        Ask,
        target=_TARGET,
        method=st.sampled_from(["POST", "PUT", "DELETE", "OPTIONS", "POST"]),
        says=st.builds(
            Says,
            status=st.sampled_from([200, 200, 201, 303, 404, 500]),
            control=_CONTROL,
            location=st.sampled_from([None, "/a", "/b"]),
            fails=st.sampled_from([None, None, "refused"]),
        ),
    ),
)
_STEP: st.SearchStrategy[Step] = st.one_of(_ASK, _ASK, _ASK, st.builds(Wait, st.sampled_from([1, 3, 6, 11, 40])))

# A response that is likely to be stored; time; what may answer, change or end it: what a cache's life is made of.
_LASTING = st.tuples(
    st.sampled_from(["max-age=10", "max-age=10", "max-age=60", "s-maxage=10", "public, max-age=10"]),
    st.sampled_from(("", "", *_DIRECTIVES)),
).map(lambda parts: ", ".join(filter(None, parts)))
_STORED = st.builds(
    Ask,
    fields=st.sampled_from(
        [()] * 4 + [(("Accept-Language", "en"),), (("Cookie", "id=7"),), (("Authorization", "Basic x"),)]
    ),
    says=st.builds(
        Says,
        control=_LASTING,
        targeted=_TARGETED,
        expires=st.sampled_from([None, None, 15]),
        age=st.sampled_from([None, None, None, "3"]),
        date=st.sampled_from([0, 0, 0, -4]),
        etag=st.sampled_from(["strong", "strong", "weak", None]),
        modified=st.booleans(),
        vary=st.sampled_from([None, None, None, "Accept-Language", "Cookie"]),
        cookie=st.sampled_from([False] * 5 + [True]),
        fails=st.sampled_from([None] * 6 + ["cut"]),
    ),
)
_OUTCOME = st.builds(
    Says,
    status=st.sampled_from([200] * 5 + [404, 500, 503]),
    control=st.sampled_from(["max-age=60", "max-age=10", "no-store", None]),
    vary=st.sampled_from([None, None, "Accept-Language"]),
    changed=st.booleans(),
    fails=st.sampled_from([None, None, None, "refused", "silent"]),
)
_LATER: st.SearchStrategy[Step] = st.one_of(
    st.builds(Ask, says=_OUTCOME),
    st.builds(Ask, fields=_FIELD.map(lambda line: (line,)), says=_OUTCOME),
    st.builds(Ask, fields=_FIELD.map(lambda line: (line,)), says=_OUTCOME),
    st.builds(Ask, method=st.just("HEAD"), says=_OUTCOME),
    st.builds(
        Ask,
        target=st.sampled_from(["/a", "/b"]),
        method=st.sampled_from(["POST", "PUT", "DELETE", "OPTIONS"]),
        says=st.builds(
            Says,
            status=st.sampled_from([200, 201, 303, 404, 500]),
            control=st.sampled_from([None, "max-age=60"]),
            location=st.sampled_from(["/a", None]),
        ),
    ),
)
_WAIT = st.builds(Wait, st.sampled_from([1, 3, 8, 12, 12, 15, 18, 30]))
_LIFE: st.SearchStrategy[list[Step]] = st.tuples(_STORED, _WAIT, _LATER, st.one_of(_LATER, _WAIT), st.builds(Ask)).map(
    list
)

_EN = (("Accept-Language", "en"),)

FOUND: list[tuple[str, list[Step]]] = [
    (
        "4.1 of two that match, made in one second, the later answers",
        [
            Ask(fields=_EN, says=Says(control="max-age=60", vary="Accept-Language")),
            Ask(says=Says(control="max-age=60")),
            Ask(fields=_EN),
        ],
    ),
    (
        "4.1 what is stale does not hide what is fresh and newer",
        [Ask(fields=_EN, says=Says(vary="Accept-Language")), Ask(says=Says(control="max-age=60")), Ask(fields=_EN)],
    ),
    (
        "9110 6.6.1 a 304 without Date was made when it came",
        [
            Ask(says=Says(control="max-age=10", date=-4)),
            Wait(11),
            Ask(says=Says(control="max-age=60", date=None)),
            Ask(),
        ],
    ),
    (
        "4.2.3 Age is of the message that brought it, not of what it freshens",
        [Ask(says=Says(control="max-age=10", age="3")), Wait(11), Ask(says=Says(control="max-age=60")), Ask()],
    ),
    (
        "4.1 a tag of another variant may be sent, and a 304 choose it",
        [
            Ask(fields=(("Cookie", "id=7"),), says=Says(control="max-age=10", vary="Cookie")),
            Ask(says=Says(vary="Cookie")),
        ],
    ),
    (
        "5.2.2.7 a cookie that private names is not stored, and so not there after a 304",
        [
            Ask(says=Says(control='max-age=10, private="set-cookie"', cookie=True)),
            Wait(12),
            Ask(says=Says(control="max-age=60")),
            Ask(),
        ],
    ),
    (
        "5.2.1.3 min-fresh",
        [Ask(says=Says(control="max-age=10")), Wait(8), Ask(fields=(("Cache-Control", "min-fresh=5"),))],
    ),
    ("4.2.2 a tenth, and no more", [Ask(), Wait(8), Ask(), Wait(3), Ask()]),
    (
        "5.2.2.2, 5861.4 must-revalidate against all that allows what is stale",
        [
            Ask(says=Says(control="max-age=10, must-revalidate, stale-while-revalidate=60, stale-if-error=60")),
            Wait(12),
            Ask(says=Says(fails="refused")),
            Ask(says=Says(status=503)),
            Ask(fields=(("Cache-Control", "max-stale"),), says=Says(fails="silent")),
        ],
    ),
]
"""What the random ones once met, shrunk, and what they meet too seldom."""

SMALL = 6000
"""Bytes: four responses."""

seen: Counter[str] = Counter()


@pytest.mark.parametrize("steps", [pytest.param(steps, id=clause) for clause, steps in FOUND])
async def test_found(steps: list[Step]) -> None:
    await World().run(steps)


def tried(world: World, steps: list[Step]) -> None:
    asyncio.run(world.run(steps))
    seen.update(
        asked=sum(isinstance(step, Ask) for step in steps),
        hits=world.hits, required=world.required, validated=world.validated, stale=world.stale,
    )  # fmt: skip


@settings(max_examples=2 * EXAMPLES, derandomize=not LONG, deadline=None, suppress_health_check=list(HealthCheck))
@given(_LIFE)
def test_a_response_that_is_stored_and_what_becomes_of_it(steps: list[Step]) -> None:
    tried(World(), steps)


@settings(max_examples=EXAMPLES, derandomize=not LONG, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(_STEP, min_size=2, max_size=12),
    st.sampled_from([0, 0, 0, 2]),
    st.sampled_from([1_000_000, 1_000_000, SMALL]),
)
def test_nothing_that_the_text_forbids_and_everything_that_a_good_cache_answers(
    steps: list[Step], delay: int, size: int
) -> None:
    tried(World(delay, size), steps)


def test_the_run_met_what_it_is_about() -> None:
    """Else the strategies miss the point, and the tests above say nothing."""
    if not seen["asked"]:
        pytest.skip("the tests above did not run")
    shares = {word: seen[word] / seen["asked"] for word in ("hits", "required", "validated", "stale")}
    assert shares["hits"] > 0.05, shares
    assert shares["required"] > 0.02, shares
    assert shares["validated"] > 0.005, shares
    assert shares["stale"] > 0.002, shares
