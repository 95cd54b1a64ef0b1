"""What is not in the key changes nothing that others get: an edge before an origin that believes and reflects all it is told."""

from __future__ import annotations

from pathlib import Path

from stack.http.message import Request, Response
from tests.cdn_edge.processes import EdgeProcess, edge, origin
from tests.support.wire import talk

EVIL = "evil-6f1d"

CLAIMS = [
    *["x-host", "x-original-host", "x-http-host-override", "x-forwarded-server", "x-forwarded-port"],
    *["x-forwarded-prefix", "x-forwarded-path", "x-forwarded-uri", "x-forwarded-method", "x-forwarded-protocol"],
    *["x-forwarded-scheme", "x-forwarded-ssl", "front-end-https", "x-scheme", "x-url-scheme", "x-original-url"],
    *["x-original-uri", "x-rewrite-url", "x-script-name", "x-envoy-original-path", "x-replaced-path", "x-real-ip"],
    *["x-client-ip", "true-client-ip", "cf-connecting-ip", "x-middleware-subrequest", "x-matched-path"],
    *["x-invoke-path", "x-now-route-matches", "x-accel-mapping", "x-sendfile-type", "cf-visitor"],
    *["cloudfront-forwarded-proto", "x-arr-ssl", "x-forwarded-https", "x-https", "x-ms-original-url"],
]
"""What frameworks, gateways and scanners for poisoned caches know."""
REWRITTEN = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-request-id", "traceparent"]
OVERRIDES = ["x-http-method-override", "x-http-method", "x-method-override"]
HOP_BY_HOP = ["te", "keep-alive", "proxy-connection", "proxy-authorization"]


def reflecting(request: Request) -> Response:
    """Links are made of what the request says, as many frameworks do, and everybody may keep the page."""
    told = b"\n".join(b"%b: %b" % field for field in request.fields)
    page = b"%b %b%b\n%b" % (request.method, request.authority, request.target, told)
    return Response(200, [(b"cache-control", b"public, max-age=600"), (b"content-type", b"text/html")], page)


def spellings(name: str) -> set[str]:
    """What WSGI, CGI and PHP take for the same name."""
    return {name, name.replace("-", "_"), name.title()}


async def test_fields_by_which_an_origin_is_told_something_else(tmp_path: Path) -> None:
    async with origin(reflecting) as behind, edge(behind.url, home=tmp_path) as front:
        for name in CLAIMS + REWRITTEN + OVERRIDES + HOP_BY_HOP:
            for spelt in {name, name.title()} if name in HOP_BY_HOP else spellings(name):
                path = f"/{spelt}"
                poisoned = await front.ask(path, headers={spelt: EVIL})
                assert poisoned.status == 200, spelt
                victim = await front.ask(path)
                assert EVIL.encode() not in victim.body, spelt
                assert victim.is_hit, spelt  # it was worth a try


async def test_the_origin_would_have_been_poisoned(tmp_path: Path) -> None:
    """What no list can hold: that the test above can fail, and what --cache-key-headers is for."""
    async with origin(reflecting) as behind:
        async with edge(behind.url, home=tmp_path / "1") as front:
            await front.ask("/a", headers={"X-Own": EVIL})
            assert EVIL.encode() in (await front.ask("/a")).body
        async with edge(behind.url, "--cache-key-headers", "X-Own", home=tmp_path / "2") as front:
            await front.ask("/a", headers={"X-Own": EVIL})
            assert EVIL.encode() not in (await front.ask("/a")).body


async def test_which_hosts_are_one(tmp_path: Path) -> None:
    async with origin(reflecting) as behind, edge(behind.url, home=tmp_path) as front:
        await front.ask("/a", headers={"Host": "shop.test"})
        for same in ("SHOP.test", "shop.test:80", "shop.test:"):
            assert (await front.ask("/a", headers={"Host": same})).is_hit, same
        for other in ("shop.test:1337", "shop.test:443", "shop.test.", "www.shop.test", "evil.test"):
            answer = await front.ask("/a", headers={"Host": other})
            assert not answer.is_hit, other
            assert f"x-forwarded-host: {other}".encode() in answer.body, other
        assert (await front.ask("/a", headers={"Host": "shop.test"})).body.endswith(b"x-forwarded-host: shop.test")


