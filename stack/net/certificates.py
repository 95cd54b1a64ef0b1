"""Certificates as they lie on disk: read and checked, without loading a library for it."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from stack.errors import ConfigError
from stack.http.authorities import Names
from stack.net.tls import bare_context, load_pair

_KINDS: Final = {
    bytes.fromhex("06092a864886f70d010101"): "RSA",
    bytes.fromhex("06072a8648ce3d0201"): "ECDSA",
    bytes.fromhex("06032b6570"): "Ed25519",
    bytes.fromhex("06032b6571"): "Ed448",
}
"""Object identifiers of public keys (RFC 3279 §2.3, RFC 8410 §3), in DER."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A chain with its key. `ends` is Unix time; `kind` that of the key, of which a name may have one each."""

    cert: str
    key: str
    names: Names
    subject: str
    kind: str
    ends: float

    def describe(self) -> dict[str, Any]:
        return {
            "cert": self.cert,
            "names": [*self.names.listed, *self.names.addresses],
            "key_type": self.kind,
            "expires": int(self.ends),
        }


def pairs(cert: Sequence[str], key: Sequence[str]) -> list[tuple[str, str]]:
    """Certificates with their keys, in the order given. ConfigError when one has no other."""
    if len(cert) != len(key):
        missing = "--key" if len(cert) > len(key) else "--cert"
        raise ConfigError(f"{missing} is missing: a certificate and its key are given together, as often as need be")
    return list(zip(cert, key, strict=True))


def read(cert: str, key: str) -> Certificate:
    """ConfigError says what is wrong with either file."""
    load_pair(bare_context(alpn=(), profile="intermediate"), cert, key)
    try:
        known = decode(cert)
        der = ssl.PEM_cert_to_DER_cert(_first(Path(cert).read_text("ascii", "replace")))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{cert}: {error}") from None
    alternatives = known.get("subjectAltName", ())
    return Certificate(
        cert=cert,
        key=key,
        names=Names(
            (value for kind, value in alternatives if kind == "DNS"),
            (value for kind, value in alternatives if kind == "IP Address"),
        ),
        subject=distinguished(known.get("subject", ())),
        kind=next((kind for mark, kind in _KINDS.items() if mark in der), "other"),
        ends=float(ssl.cert_time_to_seconds(known["notAfter"])),
    )


def decode(path: str) -> dict[str, Any]:
    """The first certificate of a PEM file, as `SSLSocket.getpeercert` has it. OSError, ValueError.

    `ssl` shows a certificate that is not a peer's by this alone; cryptography would cost every start 60 ms.
    """
    known: dict[str, Any] = ssl._ssl._test_decode_cert(path)  # type: ignore[attr-defined]
    return known


def distinguished(names: Sequence[Sequence[tuple[str, str]]]) -> str:
    """A name of X.500 on one line, most specific part first: `CN=edge,O=Shop` (RFC 4514)."""
    parts = [f"{_SHORT.get(key, key)}={value}" for part in reversed(names) for key, value in part]
    return ",".join(part if part.isprintable() else ascii(part)[1:-1] for part in parts)


_SHORT: Final = {
    "commonName": "CN", "organizationName": "O", "organizationalUnitName": "OU", "countryName": "C",
    "localityName": "L", "stateOrProvinceName": "ST",
}  # fmt: skip


def _first(pem: str) -> str:
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    at = pem.find(begin)
    return pem[at : pem.find(end, at) + len(end)] if at >= 0 else ""
