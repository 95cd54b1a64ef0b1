"""What OpenSSL is asked for, and when it need not be asked."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from stack.net.tls import RECORD, Object, ServerObject


class Recorded:
    """In the place of `ssl`'s own object."""

    def __init__(self, pending: int = 0) -> None:
        self.asked: list[int] = []
        self._pending = pending

    def read(self, size: int, buffer: Any = None) -> bytes:
        self.asked.append(size)
        return b"x"

    def pending(self) -> int:
        return self._pending


def made(kind: type[Object], inner: Recorded) -> Any:
    found: Any = kind.__new__(kind)
    found._sslobj = inner
    return found


@pytest.mark.parametrize("kind", [Object, ServerObject])
@pytest.mark.parametrize(("wanted", "asked"), [(256 * 1024, RECORD), (100, 100)])
def test_no_more_is_asked_for_than_a_record_has(kind: type[Object], wanted: int, asked: int) -> None:
    inner = Recorded()
    assert made(kind, inner).read(wanted) == b"x"
    made(kind, inner).read(wanted, bytearray(wanted))
    assert inner.asked == [asked, wanted]  # what goes into a buffer allocates nothing


def test_a_server_asks_only_where_something_waits() -> None:
    inner, incoming = Recorded(), ssl.MemoryBIO()
    server = made(ServerObject, inner)
    server.incoming = incoming
    with pytest.raises(ssl.SSLWantReadError):
        server.read(100)
    assert not inner.asked
    incoming.write(b"\x17")
    assert server.read(100) == b"x"
    inner._pending, _ = 1, incoming.read()
    assert server.read(100) == b"x"
    inner._pending = 0
    incoming.write_eof()
    assert server.read(100) == b"x"
    assert inner.asked == [100, 100, 100]
