"""The stack in front of an app of `tests/support/apps`: one edge, one host."""

from __future__ import annotations

import contextlib
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect

from tests.support.stack import Stack, free_base

APPS = Path(__file__).parent / "apps"
EDGE = "127.0.1.1"


class Site:
    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def socket(self, path: str = "/echo", **options: Any) -> connect:
        """A WebSocket at the edge, over TLS and HTTP/1.1."""
        context = ssl.create_default_context(cafile=str(self.stack.ca))
        url = f"wss://site.test:{self.stack.https}{path}"
        return connect(url, ssl=context, host=EDGE, port=self.stack.https, proxy=None, max_size=None, **options)

    def seen(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.stack.curl("/seen"))
        return found

    def rss(self) -> dict[str, int]:
        """Bytes of memory of each hop's processes."""
        found = {}
        for hop in self.stack.status()["hops"]:
            if hop["kind"] != "dns_server":
                lines = Path(f"/proc/{hop['pid']}/status").read_text().splitlines()
                found[hop["name"]] = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))
        return found


@contextlib.contextmanager
def site(home: Path, *flags: str, folder: str = "tunnels") -> Iterator[Site]:
    stack = Stack(home / "home", free_base(), name="site.test")
    with contextlib.ExitStack() as ending:
        ending.callback(stack.hopstack, "down")
        up = ["up", "--detach", "--no-config", "--name", "site.test", "--replicas", "1", "--edges", "fra"]
        app = ["--app", f"site_{folder}:app", "--app-dir", str(APPS / folder)]
        done = stack.hopstack(*up, "--port-base", str(stack.base), *app, *flags)
        assert done.returncode == 0, done.stdout + done.stderr
        yield Site(stack)
