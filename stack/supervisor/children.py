"""From a hop's plan to a process that can be started: its certificate, its files, its flags."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from stack.config.arguments import arguments
from stack.config.listen import Listen
from stack.errors import ConfigError
from stack.hop.child import Child
from stack.hop.files import write_whole
from stack.net import ca
from stack.plan.model import HopPlan
from stack.supervisor.sockets import Serving
from stack.supervisor.state import StateDir


def prepare(state: StateDir, hops: Iterable[HopPlan]) -> None:
    """The certificate authority and the files of the hops: zones."""
    hops = tuple(hops)
    with _told(state):
        ca.ensure(state.path, sorted({name for hop in hops for name in hop.server_names}))
    for hop in hops:
        for file, text in hop.files.items():
            write(state.path / file, text)


def write(path: Path, text: str) -> None:
    """Whole or not at all: a process that starts meanwhile reads the old one or the new one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None


@contextlib.contextmanager
def _told(state: StateDir) -> Iterator[None]:
    """A full disk, a directory of somebody else's."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{error.filename or state.path}: {error.strerror or error}") from None


def certificate(state: StateDir, hop: HopPlan, now: float | None = None) -> tuple[Path, Path] | None:
    """Of a hop that has none of its own, by the local CA; anew when it is due. The hop sees that the file changed."""
    if not hop.tls or getattr(hop.config, "cert", None):
        return None
    hosts = sorted({item.host for item in hop.listen})
    names = [name for name in hop.server_names if name != "localhost"] + ["localhost"]
    with _told(state):
        return ca.issue(state.path, hop.name, names, hosts, now=now)


def child(state: StateDir, hop: HopPlan, sockets: Sequence[Serving]) -> Child:
    """Started through its own entry point, with flags that whoever reads `ps` understands."""
    own: dict[str, object] = {}
    issued = certificate(state, hop)
    if issued is not None:
        own |= {"cert": [str(issued[0])], "key": [str(issued[1])]}
    listens = [Listen(one.role, fd=one.socket.fileno(), query=one.query) for one in sockets if one.role != "admin"]
    own |= {"listen": [str(item) for item in listens], "admin": ""}
    for one in sockets:
        if one.role == "admin":
            own["admin"] = f"http+fd://{one.socket.fileno()}"
    return Child(
        name=hop.name,
        kind=hop.kind,
        # -P: a user's own proxy.py in the working directory is not the proxy
        argv=[sys.executable, "-P", "-m", hop.kind, *arguments(hop.config, changed_only=True, **own)],
        env={**hop.env, "HOPSTACK_HOME": str(state.path)},
        sockets=[one.socket for one in sockets],
        log=state.rotate(hop.name),
    )
