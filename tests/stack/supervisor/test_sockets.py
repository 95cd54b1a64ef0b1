"""Sockets by where they listen: kept over a change, closed when nobody listens there any more."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from stack.config.base import HopOptions
from stack.errors import ConfigError
from stack.plan.model import HopPlan
from stack.supervisor.children import child
from stack.supervisor.sockets import Sockets
from stack.supervisor.state import StateDir


def hop(name: str, *listen: str, admin: str = "", kind: str = "proxy") -> HopPlan:
    return HopPlan(kind, HopOptions(name=name, listen=listen, admin=admin))


def free() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def sockets() -> Sockets:
    return Sockets()


def test_the_same_place_is_the_same_socket(sockets: Sockets) -> None:
    port = free()
    first = hop("a", f"http://127.0.0.1:{port}", admin="http://127.0.0.1:0")
    assert len(sockets.bind([first])) == 2
    before = sockets.of(first)
    assert [one.role for one in before] == ["http", "admin"]
    # with TLS from now on, and somebody else's name: who waits in the backlog is served
    second = hop("b", f"https://127.0.0.1:{port}")
    assert sockets.bind([second]) == []
    assert sockets.of(second) == [("https", "", before[0].socket)]
    sockets.keep([second])
    assert before[1].socket.fileno() == -1
    sockets.keep([])
    assert before[0].socket.fileno() == -1


def test_dns_is_a_pair(sockets: Sockets) -> None:
    resolver = hop("resolver", "dns://127.0.0.1:0", kind="dns_server")
    sockets.bind([resolver])
    assert [(one.role, one.socket.type) for one in sockets.of(resolver)] == [
        ("dns", socket.SOCK_DGRAM), ("dns", socket.SOCK_STREAM)]  # fmt: skip
    sockets.keep([])


def test_any_port_is_everybodys_own(sockets: Sockets) -> None:
    hops = [hop(name, "http://127.0.0.1:0", admin="http://127.0.0.1:0") for name in "ab"]
    sockets.bind(hops)
    assert len({one.socket.getsockname() for each in hops for one in sockets.of(each)}) == 4
    sockets.keep([])


def test_two_hops_on_one_place(sockets: Sockets) -> None:
    place = f"http://127.0.0.1:{free()}"
    with pytest.raises(ConfigError, match=r"b and a both listen on http://127\.0\.0\.1"):
        sockets.bind([hop("a", place), hop("b", place)])
    sockets.bind([hop("a", place)])  # nothing was held
    sockets.keep([])


def test_what_cannot_be_bound_leaves_what_was(sockets: Sockets) -> None:
    kept = hop("a", f"http://127.0.0.1:{free()}")
    sockets.bind([kept])
    place = f"http://127.0.0.1:{free()}"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match="taken"):
            sockets.bind([kept, hop("b", place), hop("c", f"http://127.0.0.1:{port}")])
    assert sockets.of(kept)[0].socket.fileno() >= 0
    assert sockets.of(hop("b", place)) == []
    sockets.close_of(kept)
    assert sockets.of(kept) == []


def test_a_query_stays_with_its_listener(sockets: Sockets, tmp_path: Path) -> None:
    """Also where another listener's sockets are gone, as in a stack that stops while it changes."""
    port = free()
    open_to_all = f"http://127.0.0.1:{port}"
    edge = hop("edge", "dns://127.0.0.1:0", open_to_all, "https://127.0.0.1:0?client_cert=none")
    sockets.bind([edge])
    assert [one.query for one in sockets.of(edge)] == ["", "", "", "client_cert=none"]
    sockets.close([("", "stream", "127.0.0.1", port)])
    left = sockets.of(edge)
    assert [(one.role, one.query) for one in left] == [("dns", ""), ("dns", ""), ("https", "client_cert=none")]
    state = StateDir(tmp_path)
    state.create()
    assert f"--listen=https+fd://{left[-1].socket.fileno()}?client_cert=none" in child(state, edge, left).argv
    sockets.keep([])
    assert not [flag for flag in child(state, edge, sockets.of(edge)).argv if flag.startswith("--listen=")]
