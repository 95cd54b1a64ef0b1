"""From the first byte to the end of a handshake: which certificate, who is let in, what is said to whom is not."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stack.clock import Clock, VirtualClock, eventually
from stack.config.base import Timeouts
from stack.errors import ConfigError
from stack.http.message import Request, Response
from stack.net.termination import ClientAuth, Policy, Termination, select
from stack.telemetry.exchange import Exchange
from stack.telemetry.identity import onward
from tests.support.certificates import Authority, authority
from tests.support.h2_peer import PREFACE, Peer
from tests.support.wire import Scripted, serving, talk

VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
GET = b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("others"))


def told(request: Request, exchange: Exchange) -> Response:
    return Response(200, [], (request.get(b"client-cert") or b"nobody"))


class Listener:
    """A server and how its handshakes ended."""

    def __init__(self) -> None:
        self.results: Counter[str] = Counter()
        self.service: Scripted
        self.port = 0

    async def ended(self, **results: int) -> None:
        wanted = {word.replace("_", "-"): count for word, count in results.items()}
        try:
            await eventually(lambda: dict(self.results) == wanted)
        except TimeoutError:
            assert dict(self.results) == wanted


@contextlib.asynccontextmanager
async def listening(
    certificates: list[tuple[str, ...]] | list[str],
    policy: Policy | None = None,
    *,
    by: Authority,
    secret: bytes | None = None,
    timeouts: Timeouts | None = None,
    trusted: tuple[str, ...] = (),
    clock: Clock | None = None,
) -> AsyncIterator[Listener]:
    policy = policy or Policy()
    issued = [by.issue(*([names] if isinstance(names, str) else names)) for names in certificates]
    seen = Listener()

    def count(word: str) -> None:
        seen.results[word] += 1

    tls = Termination(policy, select(policy, issued, secret), count=count)
    async with serving(told, tls=tls, timeouts=timeouts, trusted=trusted, clock=clock) as (service, _):
        seen.service, seen.port = service, service.port
        yield seen


def client(
    by: Authority | None,
    version: ssl.TLSVersion | None = None,
    *,
    alpn: str = "http/1.1",
    shows: tuple[str, str] = ("", ""),
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if by is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    else:
        context.load_verify_locations(by.path)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols([alpn])
    if shows[0]:
        context.load_cert_chain(*shows)
    return context


async def ask(port: int, context: ssl.SSLContext, name: str | None, *hosts: bytes) -> list[bytes]:
    """Answers to requests on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    try:
        answers = []
        for host in hosts or (b"a.test",):
            writer.write(GET % host)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            answers.append(head.split(b"\r\n")[0] + b" " + await reader.readexactly(length))
        return answers
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def shown(port: int, name: str, by: Authority) -> set[str]:
    """DNS names of the certificate that is shown for a name; verified, and for that name unless it is the first."""
    context = client(by)
    context.check_hostname = False
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    try:
        return {value for _, value in writer.get_extra_info("peercert")["subjectAltName"]}
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("a.test", {"a.test"}),
        ("B.TEST", {"b.test", "*.b.test"}),
        ("www.b.test", {"b.test", "*.b.test"}),
        ("exact.b.test", {"exact.b.test"}),
        ("a.www.b.test", {"a.test"}),
        ("nobody.test", {"a.test"}),
        ("127.0.0.1", {"a.test"}),
    ],
)
async def test_the_certificate_of_the_name(ours: Authority, name: str, names: set[str]) -> None:
    async with listening([("a.test",), ("b.test", "*.b.test"), ("exact.b.test",)], by=ours) as server:
        assert await shown(server.port, name, ours) == names


async def test_an_unknown_name_is_refused_where_that_is_wanted(ours: Authority) -> None:
    async with listening(["a.test"], Policy(unknown="reject"), by=ours) as server:
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized"):
            await ask(server.port, client(None), "other.test")
        assert [answer[:12] for answer in await ask(server.port, client(ours), "a.test")] == [b"HTTP/1.1 200"]
        assert await shown(server.port, "127.0.0.1", ours) == {"a.test"}  # none at all is not unknown
        await server.ended(unknown_name=1, full=2)


