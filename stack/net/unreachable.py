"""Why a next hop could not be connected to: one reading of what the operating system and TLS say."""

from __future__ import annotations

import errno
import socket
import ssl

from stack.errors import CertificateRefused, ConnectRefused, ConnectTimeout, DnsFailed, TlsFailed, UpstreamError


def unreachable(error: OSError, name: str, *, source: str | None, within: float) -> UpstreamError:
    """`name` begins the private text; `within` is the time-out in seconds, `source` the local address asked for."""
    if isinstance(error, TimeoutError):
        return ConnectTimeout(private=f"{name}: not within {within:g} s")
    if isinstance(error, socket.gaierror):
        return DnsFailed(private=f"{name}: {error.strerror or error}")
    if isinstance(error, ssl.SSLCertVerificationError):
        return CertificateRefused(private=f"{name}: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return TlsFailed(private=f"{name}: {error}")
    if error.errno == errno.EADDRNOTAVAIL:
        fault = f"{source} is no address of this machine, or its" if source else "the local"
        return ConnectRefused(private=f"{name}: {fault} ports are all in use")
    return ConnectRefused(private=f"{name}: {error.strerror or error}")
