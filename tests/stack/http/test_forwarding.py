from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.errors import LoopDetected, Side
from stack.http.forwarding import VOUCHED, FinalRecipient, inbound, outbound
from stack.http.message import Fields, Peer, Request, Response, combined, get

REQUEST_ID = b"4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
ADDED = {
    b"via",
    b"forwarded",
    b"x-forwarded-for",
    b"x-forwarded-proto",
    b"x-forwarded-host",
    b"x-request-id",
    b"traceparent",
}
Pairs = list[tuple[str, str]]


def fields(pairs: Pairs) -> Fields:
    return [(name.encode(), value.encode()) for name, value in pairs]


def incoming(
    pairs: Pairs,
    *,
    method: bytes = b"GET",
    address: str = "203.0.113.9",
    authority: bytes = b"shop.test",
    version: bytes = b"1.1",
    scheme: bytes = b"https",
) -> Request:
    peer = Peer(address, 4711)
    return Request(method, b"/", fields(pairs), authority=authority, scheme=scheme, version=version, peer=peer)


def sent(request: Request, *, trusted: bool = False, pseudonym: bytes = b"lb-a", client: str = "") -> Request:
    client = client or (request.peer.address if request.peer is not None else "")
    return outbound(
        request,
        pseudonym=pseudonym,
        client=client,
        request_id=REQUEST_ID,
        traceparent=TRACEPARENT,
        trusted=trusted,
    )


def rest(request: Request) -> Pairs:
    """What went through, without what every hop adds."""
    return [(name.decode(), value.decode()) for name, value in request.fields if name not in ADDED]


ASKED = [("te", "trailers"), ("connection", "te")]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param([("accept", "*/*")], [("accept", "*/*")], id="9110-7.6-end-to-end"),
        pytest.param([("x-new", "1"), ("x-new", "2")], [("x-new", "1"), ("x-new", "2")], id="9110-5.1-unknown-pass"),
        pytest.param([("content-length", "5")], [("content-length", "5")], id="9110-8.6-content-length"),
        pytest.param([("trailer", "x-sum")], [("trailer", "x-sum")], id="9110-6.6.2-trailer-is-end-to-end"),
        pytest.param([("connection", "close")], [], id="9110-7.6.1-connection"),
        pytest.param([("keep-alive", "timeout=5")], [], id="9110-7.6.1-keep-alive"),
        pytest.param([("proxy-connection", "keep-alive")], [], id="9110-7.6.1-proxy-connection"),
        pytest.param([("te", "gzip;q=0.5")], [], id="9110-10.1.4-te"),
        pytest.param([("te", "trailers;q=0")], [], id="9110-10.1.4-te-not-trailers"),
        pytest.param([("te", "trailers")], ASKED, id="9110-10.1.4-trailers-are-asked-for-anew"),
        pytest.param([("connection", "TE"), ("te", "deflate, Trailers")], ASKED, id="9110-10.1.4-named-in-connection"),
        pytest.param([("transfer-encoding", "chunked")], [], id="9112-6.1-transfer-encoding"),
        pytest.param([("upgrade", "h2c"), ("http2-settings", "AA")], [], id="9110-7.8-upgrade"),
        pytest.param([("proxy-authorization", "Basic eDp5")], [], id="9110-11.7.2-proxy-authorization"),
        pytest.param([("authorization", "Basic eDp5")], [("authorization", "Basic eDp5")], id="9110-11.6.2"),
        pytest.param([("connection", "x-a, X-B"), ("x-a", "1"), ("x-b", "2")], [], id="9110-7.6.1-named"),
        pytest.param([("x-a", "1"), ("connection", "close"), ("connection", "x-a")], [], id="9110-7.6.1-second-line"),
        pytest.param([("connection", "cookie"), ("cookie", "a=b")], [], id="9110-7.6.1-named-end-to-end"),
        pytest.param(
            [("connection", "content-length"), ("content-length", "5")],
            [("content-length", "5")],
            id="9112-6-named-content-length-keeps-the-framing",
        ),
        pytest.param([("connection", '"x-a", ;, x-a'), ("x-a", "1")], [], id="9110-5.6.1-junk-in-connection"),
        pytest.param([("proxy", "http://evil.test")], [], id="httpoxy"),
        pytest.param([("x_forwarded_for", "1.1.1.1"), ("x-forwarded_for", "1.1.1.1")], [], id="underscores"),
        pytest.param([("x_request_id", "1"), ("x_real-ip", "1"), ("client_cert", ":AA:")], [], id="underscores-more"),
        pytest.param([("my_field", "1")], [("my_field", "1")], id="underscores-elsewhere-pass"),
    ],
)
@pytest.mark.parametrize("trusted", [False, True])
def test_stripping(before: Pairs, after: Pairs, trusted: bool) -> None:
    request = incoming(before)
    assert rest(sent(request, trusted=trusted)) == after
    assert request.fields == fields(before), "the request that came in was changed"