async def test_a_name_with_an_rsa_and_an_ecdsa_certificate_has_both(ours: Authority) -> None:
    policy = Policy()
    both = [ours.issue("a.test", key="RSA"), ours.issue("a.test", key="ECDSA")]
    async with serving(told, tls=Termination(policy, select(policy, both))) as (service, _):
        for kind in ("RSA", "ECDSA"):
            context = client(ours, ssl.TLSVersion.TLSv1_2)
            context.set_ciphers(f"ECDHE-{kind}-AES128-GCM-SHA256")
            await ask(service.port, context, "a.test")


@VERSIONS
async def test_the_modern_profile_is_tls_1_3(ours: Authority, version: ssl.TLSVersion) -> None:
    async with listening(["a.test"], Policy(profile="modern"), by=ours) as server:
        if version == ssl.TLSVersion.TLSv1_3:
            await ask(server.port, client(ours, version), "a.test")
        else:
            with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
                await ask(server.port, client(ours, version), "a.test")
            await server.ended(version=1)


# Client certificates.


@VERSIONS
async def test_a_required_client_certificate(ours: Authority, others: Authority, version: ssl.TLSVersion) -> None:
    policy = Policy(client=ClientAuth(ours.path))
    async with listening(["a.test", "b.test"], policy, by=ours) as server:
        for name in ("a.test", "b.test"):  # the second one by another context
            good = client(ours, version, shows=ours.files("tester@a.test", common="tester"))
            [answer] = await ask(server.port, good, name, name.encode())
            assert answer.startswith(b"HTTP/1.1 200 OK :MII")
            with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
                await ask(server.port, client(ours, version), name)
            with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
                await ask(server.port, client(ours, version, shows=others.files("tester@a.test")), name)
        await server.ended(full=2, no_client_certificate=2, client_certificate=2)
        [peer, _] = [exchange.request.peer for exchange in server.service.exchanges]
        assert peer is not None
        assert peer.tls is not None
        assert peer.tls.client is not None
        assert peer.tls.client.subject.startswith("CN=tester")
        assert peer.tls.client.names == ("tester@a.test",)


async def test_who_is_refused_hears_why(ours: Authority) -> None:
    """asyncio alone would close without the alert."""
    async with listening(["a.test"], Policy(client=ClientAuth(ours.path)), by=ours) as server:
        with pytest.raises(ssl.SSLError, match=r"(?i)alert certificate required|alert handshake failure"):
            await ask(server.port, client(ours, ssl.TLSVersion.TLSv1_2), "a.test")


async def test_an_optional_client_certificate(ours: Authority, others: Authority) -> None:
    policy = Policy(client=ClientAuth(ours.path, required=False))
    async with listening(["a.test"], policy, by=ours) as server:
        assert await ask(server.port, client(ours), "a.test") == [b"HTTP/1.1 200 OK nobody"]
        [answer] = await ask(server.port, client(ours, shows=ours.files("tester@a.test")), "a.test")
        assert answer.startswith(b"HTTP/1.1 200 OK :MII")
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await ask(server.port, client(ours, shows=others.files("tester@a.test")), "a.test")


# Sessions.


async def session(
    port: int, context: ssl.SSLContext, known: ssl.SSLSession | None = None
) -> tuple[ssl.SSLSession, bool]:
    """A session's end, and whether it began with the one that is known. On a thread: asyncio passes no session."""

    def visit() -> tuple[ssl.SSLSession, bool]:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
            context.wrap_socket(raw, server_hostname="a.test", session=known) as tls,
        ):
            tls.sendall(GET % b"a.test")
            assert tls.recv(4096).startswith(b"HTTP/1.1 200")
            assert tls.session is not None
            return tls.session, bool(tls.session_reused)

    return await asyncio.to_thread(visit)


@VERSIONS
async def test_sessions_resume_also_with_another_process_of_the_same_secret(
    ours: Authority, version: ssl.TLSVersion
) -> None:
    context = client(ours, version)
    async with listening(["a.test"], by=ours, secret=b"s") as one, listening(["a.test"], by=ours, secret=b"s") as other:
        known, _ = await session(one.port, context)
        assert (await session(one.port, context, known))[1]
        assert (await session(other.port, context, known))[1]
        await one.ended(full=1, resumed=1)
        await other.ended(resumed=1)
    async with listening(["a.test"], by=ours, secret=b"another") as stranger:
        assert not (await session(stranger.port, context, known))[1]