async def test_how_the_host_is_written_changes_nothing_that_is_stored(tmp_path: Path) -> None:
    """Some answer 404 to a Host in capitals, or write the port into every link."""
    async with origin(reflecting) as behind, edge(behind.url, home=tmp_path) as front:
        for number, spelt in enumerate(("SHOP.test", "shop.test:80", "shop.test:", "Shop.Test:80")):
            odd = await front.ask(f"/{number}", headers={"Host": spelt})
            assert "detail=host-spelling" in odd.cache_status
            assert odd.body.startswith(b"GET %s/%d\n" % (spelt.encode(), number))
            victim = await front.ask(f"/{number}", headers={"Host": "shop.test"})
            assert not victim.is_hit, spelt
            assert (await front.ask(f"/{number}", headers={"Host": spelt})).is_hit
            assert victim.body.startswith(b"GET shop.test/%d\n" % number), spelt
            assert victim.body.endswith(b"x-forwarded-host: shop.test"), spelt
            assert spelt.encode() not in victim.body.replace(b"shop.test/", b""), spelt
        other = await front.ask("/o", headers={"Host": "shop.test:1337"})
        assert other.body.startswith(b"GET shop.test:1337/o\n")


async def raw(front: EdgeProcess, head: bytes) -> bytes:
    return await talk(int(front.url.rpartition(":")[2]), head + b"Connection: close\r\n\r\n")


async def test_what_is_odd_on_the_wire(tmp_path: Path) -> None:
    """Two Hosts, a target in absolute form beside another Host, a scheme that the connection has not, folded lines."""
    async with origin(reflecting) as behind, edge(behind.url, home=tmp_path) as front:
        for head in (
            b"GET /a HTTP/1.1\r\nHost: shop.test\r\nHost: evil-6f1d\r\n",
            b"GET https://shop.test/a HTTP/1.1\r\nHost: shop.test\r\n",
            b"GET /a HTTP/1.1\r\nHost: shop.test\r\nX-A: b\r\n Host: evil-6f1d\r\n",
            b"GET /a HTTP/1.1\r\nHost : evil-6f1d\r\nHost: shop.test\r\n",
            b"GET /a HTTP/1.1\r\nHost: shop.test@evil-6f1d\r\n",
            b"GET /a HTTP/1.1\r\nHost: shop.test/evil-6f1d\r\n",
            b"GET @evil-6f1d/a HTTP/1.1\r\nHost: shop.test\r\n",
            b"GET /a HTTP/1.1\r\nHost: shop.test\r\nX-A: \x07\r\n",
        ):
            assert b" 200 " not in (await raw(front, head)).partition(b"\r\n")[0], head
        answered = await raw(front, b"GET http://evil-6f1d/a HTTP/1.1\r\nHost: shop.test\r\n")
        assert b" 200 " in answered.partition(b"\r\n")[0]
        assert (await front.cache())["keys"] == 1  # under its own name (RFC 9112 §3.2.2)
        victim = await raw(front, b"GET /a HTTP/1.1\r\nHost: shop.test\r\n")
        assert b"uri-miss" in victim
        assert EVIL.encode() not in victim


async def test_a_field_that_connection_names_is_not_in_the_key_either(tmp_path: Path) -> None:
    def answer(request: Request) -> Response:
        language = request.get(b"accept-language") or b"none"
        return Response(200, [(b"cache-control", b"max-age=600"), (b"vary", b"Accept-Language")], language)

    async with origin(answer) as behind, edge(behind.url, home=tmp_path) as front:
        head = b"GET /a HTTP/1.1\r\nHost: shop.test\r\nAccept-Language: de\r\nConnection: Accept-Language\r\n"
        assert (await raw(front, head)).endswith(b"none")
        victim = await raw(front, b"GET /a HTTP/1.1\r\nHost: shop.test\r\nAccept-Language: de\r\n")
        assert victim.endswith(b"de")


