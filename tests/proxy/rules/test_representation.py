from __future__ import annotations

import pytest

from proxy.rules import representation


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("site.css", b"text/css; charset=utf-8"),
        ("SITE.CSS", b"text/css; charset=utf-8"),
        ("app.min.js", b"text/javascript; charset=utf-8"),
        ("data.json", b"application/json"),
        ("logo.svg", b"image/svg+xml"),
        ("font.woff2", b"font/woff2"),
        ("Makefile", b"application/octet-stream"),
        ("css", b"text/css; charset=utf-8"),
        ("archive.tar.gz", b"application/gzip"),
        ("x.unheard-of", b"application/octet-stream"),
    ],
)
def test_content_type(name: str, expected: bytes) -> None:
    assert representation.content_type(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("site.3f2a9c1b.css", True),
        ("site-3f2a9c1b.css", True),
        ("app.0123456789abcdef0123456789abcdef.js", True),
        ("app.3f2a9c1b.js.map", True),
        ("site.css", False),
        ("site.3f2a9c1.css", False),  # seven digits
        ("report-20240131.pdf", False),  # a date
        ("the-defaced.png", False),  # a word
        ("site.3F2A9C1B.css", False),
        ("3f2a9c1b.css", False),  # the whole name: nothing says that it is a hash
        ("site.3f2a9c1b", False),
        ("site.3f2a9c1bzz.css", False),
        ("site.3f2a9c1b.css.old.copy", False),
        ("site." + "3f" * 33 + ".css", False),
    ],
)
def test_is_hashed(name: str, expected: bool) -> None:
    assert representation.is_hashed(name) is expected


def test_cache_control() -> None:
    assert representation.cache_control("site.3f2a9c1b.css", 60) == b"public, max-age=31536000, immutable"
    assert representation.cache_control("site.css", 60) == b"public, max-age=60"


def test_each_coding_has_a_strong_tag_of_its_own() -> None:
    tags = {representation.etag(17, 100, coding) for coding in (None, b"br", b"zstd", b"gzip")}
    assert len(tags) == 4
    assert all(tag.startswith(b'"') and tag.endswith(b'"') for tag in tags)
    assert representation.etag(17, 100) != representation.etag(18, 100) != representation.etag(18, 101)


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        (None, []),
        (b"", []),
        (b"identity", []),
        (b"gzip, deflate, br, zstd", [b"br", b"zstd", b"gzip"]),
        (b"gzip, br", [b"br", b"gzip"]),
        (b"gzip;q=1.0, br;q=0.5", [b"gzip", b"br"]),
        (b"br;q=0, *", [b"zstd", b"gzip"]),
        (b"br;q=0.5, identity;q=0.8", []),
        (b"identity;q=0, br", [b"br"]),
        (b"deflate", []),
    ],
)
def test_sibling_codings(accept_encoding: bytes | None, expected: list[bytes]) -> None:
    assert representation.sibling_codings(accept_encoding) == expected


def test_a_sibling_made_from_an_older_original_is_left_out() -> None:
    second = 1_000_000_000
    assert representation.is_current(10 * second, 10 * second)
    assert representation.is_current(9 * second, 10 * second)  # unpacked in another order
    assert not representation.is_current(7 * second, 10 * second)
