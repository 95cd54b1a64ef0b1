"""Listening sockets: bound here or passed in by a master, with one clear line when the address cannot be had."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from pathlib import Path
from typing import Final

from stack.config.listen import Listen, address
from stack.errors import ConfigError

BACKLOG: Final = 4096
"""The kernel caps it at net.core.somaxconn."""
_PAIR_ATTEMPTS: Final = 32


def bind(listen: Listen, *, backlog: int = BACKLOG, option: str = "--listen") -> list[socket.socket]:
    """One socket, or a UDP and a TCP one on the same port for `dns`.

    ConfigError names the address and the remedy, which is the `option` that moves it.
    """
    if listen.fd is not None:
        return [adopt(listen.fd, str(listen))]
    if listen.scheme != "dns":
        return [_bind(listen, socket.SOCK_STREAM, listen.port, backlog, option)]
    for attempt in range(_PAIR_ATTEMPTS):
        stream = _bind(listen, socket.SOCK_STREAM, listen.port, backlog, option)
        try:
            return [_bind(listen, socket.SOCK_DGRAM, stream.getsockname()[1], backlog, option), stream]
        except ConfigError:
            stream.close()
            # port 0 gave a TCP port whose UDP twin is taken: another one will do
            if listen.port or attempt == _PAIR_ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def adopt(fd: int, option: str = "fd://") -> socket.socket:
    """A socket that was passed in: bound, and listening if it is a stream."""
    try:
        passed = socket.socket(fileno=fd)
    except OSError as error:
        raise ConfigError(f"{option}: descriptor {fd} is not a socket that was passed in ({error.strerror})") from None
    if passed.family not in (socket.AF_INET, socket.AF_INET6) or not passed.getsockname()[1]:
        passed.detach()
        raise ConfigError(f"{option}: descriptor {fd} is not a bound TCP or UDP socket")
    if passed.type == socket.SOCK_STREAM and not passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        passed.listen(BACKLOG)
    passed.setblocking(False)
    os.set_inheritable(fd, False)
    return passed


def _bind(listen: Listen, kind: socket.SocketKind, port: int, backlog: int, option: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    bound = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if kind == socket.SOCK_STREAM:
            # past connections in TIME_WAIT do not hold the port; on UDP the option would let two servers share it
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((listen.host, port))
        if kind == socket.SOCK_STREAM:
            bound.listen(backlog)
    except OSError as error:
        bound.close()
        raise ConfigError(_explained(error, listen.host, port, kind, option)) from None
    return bound


def _explained(error: OSError, host: str, port: int, kind: socket.SocketKind, option: str) -> str:
    where = address(host, port)
    if error.errno == errno.EADDRINUSE:
        holder = owner(host, port, kind)
        by = f" (by {holder})" if holder else ""
        return f"{where} is taken{by}; stop it or choose another address with {option}"
    if error.errno == errno.EACCES:
        return (
            f"{where}: port {port} needs a privilege; use a port above 1023 ({option}), "
            "or allow it: sysctl net.ipv4.ip_unprivileged_port_start"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{where}: this machine has no address {host}; use 127.0.0.1, or give the address to an interface first"
    if error.errno == errno.EAFNOSUPPORT:
        return f"{where}: this machine has no IPv6; use an IPv4 address, as 127.0.0.1:{port}"
    return f"{where}: cannot listen: {error.strerror}"


def owner(host: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM, proc: Path = Path("/proc")) -> str:
    """`pid 1234 python` of whoever listens there, as far as /proc tells; empty otherwise. Only for a message."""
    inodes = _inodes(host, port, kind, proc)
    if not inodes:
        return ""
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):  # another user's process, or one that has just ended
            for link in (entry / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if os.readlink(link) in inodes:
                        return f"pid {entry.name} {(entry / 'comm').read_text().strip()}"
    return ""


def _inodes(host: str, port: int, kind: socket.SocketKind, proc: Path) -> set[str]:
    """Sockets of /proc/net that hold the port on this address or on every address."""
    listening = "0A" if kind == socket.SOCK_STREAM else "07"
    table = "tcp" if kind == socket.SOCK_STREAM else "udp"
    wanted = {_hex(host), "0" * 8, "0" * 32}
    found: set[str] = set()
    for name in (table, f"{table}6"):
        with contextlib.suppress(OSError):
            for line in (proc / "net" / name).read_text().splitlines()[1:]:
                _, local, _, state, *rest = line.split()
                place, _, number = local.rpartition(":")
                if int(number, 16) == port and state == listening and place in wanted:
                    found.add(f"socket:[{rest[5]}]")
    return found


def _hex(host: str) -> str:
    """An address as /proc/net prints it: 32-bit words in the machine's order."""
    packed = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    return "".join(f"{int.from_bytes(packed[at : at + 4], 'little'):08X}" for at in range(0, len(packed), 4))