async def test_parameters_that_hide_in_one_that_is_ignored(tmp_path: Path) -> None:
    flags = ("--cache-key-ignore-query", "@tracking", "--cache-key-sort-query")
    async with origin(reflecting) as behind, edge(behind.url, *flags, home=tmp_path) as front:
        await front.ask(f"/a?utm_content=x;q={EVIL}")
        await front.ask(f"/a?q=1&utm_content=x;q={EVIL}")
        for path in ("/a", "/a?q=1"):
            assert EVIL.encode() not in (await front.ask(path)).body
        # and those that some take for one parameter are never exchanged
        for first, second in [
            ("/b?a=1&a=2", "/b?a=2&a=1"),
            ("/b?a[x]=1&a=2", "/b?a=2&a[x]=1"),
            ("/b?A=1&a=2", "/b?a=2&A=1"),
        ]:
            await front.ask(first)
            assert not (await front.ask(second)).is_hit


async def test_a_get_with_content_is_kept_apart(tmp_path: Path) -> None:
    async with origin(reflecting) as behind, edge(behind.url, home=tmp_path) as front:
        fat = await front.ask("/a", data=f"q={EVIL}".encode())
        assert "detail=content" in fat.cache_status
        assert not (await front.ask("/a")).is_hit


def failing(request: Request) -> Response:
    """An origin with limits, which says of its errors that they hold for ten minutes."""
    fields = [(b"cache-control", b"public, max-age=600"), (b"etag", b'"1"')]
    told = dict(request.fields)
    if sum(len(name) + len(value) for name, value in request.fields) > 8000:
        return Response(431, fields, b"too large")
    if b"x-odd" in told:
        return Response(int(told[b"x-odd"]), fields, b"odd")
    if request.method != b"GET" or any(name.encode() in told for name in OVERRIDES):
        return Response(405, fields, b"no such method")
    if b"if-match" in told:
        return Response(412, fields)
    if b"range" in told:
        return Response(416, fields)
    return Response(200, fields, b"good")


ERRORS: list[tuple[str, dict[str, str], int]] = [
    ("HHO-oversized", {f"X-Oversized-{n}": "x" * 4000 for n in range(3)}, 431),
    ("HMC-400", {"X-Odd": "400"}, 400),
    ("413", {"X-Odd": "413"}, 413),
    ("414", {"X-Odd": "414"}, 414),
    ("415", {"X-Odd": "415"}, 415),
    ("429", {"X-Odd": "429"}, 429),
    ("431", {"X-Odd": "431"}, 431),
    ("HMO-method-override", {"X-HTTP-Method-Override": "POST"}, 200),
    ("If-Match", {"If-Match": '"no"'}, 412),
    ("Range", {"Range": "bytes=99999-"}, 416),
    ("Expect", {"Expect": "oops"}, 417),
]


async def test_cpdos_an_error_of_one_request_is_not_everybodys(tmp_path: Path) -> None:
    async with origin(failing) as behind, edge(behind.url, home=tmp_path) as front:
        for case, headers, status in ERRORS:
            path = f"/{case}"
            assert (await front.ask(path, headers=headers)).status == status, case
            victim = await front.ask(path)
            assert (victim.status, victim.body) == (200, b"good"), case
            # nor does it take out what is stored
            assert (await front.ask(path, headers={**headers, "Cache-Control": "no-cache"})).status == status, case
            assert (await front.ask(path)).is_hit, case


async def test_one_site_cannot_speak_for_another_by_cors(tmp_path: Path) -> None:
    def answer(request: Request) -> Response:
        fields = [(b"cache-control", b"max-age=600")]
        if (asker := request.get(b"origin")) is not None:
            fields.append((b"access-control-allow-origin", asker))
        return Response(200, fields, b"{}")

    async with origin(answer) as behind, edge(behind.url, home=tmp_path) as front:
        await front.ask("/api", headers={"Origin": "https://evil.test"})
        mine = await front.ask("/api", headers={"Origin": "https://shop.test"})
        assert mine.headers["access-control-allow-origin"] == "https://shop.test"
        assert "access-control-allow-origin" not in (await front.ask("/api")).headers
