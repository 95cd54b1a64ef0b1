"""Certificates of throw-away authorities, as files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import trustme

from stack.net.certificates import Certificate, read


@dataclass(frozen=True)
class Authority:
    """Issues into a directory; `path` is its own certificate."""

    authority: trustme.CA
    directory: Path

    @property
    def path(self) -> str:
        path = self.directory / "authority.pem"
        if not path.exists():
            self.authority.cert_pem.write_to_path(str(path))
        return str(path)

    def files(self, *names: str, key: Literal["RSA", "ECDSA"] = "ECDSA", common: str | None = None) -> tuple[str, str]:
        """Paths of a chain and its key."""
        kind = {"RSA": trustme.KeyType.RSA, "ECDSA": trustme.KeyType.ECDSA}[key]
        issued = self.authority.issue_cert(*names, common_name=common, key_type=kind)
        stem = f"{names[0].replace('*', '_')}-{len(list(self.directory.iterdir()))}"
        cert, private = self.directory / f"{stem}.pem", self.directory / f"{stem}-key.pem"
        cert.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(private))
        return str(cert), str(private)

    def issue(self, *names: str, key: Literal["RSA", "ECDSA"] = "ECDSA") -> Certificate:
        return read(*self.files(*names, key=key))


def authority(directory: Path) -> Authority:
    directory.mkdir(parents=True, exist_ok=True)
    return Authority(trustme.CA(), directory)
