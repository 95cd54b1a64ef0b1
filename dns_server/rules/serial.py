"""Serials of zones: a circle of 2^32 numbers (RFC 1982)."""

from __future__ import annotations

from typing import Final

_HALF: Final = 1 << 31
_MASK: Final = (1 << 32) - 1


def newer(serial: int, than: int) -> bool:
    """Whether `serial` comes after the other. Of two that are opposite on the circle neither does (§3.2)."""
    return 0 < (serial - than & _MASK) < _HALF


def after(serial: int) -> int:
    """The next one; 0 is passed over, because some secondaries take it for none."""
    return serial + 1 & _MASK or 1


def of(soa: bytes) -> int:
    """The serial in the rdata of a SOA record."""
    return int.from_bytes(soa[-20:-16], "big")


def with_serial(soa: bytes, serial: int) -> bytes:
    """The rdata of a SOA record with another serial."""
    return soa[:-20] + serial.to_bytes(4, "big") + soa[-16:]