@VERSIONS
async def test_a_session_does_not_open_a_listener_that_asks_for_more(ours: Authority, version: ssl.TLSVersion) -> None:
    """The client would be let in without its certificate (as in CVE-2025-23419)."""
    context = client(ours, version)
    strict = Policy(client=ClientAuth(ours.path))
    async with (
        listening(["a.test"], by=ours, secret=b"s") as open_to_all,
        listening(["a.test"], strict, by=ours, secret=b"s") as closed,
    ):
        known, _ = await session(open_to_all.port, context)
        with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
            await session(closed.port, context, known)
        await closed.ended(no_client_certificate=1)
        context.load_cert_chain(*ours.files("tester@a.test"))
        known, _ = await session(closed.port, context)
        assert (await session(closed.port, context, known))[1]


# What is no handshake.


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "byte by byte"])
async def test_plain_http_is_answered_in_words(ours: Authority, bytewise: bool) -> None:
    async with listening(["a.test"], by=ours) as server:
        answer = await talk(server.port, GET % b"a.test", bytewise=bytewise, half_close=False)
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert b"A plain HTTP request was sent to an HTTPS port." in answer
        await server.ended(plain_http=1)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"\x00" * 50, "not-tls"),
        (b"\x80\x2e\x01\x00\x02" + bytes(40), "not-tls"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not-tls"),
        (b"\x16\x03\x01\x00\x04\x02\x00\x00\x20", "malformed"),
        (b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03", "malformed"),
        (b"", "closed"),
        (b"\x16\x03\x01\x02\x00\x01", "closed"),
    ],
)
async def test_what_is_neither_is_cut_off_without_a_trace(
    ours: Authority, data: bytes, word: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    async with listening(["a.test"], by=ours) as server:
        answer = await talk(server.port, data)
        assert not answer or answer[0] == 0x15  # an alert
        await eventually(lambda: sum(server.results.values()) == 1)
        assert server.results == Counter({word: 1})
    assert not [record for record in caplog.records if record.exc_info]
    assert "Traceback" not in capsys.readouterr().err


async def test_a_name_of_garbage_gets_the_first_certificate_and_no_trace(
    ours: Authority, capfd: pytest.CaptureFixture[str]
) -> None:
    """Python's own SNI callback would write a trace to standard error."""
    context = client(None)
    out, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(back, out, server_hostname="nobody.test").do_handshake()
    hello = out.read().replace(b"nobody.test", b"nob\xffdy.test")
    async with listening(["a.test"], by=ours) as server:
        answer = await talk(server.port, hello)
        assert answer[:1] == b"\x16"
    assert "UnicodeDecodeError" not in capfd.readouterr().err


async def test_a_client_hello_byte_by_byte(ours: Authority) -> None:
    context = client(ours)
    out, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(back, out, server_hostname="b.test")
    async with listening(["a.test", "b.test"], by=ours) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for _ in range(20):
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                for byte in out.read():
                    writer.write(bytes([byte]))
                    await asyncio.sleep(0)
                back.write(await asyncio.wait_for(reader.read(65536), 10))
            else:
                break
        for byte in out.read():
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        await server.ended(full=1)
        writer.close()


async def test_a_handshake_has_its_time(ours: Authority) -> None:
    async with listening(["a.test"], by=ours, timeouts=Timeouts(handshake=0.3)) as server:
        silent, half = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
        half[1].write(b"\x16\x03\x01\x02\x00\x01\x00\x01")
        for reader, writer in (silent, half):
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), 10) == b""
            writer.close()
        await server.ended(timeout=2)


