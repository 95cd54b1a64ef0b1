"""DNS over TLS (RFC 7858) and over HTTPS (RFC 8484) over sockets: what each lets in, says and bounds."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
import pytest

from dns_server.build import build
from dns_server.config import Config
from dns_server.server import DnsServer
from stack.clock import SystemClock, eventually, settle
from stack.config.base import Limits, Timeouts
from stack.config.listen import parse
from stack.hop.hop import Bound
from stack.net import Net
from stack.telemetry.metrics import Metrics
from tests.support.certificates import authority
from tests.support.dns_network import edns, question

CLOCK = SystemClock()
ZONE = """$TTL 300
@        SOA   ns hostmaster 1 3600 600 86400 60
@        NS    ns
ns       A     192.0.2.53
www  40  A     192.0.2.1
www  90  AAAA  2001:db8::1
zero 0   A     192.0.2.2
gone 200 CNAME missing
big      TXT   "{big}"
sub      NS    ns.sub
ns.sub   A     192.0.2.54
"""


class Server:
    def __init__(self, directory: Path, **options: Any) -> None:
        self.directory = directory
        zone = directory / "shop.zone"
        zone.write_text(ZONE.format(big='" "'.join(["x" * 255] * 8)))
        config = Config(name="dns", zone=(f"shop.test={zone}",), access_log=str(directory / "log"), **options)
        self.net, self.metrics = Net(CLOCK, Random(1)), Metrics()
        self.hop: DnsServer = build(
            config, clock=CLOCK, random=self.net.random, net=self.net, metrics=self.metrics, state_dir=directory
        )

    async def start(self) -> Server:
        self.tls, self.https = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
        self.places = [sock.getsockname() for sock in (self.tls, self.https)]
        await self.hop.start([Bound("tls", self.tls), Bound("https", self.https)])
        return self

    async def stop(self) -> None:
        await self.hop.drain()
        await self.hop.stop()
        await self.net.close()

    def context(self, *alpn: str, ca: str = "") -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=ca or str(self.directory / "ca.pem"))
        if alpn:
            context.set_alpn_protocols(alpn)
        return context

    async def connect(self, context: ssl.SSLContext | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(
            *self.places[0], ssl=context, server_hostname="localhost" if context else None
        )

    async def http(
        self, method: str, target: str, body: bytes = b"", **fields: str
    ) -> tuple[int, dict[str, str], bytes]:
        reader, writer = await asyncio.open_connection(
            *self.places[1], ssl=self.context("http/1.1"), server_hostname="localhost"
        )
        given = {
            "host": "localhost",
            "connection": "close",
            **{name.replace("_", "-"): text for name, text in fields.items()},
        }
        if body or method == "POST":
            given["content-length"] = str(len(body))
        head = "".join(f"{name}: {text}\r\n" for name, text in given.items())
        writer.write(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + body)
        async with asyncio.timeout(20):
            answer = await reader.read()
        writer.close()
        lines, _, content = answer.partition(b"\r\n\r\n")
        status, *rest = lines.decode().split("\r\n")
        return (
            int(status.split()[1]),
            {name.lower(): text for name, _, text in (line.partition(": ") for line in rest)},
            content,
        )

    def handshakes(self, result: str) -> float:
        return self.metrics.samples().get(f'hopstack_tls_handshakes_total{{hop="dns",result="{result}"}}', 0)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    started = await Server(tmp_path).start()
    yield started
    await started.stop()


def framed(*messages: bytes) -> bytes:
    return b"".join(len(message).to_bytes(2, "big") + message for message in messages)


async def read(reader: asyncio.StreamReader) -> dns.message.Message:
    async with asyncio.timeout(20):
        size = int.from_bytes(await reader.readexactly(2), "big")
        return dns.message.from_wire(await reader.readexactly(size))


async def rest(reader: asyncio.StreamReader) -> bytes:
    """What comes until the connection is closed or reset."""
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


async def test_dot_is_agreed_on_by_alpn_and_serves_without(server: Server) -> None:
    """RFC 7858 §3.1 has no ALPN, RFC 9103 §7.1 wants "dot"; what is offered besides is nobody's."""
    for offered, agreed in ((("dot",), "dot"), (("h2", "dot"), "dot"), (("h2",), None), ((), None)):
        reader, writer = await server.connect(server.context(*offered))
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == agreed
        writer.write(framed(question("www.shop.test", id=7), question("zero.shop.test", id=8)))
        assert {(await read(reader)).id, (await read(reader)).id} == {7, 8}
        writer.close()
    assert server.handshakes("full") == 4


