from __future__ import annotations

import pytest

from proxy.rules.roots import roots


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        pytest.param([], {}, id="none"),
        pytest.param(["built"], {"/static/": "built"}, id="a directory alone"),
        pytest.param(["/srv/built"], {"/static/": "/srv/built"}, id="an absolute one"),
        pytest.param(["/assets/=built"], {"/assets/": "built"}, id="with its prefix"),
        pytest.param(["/=public"], {"/": "public"}, id="a whole site"),
        pytest.param(["/=/srv/a=b"], {"/": "/srv/a=b"}, id="the first = parts"),
        pytest.param(["a=b"], {"/static/": "a=b"}, id="a directory with = in its name"),
        pytest.param(["/srv/a=b"], {"/static/": "/srv/a=b"}, id="an absolute one with = in its name"),
    ],
)
def test_as_written(texts: list[str], expected: dict[str, str]) -> None:
    assert roots(texts, "/static/") == expected


def test_the_longest_prefix_is_first() -> None:
    found = roots(["/=a", "/assets/v1/=c", "/assets/=b", "d"], "/static/")
    assert list(found.items()) == [("/assets/v1/", "c"), ("/assets/", "b"), ("/static/", "d"), ("/", "a")]


@pytest.mark.parametrize(
    ("texts", "usual", "says"),
    [
        (["built"], "static", "'static' is no prefix: it begins and ends with a slash"),
        (["/a//b/=built"], "/static/", "'/a//b/' is no prefix"),
        (["/ä/=built"], "/static/", "'/ä/' is no prefix"),
        (["/assets/="], "/static/", "'/assets/=' names no directory; write /assets/=DIR"),
        ([""], "/static/", "'' names no directory"),
        (["a", "b"], "/static/", "'b': there is another directory for /static/"),
        (["/=a", "/=b"], "/static/", "'/=b': there is another directory for /;"),
    ],
)
def test_what_is_wrong(texts: list[str], usual: str, says: str) -> None:
    with pytest.raises(ValueError) as caught:
        roots(texts, usual)
    assert str(caught.value).startswith(says)