async def test_a_flood_of_handshakes_that_fail_is_not_one_of_lines(
    ours: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """Each sort has its first line at once; what follows is counted, and said with the next."""
    clock = VirtualClock()
    caplog.set_level(logging.INFO, "hopstack.tls")
    async with listening(["a.test"], by=ours, clock=clock) as server:

        async def fail(count: int, data: bytes) -> None:
            for _ in range(count):
                await talk(server.port, data, half_close=False)

        await fail(30, b"\x00\x00")
        await fail(2, b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00")
        clock.leap(clock.now() + 11)
        await fail(1, b"\x00\x00")
        lines = [record.getMessage() for record in caplog.records]
    assert [line.partition("(")[2] for line in lines] == [
        "not-tls)",
        "malformed)",
        "not-tls); 30 such since the last line",
    ]
    assert server.results["not-tls"] == 31


# Hosts.


async def test_rfc9110_15_5_20_a_host_of_another_connection(ours: Authority) -> None:
    async with listening([("a.test", "*.a.test"), ("b.test",)], by=ours) as server:
        answers = await ask(
            server.port, client(ours), "a.test", b"a.test", b"b.test", b"www.a.test:8443", b"A.test.", b"c.test"
        )
        assert [int(answer[9:12]) for answer in answers] == [200, 421, 200, 200, 421]
        assert b"opened for a.test" in answers[1]


async def test_rfc9110_15_5_20_over_http_2_its_stream_alone(ours: Authority) -> None:
    """RFC 9113 §9.1.1: browsers share connections among the names of a certificate, and ask again elsewhere at 421."""
    async with listening([("a.test", "*.a.test"), ("b.test",)], by=ours) as server:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", server.port, ssl=client(ours, alpn="h2"), server_hostname="a.test"
        )
        peer = Peer(reader, writer)
        peer.send(PREFACE, peer.settings())
        answers = []
        for stream, host in enumerate((b"a.test", b"b.test", b"www.a.test:8443", b"A.test.", b"c.test", b"a.test")):
            fields = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", host), (b":path", b"/")]
            peer.send(peer.headers(2 * stream + 1, fields))
            head, content, _ = await peer.answer(2 * stream + 1)
            answers.append(int(head[0][1]))
            assert (b"opened for a.test" in content) is (answers[-1] == 421)
        assert answers == [200, 421, 200, 200, 421, 200]
        peer.close()


async def test_the_name_that_was_asked_for_is_served_whatever_the_certificate_says(ours: Authority) -> None:
    async with listening(["a.test"], by=ours) as server:
        answers = await ask(server.port, client(None), "other.test", b"other.test", b"a.test", b"b.test")
        assert [int(answer[9:12]) for answer in answers] == [200, 200, 421]


async def test_without_a_server_name_any_host_is_served(ours: Authority) -> None:
    async with listening(["a.test"], by=ours) as server:
        [answer] = await ask(server.port, client(None), "127.0.0.1", b"whoever.test")
        assert answer.startswith(b"HTTP/1.1 200")


async def test_a_trusted_gateway_may_ask_for_its_clients_hosts(ours: Authority) -> None:
    async with listening(["a.test"], by=ours, trusted=("127.0.0.1",)) as server:
        [answer] = await ask(server.port, client(ours), "a.test", b"whoever.test")
        assert answer.startswith(b"HTTP/1.1 200")


async def test_a_client_cannot_say_who_it_is(ours: Authority) -> None:
    """RFC 9440 §2.4; and Vary finds the certificate in the request."""
    policy = Policy(client=ClientAuth(ours.path))
    context = client(ours, shows=ours.files("tester@a.test"))
    async with listening(["a.test"], policy, by=ours) as server:
        [answer] = await ask(
            server.port, context, "a.test", b"a.test\r\nClient-Cert: :AAAA:\r\nClient-Cert-Chain: :AAAA:"
        )
        assert answer.startswith(b"HTTP/1.1 200 OK :MII")
        [exchange] = server.service.exchanges
        assert exchange.request.get(b"client-cert-chain") is None
        sent = onward(exchange.request, exchange, b"edge").fields
        assert [value[:4] for name, value in sent if name.startswith(b"client-cert")] == [b":MII"]


async def test_a_verified_client_is_named_once_to_the_next_hop(ours: Authority) -> None:
    policy = Policy(client=ClientAuth(ours.path))
    context = client(ours, shows=ours.files("tester@a.test"))
    async with listening(["a.test"], policy, by=ours) as server:
        await ask(server.port, context, "a.test", b"a.test")
        [exchange] = server.service.exchanges
        sent = onward(exchange.request, exchange, b"edge").fields
        assert [value[:4] for name, value in sent if name == b"client-cert"] == [b":MII"]


@pytest.mark.parametrize("path", ["gone.pem", "empty.pem"])
def test_an_authority_that_is_none(ours: Authority, tmp_path: Path, path: str) -> None:
    (tmp_path / "empty.pem").write_text("nothing\n")
    with pytest.raises(ConfigError, match=path):
        select(Policy(client=ClientAuth(str(tmp_path / path))), [ours.issue("a.test")])
