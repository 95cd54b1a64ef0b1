"""A user's own project: a directory with an app and a stack.toml, and the stack that is started in it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from tests.support.stack import Stack, free_base

APP = """
import json, os

VERSION = "one"

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    body = json.dumps({"version": VERSION, "pid": os.getpid(), "scheme": scope["scheme"]}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    headers += [(b"cache-control", b"max-age=60" if scope["path"] == "/kept" else b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
"""


class Project(Stack):
    """Its stack has one edge, and its name is the directory's: project.test."""

    def __init__(self, directory: Path) -> None:
        folder = directory / "project"
        folder.mkdir(parents=True)
        super().__init__(directory / "home", free_base(), cwd=folder, name="project.test")
        self.folder = folder
        self.code()

    def code(self, text: str = APP, **replaced: str) -> None:
        for old, new in replaced.items():
            text = text.replace(f'"{old}"', f'"{new}"')
        (self.folder / "application.py").write_text(text)

    def config(self, text: str) -> None:
        (self.folder / "stack.toml").write_text(text)

    def pid_of(self) -> dict[str, int]:
        return {hop["name"]: hop["pid"] for hop in self.status()["hops"]}

    def answer(self, path: str = "/", **more: str) -> dict[str, str]:
        found: dict[str, str] = json.loads(self.curl(path, **more))
        return found


@contextlib.contextmanager
def ended(project: Project) -> Iterator[Project]:
    """Whatever the test does, nothing is left running."""
    try:
        yield project
    finally:
        project.hopstack("down")
        for pid in project.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
