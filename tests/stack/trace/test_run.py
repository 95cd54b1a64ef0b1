"""The tracer's own client against servers of every sort, over real sockets."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trustme

from stack.clock import SystemClock
from stack.errors import ConfigError
from stack.net.tasks import Tasks
from stack.trace import system
from stack.trace.known import KnownStack
from stack.trace.run import Failure, Order, Outcome, Tracer, exit_status, place_of
from stack.trace.target import parse
from tests.stack.trace.dns_servers import authority, serving
from tests.stack.trace.test_dns import ROOT, ROOT_ZONE, SHOP_ZONE, TLD, TLD_ZONE, ZONE

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello"


@asynccontextmanager
async def server(script: Script, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of a server that runs `script` for each connection."""
    running: set[asyncio.Task[Any]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            await script(reader, writer)
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            running.discard(task)

    listener = await asyncio.start_server(connected, host, 0, ssl=tls)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def answering(*responses: bytes, heads: list[bytes] | None = None, requests: int = 99) -> Script:
    """One response for each request, the last one again and again, until `requests` were answered."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(requests):
            head = await reader.readuntil(b"\r\n\r\n")
            if heads is not None:
                heads.append(head)
            writer.write(responses[min(number, len(responses) - 1)])
            await writer.drain()

    return script


async def traced(url: str, *, stack: KnownStack | None = None, sink: Any = None, **options: Any) -> list[Outcome]:
    tasks = Tasks()
    order = Order(target=parse(url), **{"seconds": 10.0, **options})
    tracer = Tracer(order, stack, clock=SystemClock(), random=Random(5), tasks=tasks, sink=sink)
    try:
        return [outcome async for outcome in tracer.outcomes()]
    finally:
        await tasks.close()


def lines(outcome: Outcome) -> list[str]:
    assert outcome.trace is not None
    return [f"{span.kind} {span.decision}{' !' if span.error else ''}" for span in outcome.trace.spans]


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def cacert(ca: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return path


def server_tls(ca: trustme.CA, *names: str, alpn: tuple[str, ...] = ("http/1.1",)) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(*names).configure_cert(context)
    context.set_alpn_protocols(list(alpn))
    return context


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


# Names.


def stack_at(port: int, edge: tuple[str, int], ca: Path) -> KnownStack:
    return KnownStack(
        "shop.test",
        str(ca),
        ((ROOT, port),),
        {(ROOT, port): "dns-root", (TLD, port): "dns-tld", (ZONE, port): "dns-shop"},
        {"edge-nrt": {"https": edge, "http": edge}},
    )


async def test_a_name_of_the_stacks_is_found_by_walking_and_trusted_by_its_authority(
    ca: trustme.CA, cacert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("the system's resolver was asked")

    monkeypatch.setattr(system, "resolve", never)
    servers = {
        ROOT: authority(root=ROOT_ZONE),
        TLD: authority(test=TLD_ZONE),
        ZONE: authority(shop_test=SHOP_ZONE.replace("127.0.1.1", "127.0.0.1")),
    }
    async with serving(servers) as dns, server(answering(HELLO), tls=server_tls(ca, "shop.test")) as port:
        (outcome,) = await traced(f"https://shop.test:{port}/", stack=stack_at(dns, ("127.0.0.1", port), cacert))
    assert lines(outcome)[:5] == [
        "dns A shop.test: referral to test",
        "dns A shop.test: referral to shop.test",
        "dns A shop.test: 127.0.0.1 +1, ttl 60",
        f"tcp connected to 127.0.0.1:{port}",
        "tls TLS 1.3, http/1.1, shop.test verified",
    ]


async def test_an_edge_that_was_asked_for_is_connected_to_whatever_dns_says(cacert: Path) -> None:
    servers = {ROOT: authority(root=ROOT_ZONE), TLD: authority(test=TLD_ZONE), ZONE: authority(shop_test=SHOP_ZONE)}
    async with serving(servers) as dns, server(answering(HELLO)) as port:
        stack = stack_at(dns, ("127.0.0.1", port), cacert)
        (outcome,) = await traced("http://shop.test/", stack=stack, edge="nrt")
    assert f"tcp connected to 127.0.0.1:{port}" in lines(outcome)
    assert outcome.notes == ["nrt was asked for; DNS names 127.0.1.1, 127.0.1.2"]


async def test_an_address_to_connect_to_takes_the_place_of_dns(ca: trustme.CA, cacert: Path) -> None:
    """A stack in containers: the edge's published port, and the authority that was put beside it."""
    async with server(answering(HELLO), tls=server_tls(ca, "shop.test")) as port:
        (outcome,) = await traced("https://shop.test:8443/", edge=f"127.0.0.1:{port}", own_ca=cacert)
        (stranger,) = await traced("https://shop.test:8443/", edge=f"127.0.0.1:{port}", own_ca=cacert.parent / "no.pem")
    assert lines(outcome)[:2] == [
        f"tcp connected to 127.0.0.1:{port}",
        "tls TLS 1.3, http/1.1, shop.test verified",
    ]
    assert outcome.notes == []
    assert stranger.failure is Failure.CONNECTION


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("127.0.0.1:8443", ("127.0.0.1", 8443)),
        ("[::1]:8443", ("::1", 8443)),
        ("nrt", None),
        ("localhost:8443", None),
        ("127.0.0.1", None),
        ("127.0.0.1:0", None),
        ("127.0.0.1:99999", None),
        ("", None),
    ],
)
def test_where_to_connect_to(text: str, wanted: tuple[str, int] | None) -> None:
    assert place_of(text) == wanted