async def test_dot_resumes_sessions(server: Server) -> None:
    context = server.context("dot")
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # its ticket comes with the handshake

    def twice() -> bool:
        with (
            socket.create_connection(server.places[0], timeout=20) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as one,
        ):
            session = one.session
        with socket.create_connection(server.places[0], timeout=20) as raw:
            with context.wrap_socket(raw, server_hostname="localhost", session=session) as other:
                return bool(other.session_reused)

    assert await asyncio.to_thread(twice)
    assert server.handshakes("resumed") == 1


async def test_what_is_no_tls_is_closed_without_a_word(server: Server) -> None:
    """Neither DNS in the clear nor HTTP: an answer in the clear is what TLS is there to prevent."""
    for number, sent in enumerate((framed(question("www.shop.test")), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"), 1):
        reader, writer = await server.connect(None)
        writer.write(sent)
        async with asyncio.timeout(20):
            assert await rest(reader) == b""
        writer.close()
        assert server.handshakes("not-tls") == number


async def test_a_handshake_that_does_not_end_is_cut_off(tmp_path: Path) -> None:
    server = await Server(tmp_path, timeouts=Timeouts(handshake=0.3)).start()
    reader, writer = await server.connect(None)
    writer.write(b"\x16\x03\x01\x02\x00")  # the begin of a ClientHello
    async with asyncio.timeout(20):
        assert await rest(reader) == b""
    writer.close()
    assert server.handshakes("timeout") == 1
    await server.stop()


async def test_handshakes_have_the_room_of_the_hop(tmp_path: Path) -> None:
    """Who comes while others stand in the door waits in the kernel's queue; who is through it makes room again."""
    server = await Server(tmp_path, limits=Limits(connections=2)).start()
    idle = [await server.connect(None) for _ in range(2)]
    await eventually(lambda: server.hop.context.room.full)
    third = asyncio.ensure_future(server.connect(server.context("dot")))
    await asyncio.sleep(0)
    assert len(server.hop.listener.streams) == 0
    idle[0][1].close()
    reader, writer = await asyncio.wait_for(third, 20)
    writer.write(framed(question("www.shop.test")))
    assert (await read(reader)).answer
    assert not server.hop.context.room.full
    for _, one in (*idle, (reader, writer)):
        one.close()
    await server.stop()


async def test_a_certificate_that_changes_reaches_the_dot_listener(tmp_path: Path) -> None:
    """New handshakes have the new one at once after a reload; a connection that is open goes on."""
    ours = authority(tmp_path / "ca")
    cert, key = ours.files("localhost", "one.test")
    server = await Server(tmp_path, cert=(cert,), key=(key,)).start()
    context = server.context("dot", ca=ours.path)

    def names(writer: asyncio.StreamWriter) -> set[str]:
        return {value for _, value in writer.get_extra_info("peercert")["subjectAltName"]}

    reader, writer = await server.connect(context)
    assert names(writer) == {"localhost", "one.test"}
    for new, old in zip(ours.files("localhost", "two.test"), (cert, key), strict=True):
        os.replace(new, old)
    await server.hop.reload()
    _, other = await server.connect(context)
    assert names(other) == {"localhost", "two.test"}
    writer.write(framed(question("www.shop.test")))
    assert (await read(reader)).answer
    for one in (writer, other):
        one.close()
    await server.stop()


async def test_a_server_with_dot_alone_looks_at_its_certificates(tmp_path: Path) -> None:
    server = Server(tmp_path)
    sock = socket.create_server(("127.0.0.1", 0))
    await server.hop.start([Bound("tls", sock)])
    assert "dns.certificates" in {task.get_name() for task in asyncio.all_tasks()}
    await server.stop()


async def test_a_server_that_stops_says_so_to_who_asks_how_long_it_may_stay(server: Server) -> None:
    """RFC 7828 §3.3.2: a time-out of 0 wants the connection closed. Both answers are of one kept response."""
    sent = question("www.shop.test", opt=edns(options=b"\0\x0b\0\0"))
    reader, writer = await server.connect(server.context("dot"))

    async def told() -> bytes:
        writer.write(framed(sent))
        async with asyncio.timeout(20):
            answer = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        assert answer[-6:-2] == b"\0\x0b\0\2"
        return answer[-2:]

    assert [await told(), await told()] == [b"\0\x64"] * 2  # tenths of a second
    stopping = asyncio.ensure_future(server.hop.drain())
    await settle(3)
    assert await told() == b"\0\0"
    assert await reader.read() == b""
    await asyncio.wait_for(stopping, 20)
    writer.close()


async def test_a_dot_listener_may_ask_for_certificates(tmp_path: Path) -> None:
    """As between servers that transfer zones: RFC 9103 §9.3.3."""
    ours = authority(tmp_path / "ca")
    server = Server(tmp_path)
    sock = socket.create_server(("127.0.0.1", 0))
    server.places = [sock.getsockname()]
    listen = parse(f"tls://127.0.0.1:1?client_ca={ours.path}")
    await server.hop.start([Bound("tls", sock, listen.query)])
    reader, writer = await server.connect(server.context("dot"))
    writer.write(framed(question("www.shop.test")))
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        assert await reader.read() == b""
    context = server.context("dot")
    context.load_cert_chain(*ours.files("client.test"))
    reader, other = await server.connect(context)
    other.write(framed(question("www.shop.test")))
    assert (await read(reader)).answer
    other.close()
    writer.close()
    assert server.handshakes("no-client-certificate") == 1
    await server.stop()


# DNS over HTTPS.


def encoded(message: bytes) -> str:
    return base64.urlsafe_b64encode(message).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("name", "type", "freshness"),
    [
        ("www.shop.test", "A", "max-age=40"),
        ("www.shop.test", "AAAA", "max-age=90"),
        ("nope.shop.test", "A", "max-age=60"),  # RFC 2308: SOA's minimum
        ("www.shop.test", "MX", "max-age=60"),
        ("gone.shop.test", "A", "max-age=60"),  # the CNAME has 200 s, but that its target is missing only 60
        ("sub.shop.test", "A", "max-age=300"),  # a referral
        ("zero.shop.test", "A", "no-store"),
        ("elsewhere.test", "A", "no-store"),  # REFUSED
    ],
)
async def test_how_long_an_answer_is_fresh(server: Server, name: str, type: str, freshness: str) -> None:
    """RFC 8484 §5.1, by GET and by POST."""
    sent = question(name, type, id=0)
    by_get = await server.http("GET", f"/dns-query?dns={encoded(sent)}")
    by_post = await server.http("POST", "/dns-query", sent, content_type="application/dns-message")
    for status, fields, content in (by_get, by_post):
        assert (status, fields["content-type"], fields["cache-control"]) == (200, "application/dns-message", freshness)
        assert content[:2] == b"\0\0"
    assert by_get[2] == by_post[2]


async def test_the_id_and_the_letter_case_come_back(server: Server) -> None:
    _, _, content = await server.http("GET", f"/dns-query?dns={encoded(question('wWw.sHop.test', id=0xBEEF))}")
    assert content[:2] == b"\xbe\xef"
    assert b"\x03wWw\x04sHop\x04test" in content


async def test_a_long_answer_comes_whole(server: Server) -> None:
    _, fields, content = await server.http("GET", f"/dns-query?dns={encoded(question('big.shop.test', 'TXT'))}")
    assert not content[2] & 2  # TC
    assert len(content) > 2000
    assert fields["content-length"] == str(len(content))


async def test_head_has_the_fields_of_get_without_content(server: Server) -> None:
    target = f"/dns-query?dns={encoded(question('www.shop.test', id=0))}"
    (_, got, content), (status, had, nothing) = [await server.http(method, target) for method in ("GET", "HEAD")]
    assert (status, nothing) == (200, b"")
    for name in ("content-type", "cache-control", "content-length"):
        assert had[name] == got[name]
    assert had["content-length"] == str(len(content))


GOOD = encoded(question("www.shop.test"))
POST = {"content_type": "application/dns-message"}


@pytest.mark.parametrize(
    ("method", "target", "body", "fields", "status"),
    [
        ("GET", f"/dns-query?dns={GOOD}&other=1", b"", {}, 200),
        ("GET", f"/dns-query?dns={GOOD}", b"", {"accept": "text/html"}, 200),
        ("POST", "/dns-query?dns=ignored", question("www.shop.test"), POST, 200),
        ("POST", "/dns-query", question("www.shop.test"), {"content_type": "Application/DNS-Message; v=1"}, 200),
        ("POST", "/dns-query", question("www.shop.test"), POST | {"content_encoding": "identity"}, 200),
        ("GET", "/dns-query", b"", {}, 400),
        ("GET", "/dns-query?dns=", b"", {}, 400),
        ("GET", "/dns-query?dns=&dns=" + GOOD, b"", {}, 400),
        ("GET", f"/dns-query?dns={GOOD}&dns={GOOD}", b"", {}, 400),
        ("GET", f"/dns-query?dns={GOOD}%3D", b"", {}, 400),
        ("GET", "/dns-query?dns=A", b"", {}, 400),
        ("GET", "/dns-query?dns=%C3%A4", b"", {}, 400),
        ("GET", "/dns-query?" + "&".join(f"a{n}=1" for n in range(40)), b"", {}, 400),
        ("GET", "/dns-query?dns=AAAA", b"", {}, 400),
        ("POST", "/dns-query", b"", POST, 400),
        ("POST", "/dns-query", b"short", POST, 400),
        ("POST", "/dns-query", question("www.shop.test", flags=0x8000), POST, 400),
        ("GET", "/", b"", {}, 404),
        ("GET", "/dns-query/", b"", {}, 404),
        ("PUT", "/dns-query", question("www.shop.test"), POST, 405),
        ("OPTIONS", "/dns-query", b"", {"origin": "https://web.example"}, 405),
        ("POST", "/dns-query", b"x" * 65536, POST, 413),
        ("POST", "/dns-query", question("www.shop.test"), {"content_type": "application/dns-json"}, 415),
        ("POST", "/dns-query", question("www.shop.test"), {}, 415),
        ("POST", "/dns-query", question("www.shop.test"), POST | {"content_encoding": "gzip"}, 415),
    ],
)  # fmt: skip
async def test_the_status_is_about_http_alone(
    server: Server, method: str, target: str, body: bytes, fields: dict[str, str], status: int
) -> None:
    got, had, content = await server.http(method, target, body, **fields)
    assert got == status
    assert "access-control-allow-origin" not in had
    if status == 200:
        assert had["content-type"] == "application/dns-message"
        assert dns.message.from_wire(content).answer
        return
    assert had["content-type"] == "application/problem+json"
    assert had["cache-control"] == "no-store"
    assert json.loads(content)["status"] == status
    if status == 405:
        assert had["allow"] == "GET, HEAD, POST"
    if status == 415:
        assert had["accept"] == "application/dns-message"


@pytest.mark.parametrize("type", ["AXFR", "IXFR"])
async def test_a_transfer_does_not_fit_into_https(server: Server, type: str) -> None:
    """RFC 8484 §4.1: one message comes back. RFC 9103 has transfers over TLS."""
    asked = dns.message.make_query("shop.test", type)
    if type == "IXFR":
        asked.find_rrset(asked.authority, dns.name.from_text("shop.test"), 1, 6, create=True).add(
            dns.rdata.from_text(1, 6, "ns.shop.test. h.shop.test. 0 1 1 1 1")
        )
    status, fields, content = await server.http("POST", "/dns-query", asked.to_wire(), **POST)
    assert (status, fields["cache-control"]) == (200, "no-store")
    assert dns.message.from_wire(content).rcode() in (dns.rcode.NOTIMP, dns.rcode.REFUSED)


async def test_a_transfer_over_tls(server: Server) -> None:
    reader, writer = await server.connect(server.context("dot"))
    writer.write(framed(question("shop.test", "AXFR")))
    first = await read(reader)
    assert first.answer[0].rdtype == dns.rdatatype.SOA
    writer.close()
