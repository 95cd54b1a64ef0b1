"""One question to an admin endpoint: what a container's health check runs."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from stack.hop import ask


class Endpoint:
    """Answers each connection with the same bytes, and keeps what it was asked."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.asked: list[bytes] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                self.asked.append(connection.recv(65536))
                connection.sendall(self.answer)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)


@pytest.fixture
def endpoint(request: pytest.FixtureRequest) -> Iterator[Endpoint]:
    found = Endpoint(getattr(request, "param", b"HTTP/1.1 200 OK\r\n\r\nready\n"))
    yield found
    found.close()


def test_ready(endpoint: Endpoint, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert ask.main(["/-/ready"], {"HOPSTACK_ADMIN": endpoint.url}) == 0
    assert capfdbinary.readouterr().out == b"ready\n"
    assert endpoint.asked[0].startswith(b"GET /-/ready HTTP/1.0\r\nHost: 127.0.0.1:")


@pytest.mark.parametrize("endpoint", [b"HTTP/1.1 503 Service Unavailable\r\n\r\nnot ready: x\n"], indirect=True)
def test_not_ready(endpoint: Endpoint, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert ask.main(["/-/ready"], {"HOPSTACK_ADMIN": endpoint.url}) == 1
    assert capfdbinary.readouterr().out == b"not ready: x\n"


def test_another_method(endpoint: Endpoint) -> None:
    assert ask.main(["-X", "post", "/-/purge?url=https://shop.test/a b"], {"HOPSTACK_ADMIN": endpoint.url}) == 0
    assert endpoint.asked[0].startswith(b"POST /-/purge?url=https://shop.test/a%20b HTTP/1.0\r\n")


@pytest.mark.parametrize("endpoint", [b"", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200"], indirect=True)
def test_what_is_no_answer(endpoint: Endpoint, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask.main(["/-/ready"], {"HOPSTACK_ADMIN": endpoint.url}) == 1
    assert "no answer in HTTP" in capsys.readouterr().err


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    assert ask.main(["/-/ready"], {"HOPSTACK_ADMIN": f"http://127.0.0.1:{port}"}) == 1
    assert "refused" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [[], ["ready"], ["-X", "/-/ready"], ["/a", "/b"], ["/\r\nX: y"]])
def test_a_wrong_command_line_is_status_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert ask.main(argv, {}) == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize("admin", ["https://127.0.0.1:1", "127.0.0.1:1", "http://127.0.0.1"])
def test_a_wrong_endpoint(admin: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask.main(["/-/ready"], {"HOPSTACK_ADMIN": admin}) == 1
    assert "wanted http://127.0.0.1:PORT" in capsys.readouterr().err


def test_it_imports_next_to_nothing() -> None:
    """Thirteen containers run it every few seconds."""
    code = "import sys; before = set(sys.modules); import stack.hop.ask; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"asyncio", "ssl", "msgspec", "typing", "logging", "http", "json", "uvloop", "click"}