async def test_a_name_that_dns_does_not_have(cacert: Path) -> None:
    servers = {ROOT: authority(root=ROOT_ZONE), TLD: authority(test=TLD_ZONE), ZONE: authority(shop_test=SHOP_ZONE)}
    async with serving(servers) as dns:
        (outcome,) = await traced("https://nope.shop.test/", stack=stack_at(dns, ("127.0.0.1", 1), cacert))
    assert (outcome.failure, len(lines(outcome))) == (Failure.DNS, 3)
    assert outcome.trace is not None
    assert outcome.trace.error == "nope.shop.test does not exist, says dns-shop (NXDOMAIN)"


async def resolves(*found: str) -> Any:
    async def resolve(host: str, port: int) -> list[str]:
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return list(found)

    return resolve


async def test_other_names_are_the_systems(cacert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "resolve", await resolves("127.0.0.1"))
    async with server(answering(HELLO)) as port:
        (outcome,) = await traced(f"http://x.example.com:{port}/", stack=stack_at(1, ("127.0.0.1", 1), cacert))
        (alone,) = await traced(f"http://x.example.com:{port}/")
    assert lines(outcome)[0] == "dns x.example.com: 127.0.0.1"
    assert outcome.notes == ["x.example.com is no name of shop.test, so the system's resolver was asked"]
    assert alone.notes == ["no stack runs here, so the system's resolver was asked"]


@pytest.mark.parametrize("runs", [True, False])
async def test_a_name_that_nobody_knows(cacert: Path, monkeypatch: pytest.MonkeyPatch, runs: bool) -> None:
    monkeypatch.setattr(system, "resolve", await resolves())
    stack = stack_at(1, ("127.0.0.1", 1), cacert) if runs else None
    outcomes = await traced("http://nope.example.com/", stack=stack, repeat=3)
    assert len(outcomes) == 1
    assert exit_status(outcomes) == (4 if runs else 3)
    assert lines(outcomes[0]) == ["dns nope.example.com: name or service not known !"]
    assert outcomes[0].trace is not None
    assert ("`hopstack up` starts a stack" in outcomes[0].trace.error) is not runs


async def test_the_systems_resolver() -> None:
    assert "127.0.0.1" in await system.resolve("127.0.0.1", 80)
    with pytest.raises(OSError):
        await system.resolve("a" * 300, 80)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"edge": "nrt"}, "--edge nrt: no stack runs here"),
        ({"cacert": Path("/nowhere/ca.pem")}, "/nowhere/ca.pem: no such file"),
    ],
)
async def test_what_cannot_be_ordered(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        await traced("https://127.0.0.1:1/", **options)


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


async def test_a_stack_whose_root_is_not_known_is_asked_through_its_resolver(cacert: Path) -> None:
    """A file may call its servers what it likes."""
    heard: list[bytes] = []

    def resolver(message: bytes, stream: bool) -> bytes | None:
        heard.append(message)
        answer = authority(shop_test=SHOP_ZONE.replace("127.0.1.1", "127.0.0.1"))(message, stream)
        assert answer is not None
        return answer[:2] + bytes((answer[2] & ~0x04, answer[3] | 0x80)) + answer[4:]  # no AA, but RA

    async with serving({ROOT: resolver}) as dns, server(answering(HELLO)) as port:
        stack = KnownStack("shop.test", str(cacert), (), {(ROOT, dns): "resolver"}, {}, {}, (ROOT, dns))
        (outcome,) = await traced(f"http://shop.test:{port}/", stack=stack)
        (nothing,) = await traced(f"http://text.shop.test:{port}/", stack=stack)
    assert lines(outcome)[0] == "dns A shop.test: 127.0.0.1 +1, ttl 60"
    assert heard[0][2] & 0x01  # RD
    assert nothing.trace is not None
    assert nothing.trace.error == "text.shop.test has no address"


async def test_a_stack_without_dns_is_connected_to_at_its_edge(cacert: Path) -> None:
    async with server(answering(HELLO)) as port:
        edge = ("127.0.0.1", port)
        stack = KnownStack("shop.test", str(cacert), (), {}, {"edge-x": {"http": edge}}, {edge: "edge-x"})
        (outcome,) = await traced("http://shop.test/", stack=stack)
        (none,) = await traced("https://shop.test/", stack=stack)
    assert exit_status([outcome]) == 0
    assert outcome.notes == ["the stack has no DNS of its own: edge-x was connected to"]
    assert (none.failure, none.trace and none.trace.error) == (
        Failure.DNS,
        "shop.test has neither DNS nor an edge for https",
    )


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
