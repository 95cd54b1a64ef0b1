"""Static files whose names hold a hash of their content, so that they may be cached for ever.

`python -m appserver.shop.assets` names the files anew after an edit: `shop.css` or `shop.<old hash>.css` becomes
`shop.<new hash>.css`. Templates ask for `asset("shop.css")`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

STATIC: Final = Path(__file__).with_name("static")
PREFIX: Final = "/static/"
TYPES: Final = {"css": "text/css", "svg": "image/svg+xml"}

_HASHED: Final = re.compile(r"(?P<stem>[a-z-]+)\.(?P<hash>[0-9a-f]{8})\.(?P<suffix>[a-z]+)")


@dataclass(frozen=True, slots=True)
class Asset:
    content: bytes
    content_type: str


class Assets:
    """The files of a directory, read once: they are few and small."""

    def __init__(self, directory: Path = STATIC) -> None:
        self._files: dict[str, Asset] = {}
        self._names: dict[str, str] = {}
        self.changed = max(int(path.stat().st_mtime) for path in directory.iterdir())
        """Unix seconds of the last change to any of them."""
        for path in sorted(directory.iterdir()):
            if (match := _HASHED.fullmatch(path.name)) is not None:
                self._names[f"{match['stem']}.{match['suffix']}"] = path.name
                self._files[path.name] = Asset(path.read_bytes(), TYPES[match["suffix"]])

    def path(self, name: str) -> str:
        """Where a browser finds `shop.css`: `/static/shop.3f2a9c1b.css`. KeyError where there is none."""
        return PREFIX + self._names[name]

    def get(self, hashed_name: str) -> Asset | None:
        return self._files.get(hashed_name)

    def __iter__(self) -> Iterator[tuple[str, Asset]]:
        return iter(self._files.items())


def content_hash(content: bytes) -> str:
    """Eight hex digits, letters and figures both: a proxy takes figures alone for a date."""
    digest = hashlib.sha256(content).hexdigest()
    for start in range(len(digest) - 8):
        part = digest[start : start + 8]
        if not part.isdigit() and not part.isalpha():
            return part
    raise AssertionError("a digest of 64 digits of one kind")


def rename(directory: Path = STATIC) -> list[str]:
    """Give every file the name that its content asks for; the new names of those that had another."""
    renamed = []
    for path in sorted(directory.iterdir()):
        stem, _, rest = path.name.partition(".")
        name = f"{stem}.{content_hash(path.read_bytes())}.{rest.rpartition('.')[2]}"
        if name != path.name:
            path.replace(path.with_name(name))
            renamed.append(name)
    return renamed


if __name__ == "__main__":
    print("\n".join(rename()))  # noqa: T201
