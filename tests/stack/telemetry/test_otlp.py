"""Exchanges as OTLP spans: read by the official protobuf, and held against the HTTP semantic conventions."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from stack.clock import VirtualClock
from stack.http.message import Peer, Request, TlsInfo
from stack.telemetry.exchange import Exchange
from stack.telemetry.otlp import Finished, Sampler, Spans
from tests.support.collector import attributes, parsed

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "00f067aa0ba902b7"
PARENT = "b7ad6b7169203331"


def exchange(clock: VirtualClock, **changed: Any) -> Exchange:
    peer = Peer("127.0.2.1", 40000, tls=TlsInfo("TLSv1.3", "", "shop.test", "h2"), trusted=True)
    made = Exchange(
        "proxy-1",
        clock.now,
        Request(
            b"GET", b"/products/shoes?color=red&token=abc", [(b"user-agent", b"curl/8"), (b"cookie", b"s=1")],
            authority=b"shop.test:8443", scheme=b"https", version=b"2", peer=peer,
        ),
    )  # fmt: skip
    made.trace_id, made.span_id, made.parent_span = TRACE.encode(), SPAN.encode(), PARENT.encode()
    made.request_id, made.client, made.status, made.bytes_out, made.sampled = b"r-1", "192.0.2.7", 200, 512, True
    for name, value in changed.items():
        setattr(made, name, value)
    return made


def written(clock: VirtualClock, *exchanges: Exchange) -> Any:
    spans = Spans("proxy-1", kind="proxy", instance="proxy-1", version="1.2.3", random=Random(1))
    return parsed(spans.request([Finished(one, clock.now(), clock.time()) for one in exchanges]))


def server(request: Any) -> Any:
    return request.resource_spans[0].scope_spans[0].spans[0]


async def test_a_request_is_a_server_span_with_a_span_for_each_step() -> None:
    clock = VirtualClock(time=1_700_000_000.0)
    one = exchange(clock)
    await clock.advance(0.002)
    one.mark("route", "app")
    await clock.advance(0.25)
    one.mark("forward", "answered")
    await clock.advance(0.5)
    request = written(clock, one)
    [group] = request.resource_spans
    assert attributes(group.resource) == {
        "service.name": "proxy-1",
        "service.namespace": "hopstack",
        "service.instance.id": "proxy-1",
        "service.version": "1.2.3",
        "telemetry.sdk.name": "hopstack",
        "telemetry.sdk.language": "python",
        "telemetry.sdk.version": "1.2.3",
        "hopstack.kind": "proxy",
    }
    whole, route, forward = group.scope_spans[0].spans
    assert (whole.trace_id.hex(), whole.span_id.hex(), whole.parent_span_id.hex()) == (TRACE, SPAN, PARENT)
    assert whole.name == "GET"
    assert whole.kind == whole.SPAN_KIND_SERVER
    assert whole.start_time_unix_nano == 1_700_000_000_000_000_000
    assert whole.end_time_unix_nano == 1_700_000_000_752_000_000
    assert whole.flags == 0x301, "sampled, its parent known to be in another process"
    assert whole.status.code == whole.status.STATUS_CODE_UNSET
    for step, name, begin, end in ((route, "route app", 0, 2), (forward, "forward answered", 2, 252)):
        assert step.name == name
        assert (step.trace_id, step.parent_span_id.hex()) == (whole.trace_id, SPAN)
        assert step.kind == step.SPAN_KIND_INTERNAL
        assert step.start_time_unix_nano == 1_700_000_000_000_000_000 + begin * 1_000_000
        assert step.end_time_unix_nano == 1_700_000_000_000_000_000 + end * 1_000_000
    assert len({whole.span_id, route.span_id, forward.span_id}) == 3
    assert attributes(forward) == {"hopstack.step": "forward", "hopstack.word": "answered"}


def test_attributes_of_the_http_semantic_conventions() -> None:
    clock = VirtualClock()
    one = exchange(clock, upstream="app-1", attempts=1)
    assert attributes(server(written(clock, one))) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.response.body.size": 512,
        "url.scheme": "https",
        "url.path": "/products/shoes",
        "url.query": "color=red&token=***",
        "server.address": "shop.test",
        "server.port": 8443,
        "client.address": "192.0.2.7",
        "network.peer.address": "127.0.2.1",
        "network.peer.port": 40000,
        "network.protocol.version": "2",
        "tls.protocol.version": "1.3",
        "user_agent.original": "curl/8",
        "hopstack.request_id": "r-1",
        "hopstack.upstream": "app-1",
        "hopstack.attempts": 1,
    }


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        pytest.param({"status": 200}, None, "", id="200 is none"),
        pytest.param({"status": 404}, None, "", id="4xx is the client's, unset on a server span"),
        pytest.param({"status": 408, "termination": "timeout"}, None, "", id="a slow client"),
        pytest.param({"status": 200, "termination": "client-gone"}, None, "", id="a client that went"),
        pytest.param({"status": 500}, "500", "500", id="5xx by its number"),
        pytest.param(
            {"status": 502, "proxy_status": "connection_refused", "detail": "app-1 refuses"},
            "connection_refused", "app-1 refuses", id="RFC 9209 error type",
        ),
        pytest.param({"status": 200, "termination": "upstream-cut"}, "upstream-cut", "upstream-cut", id="a cut answer"),
    ],
)  # fmt: skip
def test_errors(changed: dict[str, Any], error: str | None, message: str) -> None:
    clock = VirtualClock()
    span = server(written(clock, exchange(clock, **changed)))
    assert attributes(span).get("error.type") == error
    assert span.status.message == message
    assert span.status.code == (span.status.STATUS_CODE_ERROR if error else span.status.STATUS_CODE_UNSET)


def test_a_step_that_failed_is_an_error() -> None:
    clock = VirtualClock()
    one = exchange(clock)
    one.mark("attempt", "refused")
    one.mark("attempt", "answered")
    one.tried = ("proxy-1", "proxy-2")
    _, refused, answered = written(clock, one).resource_spans[0].scope_spans[0].spans
    assert refused.status.code == refused.status.STATUS_CODE_ERROR
    assert answered.status.code == answered.status.STATUS_CODE_UNSET
    assert [attributes(span)["hopstack.upstream"] for span in (refused, answered)] == ["proxy-1", "proxy-2"]


def test_an_injected_fault_is_named_and_no_error_by_itself() -> None:
    clock = VirtualClock()
    span = server(written(clock, exchange(clock, faults=("slow", "cut"), termination="injected")))
    assert attributes(span)["hopstack.fault"] == "slow, cut"
    assert "error.type" not in attributes(span)


@pytest.mark.parametrize(
    ("method", "name", "attribute"), [(b"GET", "GET", "GET"), (b"BREW", "HTTP", "_OTHER")], ids=["known", "unknown"]
)
def test_a_clients_method_does_not_name_spans(method: bytes, name: str, attribute: str) -> None:
    clock = VirtualClock()
    one = exchange(clock)
    assert one.request is not None
    one.request.method = method
    span = server(written(clock, one))
    assert span.name == name
    assert attributes(span)["http.request.method"] == attribute
    assert attributes(span).get("http.request.method_original") == (None if name == "GET" else "BREW")


@pytest.mark.parametrize(
    ("authority", "address", "port"),
    [
        (b"shop.test", "shop.test", None),
        (b"shop.test:80", "shop.test", 80),
        (b"[::1]:8443", "::1", 8443),
        (b"[::1]", "::1", None),
        (b"a:123456", "a", None),
    ],
    ids=lambda value: str(value),
)
def test_the_servers_address(authority: bytes, address: str, port: int | None) -> None:
    clock = VirtualClock()
    one = exchange(clock)
    assert one.request is not None
    one.request.authority = authority
    found = attributes(server(written(clock, one)))
    assert (found["server.address"], found.get("server.port")) == (address, port)


def test_bytes_that_are_no_text_and_long_values_do_no_harm() -> None:
    clock = VirtualClock()
    one = exchange(clock)
    assert one.request is not None
    one.request.target = b"/\xff\xfe\x00" + b"x" * 8000
    found = attributes(server(written(clock, one)))
    assert str(found["url.path"]).startswith("/\\xff\\xfe")
    assert len(str(found["url.path"])) == 1024


def test_half_a_surrogate_pair_does_no_harm() -> None:
    """An app's error may say anything."""
    clock = VirtualClock()
    span = server(written(clock, exchange(clock, status=500, detail="Failed('\udcff')", upstream="\ud800")))
    assert span.status.message == "Failed('?')"
    assert attributes(span)["hopstack.upstream"] == "?"


