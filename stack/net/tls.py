"""TLS contexts: Mozilla's intermediate profile, or modern (TLS 1.3 alone); ECDHE and AEAD, ALPN."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from stack.errors import ConfigError
from stack.net import openssl

RECORD: Final = 16 * 1024
"""Bytes of content that a TLS record has at most (RFC 8446 §5.1)."""
Profile = Literal["intermediate", "modern"]

CIPHERS: Final = ":".join(
    # Mozilla's intermediate profile, TLS 1.2 part, without finite-field DHE
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
    )
)
_PRIORITIZE_CHACHA: Final = 1 << 21
"""SSL_OP_PRIORITIZE_CHACHA, which `ssl` does not name: a client that puts ChaCha20 first has no AES in hardware."""
_MINIMUM: Final = {"intermediate": ssl.TLSVersion.TLSv1_2, "modern": ssl.TLSVersion.TLSv1_3}


def server_context(
    cert: str | Path, key: str | Path, *, alpn: Sequence[str] = ("h2", "http/1.1"), profile: Profile = "intermediate"
) -> ssl.SSLContext:
    """For an https listener. ConfigError when certificate and key cannot be used."""
    context = bare_context(alpn=alpn, profile=profile)
    load_pair(context, cert, key)
    return context


def bare_context(*, alpn: Sequence[str], profile: Profile) -> ssl.SSLContext:
    """A server's, still without a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = ServerObject
    context.minimum_version = _MINIMUM[profile]
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | _PRIORITIZE_CHACHA
    if not openssl.set_groups(context):
        context.set_ecdh_curve("prime256v1")  # one is all that `ssl` takes, and this one everybody has
    context.set_alpn_protocols(list(alpn))
    return context


def load_pair(context: ssl.SSLContext, cert: str | Path, key: str | Path) -> None:
    """ConfigError names what is wrong with the files."""

    def refuse() -> bytes:
        raise ConfigError(f"{key} is encrypted, and nobody is there to be asked; give the key without a passphrase")

    try:
        context.load_cert_chain(cert, key, password=refuse)
    except FileNotFoundError:
        missing = next((path for path in (cert, key) if not Path(path).exists()), cert)
        raise ConfigError(f"{missing}: no such file; a certificate and its key are wanted there") from None
    except ssl.SSLError as error:
        raise ConfigError(
            f"{cert} and {key} are no certificate and its key: {error.reason or 'one of them is not whole PEM'}"
        ) from None
    except OSError as error:
        raise ConfigError(f"{cert}, {key}: {error.strerror}") from None


def client_context(
    ca: str | Path | None,
    *,
    alpn: Sequence[str] = ("http/1.1",),
    cert: str | Path = "",
    key: str | Path = "",
    option: str = "",
) -> ClientContext:
    """For connections to a next hop: verified against `ca`, or the system's authorities when None.

    HTTP/1.1 unless `alpn` says otherwise: between hops it costs a third of HTTP/2. `cert` and `key` are shown to a
    next hop that asks for a client's certificate; `option` is what their options begin with.
    """
    if bool(cert) != bool(key):
        raise ConfigError(
            f"--{option}-{'key' if cert else 'cert'} is missing: a certificate and its key are given together"
        )
    context = ClientContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslobject_class = Object
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(list(alpn))
    context.ca = "" if ca is None else str(ca)
    context.pair = (str(cert), str(key)) if cert else None
    if ca is None:
        context.load_default_certs()
    context.refresh()
    return context


class ClientContext(ssl.SSLContext):
    """Knows its files, and takes them up anew. An authority that was believed once is believed until the end."""

    ca = ""
    pair: tuple[str, str] | None = None

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.ca, *(self.pair or ()))))

    def refresh(self) -> None:
        """ConfigError names the file that cannot be used."""
        if self.ca:
            try:
                self.load_verify_locations(self.ca)
            except FileNotFoundError:
                raise ConfigError(
                    f"{self.ca}: no such file; it should hold the certificate authority of the next hop"
                ) from None
            except (ssl.SSLError, OSError) as error:
                raise ConfigError(f"{self.ca} holds no certificate authority: {error}") from None
        if self.pair is not None:
            load_pair(self, *self.pair)


class Object(ssl.SSLObject):
    """Reads as much as a record may have: asyncio and uvloop ask for 256 KiB, which `ssl` allocates before it knows how
    much there is. For so large a block malloc asks the kernel each time, and gives all but a few bytes back.
    """

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        if buffer is not None:
            return self._sslobj.read(len, buffer)  # type: ignore[attr-defined]
        return self._sslobj.read(min(RECORD, len))  # type: ignore[attr-defined]


class ServerObject(Object):
    """Sends what a failed handshake has left to say: asyncio and uvloop close without the alert that OpenSSL wrote."""

    last_words: Callable[[], None] | None = None
    incoming: ssl.MemoryBIO | None = None
    """Where what was received waits: who knows that nothing does need not ask OpenSSL, and read its complaint."""

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        if buffer is not None:
            return self._sslobj.read(len, buffer)  # type: ignore[attr-defined]
        if (incoming := self.incoming) is not None and not incoming.pending and not incoming.eof and not self.pending():
            raise ssl.SSLWantReadError
        return self._sslobj.read(min(RECORD, len))  # type: ignore[attr-defined]

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError:
            if self.last_words is not None:
                self.last_words()
            raise
        self.last_words = None
