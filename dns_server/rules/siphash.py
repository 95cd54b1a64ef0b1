"""SipHash-2-4 (Aumasson and Bernstein, 2012): the hash of interoperable server cookies (RFC 9018 §4.4)."""

from __future__ import annotations

from struct import Struct
from typing import Final

_WORD: Final = Struct("<Q")
_KEY: Final = Struct("<QQ")
_M: Final = 0xFFFFFFFFFFFFFFFF


def siphash24(key: bytes, data: bytes) -> bytes:
    """8 octets. `key` has 16."""
    k0, k1 = _KEY.unpack(key)
    v0 = k0 ^ 0x736F6D6570736575
    v1 = k1 ^ 0x646F72616E646F6D
    v2 = k0 ^ 0x6C7967656E657261
    v3 = k1 ^ 0x7465646279746573
    size = len(data)
    padded = data + bytes(7 - size % 8) + bytes((size & 0xFF,))
    rounds = [2] * (len(padded) // 8) + [4]
    for index, count in enumerate(rounds):
        if count == 2:
            word = _WORD.unpack_from(padded, index * 8)[0]
            v3 ^= word
        else:
            word = 0
            v2 ^= 0xFF
        for _ in range(count):
            v0 = v0 + v1 & _M
            v1 = (v1 << 13 & _M | v1 >> 51) ^ v0
            v0 = v0 << 32 & _M | v0 >> 32
            v2 = v2 + v3 & _M
            v3 = (v3 << 16 & _M | v3 >> 48) ^ v2
            v0 = v0 + v3 & _M
            v3 = (v3 << 21 & _M | v3 >> 43) ^ v0
            v2 = v2 + v1 & _M
            v1 = (v1 << 17 & _M | v1 >> 47) ^ v2
            v2 = v2 << 32 & _M | v2 >> 32
        v0 ^= word
    return _WORD.pack(v0 ^ v1 ^ v2 ^ v3)
