"""Python beside a stack finds its names: imported by every interpreter that `hopstack exec` starts, of any version.

Names under .test are in no DNS that the system asks (RFC 6761 §6.2). HOPSTACK_HOSTS has them, as `NAME=ADDRESS ...`;
all other names are looked up as ever. A sitecustomize that the interpreter had is imported after this one.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import socket
import sys

TYPE_CHECKING = False  # importing typing would cost every start 5 ms
if TYPE_CHECKING:
    from typing import Any


def _find_names() -> None:
    hosts = dict(item.split("=", 1) for item in os.environ.get("HOPSTACK_HOSTS", "").split() if "=" in item)
    if not hosts:
        return
    look_up = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
        if isinstance(name, str):
            host = hosts.get(name.lower().rstrip("."), host)
        return look_up(host, *args, **kwargs)

    socket.getaddrinfo = getaddrinfo


def _import_next() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    places = [place for place in sys.path if os.path.abspath(place) != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", places)
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


_find_names()
_import_next()
