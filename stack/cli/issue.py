"""`hopstack ca issue`: a certificate for every hop of a file, each in a directory of its own."""

from __future__ import annotations

import os
from pathlib import Path

from stack.errors import ConfigError
from stack.hop import registry
from stack.net import ca
from stack.plan.document import Document
from stack.plan.make import make_plan
from stack.supervisor.state import StateDir


def issue_all(file: str, into: str) -> str:
    """What was done, in one line. ConfigError for a fault of the file, or a directory that cannot be written."""
    state_dir, folder = StateDir.chosen().path, Path(into)
    plan = make_plan(Document.read(file), kinds=registry, state_dir=state_dir, environ=os.environ)
    authority = ca.ensure(state_dir, [plan.name])
    certificate = authority.read_bytes()
    try:
        for hop in plan.hops:
            own = folder / hop.name
            own.mkdir(mode=0o700, parents=True, exist_ok=True)
            # a hop without TLS is known by its name below the site's
            names = dict.fromkeys((*hop.server_names, f"{hop.name}.{plan.name}", "localhost"))
            ca.issue(state_dir, hop.name, tuple(names), ("127.0.0.1", "::1"), folder=own)
            _copy(certificate, own / "ca.pem")
    except OSError as error:
        raise ConfigError(f"{error.filename or folder}: {error.strerror}; name another directory in --into") from None
    return f"{len(plan.hops)} certificates in {folder}, issued by {authority}"


def _copy(certificate: bytes, path: Path) -> None:
    """Whole or not at all: a hop may be reading it."""
    temporary = path.with_name(f".{path.name}")
    temporary.write_bytes(certificate)
    temporary.chmod(0o644)
    temporary.replace(path)
