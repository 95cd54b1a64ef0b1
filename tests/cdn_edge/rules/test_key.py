"""RFC 9111 §2, §4: the key; RFC 3986 §6.2: what of a URI means the same."""

from __future__ import annotations

import pytest

from cdn_edge.rules.key import Keying, key, origin, page


@pytest.mark.parametrize(
    ("scheme", "authority", "target", "expected"),
    [
        (b"https", b"shop.test", b"/", b"https://shop.test/"),
        (b"https", b"SHOP.Test", b"/A", b"https://shop.test/A"),
        (b"https", b"shop.test:443", b"/", b"https://shop.test/"),
        (b"http", b"shop.test:80", b"/", b"http://shop.test/"),
        (b"http", b"shop.test:443", b"/", b"http://shop.test:443/"),
        (b"https", b"shop.test:80", b"/", b"https://shop.test:80/"),
        (b"https", b"shop.test:8443", b"/", b"https://shop.test:8443/"),
        (b"https", b"shop.test:", b"/", b"https://shop.test/"),
        (b"http", b"[::1]:80", b"/", b"http://[::1]/"),
        (b"http", b"[::1]", b"/", b"http://[::1]/"),
        (b"http", b"", b"/", b"http:///"),
        (b"https", b"shop.test", b"/a?b=1&c", b"https://shop.test/a?b=1&c"),
        (b"https", b"shop.test", b"/a?", b"https://shop.test/a?"),
        (b"https", b"shop.test", b"/%7Euser", b"https://shop.test/%7Euser"),
    ],
)
def test_key(scheme: bytes, authority: bytes, target: bytes, expected: bytes) -> None:
    assert key(scheme, authority, target) == expected


def test_query_path_and_scheme_tell_keys_apart() -> None:
    made = {
        key(b"https", b"shop.test", b"/a"),
        key(b"http", b"shop.test", b"/a"),
        key(b"https", b"shop.test", b"/A"),
        key(b"https", b"shop.test", b"/a?"),
        key(b"https", b"shop.test", b"/a?x"),
        key(b"https", b"www.shop.test", b"/a"),
    }
    assert len(made) == 6


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://shop.test", b"https://shop.test/"),
        ("HTTPS://Shop.Test:443/a?b#part", b"https://shop.test/a?b"),
        ("http://shop.test:8080/a", b"http://shop.test:8080/a"),
        ("http://shop.test?x=1", b"http://shop.test/?x=1"),
        ("https://user@shop.test/a@b", b"https://shop.test/a@b"),
        (" https://shop.test/ ", b"https://shop.test/"),
    ],
)
def test_a_url_has_the_key_of_its_request(url: str, expected: bytes) -> None:
    assert Keying().of_url(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/a",
        "shop.test/a",
        "ftp://shop.test/",
        "https:///a",
        "https://a b/",
        "https://h/é",
        "https://h\\evil/",
        "https://h:x/",
        "https://[::1/",
        "https://h\x00/",
        "https://h/\r\nX: 1",
    ],
)
def test_what_is_no_url_says_the_remedy(url: str) -> None:
    with pytest.raises(ValueError, match=r"host|ASCII|URL"):
        Keying().of_url(url)


def test_origin_of_a_key() -> None:
    assert origin(b"https://shop.test:8443/a/b") == b"https://shop.test:8443"


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        pytest.param(b"/b", b"https://shop.test/b", id="absolute-path"),
        pytest.param(b"c", b"https://shop.test/x/c", id="relative"),
        pytest.param(b"../c?d#e", b"https://shop.test/c?d", id="dots"),
        pytest.param(b"https://SHOP.test:443/c", b"https://shop.test/c", id="absolute"),
        pytest.param(b"", b"https://shop.test/x/y", id="empty"),
        pytest.param(b"http://shop.test/c", None, id="other-scheme"),
        pytest.param(b"//evil.test/c", None, id="other-host"),
        pytest.param(b"https://shop.test:444/c", None, id="other-port"),
        pytest.param(b"mailto:a@b", None, id="other-kind"),
    ],
)
def test_same_origin(reference: bytes, expected: bytes | None) -> None:
    assert Keying().same_origin(b"https://shop.test/x/y", reference) == expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (b"https://shop.test/a?b=/c:1", b"shop.test/a?b=/c:1"),
        (b"http://shop.test:8080/", b"shop.test/"),
        (b"https://[::1]:8443/a", b"[::1]/a"),
        (b"https://[::1]/a", b"[::1]/a"),
    ],
)
def test_page_is_the_key_without_scheme_and_port(found: bytes, expected: bytes) -> None:
    assert page(found) == expected
