"""What leaves the program for other programs: the HTTP Archive and our own JSON, each held to its schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft6Validator, Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT6

from stack.http.message import Request, Response
from stack.trace import har, report
from stack.trace.run import Failure, Order, Outcome
from stack.trace.target import parse
from tests.stack.trace.cases import BEFORE, DNS, MISS, TRACES, fields, made

ROOT = Path(__file__).parents[3]
HAR_SCHEMA = ROOT / "tests" / "data" / "har-schema"
SECRETS = ("s3cret", "c00kie", "s3t", "hidden", "k3y", "t0ken")


def har_validator() -> Draft6Validator:
    """har-schema writes `min` for `minimum`, which means nothing: put right here, so that it holds."""
    schemas = {
        path.name: json.loads(path.read_text().replace('"min":', '"minimum":')) for path in HAR_SCHEMA.glob("*.json")
    }
    resources = [(schema["$id"], Resource(schema, DRAFT6)) for schema in schemas.values()]
    registry: Registry[Any] = Registry().with_resources(
        [(name, resource) for id_, resource in resources for name in (id_, id_.rstrip("#"))]
    )
    return Draft6Validator(schemas["har.json"], registry=registry, format_checker=FormatChecker())


VALIDATOR = har_validator()
OURS = Draft202012Validator(
    json.loads((ROOT / "docs" / "trace.schema.json").read_text()), format_checker=FormatChecker()
)


def outcome(kind: str) -> Outcome:
    """miss, hit (on the connection in use), nxdomain, refused, waiting (no response), cut."""
    order = Order(
        target=parse("https://shop.test:8443/products/shoes?size=42&size=43&empty="),
        method="POST" if kind == "miss" else "GET",
        fields=[
            (b"authorization", b"Basic s3cret"),
            (b"cookie", b"a=c00kie; b=c00kie"),
            (b"x-api-key", b"k3y"),
            (b"accept", b"*/*"),
        ],
        body=b"password=hidden" if kind == "miss" else b"",
    )
    one = Outcome(order, 1_700_000_000.25)
    if kind == "nxdomain":
        one.spans, one.last_ms, one.failure = list(DNS), 1.9, Failure.DNS
        one.trace = TRACES["nxdomain"]()
        return one
    one.spans = [] if kind == "hit" else list(BEFORE)
    if kind == "refused":
        one.spans, one.last_ms, one.failure = list(BEFORE[:4]), 2.2, Failure.CONNECTION
        one.trace = TRACES["nxdomain"]()
        return one
    one.request = Request(order.method.encode(), order.target.target.encode(), order.fields, authority=b"shop.test")
    one.place, one.sent_ms, one.last_ms = ("127.0.1.1", 8443), 0.1 if kind == "hit" else 5.1, 15.4
    if kind == "waiting":
        one.trace, one.failure = TRACES["timeout"](), Failure.TIMEOUT
        return one
    head = fields(
        f"{MISS}\ncontent-type: text/html\nset-cookie: id=s3t; Path=/; Secure\nx-csrf-token: t0ken\nlocation: /next"
    )
    one.response, one.first_ms, one.size, one.protocol = Response(200, head), 15.0, 2492, "HTTP/2"
    one.trace = made(MISS)
    return one


KINDS = ("miss", "hit", "nxdomain", "refused", "waiting")


def entries(*outcomes: Outcome, secrets: bool = False) -> list[dict[str, Any]]:
    archive = json.loads(har.archive(outcomes, secrets=secrets))
    errors = [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(archive)]
    assert errors == []
    found: list[dict[str, Any]] = archive["log"]["entries"]
    return found


def test_the_validator_says_no() -> None:
    archive = json.loads(har.archive([outcome("miss")]))
    archive["log"]["entries"][0]["timings"]["wait"] = "long"
    archive["log"]["entries"][0]["time"] = -5
    del archive["log"]["entries"][0]["response"]["status"]
    assert len(list(VALIDATOR.iter_errors(archive))) == 3


def test_every_kind_of_outcome_is_an_archive() -> None:
    assert len(entries(*map(outcome, KINDS))) == len(KINDS)


TIMINGS = [
    ("miss", {"blocked": 0.1, "dns": 1.8, "connect": 3.2, "ssl": 2.9, "send": 0, "wait": 9.9, "receive": 0.4}, 15.4),
    ("hit", {"blocked": 0.1, "dns": -1, "connect": -1, "ssl": -1, "send": 0, "wait": 14.9, "receive": 0.4}, 15.4),
    ("nxdomain", {"blocked": 0.1, "dns": 1.8, "connect": -1, "ssl": -1, "send": 0, "wait": 0, "receive": 0}, 1.9),
    ("refused", {"blocked": 0.1, "dns": 1.8, "connect": 0.3, "ssl": -1, "send": 0, "wait": 0, "receive": 0}, 2.2),
    ("waiting", {"blocked": 0.1, "dns": 1.8, "connect": 3.2, "ssl": 2.9, "send": 0, "wait": 10.3, "receive": 0}, 15.4),
]


@pytest.mark.parametrize(("kind", "wanted", "time"), TIMINGS, ids=[case[0] for case in TIMINGS])
def test_timings(kind: str, wanted: dict[str, float], time: float) -> None:
    """HAR 1.2 `timings`: connect includes ssl, what did not apply is -1, and the rest adds up to `time`."""
    (entry,) = entries(outcome(kind))
    assert entry["timings"] == wanted
    assert entry["time"] == pytest.approx(time)
    parts = (took for name, took in entry["timings"].items() if name != "ssl" and took > 0)
    assert sum(parts) == pytest.approx(entry["time"])


def test_the_head_of_an_entry() -> None:
    (entry,) = entries(outcome("miss"))
    assert entry["startedDateTime"] == "2023-11-14T22:13:20.250Z"
    assert (entry["serverIPAddress"], entry["connection"]) == ("127.0.1.1", "8443")
    assert entry["request"]["queryString"] == [
        {"name": "size", "value": "42"},
        {"name": "size", "value": "43"},
        {"name": "empty", "value": ""},
    ]
    assert entry["request"]["headers"][0] == {"name": "host", "value": "shop.test"}
    assert (entry["response"]["status"], entry["response"]["statusText"]) == (200, "OK")
    assert entry["response"]["redirectURL"] == "/next"
    assert entry["response"]["content"]["mimeType"] == "text/html"
    assert entry["_hopstack"]["edge"] == "edge-fra"


def test_without_a_response_the_status_is_0_and_the_comment_says_why() -> None:
    (entry,) = entries(outcome("nxdomain"))
    assert (entry["response"]["status"], entry["request"]["httpVersion"]) == (0, "HTTP/1.1")
    assert entry["comment"] == "nope.shop.test does not exist, says dns-shop (NXDOMAIN)"
    assert "serverIPAddress" not in entry


def test_a_terminal_obeys_nothing_of_what_a_server_sent() -> None:
    """JSON lets DEL and C1 stand."""
    one = outcome("miss")
    assert one.response is not None
    one.response.fields = [*one.response.fields, (b"x-evil", b"\x9b2J\x7f")]
    one.trace = made(f'{MISS}\nx-request-id: \x9b2J\nproxy-status: "\x9ba"; error="\x9bb"; details="\x9bc"')
    for written in (har.archive([one]), report.document([one])):
        assert all(char == "\n" or char.isprintable() for char in written.decode())
        assert json.loads(written)
    assert json.loads(report.document([one]))["requests"][0]["proxy_status"][0]["error"] == "\x9bb"


def test_secrets_are_left_out_unless_asked_for() -> None:
    plain = har.archive([outcome(kind) for kind in KINDS]).decode()
    for secret in SECRETS:
        assert secret not in plain
    (entry,) = entries(outcome("miss"))
    assert {"name": "authorization", "value": "[left out]"} in entry["request"]["headers"]
    assert [cookie["name"] for cookie in entry["request"]["cookies"]] == ["a", "b"]
    (kept,) = entries(outcome("miss"), secrets=True)
    assert {"name": "b", "value": "c00kie"} in kept["request"]["cookies"]
    assert kept["request"]["postData"]["text"] == "password=hidden"
    for secret in SECRETS:
        assert secret in json.dumps(kept)


# Our own form.


def document(*outcomes: Outcome) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(report.document(outcomes))
    errors = [f"{error.json_path}: {error.message}" for error in OURS.iter_errors(made)]
    assert errors == []
    return made


def test_the_documented_form() -> None:
    got = document(*map(outcome, KINDS))
    assert got["version"] == 1
    assert [request["failure"] for request in got["requests"]] == [None, None, "dns", "connection", "timeout"]


@pytest.mark.parametrize("name", TRACES)
def test_every_trace_fits_the_form(name: str) -> None:
    one = outcome("miss")
    one.trace = TRACES[name]()
    (request,) = document(one)["requests"]
    assert len(request["spans"]) == len(one.trace.spans)
    assert request["total_ms"] == pytest.approx(one.trace.total_ms)


def test_the_schema_knows_every_key() -> None:
    """`additionalProperties` is false in the test, so that a key cannot come to be without being documented."""
    schema = json.loads((ROOT / "docs" / "trace.schema.json").read_text())
    strict = json.loads(
        json.dumps(schema).replace('"type": "object"', '"additionalProperties": false, "type": "object"')
    )
    for kind in KINDS:
        errors = list(Draft202012Validator(strict).iter_errors(json.loads(report.document([outcome(kind)]))))
        assert [error.message for error in errors] == []


def test_every_key_is_in_the_page() -> None:
    page = (ROOT / "docs" / "trace.md").read_text()
    request = document(outcome("miss"))["requests"][0]
    span = request["spans"][0]
    for key in [*request, *span]:
        assert f"`{key}`" in page, key
