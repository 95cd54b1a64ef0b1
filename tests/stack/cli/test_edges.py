"""What `hopstack purge` and `hopstack explain` say of an edge's answer, and of none."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from stack.cli.main import main

URL = "https://shop.test/a"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOPSTACK_HOME", str(tmp_path / "home"))


@contextmanager
def answering(status: int, content: bytes) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("command", ["purge", "explain"])
@pytest.mark.parametrize(
    ("status", "content"), [(404, b"404: Not Found"), (404, b'{"title": "Not found"}'), (200, b"[]"), (200, b"\xff")]
)
def test_what_is_no_edge_is_called_so(
    command: str, status: int, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(status, content) as admin:
        assert main([command, URL, "--admin", admin]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"{admin}: no answer: what answers there is not the --admin of an edge\n"


@pytest.mark.parametrize("command", ["purge", "explain"])
def test_where_nothing_listens(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:  # bound, and nothing listens there
        taken.bind(("127.0.0.1", 0))
        admin = f"http://127.0.0.1:{taken.getsockname()[1]}"
        assert main([command, URL, "--admin", admin]) == 1
    said = "connection refused; is the edge running, and is this its --admin?"
    assert capsys.readouterr().err == f"{admin}: no answer: {said}\n"


def test_an_edge_that_takes_too_long(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("stack.cli.edges.PATIENCE", 0.05)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        admin = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert main(["explain", URL, "--admin", admin]) == 1
    assert capsys.readouterr().err == f"{admin}: no answer: it took more than 0.05 s\n"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b'{"purged": 0}', "nothing was stored"),
        (b'{"purged": 0, "hint": "There is x."}', "nothing was stored. There is x."),
        (b'{"purged": 1}', "purged"),
        (b'{"purged": 3, "disk": "no room"}', "purged, 3 variants; the disk: no room"),
    ],
)
def test_what_a_purge_came_to(answer: bytes, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with answering(200, answer) as admin:
        assert main(["purge", URL, "--admin", admin]) == 0
    assert capsys.readouterr().out == f"{admin}: {said}\n"


@pytest.mark.parametrize("command", ["purge", "explain"])
def test_nothing_runs_here(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "/a"]) == 3
    assert "--admin names an edge that runs alone" in capsys.readouterr().err