CLAIMS = [
    ("forwarded", "for=6.6.6.6;proto=https;host=evil.test"),
    ("x-forwarded-for", "6.6.6.6"),
    ("x-forwarded-proto", "wss"),
    ("x-forwarded-host", "evil.test"),
    ("x-forwarded-port", "1"),
    ("x-forwarded-prefix", "/evil"),
    ("x-forwarded-server", "evil"),
    ("x-forwarded-ssl", "on"),
    ("x-real-ip", "6.6.6.6"),
    ("x-original-url", "/admin"),
    ("x-rewrite-url", "/admin"),
    *[
        (name.decode(), "evil")
        for name in sorted(VOUCHED)
        if name.startswith((b"x-host", b"x-http", b"x-origin", b"x-mid")) and name != b"x-original-url"
    ],
    ("client-cert", ":AA==:"),
    ("x-request-id", "evil"),
    ("traceparent", "00-66666666666666666666666666666666-6666666666666666-01"),
    ("tracestate", "evil=1"),
]


def test_claims_of_an_untrusted_peer_are_made_anew() -> None:
    assert sorted(sent(incoming(CLAIMS)).fields) == [
        (b"forwarded", b'for=203.0.113.9;host="shop.test";proto=https;by=_lb-a'),
        (b"traceparent", TRACEPARENT),
        (b"via", b"1.1 lb-a"),
        (b"x-forwarded-for", b"203.0.113.9"),
        (b"x-forwarded-host", b"shop.test"),
        (b"x-forwarded-proto", b"https"),
        (b"x-request-id", REQUEST_ID),
    ]


def test_claims_of_a_trusted_peer_are_extended() -> None:
    out = sent(incoming(CLAIMS, address="10.0.0.1", scheme=b"http"), trusted=True, client="6.6.6.6")
    expected = dict(fields(CLAIMS))
    del expected[b"tracestate"]  # its traceparent was not the one that is carried on
    expected |= {
        b"via": b"1.1 lb-a",
        b"forwarded": b'for=6.6.6.6;proto=https;host=evil.test, for=10.0.0.1;host="shop.test";proto=http;by=_lb-a',
        b"x-forwarded-for": b"6.6.6.6, 10.0.0.1",
        b"x-request-id": REQUEST_ID,
        b"traceparent": TRACEPARENT,
    }
    assert dict(out.fields) == expected
    assert len(out.fields) == len(expected), "a field goes out twice"


