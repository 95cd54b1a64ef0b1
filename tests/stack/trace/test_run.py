"""The tracer's own client against servers of every sort, over real sockets."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
import trustme

from stack.trace.run import Failure, exit_status
from tests.stack.trace.scripted import HELLO, Script, answering, lines, server, server_tls, traced


async def test_any_server_in_the_clear() -> None:
    heads: list[bytes] = []
    got = bytearray()
    async with server(answering(HELLO, heads=heads)) as port:
        (outcome,) = await traced(f"http://127.0.0.1:{port}/a?b", sink=got.extend)
    assert lines(outcome) == [
        f"tcp connected to 127.0.0.1:{port}",
        "http HTTP/1.1 200, 5 bytes",
        f"origin 127.0.0.1:{port}: no times given",
    ]
    assert (bytes(got), exit_status([outcome])) == (b"hello", 0)
    assert heads[0].startswith(b"GET /a?b HTTP/1.1\r\n")
    trace = outcome.trace
    assert trace is not None
    assert [row.ms is not None for row in trace.budget] == [False, True, False, False, True, True]


async def test_its_traceparent_is_sampled_and_its_own_each_time() -> None:
    """W3C Trace Context §3.2."""
    heads: list[bytes] = []
    async with server(answering(HELLO, heads=heads)) as port:
        await traced(f"http://127.0.0.1:{port}/", repeat=2)
    first, second = (
        next(line for line in head.decode().splitlines() if line.startswith("traceparent: ")) for head in heads
    )
    assert first != second
    version, trace_id, span_id, flags = first.removeprefix("traceparent: ").split("-")
    assert (version, len(trace_id), len(span_id), flags) == ("00", 32, 16, "01")


async def test_a_second_request_goes_over_the_same_connection() -> None:
    async with server(answering(HELLO)) as port:
        first, second = await traced(f"http://127.0.0.1:{port}/", repeat=2)
    assert (first.reused, second.reused) == (False, True)
    assert [line.split()[0] for line in lines(second)] == ["http", "origin"]


async def test_a_connection_that_the_server_closes_is_opened_again() -> None:
    closing = HELLO.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    async with server(answering(closing, requests=1)) as port:
        outcomes = await traced(f"http://127.0.0.1:{port}/", repeat=2)
    assert [outcome.reused for outcome in outcomes] == [False, False]
    assert exit_status(outcomes) == 0


async def test_tls_is_timed_apart_and_verified(ca: trustme.CA, cacert: Path) -> None:
    async with server(answering(HELLO), tls=server_tls(ca, "localhost")) as port:
        (outcome,) = await traced(f"https://localhost:{port}/", cacert=cacert)
    assert lines(outcome)[:2] == [
        f"tcp connected to 127.0.0.1:{port}",
        "tls TLS 1.3, http/1.1, localhost verified",
    ]
    tcp, tls, http = outcome.trace.spans[:3] if outcome.trace is not None else ()
    assert tcp.end_ms <= tls.start_ms <= tls.end_ms <= http.start_ms


TLS_FAULTS = [
    ("other.test", True, "certificate refused: Hostname mismatch, certificate is not valid for 'localhost'."),
    ("localhost", False, "name its authority with --cacert"),
]


@pytest.mark.parametrize(("name", "trusted", "said"), TLS_FAULTS, ids=["another name", "nobody known"])
async def test_a_certificate_that_is_refused(
    ca: trustme.CA, cacert: Path, tmp_path: Path, name: str, trusted: bool, said: str
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    async with server(answering(HELLO), tls=server_tls(ca, name)) as port:
        (outcome,) = await traced(f"https://localhost:{port}/", cacert=cacert if trusted else other)
    assert outcome.failure is Failure.CONNECTION
    assert outcome.trace is not None
    assert said in outcome.trace.error
    assert lines(outcome)[0] == f"tcp connected to 127.0.0.1:{port}"
    assert lines(outcome)[-1].endswith("!")


async def test_a_server_without_tls() -> None:
    async def bad_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    async with server(bad_request) as port:
        (outcome,) = await traced(f"https://127.0.0.1:{port}/")
    assert outcome.trace is not None
    assert outcome.trace.error.endswith("the server does not speak TLS there; is it an http:// URL?")
    assert exit_status([outcome]) == 5


async def test_nobody_listens_and_localhost_is_tried_at_both_addresses() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        (outcome,) = await traced(f"http://localhost:{port}/")
    assert len(lines(outcome)) == 2
    assert lines(outcome)[0] == f"tcp 127.0.0.1:{port}: connection refused !"
    assert outcome.failure is Failure.CONNECTION


async def test_the_second_address_is_tried_after_the_first() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    try:
        async with server(answering(HELLO), host="::1") as port:
            (outcome,) = await traced(f"http://localhost:{port}/")
    except OSError:
        pytest.skip("no IPv6 on loopback")
    assert lines(outcome)[:2] == [
        f"tcp 127.0.0.1:{port}: connection refused !",
        f"tcp connected to [::1]:{port}",
    ]


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(HELLO[:-2])
    await reader.read()


async def test_a_server_that_does_not_answer_in_time() -> None:
    async with server(silent) as port:
        (outcome,) = await traced(f"http://127.0.0.1:{port}/", seconds=0.2)
    assert outcome.trace is not None
    assert outcome.trace.error == "waiting for the response took more than 0.2 s"
    assert lines(outcome)[-1] == "http sent; no response !"
    assert exit_status([outcome]) == 6


async def test_a_handshake_that_does_not_end() -> None:
    async with server(silent) as port:
        (outcome,) = await traced(f"https://127.0.0.1:{port}/", seconds=0.3)
    assert outcome.trace is not None
    assert outcome.trace.error == "connecting to 127.0.0.1 took more than 0.3 s"
    assert lines(outcome) == [
        f"tcp connected to 127.0.0.1:{port}",
        "tls no handshake with 127.0.0.1 !",
    ]
    assert outcome.failure is Failure.TIMEOUT


async def test_content_that_stalls_shows_what_there_was() -> None:
    async with server(half) as port:
        (outcome,) = await traced(f"http://127.0.0.1:{port}/", seconds=0.3)
    trace = outcome.trace
    assert trace is not None
    assert (trace.status, trace.size, trace.error) == (200, 3, "reading the content took more than 0.3 s")
    assert exit_status([outcome]) == 6


BROKEN = [
    (b"", "the server closed the connection before it answered"),
    (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "the response is not well-formed HTTP ("),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", "the response broke off ("),
    (b"HTTP/1.1 200 OK\r\nContent-Le", "the response broke off (closed within the head)"),
]


@pytest.mark.parametrize(("response", "said"), BROKEN)
async def test_a_response_that_is_none(response: bytes, said: str) -> None:
    async with server(answering(response, requests=1)) as port:
        (outcome,) = await traced(f"http://127.0.0.1:{port}/")
    assert outcome.trace is not None
    assert outcome.trace.error.startswith(said)
    assert "127.0.0.1" not in outcome.trace.error
    assert exit_status([outcome]) == 5


@pytest.mark.parametrize(
    ("status", "more", "wanted"),
    [
        (200, b"", 0),
        (304, b"", 0),
        (404, b"", 0),
        (500, b"", 1),
        (503, b"", 1),
        (404, b"Proxy-Status: edge; error=http_request_denied\r\n", 1),
        (200, b"Proxy-Status: edge\r\n", 0),
    ],
)
async def test_the_exit_status_is_that_of_the_answer(status: int, more: bytes, wanted: int) -> None:
    response = b"HTTP/1.1 %d X\r\n%bContent-Length: 0\r\n\r\n" % (status, more)
    async with server(answering(response)) as port:
        assert exit_status(await traced(f"http://127.0.0.1:{port}/")) == wanted


async def test_interim_responses_are_noted() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    async with server(answering(early + HELLO)) as port:
        (outcome,) = await traced(f"http://127.0.0.1:{port}/")
    assert len(outcome.notes) == 1
    assert outcome.notes[0].startswith("interim response 103 after ")


async def test_a_request_with_content() -> None:
    seen = bytearray()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.extend(await reader.readuntil(b"a=1"))
        writer.write(HELLO)

    async with server(script) as port:
        await traced(f"http://127.0.0.1:{port}/", method="PUT", body=b"a=1", fields=[(b"host", b"other.test")])
    head = bytes(seen).lower()
    assert head.startswith(b"put / http/1.1\r\n")
    assert b"host: other.test\r\n" in head
    assert b"content-length: 3\r\n" in head


def dying(*, first: bytes = HELLO) -> Script:
    """The first connection answers once and dies at the second request; later ones answer."""
    seen = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen += 1
        for number in range(1 if seen == 1 else 99):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(first if number == 0 else HELLO)
        await reader.readuntil(b"\r\n\r\n")

    return script


async def test_a_kept_connection_that_died_costs_a_get_nothing() -> None:
    """RFC 9112 §9.3.1."""
    async with server(dying()) as port:
        first, second = await traced(f"http://127.0.0.1:{port}/", repeat=2)
    assert exit_status([first, second]) == 0
    assert second.notes == ["the server had closed the connection that was kept; sent again on a new one"]
    assert [line.split()[0] for line in lines(second)] == ["tcp", "http", "origin"]


async def test_but_what_may_have_been_acted_upon_is_not_sent_twice() -> None:
    async with server(dying()) as port:
        first, second = await traced(f"http://127.0.0.1:{port}/", repeat=2, method="POST")
    assert (first.failure, second.failure) == (None, Failure.CONNECTION)


async def test_http_2_and_nothing_else(ca: trustme.CA, cacert: Path) -> None:
    async with server(answering(HELLO), tls=server_tls(ca, "localhost")) as port:
        (outcome,) = await traced(f"https://localhost:{port}/", cacert=cacert, http="2")
    assert outcome.failure is Failure.CONNECTION
    assert outcome.trace is not None
    assert outcome.trace.error == f"127.0.0.1:{port} does not speak HTTP/2 (ALPN: no ALPN)"
    async with server(answering(HELLO)) as port:
        (outcome,) = await traced(f"http://localhost:{port}/", http="2")
    assert outcome.trace is not None
    assert outcome.trace.error.endswith("does the server speak HTTP/2 without TLS?")
