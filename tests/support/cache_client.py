"""A client of the cache cases: HTTP/1.1 over pooled connections that are kept alive, read by h11."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import TracebackType

import h11

Header = tuple[str, str]


class NetworkFailure(Exception):
    """No response, or not a whole one."""


@dataclass
class Answer:
    status: int = 0
    lines: list[Header] = field(default_factory=list)
    body: bytes = b""
    interim: list[tuple[int, list[Header]]] = field(default_factory=list)

    def get(self, name: str) -> str | None:
        """Several lines joined."""
        values = [value for key, value in self.lines if key == name.lower()]
        return ", ".join(values) if values else None


@dataclass
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    protocol: h11.Connection


def _lines(event: h11.Response | h11.InformationalResponse) -> list[Header]:
    return [(name.decode("ascii"), value.decode("latin-1")) for name, value in event.headers]


class Client:
    """As a browser or Node does: a connection that is free is used again; none is opened for each request."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._free: list[_Connection] = []
        self.opened = 0

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self._free:
            connection.writer.close()

    async def ask(self, method: str, target: str, headers: list[Header], body: bytes | None) -> Answer:
        connection = await self._connection()
        try:
            answer = await self._exchange(connection, method, target, headers, body)
        except (OSError, h11.ProtocolError, EOFError) as error:
            connection.writer.close()
            raise NetworkFailure(repr(error)) from None
        except BaseException:
            connection.writer.close()
            raise
        if connection.protocol.our_state is h11.DONE and connection.protocol.their_state is h11.DONE:
            connection.protocol.start_next_cycle()
            self._free.append(connection)
        else:
            connection.writer.close()
        return answer

    async def _connection(self) -> _Connection:
        while self._free:
            connection = self._free.pop()
            if not connection.reader.at_eof() and not connection.writer.is_closing():
                return connection
            connection.writer.close()
        self.opened += 1
        reader, writer = await asyncio.open_connection(self._host, self._port)
        return _Connection(reader, writer, h11.Connection(h11.CLIENT))

    async def _exchange(
        self, connection: _Connection, method: str, target: str, headers: list[Header], body: bytes | None
    ) -> Answer:
        protocol = connection.protocol
        lines = [("Host", f"{self._host}:{self._port}"), *headers]
        if body is not None:
            lines.append(("Content-Length", str(len(body))))
        # a client strips values (RFC 9110 §5.5)
        encoded = [(name.encode("ascii"), value.encode("latin-1").strip(b" \t")) for name, value in lines]
        data = protocol.send(h11.Request(method=method, target=target, headers=encoded)) or b""
        if body:
            data += protocol.send(h11.Data(data=body)) or b""
        data += protocol.send(h11.EndOfMessage()) or b""
        connection.writer.write(data)
        await connection.writer.drain()
        answer = Answer()
        while True:
            event = protocol.next_event()
            if event is h11.NEED_DATA:
                protocol.receive_data(await connection.reader.read(65536))
            elif isinstance(event, h11.InformationalResponse):
                answer.interim.append((event.status_code, _lines(event)))
            elif isinstance(event, h11.Response):
                answer.status, answer.lines = event.status_code, _lines(event)
            elif isinstance(event, h11.Data):
                answer.body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return answer
            else:
                raise EOFError(f"{event!r} before the response was whole")