@pytest.mark.parametrize(
    ("before", "name", "after"),
    [
        pytest.param(
            [("x-forwarded-for", "203.0.113.9, junk, 2001:db8::1")],
            b"forwarded",
            b'for=203.0.113.9, for=unknown, for="[2001:db8::1]", for=10.0.0.1;host="shop.test";proto=http;by=_lb-a',
            id="7239-7.4-chain-made-of-x-forwarded-for",
        ),
        pytest.param(
            [("x-forwarded-for", "203.0.113.9, 10.0.0.2"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "a:1")],
            b"forwarded",
            b'for=203.0.113.9;host="a:1";proto=https, for=10.0.0.2, for=10.0.0.1;host="shop.test";proto=http;by=_lb-a',
            id="7239-7.4-with-what-is-known-of-the-first",
        ),
        pytest.param(
            [("x-forwarded-for", " ,"), ("forwarded", "")],
            b"forwarded",
            b'for=unknown, for=10.0.0.1;host="shop.test";proto=http;by=_lb-a',
            id="7239-4-empty",
        ),
        pytest.param(
            [("forwarded", 'for="[2001:db8::1]:99", for=_hidden')],
            b"x-forwarded-for",
            b"2001:db8::1, unknown, 10.0.0.1",
            id="7239-7.4-x-forwarded-for-made-of-chain",
        ),
        pytest.param(
            [("forwarded", "for=6.6.6.6;proto=wss, for=203.0.113.9;proto=https, for=10.0.0.2;proto=http")],
            b"x-forwarded-proto",
            b"https",
            id="7239-5.4-proto-of-the-hop-that-saw-the-client",
        ),
        pytest.param(
            [("forwarded", 'for=203.0.113.9;host="shop.test:8443"')],
            b"x-forwarded-host",
            b"shop.test:8443",
            id="7239-5.3-host-of-the-hop-that-saw-the-client",
        ),
        pytest.param([("x-forwarded-for", "203.0.113.9")], b"x-forwarded-proto", b"http", id="proto-missing"),
        pytest.param(
            [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "10.0.0.2")],
            b"x-forwarded-for",
            b"203.0.113.9, 10.0.0.2, 10.0.0.1",
            id="9110-5.3-field-lines",
        ),
        pytest.param(
            [("connection", "x-forwarded-for"), ("x-forwarded-for", "203.0.113.9")],
            b"x-forwarded-for",
            b"10.0.0.1",
            id="9110-7.6.1-named-claim-goes-ours-stays",
        ),
    ],
)
def test_extending(before: Pairs, name: bytes, after: bytes) -> None:
    out = sent(incoming(before, address="10.0.0.1", scheme=b"http"), trusted=True, client="203.0.113.9")
    assert combined(out.fields, name) == after


@pytest.mark.parametrize(
    ("request_", "element"),
    [
        pytest.param(
            incoming([], address="2001:db8::9"),
            b'for="[2001:db8::9]";host="shop.test";proto=https;by=_lb-a',
            id="7239-6-ipv6",
        ),
        pytest.param(
            incoming([], address="fe80::1%eth0"),
            b'for="[fe80::1]";host="shop.test";proto=https;by=_lb-a',
            id="7239-6-no-zone",
        ),
        pytest.param(
            incoming([], authority=b"[::1]:8443"),
            b'for=203.0.113.9;host="[::1]:8443";proto=https;by=_lb-a',
            id="7239-5.3-host-with-port",
        ),
        pytest.param(incoming([], authority=b""), b"for=203.0.113.9;proto=https;by=_lb-a", id="9112-3.2-1.0-no-host"),
        pytest.param(
            incoming([], authority=b'a"\\'),
            b'for=203.0.113.9;host="a\\"\\\\";proto=https;by=_lb-a',
            id="9110-5.6.4-escaped",
        ),
        pytest.param(
            incoming([], address=""), b'for=unknown;host="shop.test";proto=https;by=_lb-a', id="7239-6.2-unix-socket"
        ),
    ],
)
def test_forwarded(request_: Request, element: bytes) -> None:
    out = sent(request_)
    assert combined(out.fields, b"forwarded") == element
    assert (get(out.fields, b"x-forwarded-host") is None) == (not request_.authority)


def test_by_is_an_obfuscated_name() -> None:
    forwarded = get(sent(incoming([]), pseudonym=b"edge-fra/0").fields, b"forwarded")
    assert forwarded is not None
    assert forwarded.endswith(b";by=_edge-fra_0")  # RFC 7239 §6.3


