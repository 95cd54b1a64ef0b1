"""Zones of any size, for measurements."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

HEAD = "$TTL 300\n@ IN SOA ns1 hostmaster 1 7200 3600 1209600 300\n@ IN NS ns1\nns1 IN A 192.0.2.1\n"


def lines(records: int) -> Iterator[str]:
    """A zone of that many records, as people have: addresses first of all, some aliases, mail servers and texts."""
    yield HEAD
    for number in range(records - 3):
        match number % 10:
            case 6:
                yield f"h{number} 3600 IN AAAA 2001:db8::{number & 0xFFFF:x}:{number >> 16:x}\n"
            case 7:
                yield f"h{number} IN MX 10 h{number - 1}\n"
            case 8:
                yield f"h{number} IN CNAME h{number - 3}\n"
            case 9:
                yield f'h{number} IN TXT "text of {number}"\n'
            case _:
                yield f"h{number} IN A 10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}\n"


def write(path: Path, records: int) -> Path:
    """As a master file; a million take a second and 27 MB."""
    with path.open("w") as file:
        file.writelines(lines(records))
    return path
