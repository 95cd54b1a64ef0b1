"""Tunnels by extended CONNECT (RFC 8441): every pairing with HTTP/1.1, and what a strict peer sees."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

import pytest
import trustme

from stack.clock import SystemClock, VirtualClock, eventually
from stack.config.base import PoolLimits, Timeouts, UpstreamTimeouts
from stack.errors import ClientGone, HopError
from stack.http.message import Fields, Request, Response
from stack.net.pool import Pool, Upstream
from stack.net.tasks import Tasks
from stack.telemetry.exchange import Exchange
from tests.stack.net.test_tunnel import closed, cut, half, leave
from tests.support.h2_peer import Peer
from tests.support.tunnels import Chain, Link, Origin, Pipe, chain, client, far
from tests.support.wire import serving

LINKS: list[tuple[Link, ...]] = [
    ("h2c",),
    ("h2",),
    ("h2c", "h2c"),
    ("h2", "http"),
    ("http", "h2c"),
    ("h2", "h2", "https"),
]
CONNECT = [
    (b":method", b"CONNECT"), (b":protocol", b"websocket"), (b":scheme", b"http"), (b":path", b"/chat"),
    (b":authority", b"a.test"), (b"sec-websocket-version", b"13"),
]  # fmt: skip


def protocol(links: tuple[Link, ...]) -> str:
    return "h2" if links[0] in ("h2", "h2c") else "h1"


@pytest.mark.parametrize("links", LINKS, ids="-".join)
async def test_bytes_go_both_ways_and_both_ends_end(links: tuple[Link, ...]) -> None:
    async with chain(*links) as made, client(made, protocol(links)) as pool:  # type: ignore[arg-type]
        tunnel = await far(pool)
        assert tunnel.response.get(b"x-app") == b"yes"
        assert tunnel.response.get(b"sec-websocket-accept") is None
        for size in (1, 3, 300_000):
            tunnel.pipe.write(b"x" * size)
            assert await tunnel.exactly(size) == b"x" * size
        [head] = made.origin.heads
        assert head.startswith(b"GET /chat HTTP/1.1\r\n")
        assert head.lower().count(b"sec-websocket-key: ") == 1
        tunnel.pipe.end()
        assert await tunnel.rest() == b""
        await eventually(lambda: made.origin.ends == ["eof"])
        await eventually(lambda: all(len(hop.exchanges) == 1 for hop in made.hops))
        for hop in made.hops:
            [exchange] = hop.exchanges
            assert (exchange.status, exchange.bytes_in, exchange.bytes_out) == (101, 300_004, 300_004)
            assert exchange.termination == ""
        assert not any(server.context.tunnels for server in made.servers)


@pytest.mark.parametrize("links", LINKS, ids="-".join)
async def test_the_origin_ends_and_all_that_it_said_arrives(links: tuple[Link, ...]) -> None:
    async with chain(*links, origin=Origin(leave)) as made, client(made, protocol(links)) as pool:  # type: ignore[arg-type]
        tunnel = await far(pool)
        tunnel.pipe.write(b"end")
        assert len(await tunnel.rest()) == 90_000
        tunnel.pipe.end()
        await eventually(lambda: all(len(hop.exchanges) == 1 for hop in made.hops))
        assert [hop.exchanges[0].termination for hop in made.hops] == [""] * len(made.hops)


async def test_an_end_of_one_direction_leaves_the_other_open() -> None:
    async with chain("h2c", "http", "h2c", origin=Origin(half)) as made, client(made, "h2") as pool:
        tunnel = await far(pool)
        tunnel.pipe.write(b"ping")
        tunnel.pipe.end()
        assert await tunnel.rest() == b"pingping"


@pytest.mark.parametrize("links", LINKS, ids="-".join)
async def test_a_client_that_vanishes_is_gone_at_the_origin_at_once(links: tuple[Link, ...]) -> None:
    async with chain(*links) as made, client(made, protocol(links)) as pool:  # type: ignore[arg-type]
        tunnel = await far(pool)
        loop = asyncio.get_running_loop()
        began = loop.time()
        tunnel.pipe.fail(ClientGone())
        await eventually(lambda: len(made.origin.ends) == 1)
        assert loop.time() - began < 1.0
        with pytest.raises(HopError):
            await tunnel.rest()
        await eventually(lambda: all(len(hop.exchanges) == 1 for hop in made.hops))
        assert made.hops[0].exchanges[0].termination == "client-gone"


@pytest.mark.parametrize("links", LINKS, ids="-".join)
async def test_an_origin_that_vanishes_ends_the_tunnel(links: tuple[Link, ...]) -> None:
    async with chain(*links, origin=Origin(cut)) as made, client(made, protocol(links)) as pool:  # type: ignore[arg-type]
        tunnel = await far(pool)
        with contextlib.suppress(HopError):
            await tunnel.rest()
        tunnel.pipe.end()
        await eventually(lambda: all(len(hop.exchanges) == 1 for hop in made.hops))


async def test_two_tunnels_and_a_request_share_one_connection() -> None:
    async with chain("h2c") as made, client(made, "h2") as pool:
        one, two = await far(pool), await far(pool)
        for tunnel, data in ((one, b"first"), (two, b"second")):
            tunnel.pipe.write(data)
            assert await tunnel.exactly(len(data)) == data
        assert pool.statistics().open == 1
        assert made.servers[0].context.tunnels == 2
        one.pipe.fail(ClientGone())
        two.pipe.write(b"still")
        assert await two.exactly(5) == b"still"
        two.pipe.end()
        assert await two.rest() == b""
        await eventually(lambda: not made.servers[0].context.tunnels)


# ── Where the next hop takes no extended CONNECT ──────────────────────────────────────────────


@pytest.mark.parametrize("tls", [False, True], ids=["clear", "TLS"])
async def test_it_is_asked_over_http_1_1_instead(tls: bool) -> None:
    """RFC 8441 §3: only who has seen the setting may use it."""
    seen: list[Request] = []

    def refuse(request: Request, exchange: Exchange) -> Response:
        seen.append(request)
        return Response(426, [(b"upgrade", b"websocket")], b"not here")

    server_tls, tls_h2, tls_h1 = contexts() if tls else (None, None, None)
    async with serving(refuse, upgrades=(), tls=server_tls) as (service, _):
        tasks = Tasks()
        pool = Pool(
            Upstream("x", "127.0.0.1", service.port, tls=tls_h2, tls_h1=tls_h1, protocol="h2"),
            limits=PoolLimits(connections=2),
            timeouts=UpstreamTimeouts(),
            clock=SystemClock(),
            tasks=tasks,
        )
        for _ in range(2):
            request = Request(b"GET", b"/", [], authority=b"a.test", body=Pipe(), upgrade=b"websocket")
            response = await pool.send(request, Exchange("t", SystemClock.now, request))
            assert response.status == 426
        assert [request.version for request in seen] == [b"1.1", b"1.1"]
        plain = Request(b"GET", b"/", [], authority=b"a.test")
        await pool.send(plain, Exchange("t", SystemClock.now, plain))
        assert seen[-1].version == b"2"
        await pool.close()
        await tasks.close()


def contexts():  # type: ignore[no-untyped-def]
    made = Chain(Origin())
    made.authority = trustme.CA()
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.authority.issue_cert("127.0.0.1").configure_cert(server_tls)
    server_tls.set_alpn_protocols(["h2", "http/1.1"])
    return server_tls, made.client_tls("h2"), made.client_tls("http/1.1")


# ── Frame by frame ────────────────────────────────────────────────────────────────────────────


async def peer_of(made: Chain) -> Peer:
    peer = Peer(*await asyncio.open_connection("127.0.0.1", made.port))
    peer.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", peer.settings())
    return peer


async def test_the_setting_is_sent_where_tunnels_are_taken() -> None:
    """RFC 8441 §3."""
    for upgrades, value in ((("websocket",), {1}), ((), {0, None})):
        async with chain("h2c", upgrades=upgrades) as made:
            peer = await peer_of(made)
            settings = await peer.until(lambda frame: frame.type == 4 and "ACK" not in frame.flags)
            assert settings.settings.get(8) in value
            peer._writer.close()


async def test_the_answer_is_200_and_data() -> None:
    async with chain("h2c") as made:
        peer = await peer_of(made)
        peer.send(peer.headers(1, CONNECT, end=False), peer.data(1, b"early"))
        head = await peer.until(lambda frame: frame.type == 1)
        assert dict(head.fields)[b":status"] == b"200"
        names = {name for name, _ in head.fields}
        assert not names & {b"connection", b"upgrade", b"sec-websocket-accept", b"content-length", b"transfer-encoding"}
        data = await peer.until(lambda frame: frame.type == 0)
        assert data.data == b"early"
        peer.send(peer.data(1, b"", end=True))
        assert "END_STREAM" in (await peer.until(lambda frame: frame.type == 0)).flags
        await eventually(lambda: len(made.hops[0].exchanges) == 1)
        assert made.hops[0].exchanges[0].termination == ""
        peer._writer.close()


def with_(*fields: tuple[bytes, bytes], without: bytes = b"") -> Fields:
    return [*(field for field in CONNECT if field[0] != without), *fields]


@pytest.mark.parametrize(
    ("fields", "end", "code"),
    [
        pytest.param([(b":method", b"GET"), *CONNECT[1:]], False, 1, id="RFC8441-4 :protocol without CONNECT"),
        pytest.param(with_(without=b":path"), False, 1, id="RFC8441-4 no :path"),
        pytest.param(with_(without=b":scheme"), False, 1, id="RFC8441-4 no :scheme"),
        pytest.param(with_(without=b":authority"), False, 1, id="RFC8441-4 no :authority"),
        pytest.param([CONNECT[1], *CONNECT], False, 1, id="RFC9113-8.3 :protocol twice"),
        pytest.param([(b":protocol", b"web socket"), *with_(without=b":protocol")], False, 1, id="no token"),
        pytest.param(with_((b"content-length", b"5")), False, 1, id="RFC9113-8.5 content-length"),
        pytest.param(with_((b"connection", b"upgrade")), False, 1, id="RFC8441-5.1 connection"),
        pytest.param(with_((b"upgrade", b"websocket")), False, 1, id="RFC8441-5.1 upgrade"),
    ],
)
async def test_what_is_malformed_is_reset(fields: Fields, end: bool, code: int) -> None:
    async with chain("h2c") as made:
        peer = await peer_of(made)
        peer.send(peer.headers(1, fields, end=end))
        assert await peer.reset_of(1) == code
        assert not made.origin.heads
        peer._writer.close()


@pytest.mark.parametrize(
    ("fields", "end", "status"),
    [
        pytest.param([(b":protocol", b"connect-udp"), *with_(without=b":protocol")], False, b"501", id="RFC9220-3"),
        pytest.param(
            [(b":method", b"CONNECT"), (b":authority", b"a.test:443")], False, b"501", id="RFC9113-8.5 CONNECT"
        ),
        pytest.param(CONNECT, True, b"400", id="END_STREAM"),
    ],
)
async def test_what_is_refused_gets_a_status(fields: Fields, end: bool, status: bytes) -> None:
    async with chain("h2c") as made:
        peer = await peer_of(made)
        peer.send(peer.headers(1, fields, end=end))
        head = await peer.until(lambda frame: frame.type == 1)
        assert dict(head.fields)[b":status"] == status
        assert not made.origin.heads
        peer._writer.close()


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("links", [("h2c",), ("h2c", "http"), ("h2c", "h2c")], ids="-".join)
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(OK + b"Content-Length: 5\r\n\r\npage!", id="a page"),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\npage!\r\n0\r\n\r\n", id="a stream"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", id="nothing"),
    ],
)
async def test_a_page_opens_no_tunnel(links: tuple[Link, ...], answer: bytes) -> None:
    """RFC 8441 §5: any 2xx opens one, so what an app that ignores Upgrade answers is not passed on as it is."""
    async with chain(*links, origin=Origin(answer=answer)) as made:
        peer = await peer_of(made)
        peer.send(peer.headers(1, CONNECT, end=False))
        head = await peer.until(lambda frame: frame.type == 1)
        assert dict(head.fields)[b":status"] == b"502"
        assert b"error=http_upgrade_failed" in dict(head.fields)[b"proxy-status"]
        data = await peer.until(lambda frame: frame.type == 0 and "END_STREAM" in frame.flags)
        assert b"page!" not in data.data
        await eventually(lambda: len(made.hops[0].exchanges) == 1)
        assert made.hops[0].exchanges[0].status == 502
        assert "http_upgrade_failed" in [hop.exchanges[0].proxy_status for hop in made.hops]
        assert not made.servers[0].context.tunnels
        peer._writer.close()


async def test_a_key_that_a_client_makes_up_goes_nowhere() -> None:
    """RFC 8441 §5: over HTTP/2 there is none; whoever asks over HTTP/1.1 makes its own."""
    async with chain("h2c") as made:
        peer = await peer_of(made)
        peer.send(peer.headers(1, with_((b"sec-websocket-key", b"injected")), end=False))
        await peer.until(lambda frame: frame.type == 1)
        assert b"injected" not in made.origin.heads[0]
        peer._writer.close()


async def test_a_reset_is_gone_at_the_origin() -> None:
    async with chain("h2c") as made:
        peer = await peer_of(made)
        peer.send(peer.headers(1, CONNECT, end=False))
        await peer.until(lambda frame: frame.type == 1)
        peer.send(peer.reset(1))
        await eventually(lambda: len(made.origin.ends) == 1)
        await peer.pong()  # the connection goes on
        await eventually(lambda: len(made.hops[0].exchanges) == 1)
        assert made.hops[0].exchanges[0].termination == "client-gone"
        peer._writer.close()


async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for _ in range(400):
        writer.write(b"x" * 50_000)
        await writer.drain()


async def test_a_closed_window_holds_the_origin_back() -> None:
    async with chain("h2c", origin=Origin(flood)) as made:
        peer = await peer_of(made)
        peer.send(peer.headers(1, CONNECT, end=False))
        await peer.until(lambda frame: frame.type == 0)
        await asyncio.sleep(0.3)
        received = sum(len(frame.data) for frame in peer.seen if frame.type == 0)
        assert received <= 65535
        assert not made.origin.ends
        peer._writer.close()
        await eventually(lambda: made.origin.ends == ["ConnectionResetError"] or len(made.origin.ends) == 1)


@pytest.mark.parametrize("which", ["tunnel_idle", "tunnel"])
async def test_time_outs(which: str) -> None:
    clock = VirtualClock()
    async with chain("h2c", clock=clock, timeouts=Timeouts(**{which: 30.0, "idle": 1000.0})) as made:
        peer = await peer_of(made)
        peer.send(peer.headers(1, CONNECT, end=False))
        await peer.until(lambda frame: frame.type == 1)
        for number in range(4):
            peer.send(peer.data(1, b"x"))
            await peer.until(lambda frame: frame.type == 0)
            if which == "tunnel" and number == 3:
                break
            await clock.advance(9)
        assert not made.origin.ends
        await clock.advance(20 if which == "tunnel_idle" else 4)
        if which == "tunnel_idle":
            assert not made.origin.ends
            await clock.advance(3)
        assert await peer.reset_of(1) == 8
        await eventually(lambda: len(made.hops[0].exchanges) == 1)
        assert made.hops[0].exchanges[0].termination == "timeout"
        assert "tunnel" in made.hops[0].exchanges[0].detail
        peer._writer.close()
        await eventually(lambda: closed(made))
