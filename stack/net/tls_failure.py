"""Why a handshake failed: a word of a short list for counting, and a reason for whoever reads the log."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Failure:
    word: str
    reason: str


_BY_REASON: Final = (
    ("PEER_DID_NOT_RETURN_A_CERTIFICATE", "no-client-certificate", "the client showed no certificate"),
    ("UNSUPPORTED_PROTOCOL", "version", "no version of TLS in common"),
    ("VERSION_TOO_LOW", "version", "no version of TLS in common"),
    ("WRONG_VERSION_NUMBER", "version", "no version of TLS in common"),
    ("INAPPROPRIATE_FALLBACK", "version", "the client fell back to an older version"),
    ("NO_SHARED_CIPHER", "cipher", "no cipher suite in common"),
    ("NO_SUITABLE_GROUPS", "cipher", "no group in common"),
    ("NO_SUITABLE_KEY_SHARE", "cipher", "no group in common"),
    ("NO_SUITABLE_SIGNATURE", "cipher", "no signature algorithm in common"),
    ("NO_SHARED_SIGNATURE", "cipher", "no signature algorithm in common"),
    ("NO_APPLICATION_PROTOCOL", "alpn", "no application protocol in common"),
    ("ALERT_UNKNOWN_CA", "refused-by-client", "the client does not know the authority of the certificate"),
    ("ALERT_CERTIFICATE", "refused-by-client", "the client refused the certificate"),
    ("ALERT_BAD_CERTIFICATE", "refused-by-client", "the client refused the certificate"),
)


def of_error(error: BaseException | None) -> Failure:
    """What asyncio's TLS gave up with; None when it says nothing, because the connection has ended."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Failure("client-certificate", f"the client's certificate was refused: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        name = error.reason or ""
        for mark, word, reason in _BY_REASON:
            if mark in name:
                return Failure(word, reason)
        if "ALERT" in name:
            return Failure("refused-by-client", f"the client says {_words(name.partition('ALERT_')[2] or name)}")
        return Failure("malformed", _words(name) or str(error))
    if error is None or isinstance(error, OSError):
        return Failure("closed", "closed during the handshake")
    return Failure("malformed", f"{type(error).__name__}: {error}")


def _words(name: str) -> str:
    return name.lower().replace("_", " ")
