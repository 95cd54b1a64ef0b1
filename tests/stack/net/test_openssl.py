"""What is set by way of OpenSSL itself, seen in handshakes with a client that offers one group, or one ticket."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from stack.net import ca, openssl
from stack.net.tls import server_context
from tests.support.handshake import shake_hands


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return ca.issue(tmp_path_factory.mktemp("ca"), "edge", ["localhost"])


def client(group: str = "") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if group:
        assert openssl.set_groups(context, group)
    return context


@pytest.mark.parametrize("group", ["X25519", "prime256v1", "secp384r1"])
def test_groups_of_the_profile_are_taken(pair: tuple[Path, Path], group: str) -> None:
    assert shake_hands(client(group), server_context(*pair)).client.version() == "TLSv1.3"


@pytest.mark.parametrize("group", ["X448", "secp521r1"])
def test_other_groups_are_not(pair: tuple[Path, Path], group: str) -> None:
    with pytest.raises(ssl.SSLError):
        shake_hands(client(group), server_context(*pair))
    plain = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    plain.load_cert_chain(*pair)
    shake_hands(client(group), plain)  # it is the profile that refuses


def test_a_group_that_does_not_exist_is_told() -> None:
    assert not openssl.set_groups(client(), "curve-of-nobody")


def test_without_the_library_one_curve_is_left(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openssl, "_library", lambda: None)
    context = server_context(*pair)
    monkeypatch.undo()
    shake_hands(client("prime256v1"), context)
    with pytest.raises(ssl.SSLError):
        shake_hands(client("X448"), context)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_contexts_with_the_same_ticket_keys_resume_each_others_sessions(
    pair: tuple[Path, Path], version: ssl.TLSVersion
) -> None:
    keys = bytes(range(openssl.TICKET_KEYS))
    one, other, stranger = (server_context(*pair) for _ in range(3))
    assert openssl.set_ticket_keys(one, keys)
    assert openssl.set_ticket_keys(other, keys)
    browser = client()
    browser.maximum_version = version
    session = shake_hands(browser, one).client.session
    assert shake_hands(browser, other, session=session).client.session_reused
    assert not shake_hands(browser, stranger, session=session).client.session_reused


def test_ticket_keys_have_their_length(pair: tuple[Path, Path]) -> None:
    with pytest.raises(ValueError, match="80"):
        openssl.set_ticket_keys(server_context(*pair), b"short")