def test_a_request_of_our_own() -> None:
    request = Request(b"GET", b"/health", [], authority=b"app", peer=None)
    out = outbound(request, pseudonym=b"lb", client="", request_id=b"", traceparent=b"", trusted=False)
    assert get(out.fields, b"x-forwarded-for") == b"unknown"


@pytest.mark.parametrize(
    ("before", "version", "after"),
    [
        pytest.param([], b"1.1", b"1.1 lb-a", id="9110-7.6.3-first"),
        pytest.param([], b"1.0", b"1.0 lb-a", id="9110-7.6.3-received-1.0"),
        pytest.param([("via", "1.1 edge")], b"2", b"1.1 edge, 2 lb-a", id="9110-7.6.3-appended"),
        pytest.param(
            [("via", "1.1 a"), ("via", "2 b")], b"1.1", b"1.1 a, 2 b, 1.1 lb-a", id="9110-7.6.3-lines-in-order"
        ),
        pytest.param([("via", "1.1 lb-ab, 1.1 x-lb-a")], b"1.1", b"1.1 lb-ab, 1.1 x-lb-a, 1.1 lb-a", id="other-names"),
        pytest.param([("via", "1.1 x (lb-a)")], b"1.1", b"1.1 x (lb-a), 1.1 lb-a", id="9110-7.6.3-comment-is-no-name"),
    ],
)
def test_via(before: Pairs, version: bytes, after: bytes) -> None:
    assert combined(sent(incoming(before, version=version)).fields, b"via") == after


@pytest.mark.parametrize(
    "before",
    [
        pytest.param([("via", "1.1 lb-a")], id="9110-7.6.3-own-name"),
        pytest.param([("via", "1.1 edge, HTTP/1.1  lb-a (hopstack), 2 proxy-1")], id="9110-7.6.3-among-others"),
        pytest.param([("via", "1.1 edge"), ("via", "2\tlb-a")], id="9110-7.6.3-second-line"),
        pytest.param([("connection", "via"), ("via", "1.1 lb-a")], id="9110-7.6.1-named-in-connection"),
    ],
)
@pytest.mark.parametrize("trusted", [False, True])
def test_loop(before: Pairs, trusted: bool) -> None:
    with pytest.raises(LoopDetected) as caught:
        sent(incoming(before), trusted=trusted)
    assert caught.value.status == 508


@pytest.mark.parametrize(
    ("method", "before", "after"),
    [
        (b"OPTIONS", "1", b"0"),
        (b"TRACE", "10", b"9"),
        (b"GET", "0", b"0"),
        (b"OPTIONS", "many", b"many"),
        (b"OPTIONS", "-1", b"-1"),
        (b"OPTIONS", "9" * 30, b"9" * 19 + b"8"),
    ],
    ids=lambda value: f"9110-7.6.2-{value!r}",
)
def test_max_forwards(method: bytes, before: str, after: bytes) -> None:
    out = sent(incoming([("max-forwards", before)], method=method))
    assert get(out.fields, b"max-forwards") == after


@pytest.mark.parametrize(("method", "status"), [(b"OPTIONS", 204), (b"TRACE", 405)])
def test_max_forwards_ends_here(method: bytes, status: int) -> None:
    with pytest.raises(FinalRecipient) as caught:
        sent(incoming([("max-forwards", "0")], method=method))
    assert caught.value.status == status
    assert caught.value.side is Side.DOWNSTREAM, "no backend is to blame"


@pytest.mark.parametrize(
    ("came", "kept"),
    [
        pytest.param(TRACEPARENT.replace(b"00f067aa0ba902b7", b"1111111111111111"), True, id="same-trace"),
        pytest.param(TRACEPARENT.replace(b"4bf9", b"5bf9"), False, id="other-trace"),
        pytest.param(b"junk", False, id="invalid"),
        pytest.param(None, False, id="none"),
    ],
)
def test_tracestate_belongs_to_its_traceparent(came: bytes | None, kept: bool) -> None:
    pairs = [("tracestate", "a=1"), ("tracestate", "b=2")]
    if came is not None:
        pairs.append(("traceparent", came.decode()))
    out = sent(incoming(pairs), trusted=True)
    assert combined(out.fields, b"tracestate") == (b"a=1, b=2" if kept else None)
    assert combined(out.fields, b"traceparent") == TRACEPARENT


