from __future__ import annotations

import pytest

from proxy.rules.paths import NotServed, names

PREFIX = b"/static/"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param(b"/static/site.css", ("site.css",), id="a file"),
        pytest.param(b"/static/img/a/b.png", ("img", "a", "b.png"), id="below directories"),
        pytest.param(b"/static/a%20b.txt", ("a b.txt",), id="RFC 3986 2.4: decoded"),
        pytest.param(b"/static/%E2%82%AC.txt", ("€.txt",), id="UTF-8"),
        pytest.param(b"/static/100%25.txt", ("100%.txt",), id="an encoded percent sign"),
        pytest.param(b"/static/%252e%252e/x", ("%2e%2e", "x"), id="RFC 3986 2.4: decoded once only"),
        pytest.param(b"/static/a..b.txt", ("a..b.txt",), id="dots within a name"),
        pytest.param(b"/static/a%3Fb", ("a?b",), id="an encoded question mark"),
        pytest.param(b"/static/a+b", ("a+b",), id="plus is plus"),
        pytest.param(b"/static/", ("index.html",), id="the directory itself: its index"),
        pytest.param(b"/static/img/", ("img", "index.html"), id="a directory: its index"),
        pytest.param(b"/static//", NotServed.FORBIDDEN, id="an empty segment before the index"),
        pytest.param(b"/static/../", NotServed.FORBIDDEN, id="dot segments before the index"),
        pytest.param(b"/static/.well-known/a", NotServed.FORBIDDEN, id="RFC 8615 3: of the site's root alone"),
        pytest.param(b"/static/../app.py", NotServed.FORBIDDEN, id="RFC 3986 3.3: dot segments"),
        pytest.param(b"/static/img/../../app.py", NotServed.FORBIDDEN, id="dot segments further on"),
        pytest.param(b"/static/./a", NotServed.FORBIDDEN, id="single dot"),
        pytest.param(b"/static/%2e%2e/app.py", NotServed.FORBIDDEN, id="encoded dots"),
        pytest.param(b"/static/.%2E/app.py", NotServed.FORBIDDEN, id="half encoded dots"),
        pytest.param(b"/static/..%2fapp.py", NotServed.FORBIDDEN, id="encoded slash after dots"),
        pytest.param(b"/static/img%2Fa.png", NotServed.FORBIDDEN, id="encoded slash"),
        pytest.param(b"/static//etc/passwd", NotServed.FORBIDDEN, id="empty segment"),
        pytest.param(b"/static/img//a.png", NotServed.FORBIDDEN, id="empty segment further on"),
        pytest.param(b"/static/..\\app.py", NotServed.FORBIDDEN, id="backslash"),
        pytest.param(b"/static/a%5Cb", NotServed.FORBIDDEN, id="encoded backslash"),
        pytest.param(b"/static/a%00.png", NotServed.FORBIDDEN, id="NUL"),
        pytest.param(b"/static/a%0a.png", NotServed.FORBIDDEN, id="line feed"),
        pytest.param(b"/static/a%7f", NotServed.FORBIDDEN, id="DEL"),
        pytest.param(b"/static/%C0%AE%C0%AE/x", NotServed.FORBIDDEN, id="overlong UTF-8 dots"),
        pytest.param(b"/static/%ff", NotServed.FORBIDDEN, id="not UTF-8"),
        pytest.param(b"/static/%E2%80%AEtxt.exe", NotServed.FORBIDDEN, id="right-to-left override"),
        pytest.param(b"/static/a%2", NotServed.FORBIDDEN, id="cut percent-encoding"),
        pytest.param(b"/static/a%zz", NotServed.FORBIDDEN, id="broken percent-encoding"),
        pytest.param(b"/static/%", NotServed.FORBIDDEN, id="a lone percent sign"),
        pytest.param(b"/static/%%41", NotServed.FORBIDDEN, id="a percent sign before an encoding"),
        pytest.param(b"/static/.env", NotServed.FORBIDDEN, id="dotfile"),
        pytest.param(b"/static/.git/config", NotServed.FORBIDDEN, id="below a dot directory"),
        pytest.param(b"/static/img/%2ehtpasswd", NotServed.FORBIDDEN, id="encoded dotfile"),
    ],
)
def test_names(path: bytes, expected: object) -> None:
    assert names(path, PREFIX) == expected


def test_a_prefix_of_its_own() -> None:
    assert names(b"/assets/v1/a.js", b"/assets/v1/") == ("a.js",)
    assert names(b"/a.js", b"/") == ("a.js",)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param(b"/", ("index.html",), id="the front page"),
        pytest.param(b"/docs/", ("docs", "index.html"), id="a directory"),
        pytest.param(b"/.well-known/security.txt", (".well-known", "security.txt"), id="RFC 8615 3"),
        pytest.param(b"/a/.well-known/x", NotServed.FORBIDDEN, id="RFC 8615 3: further down it is a dotfile"),
        pytest.param(b"/.well-known/.env", NotServed.FORBIDDEN, id="a dotfile within"),
        pytest.param(b"/.well-knownx", NotServed.FORBIDDEN, id="a dotfile that begins alike"),
        pytest.param(b"/.git/config", NotServed.FORBIDDEN, id="git"),
        pytest.param(b"/.env", NotServed.FORBIDDEN, id="env"),
        pytest.param(b"//evil.test/", NotServed.FORBIDDEN, id="RFC 3986 4.2: what would be another host"),
        pytest.param(b"/\\evil.test/", NotServed.FORBIDDEN, id="the same by a backslash"),
    ],
)
def test_a_whole_site(path: bytes, expected: object) -> None:
    assert names(path, b"/") == expected
