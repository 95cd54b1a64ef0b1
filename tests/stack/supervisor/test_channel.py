"""The control channel: a question, what is said meanwhile, an answer."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stack.supervisor.channel import NAME, NotHeard, Say, Server, ask


async def answered(question: Mapping[str, Any], say: Say) -> Mapping[str, Any]:
    say("wait")
    await asyncio.sleep(0)
    return {"outcome": "done", "asked": question["do"]}


@pytest.fixture
def far(tmp_path: Path) -> Path:
    """A directory whose path is longer than a socket's may be."""
    path = tmp_path / ("x" * 100) / ("y" * 100)
    path.mkdir(parents=True)
    return path


async def test_a_question_and_its_answer(far: Path) -> None:
    here = os.getcwd()
    server = Server(far, answered)
    await server.start()
    said: list[str] = []
    assert await asyncio.to_thread(ask, far, {"do": "x"}, said.append) == {"outcome": "done", "asked": "x"}
    assert said == ["wait"]
    assert os.getcwd() == here
    assert stat.S_IMODE((far / NAME).stat().st_mode) == 0o600, "for its owner alone"
    await server.close()


async def test_a_socket_that_was_left_behind_is_replaced(far: Path) -> None:
    first = Server(far, answered)
    await first.start()
    second = Server(far, answered)
    await second.start()
    assert (await asyncio.to_thread(ask, far, {"do": "y"}, print))["asked"] == "y"
    await first.close()
    await second.close()


async def test_nobody_is_there(far: Path) -> None:
    with pytest.raises(NotHeard):
        ask(far, {"do": "x"}, print)
    server = Server(far, answered)
    await server.start()
    await server.close()
    with pytest.raises(NotHeard):
        ask(far, {"do": "x"}, print)


async def test_what_is_no_question_is_refused_and_who_goes_harms_nobody(far: Path, monkeypatch: Any) -> None:
    server = Server(far, answered)
    await server.start()
    monkeypatch.chdir(far)
    reader, writer = await asyncio.open_unix_connection(NAME)
    writer.write(b"reload\n")
    assert b"not a question" in await reader.readline()
    writer.close()
    with socket.socket(socket.AF_UNIX) as gone:
        gone.connect(NAME)
        gone.sendall(b'{"do": "x"}\n')
    assert (await asyncio.to_thread(ask, far, {"do": "z"}, print))["asked"] == "z"
    await server.close()
