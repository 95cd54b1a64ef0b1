"""Domain names in wire form: bytes of length-prefixed labels, ended by the root's empty label (RFC 1035 §3.1).

A *key* is a name in lower case, by which names are compared (RFC 4343). `bytes.lower` makes it: a length octet is at
most 63 and so is never taken for a letter.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

ROOT: Final = b"\0"
MAX_NAME: Final = 255
"""Octets of a name, length octets and root included (RFC 1035 §2.3.4)."""
MAX_LABEL: Final = 63


class NameFault(ValueError):
    """Text that is no domain name; says why."""


def from_text(text: str) -> bytes:
    r"""The wire form of `www.shop.test`, with or without the trailing dot; `.` and "" are the root.

    `\.` is a dot inside a label, `\DDD` an octet (RFC 1035 §5.1). Raises NameFault.
    """
    labels: list[bytes] = []
    label = bytearray()
    raw = text.encode("utf-8")
    if raw in (b".", b""):
        return ROOT
    at = 0
    while at < len(raw):
        octet = raw[at]
        if octet == 0x5C:
            digits = raw[at + 1 : at + 4]
            if len(digits) == 3 and digits.isdigit() and int(digits) < 256:
                label.append(int(digits))
                at += 4
                continue
            if at + 1 >= len(raw) or digits[:1].isdigit():
                raise NameFault(f"{text!r} has an unfinished escape")
            label.append(raw[at + 1])
            at += 2
            continue
        if octet == 0x2E:
            labels.append(bytes(label))
            label.clear()
        else:
            label.append(octet)
        at += 1
    if label:
        labels.append(bytes(label))
    if not all(labels):
        raise NameFault(f"{text!r} has an empty label")
    if any(len(part) > MAX_LABEL for part in labels):
        raise NameFault(f"{text!r} has a label of more than {MAX_LABEL} octets")
    wire = b"".join(bytes((len(part),)) + part for part in labels) + ROOT
    if len(wire) > MAX_NAME:
        raise NameFault(f"{text!r} is longer than {MAX_NAME} octets")
    return wire


def to_text(wire: bytes) -> str:
    """The name as master files write it, with the trailing dot; what is not printable is escaped."""
    if wire == ROOT:
        return "."
    if len(wire) <= _SHORT and (plain := plain_text(wire, sum(1 for _ in labels(wire)))):
        return plain
    return "".join(_label_text(label) + "." for label in labels(wire))


def plain_text(wire: bytes, count: int) -> str:
    """The same of a short name of `count` labels, if there is nothing to escape; otherwise empty. Nothing that JSON
    would escape is in it."""
    plain = wire[1:].translate(_PLAIN)
    if len(wire) <= _SHORT and plain.count(0x2E) == count and 0x5C not in plain:
        return plain.decode()
    return ""


_SHORT: Final = 34
"""Octets of a name in which no label is so long that its length is a printable octet."""
_PLAIN: Final = bytes(
    0x2E if octet <= 0x20 else 0x5C if octet > 0x7E or octet in b'.\\"();@$' else octet for octet in range(256)
)
"""Length octets as dots, what is to be escaped as backslashes, all else as it is."""


def _label_text(label: bytes) -> str:
    out = []
    for octet in label:
        if octet in b'.\\"();@$':
            out.append("\\" + chr(octet))
        elif 0x21 <= octet <= 0x7E:
            out.append(chr(octet))
        else:
            out.append(f"\\{octet:03d}")
    return "".join(out)


def labels(wire: bytes) -> Iterator[bytes]:
    """The labels, leftmost first, without the root's."""
    at = 0
    while length := wire[at]:
        yield wire[at + 1 : at + 1 + length]
        at += length + 1


def ancestors(key: bytes) -> Iterator[bytes]:
    """The name itself, then each name above it, the root last."""
    at = 0
    while length := key[at]:
        yield key[at:]
        at += length + 1
    yield ROOT


def parent(key: bytes) -> bytes:
    """The name above; the root's is the root."""
    return key[key[0] + 1 :] if key[0] else ROOT


def is_at_or_below(key: bytes, other: bytes) -> bool:
    """Whether `key` is `other` or a descendant of it; both are keys."""
    if not key.endswith(other):
        return False
    above = len(key) - len(other)
    at = 0
    while at < above:  # the ending must start where a label does: notshop.test is not below shop.test
        at += key[at] + 1
    return at == above
