"""TLS contexts: version 1.2 and up, ECDHE and AEAD only, ALPN."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from stack.errors import ConfigError

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


def server_context(cert: str | Path, key: str | Path, *, alpn: Sequence[str] = ("h2", "http/1.1")) -> ssl.SSLContext:
    """For an https listener. ConfigError when certificate and key cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(list(alpn))
    try:
        context.load_cert_chain(cert, key)
    except FileNotFoundError:
        missing = next(path for path in (cert, key) if not Path(path).exists())
        raise ConfigError(f"{missing}: no such file; give the certificate with --cert and its key with --key") from None
    except ssl.SSLError as error:
        raise ConfigError(f"{cert} and {key} are no certificate and its key: {error.reason or error}") from None
    except OSError as error:
        raise ConfigError(f"{cert}, {key}: {error.strerror}") from None
    return context


def client_context(ca: str | Path | None, *, alpn: Sequence[str] = ("http/1.1",)) -> ssl.SSLContext:
    """For connections to a next hop: verified against `ca`, or the system's authorities when None.

    HTTP/1.1 unless `alpn` says otherwise: between hops it costs a third of HTTP/2.
    """
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    except FileNotFoundError:
        raise ConfigError(f"{ca}: no such file; it should hold the certificate authority of the next hop") from None
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(f"{ca} holds no certificate authority: {error}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(list(alpn))
    return context