def test_the_rest_of_the_request_is_carried() -> None:
    request = incoming([], method=b"POST", version=b"2")
    request.body = b"content"
    request.interim = lambda status, fields: None
    out = sent(request)
    assert (out.method, out.target, out.authority, out.scheme) == (b"POST", b"/", b"shop.test", b"https")
    assert out.body is request.body
    assert out.trailers is request.trailers, "trailers are filled in place after this"
    assert out.interim is request.interim


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param([], [("via", "1.1 lb-a"), ("date", "NOW")], id="9110-6.6.1-date-added"),
        pytest.param([("date", "THEN")], [("date", "THEN"), ("via", "1.1 lb-a")], id="9110-6.6.1-date-kept"),
        pytest.param(
            [("date", "THEN"), ("via", "1.1 b"), ("x", "1"), ("via", "1.0 c")],
            [("date", "THEN"), ("x", "1"), ("via", "1.1 b, 1.0 c, 1.1 lb-a")],
            id="9110-7.6.3-via-appended",
        ),
        pytest.param(
            [
                ("date", "THEN"),
                ("connection", "close, x-a"),
                ("keep-alive", "timeout=5"),
                ("proxy-connection", "x"),
                ("transfer-encoding", "chunked"),
                ("upgrade", "h2c"),
                ("x-a", "1"),
                ("proxy-authenticate", "Basic"),
                ("www-authenticate", "Basic"),
                ("content-length", "5"),
            ],
            [("date", "THEN"), ("www-authenticate", "Basic"), ("content-length", "5"), ("via", "1.1 lb-a")],
            id="9110-7.6.1-hop-by-hop",
        ),
        pytest.param(
            [("connection", "date, content-length, via"), ("date", "THEN"), ("content-length", "5"), ("via", "1.1 b")],
            [("content-length", "5"), ("via", "1.1 b, 1.1 lb-a"), ("date", "NOW")],
            id="9110-7.6.1-named",
        ),
        pytest.param(
            [("date", "THEN"), ("server-timing", "a;dur=1"), ("set-cookie", "a=1"), ("set-cookie", "b=2")],
            [
                ("date", "THEN"),
                ("server-timing", "a;dur=1"),
                ("set-cookie", "a=1"),
                ("set-cookie", "b=2"),
                ("via", "1.1 lb-a"),
            ],
            id="9110-5.3-lines-keep-their-order",
        ),
    ],
)
def test_inbound(before: Pairs, after: Pairs) -> None:
    response = Response(200, fields(before))
    assert inbound(response, pseudonym=b"lb-a", date=b"NOW") is response
    assert response.fields == fields(after)


def test_inbound_names_the_version_received() -> None:
    response = inbound(Response(200, [], version=b"2"), pseudonym=b"lb-a", date=b"NOW")
    assert response.get(b"via") == b"2 lb-a"


NAMES = st.sampled_from(
    [name.encode() for name, _ in CLAIMS] + [b"connection", b"via", b"max-forwards", b"x", b"proxy"]
)
FIELDS = st.lists(st.tuples(NAMES, st.binary(max_size=60)), max_size=12)


@given(FIELDS, st.booleans(), st.sampled_from([b"GET", b"OPTIONS"]), st.binary(max_size=10))
def test_never_raises_anything_else(pairs: Fields, trusted: bool, method: bytes, authority: bytes) -> None:
    request = Request(method, b"/", pairs, authority=authority, peer=Peer("10.0.0.1", 1))
    try:
        out = sent(request, trusted=trusted, pseudonym=b"lb-a")
    except (LoopDetected, FinalRecipient):
        return
    names = [name for name, _ in out.fields]
    for name in ADDED - {b"x-forwarded-host"}:
        assert names.count(name) == 1
    inbound(Response(200, pairs), pseudonym=b"lb-a", date=b"NOW")
