from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack import errors
from stack.errors import (
    BadRequest,
    ConnectRefused,
    ContentTooLarge,
    HopError,
    LoopDetected,
    NoBackend,
    NotFound,
    ResponseTimeout,
)
from stack.http.forwarding import FinalRecipient
from stack.http.h1 import STATUS_LINES
from stack.http.message import Field, Response
from stack.http.problem import proxy_status, response
from stack.http.reason import phrase

BROWSER = b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def answer(error: HopError, accept: bytes | None = None, fields: tuple[Field, ...] = ()) -> Response:
    return response(error, hop="edge-fra", accept=accept, request_id=b"4bf92f35", fields=fields)


def document(made: Response) -> dict[str, object]:
    assert isinstance(made.body, bytes)
    found = json.loads(made.body)
    assert isinstance(found, dict)
    return found


def page(made: Response) -> str:
    assert isinstance(made.body, bytes)
    return made.body.decode()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(
            ConnectRefused("The app did not take the connection."),
            {
                "type": "https://www.rfc-editor.org/rfc/rfc9209#section-2.3.7",
                "title": "The next hop refused the connection",
                "status": 502,
                "detail": "The app did not take the connection.",
                "hop": "edge-fra",
                "error": "connection_refused",
                "request_id": "4bf92f35",
            },
            id="9457-3.1-upstream",
        ),
        pytest.param(
            LoopDetected(),
            {
                "type": "https://www.rfc-editor.org/rfc/rfc9209#section-2.3.32",
                "title": "The request has passed this hop before",
                "status": 508,
                "hop": "edge-fra",
                "error": "proxy_loop_detected",
                "request_id": "4bf92f35",
            },
            id="9457-3.1-without-detail",
        ),
        pytest.param(
            BadRequest(),
            {
                "type": "about:blank",
                "title": "Bad Request",
                "status": 400,
                "detail": "The request is not well-formed",
                "hop": "edge-fra",
                "request_id": "4bf92f35",
            },
            id="9457-4.2.1-about-blank-has-the-phrase-for-title",
        ),
        pytest.param(
            ContentTooLarge("At most 5 bytes."),
            {
                "type": "about:blank",
                "title": "Content Too Large",
                "status": 413,
                "detail": "At most 5 bytes.",
                "hop": "edge-fra",
                "request_id": "4bf92f35",
            },
            id="9110-15.5.14-phrase",
        ),
    ],
)
def test_json(error: HopError, expected: dict[str, object]) -> None:
    made = answer(error)
    assert made.status == expected["status"]
    assert made.get(b"content-type") == b"application/problem+json"
    assert made.get(b"cache-control") == b"no-store"
    assert document(made) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(ConnectRefused(), b"edge-fra;error=connection_refused", id="9209-2.3.7"),
        pytest.param(
            ResponseTimeout('No "answer" in 5 s.'),
            b'edge-fra;error=http_response_timeout;details="No \\"answer\\" in 5 s."',
            id="9209-2.1.5-details",
        ),
        pytest.param(HopError(), b"edge-fra;error=proxy_internal_error", id="9209-2.3.30-ours"),
        pytest.param(LoopDetected(), b"edge-fra;error=proxy_loop_detected", id="9209-2.3.32-loop"),
        pytest.param(NotFound(), b"edge-fra;error=http_request_denied", id="9209-2.3.17-denied"),
        pytest.param(
            BadRequest(),
            b'edge-fra;error=http_request_error;status-code=400;status-phrase="Bad Request"',
            id="9209-2.3.16-with-its-parameters",
        ),
        pytest.param(
            ConnectRefused("é\r\nx: y"), b'edge-fra;error=connection_refused;details="???x: y"', id="9651-4.1.6"
        ),
    ],
)
def test_proxy_status(error: HopError, expected: bytes) -> None:
    assert answer(error).get(b"proxy-status") == expected


def test_a_name_that_is_no_token_is_a_string() -> None:
    assert proxy_status(ConnectRefused(), "1st edge") == b'"1st edge";error=connection_refused'


@pytest.mark.parametrize("accept", [None, BROWSER], ids=["json", "html"])
def test_private_is_never_shown(accept: bytes | None) -> None:
    made = answer(NoBackend(private="10.0.0.7:9001 refused"), accept)
    shown = repr((made.body, made.fields))
    assert "10.0.0.7" not in shown
    assert made.status == 503