def test_a_head_that_was_no_request() -> None:
    clock = VirtualClock()
    one = exchange(clock, request=None, status=400, parent_span=b"")
    span = server(written(clock, one))
    assert span.name == "HTTP"
    assert span.parent_span_id == b""
    assert span.flags == 1


class TestSampler:
    @pytest.mark.parametrize("flag", [True, False])
    def test_what_a_peer_decided_holds(self, flag: bool) -> None:
        for share in (0.0, 1.0):
            one = exchange(VirtualClock(), sampled=flag)
            Sampler(share)(one)
            assert one.sampled is flag

    def test_a_share_of_the_traces_that_begin_here(self) -> None:
        random = Random(7)
        taken = dict.fromkeys((0.0, 0.25, 1.0), 0)
        for _ in range(4000):
            trace_id = random.randbytes(16).hex().encode()
            for share in taken:
                one = exchange(VirtualClock(), parent_span=b"", trace_id=trace_id, sampled=False)
                Sampler(share)(one)
                taken[share] += one.sampled
        assert taken[0.0] == 0
        assert taken[1.0] == 4000
        assert 850 < taken[0.25] < 1150

    def test_all_hops_come_to_the_same_answer(self) -> None:
        one, other = (exchange(VirtualClock(), parent_span=b"", sampled=False) for _ in range(2))
        for exchanged in (one, other):
            Sampler(0.5)(exchanged)
        assert one.sampled is other.sampled
