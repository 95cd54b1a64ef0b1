"""Directories of static files as they are written: `[PREFIX=]DIR`."""

from __future__ import annotations

from collections.abc import Iterable


def roots(texts: Iterable[str], usual: str) -> dict[str, str]:
    """Directories by prefix, the longest prefix first. ValueError for a prefix that is none or is given twice.

    Only what begins and ends with a slash before the first `=` is a prefix: a directory may have a `=` in its name.
    """
    found: dict[str, str] = {}
    for text in texts:
        prefix, mark, directory = text.partition("=")
        if not (mark and is_prefix(prefix)):
            prefix, directory = usual, text
        if not is_prefix(prefix) or not prefix.isascii() or not prefix.isprintable() or "//" in prefix:
            raise ValueError(f"{prefix!r} is no prefix: it begins and ends with a slash, as /static/")
        if not directory:
            raise ValueError(f"{text!r} names no directory; write {prefix}=DIR")
        if prefix in found:
            raise ValueError(f"{text!r}: there is another directory for {prefix}; write PREFIX=DIR, as /assets/=built")
        found[prefix] = directory
    return dict(sorted(found.items(), key=lambda item: -len(item[0])))


def is_prefix(text: str) -> bool:
    return text.startswith("/") and text.endswith("/")
