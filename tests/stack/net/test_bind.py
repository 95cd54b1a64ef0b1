from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.config.listen import parse
from stack.errors import ConfigError
from stack.net import bind as bind_module
from stack.net.bind import adopt, bind, owner


@contextlib.contextmanager
def bound(text: str) -> Iterator[list[socket.socket]]:
    sockets = bind(parse(text))
    try:
        yield sockets
    finally:
        for item in sockets:
            item.close()


def test_a_stream_listens_without_blocking_and_is_not_inherited() -> None:
    with bound("http://127.0.0.1:0") as [listener]:
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) != 0
        assert listener.getblocking() is False
        assert listener.get_inheritable() is False


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_dns_is_udp_and_tcp_on_one_port(host: str) -> None:
    with bound(f"dns://{host}:0") as sockets:
        assert {item.type for item in sockets} == {socket.SOCK_DGRAM, socket.SOCK_STREAM}
        assert len({item.getsockname()[1] for item in sockets}) == 1


def test_dns_on_any_port_tries_another_pair_when_the_udp_twin_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = bind_module._bind, []

    def sometimes(listen: object, kind: socket.SocketKind, port: int, *rest: object) -> socket.socket:
        calls.append(kind)
        if calls.count(socket.SOCK_DGRAM) == 1 and kind == socket.SOCK_DGRAM:
            raise ConfigError("taken")
        return real(listen, kind, port, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(bind_module, "_bind", sometimes)
    with bound("dns://127.0.0.1:0") as sockets:
        assert len({item.getsockname()[1] for item in sockets}) == 1
    assert calls.count(socket.SOCK_DGRAM) == 2


@pytest.mark.parametrize("scheme", ["http", "dns"])
def test_a_taken_port_is_named_with_its_holder_and_the_remedy(scheme: str) -> None:
    with bound(f"{scheme}://127.0.0.1:0") as [first, *_]:
        port = first.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            bind(parse(f"{scheme}://127.0.0.1:{port}"))
    message = str(caught.value)
    assert message.startswith(f"127.0.0.1:{port} is taken (by pid {os.getpid()} {comm()})")
    assert message.endswith("choose another address with --listen")
    assert "--port-base" not in message


def comm() -> str:
    return Path("/proc/self/comm").read_text().strip()


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_the_holder_is_found_for_every_kind_of_address(address: str) -> None:
    with bound(f"http://{f'[{address}]' if ':' in address else address}:0") as [listener]:
        asked = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
        assert owner(asked, listener.getsockname()[1]) == f"pid {os.getpid()} {comm()}"


def test_without_proc_the_holder_stays_unknown(tmp_path: Path) -> None:
    assert owner("127.0.0.1", 80, proc=tmp_path) == ""


def test_an_address_of_another_machine() -> None:
    with pytest.raises(
        ConfigError, match=r"192\.0\.2\.1:0: this machine has no address 192\.0\.2\.1; use 127\.0\.0\.1"
    ):
        bind(parse("http://192.0.2.1:0"))


def test_a_port_that_needs_a_privilege() -> None:
    """By the error itself: whether a low port needs one differs between machines."""
    message = bind_module._explained(
        PermissionError(13, "Permission denied"), "127.0.0.1", 53, socket.SOCK_DGRAM, "--listen"
    )
    assert message.startswith("127.0.0.1:53: port 53 needs a privilege; use a port above 1023")


def test_a_passed_socket_is_adopted_with_its_number() -> None:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    fd = listener.detach()
    with bound(f"http+fd://{fd}") as [adopted]:
        assert adopted.fileno() == fd
        assert adopted.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
        assert adopted.getblocking() is False


@pytest.mark.parametrize("what", ["nothing", "file", "unbound", "unix"])
def test_a_descriptor_that_is_no_bound_socket(what: str, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        match what:
            case "nothing":
                fd = 99_999
            case "file":
                fd = stack.enter_context((tmp_path / "f").open("w")).fileno()
            case "unbound":
                fd = stack.enter_context(socket.socket()).fileno()
            case _:
                pair = socket.socketpair()
                stack.enter_context(pair[0]), stack.enter_context(pair[1])
                fd = pair[0].fileno()
        with pytest.raises(ConfigError, match=rf"http\+fd://{fd}: descriptor {fd} is not a"):
            adopt(fd, f"http+fd://{fd}")
        if what != "nothing":
            os.fstat(fd)  # still its owner's


def test_two_servers_cannot_share_a_udp_port() -> None:
    with bound("dns://127.0.0.1:0") as [udp, _], socket.socket(type=socket.SOCK_DGRAM) as other:
        with pytest.raises(OSError, match="in use"):
            other.bind(udp.getsockname())
