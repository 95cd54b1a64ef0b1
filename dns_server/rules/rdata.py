"""Where names stand in rdata: to expand them on reception, to compress them when sending, to find glue.

RFC 3597 §4: names are compressed only in the types of RFC 1035; a receiver expands them in some later types too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from dns_server.rules import types

NAME: Final = "name"
STRING: Final = "string"
Layout = tuple[int | str, ...]
"""Fixed octets, names and character-strings in order; what follows them is opaque."""

_COMPRESSIBLE: Final[Mapping[int, Layout]] = {
    types.NS: (NAME,),
    3: (NAME,),  # MD
    4: (NAME,),  # MF
    types.CNAME: (NAME,),
    types.SOA: (NAME, NAME),
    7: (NAME,),  # MB
    8: (NAME,),  # MG
    9: (NAME,),  # MR
    types.PTR: (NAME,),
    14: (NAME, NAME),  # MINFO
    types.MX: (2, NAME),
}
_EXPANDED: Final[Mapping[int, Layout]] = {
    **_COMPRESSIBLE,
    17: (NAME, NAME),  # RP
    18: (2, NAME),  # AFSDB
    21: (2, NAME),  # RT
    26: (2, NAME, NAME),  # PX
    types.SRV: (6, NAME),
    35: (4, STRING, STRING, STRING, NAME),  # NAPTR
    36: (2, NAME),  # KX
    types.DNAME: (NAME,),
}
_TARGET: Final[Mapping[int, int]] = {types.NS: 0, types.MX: 2, types.SRV: 6, types.SVCB: 2, types.HTTPS: 2}
"""Types whose target's addresses help the asker (RFC 1035 §3.3, RFC 2782, RFC 9460 §4.1), and where the name stands."""

_POINTER: Final[Mapping[int, int]] = {**_TARGET, types.CNAME: 0, types.DNAME: 0, types.PTR: 0}
_SIZES: Final[Mapping[int, int]] = {types.A: 4, types.AAAA: 16}
_TAILS: Final[Mapping[int, int]] = {types.SOA: 20}
"""Octets behind the names; in other types of RFC 1035 nothing follows them."""

Parts = tuple[bytes, ...]
"""Opaque octets and names in turn, octets first and last: (octets, name, octets, name, octets)."""


class RdataFault(ValueError):
    """Rdata that does not fit its type."""


def parts(type: int, rdata: bytes) -> Parts | None:
    """The rdata taken apart at the names that may be compressed; None when it has none. Names are uncompressed."""
    layout = _COMPRESSIBLE.get(type)
    if layout is None:
        return None
    out: list[bytes] = []
    at = start = 0
    for item in layout:
        if isinstance(item, int):
            at += item
            continue
        out.append(rdata[start:at])
        start = at
        at = _end_of_name(rdata, at)
        out.append(rdata[start:at])
        start = at
    out.append(rdata[start:])
    return tuple(out)


def target(type: int, rdata: bytes) -> bytes | None:
    """The name whose addresses belong into the additional section; None for types without."""
    at = _TARGET.get(type)
    return None if at is None else rdata[at : _end_of_name(rdata, at)]


def pointer(type: int, rdata: bytes) -> bytes | None:
    """The name that a record points to; None for types that point nowhere."""
    at = _POINTER.get(type)
    return None if at is None else rdata[at : _end_of_name(rdata, at)]


def check(type: int, rdata: bytes) -> None:
    """Raises RdataFault for rdata that does not fit its type, as far as answering depends on it: names are written
    out and end where they should, addresses have their size."""
    if len(rdata) > 65535:
        raise RdataFault("rdata of more than 65535 octets")
    size = _SIZES.get(type)
    if size is not None and len(rdata) != size:
        raise RdataFault(f"{types.type_name(type)} rdata has {size} octets, not {len(rdata)}")
    split = parts(type, rdata)
    if split is not None and len(split[-1]) != _TAILS.get(type, 0):
        raise RdataFault(f"{types.type_name(type)} rdata of the wrong length")
    if type in (types.SRV, types.SVCB, types.HTTPS, types.DNAME):
        pointer(type, rdata)


def _end_of_name(rdata: bytes, at: int) -> int:
    start = at
    try:
        while length := rdata[at]:
            if length > 63:
                raise RdataFault("a name is compressed")
            at += length + 1
    except IndexError:
        raise RdataFault("a name runs past the rdata") from None
    if at + 1 - start > 255:
        raise RdataFault("a name is longer than 255 octets")
    return at + 1


def expand(type: int, message: bytes, start: int, end: int) -> bytes:
    """The rdata at message[start:end] with every name written out. Raises RdataFault, NameFault is one of its kind."""
    layout = _EXPANDED.get(type)
    if layout is None:
        return message[start:end]
    out: list[bytes] = []
    at = start
    for item in layout:
        if item == NAME:
            name, at = read_name(message, at)
            out.append(name)
        else:
            size = item if isinstance(item, int) else message[at] + 1 if at < end else 1
            out.append(message[at : at + size])
            at += size
        if at > end:
            raise RdataFault("the rdata is shorter than its type")
    out.append(message[at:end])
    return b"".join(out)


def fold(type: int, rdata: bytes) -> bytes:
    """By which records are compared: names in lower case (RFC 4034 §6.2). Names are uncompressed."""
    layout = _EXPANDED.get(type)
    if layout is None:
        return rdata
    at = 0
    out = b""
    for item in layout:
        if item == NAME:
            end = _end_of_name(rdata, at)
            out += rdata[at:end].lower()
            at = end
        else:
            size = item if isinstance(item, int) else rdata[at] + 1 if at < len(rdata) else 1
            out += rdata[at : at + size]
            at += size
    return out + rdata[at:]


def read_name(message: bytes, at: int) -> tuple[bytes, int]:
    """The name at `at`, written out, and the offset behind it.

    RFC 1035 §4.1.4: a pointer refers to a prior place, so each must point further back than the last; that also ends
    every loop. Raises RdataFault.
    """
    out: list[bytes] = []
    size = 1
    behind = -1
    barrier = at
    try:
        while length := message[at]:
            if length < 64:
                out.append(message[at : at + length + 1])
                size += length + 1
                at += length + 1
            elif length >= 0xC0:
                pointer = (length & 0x3F) << 8 | message[at + 1]
                if behind < 0:
                    behind = at + 2
                if pointer >= barrier:
                    raise RdataFault("a compression pointer does not point backwards")
                at = barrier = pointer
            else:
                raise RdataFault("a label of a reserved kind")
            if size > 255:
                raise RdataFault("a name is longer than 255 octets")
    except IndexError:
        raise RdataFault("a name runs past the message") from None
    out.append(b"\0")
    name = b"".join(out)
    if len(name) != size:
        raise RdataFault("a label runs past the message")
    return name, behind if behind >= 0 else at + 1
