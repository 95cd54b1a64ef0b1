"""Certificates for stacks in tests: one CA per user and site, made once and kept, for it costs more than a stack."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from stack.errors import ConfigError
from stack.net import ca


class Authority:
    """The CA of one site's test stacks. Many processes may use it at once (pytest-xdist): `ca` locks its files."""

    def __init__(self, site: str) -> None:
        self._directory = _directory(site)
        self.path = ca.ensure(self._directory, [site])

    def issue(self, name: str, names: Sequence[str], addresses: Sequence[str]) -> tuple[str, str]:
        """Certificate and key of a hop. Another set of names is another file: no stack has its own replaced."""
        mark = hashlib.sha256(repr((sorted(names), sorted(addresses))).encode()).hexdigest()[:12]
        cert, key = ca.issue(self._directory, f"{name}-{mark}", names, addresses)
        return str(cert), str(key)

    def lend(self, state_dir: Path) -> None:
        """Let hops find it where the local CA of a state directory is."""
        for name in ("ca.pem", "ca-key.pem", "ca.json"):
            (state_dir / name).symlink_to(self._directory / name)


def _directory(site: str) -> Path:
    """`$XDG_CACHE_HOME/hopstack/webstack/SITE`; where home cannot be written to, one of this user's in the temp dir."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    for root in (Path(base), Path(tempfile.gettempdir()) / f"hopstack-{os.getuid()}"):
        directory = root / "hopstack" / "webstack" / site
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            mine = directory.stat()
        except OSError:
            continue
        # a directory of somebody else's may hold a CA of somebody else's
        if mine.st_uid == os.getuid() and not mine.st_mode & 0o022 and os.access(directory, os.W_OK):
            return directory.absolute()
    raise ConfigError(f"no directory for the test CA: neither below {base} nor {tempfile.gettempdir()} may be written")
