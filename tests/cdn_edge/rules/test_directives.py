"""Which field is obeyed: RFC 9213 §2.2."""

from __future__ import annotations

import pytest

from cdn_edge.rules.directives import DEFAULT, Targets
from cdn_edge.rules.freshness import lifetime
from tests.cdn_edge.lab import lines
from tests.cdn_edge.rules.test_freshness import NOW, at

OBEYED = [
    # case, fields, field obeyed, lifetime, source
    ("no targeted field", "Cache-Control: max-age=1", "cache-control", 1, "max-age"),
    ("nothing at all", "", "cache-control", 0, "none"),
    ("longer", "Cache-Control: max-age=1\nCDN-Cache-Control: max-age=9", "cdn-cache-control", 9, "max-age"),
    ("shorter", "Cache-Control: max-age=9\nCDN-Cache-Control: max-age=1", "cdn-cache-control", 1, "max-age"),
    ("against s-maxage", "Cache-Control: s-maxage=9\nCDN-Cache-Control: max-age=1", "cdn-cache-control", 1, "max-age"),
    ("against Expires", "Expires: {9}\nCDN-Cache-Control: max-age=1", "cdn-cache-control", 1, "max-age"),
    ("against a past Expires", "Expires: 0\nCDN-Cache-Control: max-age=1", "cdn-cache-control", 1, "max-age"),
    ("Expires is not heard for what it leaves out", "Expires: {9}\nCDN-Cache-Control: none", "cdn-cache-control", 0, "none"),
    ("Cache-Control neither", "Cache-Control: max-age=9\nCDN-Cache-Control: none", "cdn-cache-control", 0, "none"),
    ("a guess is", "Last-Modified: {-100}\nDate: {0}\nCDN-Cache-Control: must-revalidate", "cdn-cache-control", 10, "heuristic"),
    ("the first of the list", "CDN-Cache-Control: max-age=1\nhopstack-CDN-Cache-Control: max-age=2", "hopstack-cdn-cache-control", 2, "max-age"),
    ("the next where the first is empty", "CDN-Cache-Control: max-age=1\nhopstack-CDN-Cache-Control:", "cdn-cache-control", 1, "max-age"),
    ("the next where the first is invalid", "CDN-Cache-Control: max-age=1\nhopstack-CDN-Cache-Control: max-age=x", "cdn-cache-control", 1, "max-age"),
    ("Cache-Control where all are", "CDN-Cache-Control: max-age=x\nCache-Control: max-age=3", "cache-control", 3, "max-age"),
    ("Expires where all are", "CDN-Cache-Control: max-age=x\nExpires: {9}\nDate: {0}", "cache-control", 9, "expires"),
    ("several lines are one", "CDN-Cache-Control: no-cache\nCDN-Cache-Control: max-age=3", "cdn-cache-control", 3, "max-age"),
    ("several lines, one invalid", "CDN-Cache-Control: x,\nCDN-Cache-Control: max-age=3", "cache-control", 0, "none"),
    ("somebody else's", "ExampleCDN-Cache-Control: max-age=9\nCache-Control: max-age=1", "cache-control", 1, "max-age"),
    ("Surrogate-Control last", "Surrogate-Control: max-age=9\nCDN-Cache-Control: max-age=1", "cdn-cache-control", 1, "max-age"),
    ("Surrogate-Control before Cache-Control", "Surrogate-Control: max-age=9\nCache-Control: no-store", "surrogate-control", 9, "max-age"),
    ("Surrogate-Control of something else", 'Surrogate-Control: content="ESI/1.0"\nCache-Control: private', "cache-control", 0, "none"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "field", "seconds", "source"), [pytest.param(*row, id=f"9213 2.2 {case}") for case, *row in OBEYED]
)
def test_obeyed(text: str, field: str, seconds: float, source: str) -> None:
    fields = lines(at(text))
    said = DEFAULT.said(fields)
    assert said.field.decode() == field
    found = lifetime(200, fields, said, received=NOW)
    assert (found.seconds, found.source) == (seconds, source)
    names = {"max-age": field, "expires": "expires", "heuristic": "last-modified", "none": ""}
    assert found.field.decode() == names[source]


@pytest.mark.parametrize(
    ("text", "shared"),
    [
        ("Cache-Control: max-age=1", False),
        ("Cache-Control: public", True),
        ("Cache-Control: s-maxage=1", True),
        ("CDN-Cache-Control: max-age=1", True),
        ("CDN-Cache-Control: max-age=1\nCache-Control: private", True),
        ("CDN-Cache-Control: must-revalidate", False),
        ("Surrogate-Control: max-age=1", True),
        ("ExampleCDN-Cache-Control: max-age=1", False),
    ],
)
def test_said_to_be_shared(text: str, shared: bool) -> None:
    assert DEFAULT.said(lines(text)).shared is shared


def test_a_list_of_ones_own() -> None:
    fields = lines("Acme-Cache-Control: max-age=1\nCDN-Cache-Control: max-age=2\nSurrogate-Control: max-age=3")
    assert Targets((b"acme-cache-control",)).said(fields).cc.max_age == 1
    assert Targets(()).said(fields).cc.max_age is None
    assert Targets((b"surrogate-control", b"cdn-cache-control")).said(fields).cc.max_age == 3
    assert Targets((b"surrogate-control",)).hidden == {b"surrogate-control"}
    assert not Targets((b"cdn-cache-control",)).hidden
