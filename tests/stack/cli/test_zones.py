"""What `hopstack status` says of zones."""

from __future__ import annotations

import json
import socket
import threading
from typing import Any

from stack.cli import zones


def test_only_dns_servers_are_asked_and_only_faults_are_told() -> None:
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                asked.append(connection.recv(1000).split(b"\r\n")[0])
                content = json.dumps({"zones": [], "fault": "shop.zone:3: not understood: x"}).encode()
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + content)

        thread = threading.Thread(target=answer)
        thread.start()
        place = f"http://127.0.0.1:{listening.getsockname()[1]}"
        status: dict[str, Any] = {
            "hops": [
                {"name": "lb-a", "kind": "loadbalancer", "admin": place, "pid": 1},
                {"name": "dns-shop", "kind": "dns_server", "admin": place, "pid": 2},
                {"name": "dns-tld", "kind": "dns_server", "admin": place, "pid": None},
                {"name": "dns-root", "kind": "dns_server", "admin": "http://127.0.0.1:1", "pid": 3},
            ]
        }
        zones.gather(status)
        thread.join(10)
    assert asked == [b"GET /-/zones HTTP/1.0"]
    assert zones.lines(status) == ["dns-shop: shop.zone:3: not understood: x; zones with a fault stay as they were"]


def test_where_all_is_well_nothing_is_told() -> None:
    assert zones.lines({"hops": [{"name": "dns-shop", "zones_fault": ""}, {"name": "lb-a"}]}) == []
