"""What `hopstack status` says of certificates."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from stack.cli import certificates

DAY = 86_400
NOW = 1_800_000_000  # 2027-01-15 08:00 UTC


def hop(name: str, *days: float, error: str = "") -> dict[str, Any]:
    return {
        "name": name,
        "tls": {
            "certificates": [{"cert": f"/c/{name}.pem", "expires": int(NOW + day * DAY)} for day in days],
            "error": error,
        },
    }


@pytest.mark.parametrize(
    ("hops", "wanted"),
    [
        pytest.param([{"name": "lb-a"}], [], id="no TLS"),
        pytest.param(
            [hop("edge-fra", 90, 60.2), hop("edge-nrt", 80), {"name": "lb-a"}],
            ["Certificates: the first of 3 ends in 60 days, 2027-03-16"],
            id="all well",
        ),
        pytest.param(
            [hop("edge-fra", 90, 1.5), hop("edge-nrt", -3)],
            [
                "edge-fra: /c/edge-fra.pem ends in 36 hours, 2027-01-16",
                "edge-nrt: /c/edge-nrt.pem HAS ENDED, 2027-01-12",
                "Certificates: the first of 3 HAS ENDED, 2027-01-12",
            ],
            id="soon and over",
        ),
        pytest.param(
            [hop("edge-fra", 90, error="/c/new.pem holds no certificate")],
            [
                "edge-fra: certificates: /c/new.pem holds no certificate; those in use stay",
                "Certificates: the first of 1 ends in 90 days, 2027-04-15",
            ],
            id="a broken file",
        ),
    ],
)
def test_until_when_and_what_is_wrong(hops: list[dict[str, Any]], wanted: list[str]) -> None:
    assert certificates.lines({"hops": hops}, NOW) == wanted
    assert all(len(line) <= 80 for line in wanted)


@pytest.fixture
def admin() -> Iterator[tuple[str, list[bytes]]]:
    """Answers one question."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                asked.append(connection.recv(1000).split(b"\r\n")[0])
                content = json.dumps(hop("x", 1)["tls"]).encode()
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + content)

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", asked
        thread.join(10)


def test_only_who_ends_tls_is_asked_and_who_is_gone_costs_nothing(admin: tuple[str, list[bytes]]) -> None:
    place, asked = admin
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        status: dict[str, Any] = {
            "hops": [
                {"name": "lb-a", "admin": gone, "pid": 1, "listen": {"http": "127.0.0.1:1"}},
                {"name": "edge-nrt", "admin": gone, "pid": 2, "listen": {"https": "127.0.0.1:2"}},
                {"name": "edge-sin", "admin": gone, "pid": None, "listen": {"https": "127.0.0.1:3"}},
                {"name": "edge-fra", "admin": place, "pid": 3, "listen": {"https": "127.0.0.1:4"}},
            ]
        }
        certificates.gather(status)
    assert asked == [b"GET /-/certificates HTTP/1.0"]
    assert [one.get("tls") for one in status["hops"]] == [None, None, None, hop("x", 1)["tls"]]
