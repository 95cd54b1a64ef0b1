from __future__ import annotations

import pytest

from proxy.rules.routing import Route, route
from stack.path import STEPS


@pytest.mark.parametrize(
    ("path", "prefixes", "expected"),
    [
        (b"/static/site.css", (b"/static/",), (Route.STATIC, b"/static/")),
        (b"/static/../app", (b"/static/",), (Route.STATIC, b"/static/")),
        (b"/static", (b"/static/",), (Route.APP, b"")),
        (b"/statics/site.css", (b"/static/",), (Route.APP, b"")),
        (b"/", (b"/static/",), (Route.APP, b"")),
        (b"*", (b"/static/",), (Route.APP, b"")),
        (b"/static/site.css", (), (Route.APP, b"")),
        (b"/a/b/c", (b"/a/b/", b"/a/", b"/"), (Route.STATIC, b"/a/b/")),
        (b"/a/c", (b"/a/b/", b"/a/", b"/"), (Route.STATIC, b"/a/")),
        (b"/?a", (b"/a/b/", b"/a/", b"/"), (Route.STATIC, b"/")),
    ],
)
def test_route(path: bytes, prefixes: tuple[bytes, ...], expected: tuple[Route, bytes]) -> None:
    assert route(path, prefixes) == expected


def test_without_an_app_the_rest_is_nobodys() -> None:
    assert route(b"/x", (b"/static/",), app=False) == (Route.NONE, b"")
    assert route(b"/static/x", (b"/static/",), app=False) == (Route.STATIC, b"/static/")


def test_the_words_are_those_of_the_path() -> None:
    assert {chosen.value for chosen in Route} <= set(STEPS["proxy"]["route"])
