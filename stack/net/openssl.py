"""What OpenSSL can do and Python's `ssl` does not offer: the groups of a handshake, and keys of session tickets.

`SSLContext.set_groups` comes with Python 3.15; until then the OpenSSL that `ssl` itself is linked with is called. Where
it cannot be found, or is not the same, every function says False and nothing is changed. docs/decisions/100.
"""

from __future__ import annotations

import ctypes
import functools
import ssl
import sys
from typing import Any, Final

GROUPS: Final = "X25519:prime256v1:secp384r1"
"""Mozilla's intermediate and modern profiles: no X448, no P-521, no finite field."""
TICKET_KEYS: Final = 80
"""Bytes: a name of 16, and keys of 32 each for HMAC and AES-256."""

_SET_GROUPS_LIST: Final = 92
_SET_TICKET_KEYS: Final = 59


def set_groups(context: ssl.SSLContext, groups: str = GROUPS) -> bool:
    """Whether the context now offers these groups alone. False leaves it as it is."""
    own = getattr(context, "set_groups", None)
    if own is not None:
        own(groups)
        return True
    return _control(context, _SET_GROUPS_LIST, 0, groups.encode("ascii"))


def set_ticket_keys(context: ssl.SSLContext, keys: bytes) -> bool:
    """Seal session tickets with these TICKET_KEYS bytes, and open no others (RFC 5077 §4). False leaves them alone."""
    if len(keys) != TICKET_KEYS:
        raise ValueError(f"wanted {TICKET_KEYS} bytes of keys, not {len(keys)}")
    return _control(context, _SET_TICKET_KEYS, TICKET_KEYS, keys)


def _control(context: ssl.SSLContext, command: int, number: int, data: bytes) -> bool:
    library = _library()
    if library is None:
        return False
    # `PySSLContext` has begun with `PyObject_HEAD; SSL_CTX *ctx;` in every CPython since 2.7.9
    pointer = ctypes.c_void_p.from_address(id(context) + object.__basicsize__).value
    if not pointer or library.SSL_CTX_get_options(pointer) != ctypes.c_uint64(context.options).value:
        return False
    return bool(library.SSL_CTX_ctrl(pointer, command, number, data) == 1)


@functools.cache
def _library() -> Any:
    """libssl as `_ssl` has it loaded; None when it is not surely that one."""
    if sys.implementation.name != "cpython":
        return None
    try:
        library = ctypes.CDLL(getattr(sys.modules["_ssl"], "__file__", None))
        library.OpenSSL_version_num.restype = ctypes.c_ulong
        library.OpenSSL_version_num.argtypes = []
        library.SSL_CTX_get_options.restype = ctypes.c_uint64
        library.SSL_CTX_get_options.argtypes = [ctypes.c_void_p]
        library.SSL_CTX_ctrl.restype = ctypes.c_long
        library.SSL_CTX_ctrl.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_void_p]
        same = library.OpenSSL_version_num() == ssl.OPENSSL_VERSION_NUMBER
    except (OSError, AttributeError, KeyError):  # linked in statically, or a libssl that is not OpenSSL
        return None
    return library if same else None
