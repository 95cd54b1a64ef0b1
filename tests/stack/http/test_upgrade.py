"""Which Upgrade is passed on, and what a WebSocket handshake proves (RFC 9110 §7.8, RFC 6455 §4)."""

from __future__ import annotations

import base64
import contextlib

import msgspec
import pytest

from stack.config.base import Protocol
from stack.errors import BadRequest, ConfigError, ResponseMalformed
from stack.http.h1 import FieldParser, parse_request
from stack.http.message import Fields
from stack.http.upgrade import NEVER, accept, allowed, asked, check_switch, is_key, make_key

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
WEBSOCKET = frozenset({b"websocket"})


def upgrade_of(head: bytes, names: frozenset[bytes] = WEBSOCKET) -> bytes | None:
    found = parse_request(FieldParser(), head, max_target=100, max_fields=20)
    return asked(found.method, found.fields, names) if found.asks_upgrade else None


@pytest.mark.parametrize(
    ("method", "version", "lines", "protocol"),
    [
        pytest.param(b"GET", b"1.1", b"Connection: Upgrade\r\nUpgrade: websocket", b"websocket", id="RFC6455-4.2.1"),
        pytest.param(b"GET", b"1.1", b"Connection: keep-alive, UPGRADE\r\nUpgrade: WebSocket", b"websocket", id="a list"),
        pytest.param(b"GET", b"1.1", b"Connection: a\r\nConnection: upgrade\r\nUpgrade: x\r\nUpgrade: websocket",
                     b"websocket", id="several lines"),
        pytest.param(b"GET", b"1.1", b"Connection: upgrade\r\nUpgrade: h2c, websocket", b"websocket", id="the one known"),
        pytest.param(b"GET", b"1.1", b"Connection: upgrade\r\nUpgrade: h2c", None, id="RFC9113-3.1 h2c never"),
        pytest.param(b"GET", b"1.1", b"Connection: upgrade\r\nUpgrade: TLS/1.0", None, id="RFC9110-7.8 unknown"),
        pytest.param(b"GET", b"1.1", b"Upgrade: websocket", None, id="RFC9110-7.8 not named in Connection"),
        pytest.param(b"GET", b"1.1", b"Connection: upgrade", None, id="named, and not there"),
        pytest.param(b"GET", b"1.0", b"Connection: upgrade\r\nUpgrade: websocket", None, id="RFC9110-7.8 in 1.0"),
        pytest.param(b"POST", b"1.1", b"Connection: upgrade\r\nUpgrade: websocket", None, id="RFC6455-4.1 not GET"),
    ],
)  # fmt: skip
def test_which_upgrade_is_asked_for(method: bytes, version: bytes, lines: bytes, protocol: bytes | None) -> None:
    head = b"%b / HTTP/%b\r\nHost: a\r\n%b\r\nSec-WebSocket-Key: %b\r\n\r\n" % (method, version, lines, KEY)
    assert upgrade_of(head) == protocol


def test_other_protocols_by_choice() -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: docker-exec\r\n\r\n"
    assert upgrade_of(head) is None
    assert upgrade_of(head, frozenset({b"docker-exec"})) == b"docker-exec"


def test_what_an_option_may_allow() -> None:
    assert allowed(["WebSocket", "h2c", "H2C", "tls", "chat"]) == {"websocket", "chat"}
    assert allowed(["none"]) == frozenset()
    with pytest.raises(ConfigError, match="leave `none` out"):
        allowed(["none", "websocket"])


@pytest.mark.parametrize(("name", "taken"), [*((name.decode(), False) for name in NEVER), ("H2C", False), ("h3", True)])
def test_what_is_never_changed_to_is_no_value_of_the_option(name: str, taken: bool) -> None:
    with contextlib.nullcontext() if taken else pytest.raises(msgspec.ValidationError):
        assert msgspec.convert(name, Protocol) == name


@pytest.mark.parametrize(
    "keys", [[], [b""], [b"short"], [KEY, KEY], [base64.b64encode(b"x" * 15)], [KEY[:-1] + b"!"], [b"*" * 24]]
)
def test_a_handshake_needs_a_key(keys: list[bytes]) -> None:
    """RFC 6455 §4.2.1: a base64 value that is 16 bytes long."""
    fields: Fields = [(b"upgrade", b"websocket"), *((b"sec-websocket-key", key) for key in keys)]
    with pytest.raises(BadRequest):
        asked(b"GET", fields, WEBSOCKET)


def test_keys_and_their_answers() -> None:
    assert accept(KEY) == ACCEPT  # RFC 6455 §1.3
    assert is_key(make_key(b"a", b"b"))
    assert make_key(b"a", b"b") != make_key(b"ab", b"")


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([(b"connection", b"upgrade"), (b"upgrade", b"websocket")], id="no accept"),
        pytest.param([(b"connection", b"upgrade"), (b"upgrade", b"chat"), (b"sec-websocket-accept", ACCEPT)], id="other"),
        pytest.param([(b"upgrade", b"websocket"), (b"sec-websocket-accept", ACCEPT)], id="no connection"),
        pytest.param([(b"connection", b"upgrade"), (b"sec-websocket-accept", ACCEPT)], id="no upgrade"),
        pytest.param([(b"connection", b"upgrade"), (b"upgrade", b"websocket"), *[(b"sec-websocket-accept", ACCEPT)] * 2],
                     id="two accepts"),
    ],
)  # fmt: skip
def test_a_101_that_does_not_fit(fields: Fields) -> None:
    with pytest.raises(ResponseMalformed):
        check_switch(b"websocket", KEY, fields)


def test_a_101_that_fits() -> None:
    fields = [(b"connection", b"Upgrade"), (b"upgrade", b"WebSocket"), (b"sec-websocket-accept", ACCEPT)]
    check_switch(b"websocket", KEY, fields)
    check_switch(b"chat", b"", [(b"connection", b"upgrade"), (b"upgrade", b"chat")])
