from __future__ import annotations

import pytest

from loadbalancer.rules.retry import NotRetried, after_answer, after_error
from stack import errors
from stack.errors import HopError

METHOD, CONTENT, CLIENT, OURS = NotRetried.METHOD, NotRetried.CONTENT, NotRetried.CLIENT, NotRetried.OURS

ERRORS = [
    # error, GET, GET with content gone, POST, POST with content gone
    (errors.ConnectRefused(), None, None, None, None),
    (errors.ConnectTimeout(), None, None, None, None),
    (errors.TlsFailed(), None, None, None, None),
    (errors.DnsFailed(), None, None, None, None),
    (errors.CertificateRefused(), None, None, None, None),
    (errors.PoolExhausted(), None, None, None, None),
    (errors.Refused(), None, CONTENT, None, CONTENT),
    (errors.ClosedEarly(), None, CONTENT, METHOD, METHOD),
    (errors.ResponseTimeout(), None, CONTENT, METHOD, METHOD),
    (errors.ResponseIncomplete(), None, CONTENT, METHOD, METHOD),
    (errors.ResponseMalformed(), None, CONTENT, METHOD, METHOD),
    (errors.RequestTimeout(), CLIENT, CLIENT, CLIENT, CLIENT),
    (errors.ContentTooLarge(), CLIENT, CLIENT, CLIENT, CLIENT),
    (errors.ClientGone(), CLIENT, CLIENT, CLIENT, CLIENT),
    (HopError(), OURS, OURS, OURS, OURS),
]


@pytest.mark.parametrize("row", ERRORS, ids=lambda row: f"9110-9.2.2-{type(row[0]).__name__}")
def test_after_error(row: tuple[HopError, NotRetried | None, NotRetried | None, NotRetried | None, NotRetried]) -> None:
    error, get, get_gone, post, post_gone = row
    assert after_error(error, b"GET", replayable=True) is get
    assert after_error(error, b"GET", replayable=False) is get_gone
    assert after_error(error, b"POST", replayable=True) is post
    assert after_error(error, b"POST", replayable=False) is post_gone


@pytest.mark.parametrize(
    ("method", "replayable", "expected"),
    [
        (b"GET", True, None),
        (b"HEAD", True, None),
        (b"OPTIONS", True, None),
        (b"TRACE", True, None),
        (b"OPTIONS", False, CONTENT),
        (b"POST", True, METHOD),
        (b"PUT", True, METHOD),
        (b"DELETE", True, METHOD),
        (b"PATCH", True, METHOD),
        (b"get", True, METHOD),
    ],
)
def test_after_a_502_503_or_504(method: bytes, replayable: bool, expected: NotRetried | None) -> None:
    assert after_answer(method, replayable=replayable) is expected


@pytest.mark.parametrize("method", [b"PUT", b"DELETE", b"PATCH", b"CONNECT", b"PURGE"])
def test_what_was_sent_is_repeated_only_when_safe(method: bytes) -> None:
    assert after_error(errors.ClosedEarly(), method, replayable=True) is METHOD
