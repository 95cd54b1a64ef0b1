"""The ASGI scope, field by field."""

from __future__ import annotations

from typing import Any

import pytest

from appserver.rules.scope import decoded, http_scope
from stack.http.message import Fields, Peer, Request


def scope_of(
    target: bytes = b"/",
    fields: Fields | None = None,
    *,
    method: bytes = b"GET",
    trusted: bool = False,
    client: str = "10.0.0.9",
    root: str = "",
    raw_root: bytes = b"",
    **more: Any,
) -> dict[str, Any]:
    peer = Peer("10.0.0.9", 4711, local=("10.0.0.1", 9001), trusted=trusted)
    request = Request(method, target, fields or [], authority=b"shop.test", peer=peer, **more)
    return dict(http_scope(request, client, root_path=root, raw_root=raw_root, state={"db": 1}))


def test_every_key_of_the_specification() -> None:
    scope = scope_of(b"/caf%C3%A9?a=1&b=%20", [(b"accept", b"*/*"), (b"cookie", b"a=1"), (b"cookie", b"b=2")])
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/café",
        "raw_path": b"/caf%C3%A9",
        "query_string": b"a=1&b=%20",
        "root_path": "",
        "headers": [(b"host", b"shop.test"), (b"accept", b"*/*"), (b"cookie", b"a=1"), (b"cookie", b"b=2")],
        "client": ("10.0.0.9", 4711),
        "server": ("10.0.0.1", 9001),
        "state": {"db": 1},
        "extensions": {"http.response.trailers": {}},
    }


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"/", "/"),
        (b"/a%2Fb", "/a/b"),
        (b"/a+b", "/a+b"),
        (b"/%F0%9F%91%9F", "/👟"),
        (b"/%ff", "/\ufffd"),
        (b"/%zz", "/%zz"),
        (b"/caf\xc3\xa9", "/café"),
        (b"*", "*"),
        (b"//a//b", "//a//b"),
    ],
)
def test_the_path_is_decoded_and_the_raw_one_is_not(raw: bytes, path: str) -> None:
    scope = scope_of(raw)
    assert (scope["path"], scope["raw_path"]) == (path, raw)
    assert decoded(raw) == path


def test_a_query_of_nothing_is_empty() -> None:
    assert scope_of(b"/a?")["query_string"] == scope_of(b"/a")["query_string"] == b""
    assert scope_of(b"/a?b?c")["query_string"] == b"b?c"


def test_the_mount_point_is_part_of_the_path() -> None:
    scope = scope_of(b"/x%20y", root="/my shop", raw_root=b"/my%20shop")
    assert (scope["root_path"], scope["path"], scope["raw_path"]) == ("/my shop", "/my shop/x y", b"/my%20shop/x%20y")


@pytest.mark.parametrize(("version", "told"), [(b"1.0", "1.0"), (b"1.1", "1.1"), (b"2", "2")])
def test_the_version_is_the_senders(version: bytes, told: str) -> None:
    assert scope_of(version=version)["http_version"] == told


def test_an_unusual_method() -> None:
    assert scope_of(method=b"PROPFIND")["method"] == "PROPFIND"


def test_the_state_is_each_requests_own() -> None:
    state = {"db": 1}
    request = Request(b"GET", b"/", [], authority=b"x", peer=Peer("1.2.3.4", 1))
    scope = http_scope(request, "1.2.3.4", root_path="", raw_root=b"", state=state)
    scope["state"]["db"] = 2
    assert state == {"db": 1}


def test_without_a_host_there_is_no_host_field() -> None:
    request = Request(b"GET", b"/", [], authority=b"", version=b"1.0")
    scope = http_scope(request, "", root_path="", raw_root=b"", state={})
    assert scope["headers"] == []
    assert scope["client"] is None
    assert scope["server"] is None


def test_the_requests_own_fields_stay_as_they_are() -> None:
    fields = [(b"a", b"b")]
    scope_of(b"/", fields)["headers"].append((b"c", b"d"))
    assert fields == [(b"a", b"b")]


def test_the_forwarded_client_has_no_port() -> None:
    assert scope_of(trusted=True, client="198.51.100.7")["client"] == ("198.51.100.7", 0)


@pytest.mark.parametrize(
    ("fields", "scheme"),
    [
        ([], "http"),
        ([(b"x-forwarded-proto", b"https")], "https"),
        ([(b"x-forwarded-proto", b"HTTPS")], "https"),
        ([(b"x-forwarded-proto", b"https, http")], "http"),
        ([(b"x-forwarded-proto", b"http"), (b"x-forwarded-proto", b"https")], "https"),
        ([(b"x-forwarded-proto", b"javascript")], "http"),
        ([(b"forwarded", b"for=198.51.100.7;proto=https")], "https"),
        ([(b"forwarded", b'for="198.51.100.7:5555";Proto="https", for=10.0.0.8;proto=http')], "https"),
        ([(b"forwarded", b"for=198.51.100.7;proto=https, for=198.51.100.7;proto=http")], "http"),
        ([(b"forwarded", b"for=203.0.113.1;proto=https")], "http"),
        ([(b"forwarded", b"for=198.51.100.7")], "http"),
    ],
)
def test_the_scheme_is_what_a_trusted_peer_tells_of_the_client(fields: Fields, scheme: str) -> None:
    assert scope_of(fields=fields, trusted=True, client="198.51.100.7")["scheme"] == scheme
    assert scope_of(fields=fields, trusted=False)["scheme"] == "http"
