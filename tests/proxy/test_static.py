"""Static files as a client sees them, without sockets: RFC 9110 §8.8, §13, §14 over real files."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from proxy.config import COMPRESSIBLE
from proxy.files import CHUNK
from proxy.rules.compression import Types
from proxy.static import StaticFiles
from stack.errors import HopError
from stack.http.message import Request, Response
from stack.path import STEPS
from stack.telemetry.exchange import Exchange

NOW = 1_800_000_000.0
MODIFIED = 1_700_000_000
LAST_MODIFIED = b"Tue, 14 Nov 2023 22:13:20 GMT"
CSS = b"body { color: #222 }\n" * 100
PNG = os.urandom(5000)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "static"
    (root / "img").mkdir(parents=True)
    (root / "site.css").write_bytes(CSS)
    (root / "site.3f2a9c1b.css").write_bytes(CSS)
    (root / "img" / "shoe.png").write_bytes(PNG)
    (root / ".env").write_text("SECRET=1")
    (root / "link.css").symlink_to("site.css")
    (root / "empty.txt").touch()
    for path in root.rglob("*"):
        if not path.is_symlink():
            os.utime(path, (MODIFIED, MODIFIED))
    return root


Ask = Callable[..., tuple[Response, str]]


@pytest.fixture
def ask(root: Path) -> Ask:
    return asking(root, "/static/")


def asking(root: Path, prefix: str) -> Ask:
    files = StaticFiles(
        str(root),
        prefix=prefix.encode(),
        max_age=60,
        compressible=Types(COMPRESSIBLE),
        hop="proxy-1",
        time=lambda: NOW,
        random=Random(7),
    )

    def ask(name: str, method: bytes = b"GET", **fields: bytes) -> tuple[Response, str]:
        pairs = [(key.replace("_", "-").encode(), value) for key, value in fields.items()]
        request = Request(method, (prefix + name).encode(), pairs, authority=b"shop.test")
        exchange = Exchange("proxy-1", lambda: 0.0, request)
        response = files.answer(request, exchange)
        (mark,) = exchange.marks
        assert mark[0] == "serve"
        assert mark[1] in STEPS["proxy"]["serve"]
        return response, mark[1]

    return ask


def etag(response: Response) -> bytes:
    value = response.get(b"etag")
    assert value is not None
    return value


def test_a_file(ask: Ask) -> None:
    response, word = ask("site.css")
    assert (response.status, response.body, word) == (200, CSS, "file")
    assert dict(response.fields) == {
        b"content-type": b"text/css; charset=utf-8",
        b"content-length": b"%d" % len(CSS),
        b"etag": etag(response),
        b"last-modified": LAST_MODIFIED,
        b"cache-control": b"public, max-age=60",
        b"accept-ranges": b"bytes",
        b"x-content-type-options": b"nosniff",
        b"vary": b"Accept-Encoding",
    }
    assert re.fullmatch(rb'"[0-9a-f-]+"', etag(response))


def test_a_query_is_not_part_of_the_name(ask: Ask) -> None:
    assert ask("site.css?v=3")[0].status == 200


def test_a_hashed_name_is_immutable(ask: Ask) -> None:
    assert ask("site.3f2a9c1b.css")[0].get(b"cache-control") == b"public, max-age=31536000, immutable"


def test_a_picture_does_not_vary(ask: Ask) -> None:
    response, _ = ask("img/shoe.png", accept_encoding=b"br")
    assert (response.body, response.get(b"content-type"), response.get(b"vary")) == (PNG, b"image/png", None)


def test_an_empty_file(ask: Ask) -> None:
    response, _ = ask("empty.txt")
    assert (response.status, response.body, response.get(b"content-length")) == (200, b"", b"0")


def test_head_has_the_fields_of_get(ask: Ask) -> None:
    got, _ = ask("site.css")
    asked, _ = ask("site.css", b"HEAD")
    assert asked.fields == got.fields
    assert asked.body == b""


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("nowhere.css", "not-found"),
        ("", "not-found"),
        ("img", "not-found"),
        ("img/", "not-found"),
        ("link.css", "not-found"),
        (".env", "forbidden"),
        ("../static/site.css", "forbidden"),
        ("..%2f..%2fetc/passwd", "forbidden"),
        ("%2e%2e/static/site.css", "forbidden"),
        ("img/%00.png", "forbidden"),
    ],
)
def test_what_is_not_served_looks_like_what_is_not_there(ask: Ask, name: str, word: str) -> None:
    response, said = ask(name)
    assert (response.status, said) == (404, word)
    assert response.get(b"proxy-status") is None, "an origin's 404 is no error of a proxy (RFC 9209 §1)"
    missing, _ = ask("nowhere.css")
    assert response.fields == missing.fields
    assert response.body == missing.body


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"PROPFIND"])
def test_other_methods(ask: Ask, method: bytes) -> None:
    """RFC 9110 §15.5.6: with Allow."""
    response, word = ask("site.css", method)
    assert (response.status, response.get(b"allow"), word) == (405, b"GET, HEAD", "method")
    assert response.get(b"proxy-status") is None


# Conditional requests.


def test_the_client_has_it(ask: Ask) -> None:
    whole, _ = ask("site.css")
    for fields in (
        {"if_none_match": etag(whole)},
        {"if_none_match": b"W/" + etag(whole)},  # RFC 9110 §13.1.2: weakly; so the proxy's own weakening is undone
        {"if_none_match": b'"other", ' + etag(whole)},
        {"if_none_match": b"*"},
        {"if_modified_since": LAST_MODIFIED},
    ):
        response, word = ask("site.css", **fields)
        assert (response.status, response.body, word) == (304, b"", "not-modified")
        assert etag(response) == etag(whole)
        assert response.get(b"vary") == b"Accept-Encoding"
        assert response.get(b"cache-control") == b"public, max-age=60"
        assert response.get(b"content-type") is None


def test_the_client_has_another(ask: Ask, root: Path) -> None:
    before, _ = ask("site.css")
    (root / "site.css").write_bytes(CSS + b"/* new */")
    for fields in ({"if_none_match": etag(before)}, {"if_modified_since": LAST_MODIFIED}):
        response, _ = ask("site.css", **fields)
        assert response.status == 200


def test_a_precondition_fails(ask: Ask) -> None:
    whole, _ = ask("site.css")
    assert ask("site.css", if_match=etag(whole))[0].status == 200
    for fields in (
        {"if_match": b'"other"'},
        {"if_match": b"W/" + etag(whole)},  # RFC 9110 §13.1.1: strongly
        {"if_unmodified_since": b"Mon, 13 Nov 2023 00:00:00 GMT"},
    ):
        response, word = ask("site.css", **fields)
        assert (response.status, word) == (412, "precondition-failed")


def test_last_modified_is_never_in_the_future(ask: Ask, root: Path) -> None:
    """RFC 9110 §8.8.2.1."""
    os.utime(root / "site.css", (NOW + 9999, NOW + 9999))
    assert ask("site.css")[0].get(b"last-modified") == b"Fri, 15 Jan 2027 08:00:00 GMT"


# Ranges.


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        pytest.param(b"bytes=0-9", 0, 10, id="the first ten"),
        pytest.param(b"bytes=4990-", 4990, 5000, id="to the end"),
        pytest.param(b"bytes=-10", 4990, 5000, id="the last ten"),
        pytest.param(b"bytes=4990-9999", 4990, 5000, id="past the end"),
        pytest.param(b"bytes=-9999", 0, 5000, id="a suffix longer than all"),
        pytest.param(b"BYTES=0-0", 0, 1, id="RFC 9110 14.1: the unit's case"),
    ],
)
def test_a_range(ask: Ask, asked: bytes, start: int, stop: int) -> None:
    response, word = ask("img/shoe.png", range=asked)
    assert (response.status, response.body, word) == (206, PNG[start:stop], "partial")
    assert response.get(b"content-range") == b"bytes %d-%d/5000" % (start, stop - 1)
    assert response.get(b"content-length") == b"%d" % (stop - start)
    assert response.get(b"etag") is not None


@pytest.mark.parametrize("asked", [b"bytes=9-5", b"lines=0-1", b"bytes=x", b"bytes=", b"junk", b"bytes=0-,1-,2-"])
def test_a_range_to_be_ignored(ask: Ask, asked: bytes) -> None:
    response, _ = ask("img/shoe.png", range=asked)
    assert (response.status, response.body) == (200, PNG)


def test_a_range_past_the_end(ask: Ask) -> None:
    """RFC 9110 §15.5.17: with the size."""
    response, word = ask("img/shoe.png", range=b"bytes=5000-")
    assert (response.status, response.get(b"content-range"), word) == (416, b"bytes */5000", "unsatisfiable")


def test_head_knows_no_range(ask: Ask) -> None:
    """RFC 9110 §14.2."""
    assert ask("img/shoe.png", b"HEAD", range=b"bytes=0-9")[0].status == 200


def test_several_ranges(ask: Ask) -> None:
    response, word = ask("img/shoe.png", range=b"bytes=0-9, -10")
    assert (response.status, word) == (206, "partial")
    assert response.get(b"content-range") is None
    content_type = response.get(b"content-type")
    assert content_type is not None
    boundary = content_type.removeprefix(b"multipart/byteranges; boundary=")
    assert isinstance(response.body, bytes)
    assert response.get(b"content-length") == b"%d" % len(response.body)
    head = b"\r\ncontent-type: image/png\r\ncontent-range: bytes %b/5000\r\n\r\n%b"
    assert response.body == (
        b"--" + boundary + head % (b"0-9", PNG[:10]) + b"\r\n--" + boundary + head % (b"4990-4999", PNG[-10:])
        + b"\r\n--" + boundary + b"--\r\n"
    )  # fmt: skip


def test_if_range(ask: Ask) -> None:
    whole, _ = ask("img/shoe.png")
    for validator, status in (
        (etag(whole), 206),
        (b'"other"', 200),
        (b"W/" + etag(whole), 200),  # RFC 9110 §13.1.5: strongly
        (LAST_MODIFIED, 206),
        (b"Tue, 14 Nov 2023 22:13:21 GMT", 200),
    ):
        assert ask("img/shoe.png", range=b"bytes=0-9", if_range=validator)[0].status == status, validator


# Files compressed beforehand.


@pytest.fixture
def precompressed(root: Path) -> Path:
    for suffix in ("br", "zst", "gz"):
        path = root / f"site.css.{suffix}"
        path.write_bytes(suffix.encode() * 50)
        os.utime(path, (MODIFIED, MODIFIED))
    return root


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        (b"gzip, deflate, br, zstd", b"br"),
        (b"gzip, zstd", b"zstd"),
        (b"gzip", b"gzip"),
        (b"br;q=0.1, gzip", b"gzip"),
        (b"identity", None),
        (b"", None),
    ],
)
@pytest.mark.usefixtures("precompressed")
def test_the_coding_beforehand(ask: Ask, accept: bytes, coding: bytes | None) -> None:
    response, word = ask("site.css", accept_encoding=accept)
    assert response.get(b"content-encoding") == coding
    assert response.get(b"content-type") == b"text/css; charset=utf-8"
    assert response.get(b"vary") == b"Accept-Encoding"
    assert word == ("file" if coding is None else "precompressed")
    suffix = {b"br": b"br", b"zstd": b"zst", b"gzip": b"gz", None: None}[coding]
    assert response.body == (CSS if suffix is None else suffix * 50)


@pytest.mark.usefixtures("precompressed")
def test_each_coding_is_a_representation_of_its_own(ask: Ask) -> None:
    """RFC 9110 §8.8.3.3: with a strong tag that differs."""
    tags = {accept: etag(ask("site.css", accept_encoding=accept)[0]) for accept in (b"br", b"zstd", b"gzip", b"")}
    assert len(set(tags.values())) == 4
    assert all(tag.startswith(b'"') for tag in tags.values())
    assert ask("site.css", accept_encoding=b"br", if_none_match=tags[b"br"])[0].status == 304
    assert ask("site.css", accept_encoding=b"br", if_none_match=tags[b"gzip"])[0].status == 200
    response, _ = ask("site.css", accept_encoding=b"br", range=b"bytes=0-3", if_range=tags[b"br"])
    assert (response.status, response.body, response.get(b"content-encoding")) == (206, b"brbr", b"br")


def test_a_coding_that_is_missing_falls_to_the_next(ask: Ask, precompressed: Path) -> None:
    (precompressed / "site.css.br").unlink()
    assert ask("site.css", accept_encoding=b"br, gzip")[0].get(b"content-encoding") == b"gzip"


def test_a_sibling_of_an_older_original_is_not_served(ask: Ask, precompressed: Path) -> None:
    (precompressed / "site.css").write_bytes(b"new")
    response, _ = ask("site.css", accept_encoding=b"br")
    assert (response.body, response.get(b"content-encoding")) == (b"new", None)


def test_a_sibling_without_its_original_is_nothing(ask: Ask, precompressed: Path) -> None:
    (precompressed / "site.css").unlink()
    assert ask("site.css", accept_encoding=b"br")[0].status == 404


def test_a_linked_sibling_is_not_followed(ask: Ask, root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (root / "site.css.br").symlink_to(tmp_path / "secret")
    response, _ = ask("site.css", accept_encoding=b"br")
    assert response.body == CSS


def test_a_sibling_asked_for_by_name_is_just_a_file(ask: Ask, root: Path) -> None:
    (root / "data.json.gz").write_bytes(gzip.compress(b"{}"))
    response, _ = ask("data.json.gz")
    assert (response.get(b"content-type"), response.get(b"content-encoding")) == (b"application/gzip", None)


# Long ones.


async def test_a_long_file_is_streamed(ask: Ask, root: Path) -> None:
    content = os.urandom(3 * CHUNK + 5)
    (root / "film.mp4").write_bytes(content)
    response, _ = ask("film.mp4")
    assert not isinstance(response.body, bytes)
    assert response.get(b"content-length") == b"%d" % len(content)
    assert b"".join([piece async for piece in response.body]) == content


async def test_several_long_ranges_are_streamed(ask: Ask, root: Path) -> None:
    content = os.urandom(4 * CHUNK)
    (root / "film.mp4").write_bytes(content)
    response, _ = ask("film.mp4", range=b"bytes=0-99999,150000-249999")
    assert not isinstance(response.body, bytes)
    body = b"".join([piece async for piece in response.body])
    assert response.get(b"content-length") == b"%d" % len(body)
    assert content[:100_000] in body
    assert content[150_000:250_000] in body


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors in /proc")
async def test_no_descriptor_stays_open(ask: Ask, root: Path) -> None:
    (root / "film.mp4").write_bytes(bytes(3 * CHUNK))
    (root / "site.css.br").write_bytes(b"br")
    before = len(os.listdir("/proc/self/fd"))
    for method in (b"GET", b"HEAD", b"POST"):
        for name in ("site.css", "film.mp4", "nowhere", ".env"):
            for fields in ({}, {"range": b"bytes=0-9"}, {"range": b"bytes=0-9,20-29"}, {"if_none_match": b"*"},
                           {"if_match": b'"x"'}, {"range": b"bytes=999999-"}, {"accept_encoding": b"br"}):  # fmt: skip
                response, _ = ask(name, method, **fields)
                if not isinstance(response.body, bytes):
                    await response.body.aclose()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_cut_short_before_its_head_is_sent_is_an_error(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.pread", lambda fd, length, start: b"")
    with pytest.raises(HopError):
        ask("site.css")


# A whole site.


@pytest.fixture
def site(tmp_path: Path) -> Ask:
    root = tmp_path / "public"
    (root / "docs" / "api").mkdir(parents=True)
    (root / "img").mkdir()
    (root / "index.html").write_text("<h1>front</h1>")
    (root / "docs" / "index.html").write_text("<h1>docs</h1>")
    (root / "img" / "a.png").write_bytes(PNG)
    (root / ".git").mkdir()
    (root / ".git" / "index.html").write_text("secret")
    (root / ".well-known").mkdir()
    (root / ".well-known" / "security.txt").write_text("Contact: mailto:a@shop.test")
    (root / "linked").symlink_to(root / "docs")
    return asking(root, "/")


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("", b"<h1>front</h1>"),
        ("?utm=1", b"<h1>front</h1>"),
        ("index.html", b"<h1>front</h1>"),
        ("docs/", b"<h1>docs</h1>"),
        (".well-known/security.txt", b"Contact: mailto:a@shop.test"),
    ],
)
def test_pages_of_a_site(site: Ask, name: str, body: bytes) -> None:
    response, word = site(name)
    assert (response.status, response.body, word) == (200, body, "file")
    tag = etag(response)
    assert site(name, if_none_match=tag)[1] == "not-modified"
    assert site(name, range=b"bytes=0-1")[0].body == body[:2]
    head, _ = site(name, b"HEAD")
    assert (head.body, head.get(b"content-length")) == (b"", b"%d" % len(body))


@pytest.mark.parametrize(
    ("name", "location"),
    [
        ("docs", b"/docs/"),
        ("docs?page=2&q=a/b", b"/docs/?page=2&q=a/b"),
        ("docs?", b"/docs/?"),
        ("d%6Fcs", b"/d%6Fcs/"),
    ],
)
def test_a_directory_is_at_its_slash(site: Ask, name: str, location: bytes) -> None:
    # RFC 9110 §15.4.9: the method stays; §10.2.2: Location may be a path alone
    response, word = site(name)
    assert (response.status, response.get(b"location"), word) == (308, location, "redirect")
    assert response.get(b"cache-control") == b"public, max-age=60"
    assert response.body == b""


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("img/", "not-found"),  # no listing
        ("img", "not-found"),  # nor a word that it exists
        ("docs/api/", "not-found"),
        ("nowhere", "not-found"),
        ("index.html/", "not-found"),
        (".git/", "forbidden"),
        (".git", "forbidden"),
        ("/evil.test", "forbidden"),  # //evil.test: a redirect to it would lead to another host
        ("/docs", "forbidden"),
        ("linked", "not-found"),
        ("linked/", "not-found"),
    ],
)
def test_what_a_site_does_not_show(site: Ask, name: str, word: str) -> None:
    response, said = site(name)
    assert (response.status, said) == (404, word)
    assert response.get(b"location") is None


def test_a_page_of_its_own_for_what_is_not_there(site: Ask, tmp_path: Path) -> None:
    page = "<h1>nothing here</h1>" * 10
    (tmp_path / "public" / "404.html").write_text(page)
    for name, word in (("nowhere", "not-found"), ("img/", "not-found"), (".git/config", "forbidden")):
        response, said = site(name, range=b"bytes=0-1")
        assert (response.status, response.body, said) == (404, page.encode(), word)
        assert (response.get(b"content-type"), response.get(b"etag")) == (b"text/html; charset=utf-8", None)
        assert response.get(b"cache-control") == b"no-cache"
    head, _ = site("nowhere", b"HEAD")
    assert (head.status, head.body, head.get(b"content-length")) == (404, b"", b"%d" % len(page))
    assert site("404.html")[0].status == 200


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors in /proc")
async def test_a_site_leaves_no_descriptor_open(site: Ask, tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        for name in ("", "docs", "docs/", "nowhere", "img", ".git/"):
            for method in (b"GET", b"HEAD", b"PUT"):
                site(name, method)
        (tmp_path / "public" / "404.html").write_text("nothing")
    assert len(os.listdir("/proc/self/fd")) == before
