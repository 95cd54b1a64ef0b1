from __future__ import annotations

import pytest

from proxy.rules.routing import Route, route
from stack.path import STEPS


@pytest.mark.parametrize(
    ("path", "prefix", "expected"),
    [
        (b"/static/site.css", b"/static/", Route.STATIC),
        (b"/static/../app", b"/static/", Route.STATIC),
        (b"/static", b"/static/", Route.APP),
        (b"/statics/site.css", b"/static/", Route.APP),
        (b"/", b"/static/", Route.APP),
        (b"*", b"/static/", Route.APP),
        (b"/static/site.css", None, Route.APP),
    ],
)
def test_route(path: bytes, prefix: bytes | None, expected: Route) -> None:
    assert route(path, prefix) is expected


def test_the_words_are_those_of_the_path() -> None:
    assert {chosen.value for chosen in Route} <= set(STEPS["proxy"]["route"])
