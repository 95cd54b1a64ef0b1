"""Which hosts may be asked for on a TLS connection: those of its certificate (RFC 9110 §7.4, §15.5.20)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from stack.errors import Misdirected


class Names:
    """Names and addresses of a certificate (subjectAltName). A wildcard stands for one whole label (RFC 9525 §6.3)."""

    __slots__ = ("_exact", "_wild", "addresses", "listed")

    def __init__(self, names: Iterable[str], addresses: Iterable[str] = ()) -> None:
        self.listed = tuple(dict.fromkeys(name.lower().rstrip(".") for name in names))
        self._exact = {name for name in self.listed if not name.startswith("*.")}
        self._wild = {name[2:] for name in self.listed if name.startswith("*.")}
        self.addresses = tuple(normal for text in addresses if (normal := _address(text)) is not None)

    def cover(self, host: str) -> bool:
        """`host` in lower case and without a trailing dot; an IPv6 address without brackets."""
        if host in self._exact:
            return True
        label, dot, parent = host.partition(".")
        if dot and label and parent in self._wild:
            return True
        return bool(self.addresses) and (_address(host) or "") in self.addresses


class Authorities:
    """`in`: whether a request for an authority belongs on a connection that was opened for `server_name`.

    The name itself does, whatever the certificate says: the client has accepted it.
    """

    __slots__ = ("_last", "_names", "server_name")

    def __init__(self, server_name: str, names: Names) -> None:
        self.server_name = server_name
        self._names = names
        self._last = b""  # a request without an authority, which HTTP/1.0 allows, is nobody else's

    def __contains__(self, authority: bytes) -> bool:
        if authority == self._last:
            return True
        host = host_of(authority)
        if host != self.server_name and not self._names.cover(host):
            return False
        self._last = authority
        return True

    def check(self, authority: bytes) -> None:
        """Raises Misdirected: the client is to ask on a connection of its own (RFC 9110 §15.5.20)."""
        if authority not in self:
            raise Misdirected(
                f"This connection was opened for {self.server_name}; ask for another host on another one."
            )


def host_of(authority: bytes) -> str:
    """Lower case, without port, brackets and trailing dot."""
    text = authority.decode("latin-1")
    if text.startswith("["):
        return text[1:].partition("]")[0].lower()
    return text.partition(":")[0].lower().rstrip(".")


def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