def test_html() -> None:
    made = answer(NotFound("No product <b>“shoes”</b> & co."), BROWSER)
    assert made.get(b"content-type") == b"text/html; charset=utf-8"
    assert made.get(b"x-content-type-options") == b"nosniff"
    text = page(made)
    assert "<h1>404 Not Found</h1>" in text
    assert "No product &lt;b&gt;“shoes”&lt;/b&gt; &amp; co." in text
    assert "edge-fra" in text
    assert "4bf92f35" in text
    assert "connection" not in text


def test_html_names_the_error_type() -> None:
    text = page(answer(ConnectRefused(), BROWSER))
    assert "<h1>502 Bad Gateway</h1>" in text
    assert "The next hop refused the connection." in text
    assert "connection_refused" in text


def test_the_page_is_well_formed() -> None:
    open_tags: list[str] = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag != "meta":
                open_tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert open_tags.pop() == tag

    Checker().feed(page(answer(ConnectRefused("<i>"), BROWSER)))
    assert not open_tags


def test_the_policy_allows_the_style_and_nothing_else() -> None:
    made = answer(NotFound(), BROWSER)
    style = re.search(r"<style>(.*?)</style>", page(made), re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = made.get(b"content-security-policy")
    assert policy is not None
    assert policy.decode().startswith(f"default-src 'none'; style-src 'sha256-{digest}';")


def test_fields_that_the_status_calls_for() -> None:
    made = answer(HopError(status=405), fields=((b"allow", b"GET, HEAD"),))
    assert made.status == 405
    assert made.get(b"allow") == b"GET, HEAD"


def test_no_request_id_before_there_is_a_request() -> None:
    made = response(BadRequest(), hop="edge-fra", accept=None, request_id=b"")
    assert "request_id" not in document(made)


def test_max_forwards_ends_here() -> None:
    """RFC 9110 §7.6.2 and §9.3.7: OPTIONS is answered with what this hop takes."""
    made = answer(FinalRecipient(b"OPTIONS"))
    assert (made.status, made.body) == (204, b"")
    assert made.get(b"proxy-status") is None, "it is no error"
    allow = made.get(b"allow")
    assert allow is not None
    assert b"OPTIONS" in allow
    made = answer(FinalRecipient(b"TRACE"))
    assert made.status == 405
    allow = made.get(b"allow")
    assert allow is not None
    assert b"TRACE" not in allow


def every_error(base: type[HopError] = HopError) -> list[type[HopError]]:
    found = [base]
    for kind in base.__subclasses__():
        found += every_error(kind)
    # a cut is no answer: the connection ends, or the stream
    return [kind for kind in found if kind.__module__ == errors.__name__ and not issubclass(kind, errors.CutOff)]


@pytest.mark.parametrize("kind", every_error())
@pytest.mark.parametrize("accept", [None, BROWSER], ids=["json", "html"])
def test_every_error_has_an_answer(kind: type[HopError], accept: bytes | None) -> None:
    made = answer(kind(), accept)
    assert made.status == kind.status
    assert made.body
    if accept is None:
        assert (document(made)["type"] == "about:blank") == (
            kind.proxy_status in ("http_request_error", "http_request_denied")
        ), f"{kind.proxy_status} is no error type of RFC 9209 section 2.3"


@given(
    st.text(st.characters(exclude_categories=())),
    st.sampled_from([None, BROWSER]),
    st.binary(max_size=20),
    st.integers(400, 599),
)
def test_never_raises_and_fields_are_well_formed(
    detail: str, accept: bytes | None, request_id: bytes, status: int
) -> None:
    made = response(HopError(detail, status=status), hop="edge-fra", accept=accept, request_id=request_id)
    for _, value in made.fields:
        assert not re.search(rb"[^\x20-\x7e]", value)


@pytest.mark.parametrize(
    ("status", "name"),
    [(413, "Content Too Large"), (414, "URI Too Long"), (416, "Range Not Satisfiable"), (422, "Unprocessable Content")],
)
def test_reason_phrases_are_the_registry_s(status: int, name: str) -> None:
    """RFC 9110 §15.5; Python before 3.13 has older ones."""
    assert STATUS_LINES[status] == b"HTTP/1.1 %d %b\r\n" % (status, name.encode())
    assert phrase(status) == name
