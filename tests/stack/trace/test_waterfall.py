from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest

from stack.trace.model import Span, Trace
from tests.stack.trace.cases import BEFORE, FAULT, FOREIGN, FOREIGN_APP, HIT, ID, MISS, RETRIED, TRACES, made

TOLERANCE = 1e-6


def named(trace: Trace) -> dict[str, Span]:
    return {span.name if span.kind != "attempt" else f"{span.name}?": span for span in trace.spans}


def close(value: float, wanted: float) -> bool:
    return abs(value - wanted) < TOLERANCE


def test_one_span_for_everything_on_the_way_in_the_order_of_the_path() -> None:
    kinds = [(span.name, span.kind) for span in made(MISS).spans]
    assert kinds == [
        *((span.name, span.kind) for span in BEFORE),
        ("http", "http"),
        ("edge-fra", "cdn_edge"),
        ("lb-a", "loadbalancer"),
        ("proxy-1", "proxy"),
        ("app-1", "appserver"),
        ("db", "database"),
    ]


def test_the_next_hop_is_in_the_middle_of_the_step_that_waits_for_it() -> None:
    """10 ms at the client, 8.6 at the edge: 0.7 there, 0.7 back. Its fetch took 8.0, the balancer 6.6 of them."""
    spans = named(made(MISS))
    edge, lb, proxy, app = (spans[name] for name in ("edge-fra", "lb-a", "proxy-1", "app-1"))
    assert close(edge.start_ms, 5.7)
    assert close(edge.total_ms, 8.6)
    assert close(lb.start_ms, 5.7 + 0.2 + 0.7)
    assert close(edge.own_ms, 0.2 + 0.4 + 1.4)
    assert close(proxy.start_ms, lb.start_ms + 0.2 + (6.4 - 2.6) / 2)
    assert close(lb.own_ms, 0.2 + 6.4 - 2.6)
    assert close(app.start_ms, proxy.start_ms + 0.2 + (2.3 - 1.7) / 2)
    assert close(app.own_ms, 0.9)
    assert close(spans["db"].start_ms, app.start_ms + 0.3)
    assert close(spans["db"].own_ms, 0.8)


@pytest.mark.parametrize("name", [name for name in TRACES if name not in ("nxdomain", "timeout")])
def test_own_times_add_up_to_the_whole_and_nothing_overlaps(name: str) -> None:
    trace = TRACES[name]()
    placed = [span for span in trace.spans if span.kind != "said"]
    assert close(sum(span.own_ms for span in placed), trace.total_ms)
    busy = sorted(interval for span in placed for interval in span.busy)
    for (start, length), (after, _) in pairwise(busy):
        assert start + length <= after + TOLERANCE
    for span in placed:
        assert close(sum(length for _, length in span.busy), span.own_ms)
        assert all(span.start_ms - TOLERANCE <= at and at + took <= span.end_ms + TOLERANCE for at, took in span.busy)


@pytest.mark.parametrize("name", TRACES)
def test_the_budget_adds_up_to_the_whole(name: str) -> None:
    trace = TRACES[name]()
    if trace.status:
        assert close(sum(row.ms or 0.0 for row in trace.budget), trace.total_ms)


def test_a_hit_has_no_hop_behind_the_edge() -> None:
    trace = made(HIT)
    assert [span.name for span in trace.spans[len(BEFORE) :]] == ["http", "edge-fra"]
    assert {row.name: row.ms for row in trace.budget if row.ms is None} == {"edge to origin": None, "server": None}


def test_each_attempt_has_a_line_with_its_backend() -> None:
    trace = made(RETRIED)
    attempts = [span for span in trace.spans if span.kind == "attempt"]
    assert [(span.name, span.decision, span.error) for span in attempts] == [
        ("proxy-1", "attempt 1: connection refused", True),
        ("proxy-2", "attempt 2: answered 5xx", True),
        ("proxy-3", "attempt 3: answered", False),
    ]
    assert [span.name for span in trace.spans].index("proxy-3") == trace.spans.index(attempts[2])
    assert close(attempts[1].start_ms, attempts[0].end_ms)
    assert close(attempts[2].own_ms, 4.0 - 2.0)
    lb = trace.span("lb-a")
    assert lb is not None
    assert (lb.decision, lb.error) == ("to proxy-3, attempt 3", False)


def test_the_answer_that_was_kept_belongs_to_the_attempt_that_got_it() -> None:
    """A 502 of the first backend is passed on, since the second refused: its times lie within the first attempt."""
    text = """
    server-timing: proxy-1.route;dur=0.1;desc="app", proxy-1.forward;dur=1.9;desc="failed"
    server-timing: lb-a.choose;dur=0.0;desc="chosen", lb-a.attempt;dur=3.0;desc="bad-status";to="proxy-1", lb-a.attempt;dur=1.0;desc="refused";to="proxy-2"
    """
    trace = made(text, status=502)
    first, second = (span for span in trace.spans if span.kind == "attempt")
    proxy = next(span for span in trace.spans if span.kind == "proxy")
    assert (first.name, close(first.own_ms, 1.0), close(second.own_ms, 1.0)) == ("proxy-1", True, True)
    assert first.start_ms <= proxy.start_ms
    assert proxy.end_ms <= first.end_ms + TOLERANCE
    assert [span.name for span in trace.spans][-3:] == ["proxy-1", "proxy-1", "proxy-2"]
    lb = trace.span("lb-a")
    assert lb is not None
    assert (lb.decision, lb.error) == ("2 attempts, none answered", True)


def test_a_fault_is_named_and_its_time_told_apart() -> None:
    lb = made(FAULT).span("lb-a")
    assert lb is not None
    assert lb.decision == "fault: latency; to proxy-1"
    assert lb.injected
    assert close(sum(took for _, took in lb.faults), 4.0)


def test_a_hop_that_did_nothing_but_meet_a_fault_is_known_by_its_name() -> None:
    edge = made('server-timing: edge-fra.fault;dur=1.0;desc="abort"', status=503).span("edge-fra")
    assert edge is not None
    assert (edge.kind, edge.decision, edge.injected) == ("cdn_edge", "fault: abort", True)


def test_a_server_that_says_nothing_of_itself_is_one_span() -> None:
    trace = made(FOREIGN, url="http://127.0.0.1:3000/")
    assert [(span.name, span.kind) for span in trace.spans][-2:] == [("http", "http"), ("server", "origin")]
    assert close(trace.spans[-1].total_ms, 10.0)


def test_an_origin_without_times_has_all_that_was_waited_for_it() -> None:
    trace = made(FOREIGN_APP)
    origin = trace.span("origin")
    assert origin is not None
    assert close(origin.own_ms, 2.3)
    said = [(span.name, span.own_ms, span.decision) for span in trace.spans if span.kind == "said"]
    assert said == [("db", 53.2, "4 queries"), ("total", 0.0, "")]


@pytest.mark.parametrize(
    "timing",
    [
        "edge-fra.lookup;dur=-1",
        "edge-fra.lookup;dur=nan",
        "edge-fra.lookup",
        "edge-fra.lookup;dur=1e300",
        ".lookup;dur=1",
        "lookup;dur=1",
        "edge.unheard;dur=1",
    ],
)
def test_an_entry_that_is_none_of_a_hop_is_only_what_somebody_said(timing: str) -> None:
    trace = made(f"server-timing: {timing}")
    assert [span.kind for span in trace.spans if span.kind not in ("dns", "tcp", "tls")] == ["http", "origin", "said"]


def test_times_that_were_rounded_up_stay_within_the_clients() -> None:
    text = 'server-timing: edge-fra.lookup;dur=10.1;desc="hit"'
    trace = made(text)
    edge, http = trace.span("edge-fra"), trace.span("http")
    assert edge is not None
    assert http is not None
    assert edge.end_ms <= http.end_ms
    assert http.own_ms >= 0


def test_a_hop_behind_that_took_longer_than_was_waited_for_it_gives_no_negative_time() -> None:
    text = """
    server-timing: lb-a.choose;dur=0.1;desc="chosen", lb-a.attempt;dur=9.0;desc="answered"
    server-timing: edge-fra.lookup;dur=0.1;desc="uri-miss", edge-fra.fetch;dur=2.0;desc="fetched"
    """
    trace = made(text)
    assert all(span.own_ms >= 0 and length >= 0 for span in trace.spans for _, length in span.busy)


WORDS = [
    ('edge-fra.lookup;dur=0;desc="hit"', "edge-fra; hit; ttl=5", "HIT, fresh 5 s more"),
    ('edge-fra.lookup;dur=0;desc="stale-while-revalidate"', "", "STALE: stale-while-revalidate"),
    ('edge-fra.lookup;dur=0;desc="only-if-cached"', "", "MISS only-if-cached"),
    ('edge-fra.lookup;dur=0;desc="bypass", edge-fra.fetch;dur=1;desc="fetched"', "", "PASS bypass"),
    (
        'edge-fra.lookup;dur=0;desc="stale", edge-fra.fetch;dur=1;desc="stale-if-error"',
        "edge-fra; fwd=stale; fwd-status=500; ttl=-3; detail=stale-if-error",
        "STALE: stale-if-error",
    ),
    ('lb-a.choose;dur=0;desc="panic", lb-a.attempt;dur=1;desc="answered";to="a"', "", "to a, all are down"),
    ('lb-a.choose;dur=0;desc="chosen", lb-a.attempt;dur=1;desc="timeout";to="a"', "", "a: no answer in time"),
    ('lb-a.choose;dur=0;desc="chosen", lb-a.attempt;dur=1;desc="answered"', "", "1 attempt"),
    ('proxy-1.route;dur=0;desc="app", proxy-1.forward;dur=1;desc="failed"', "", "to the app, failed"),
    ('proxy-1.route;dur=0;desc="none"', "", "none"),
    ('app-1.app;dur=1;desc="failed"', "", "failed"),
]


@pytest.mark.parametrize(("timing", "cache", "wanted"), WORDS)
def test_decisions(timing: str, cache: str, wanted: str) -> None:
    trace = made(f"server-timing: {timing}" + (f"\ncache-status: {cache}" if cache else ""))
    assert trace.spans[len(BEFORE) + 1].decision == wanted


ERRORS: Sequence[tuple[str, bool]] = [
    ('edge-fra.lookup;dur=0;desc="stale", edge-fra.fetch;dur=1;desc="stale-if-error"', False),
    ('edge-fra.lookup;dur=0;desc="uri-miss", edge-fra.fetch;dur=1;desc="failed"', True),
    ('lb-a.choose;dur=0;desc="none"', True),
    ('lb-a.choose;dur=0;desc="chosen", lb-a.attempt;dur=1;desc="refused"', True),
    ('lb-a.choose;dur=0;desc="chosen", lb-a.attempt;dur=1;desc="answered"', False),
    ('proxy-1.route;dur=0;desc="none"', True),
    ('app-1.app;dur=1;desc="failed"', True),
]


@pytest.mark.parametrize(("timing", "error"), ERRORS)
def test_what_is_a_failure(timing: str, error: bool) -> None:
    assert made(f"server-timing: {timing}").spans[len(BEFORE) + 1].error is error


def test_ids_and_the_rest_of_the_head() -> None:
    trace = made(MISS)
    assert (trace.edge, trace.coding, trace.request_id, trace.trace_id) == ("edge-fra", "br", ID, ID)
    assert made("x-request-id: mine").trace_id == ""
    assert made("location: /x", status=303).location == "/x"
    assert made("location: /x").location == ""


def test_a_fault_of_one_attempt_is_named_there() -> None:
    text = """
    server-timing: app-2.app;dur=1.0;desc="answered"
    server-timing: lb-a.choose;dur=0.1;desc="chosen", lb-a.fault;dur=2.0;desc="latency", lb-a.fault;dur=0.0;desc="refused", lb-a.attempt;dur=0.1;desc="refused";to="app-1", lb-a.attempt;dur=3.0;desc="answered";to="app-2"
    """
    trace = made(text)
    first, second = (span for span in trace.spans if span.kind == "attempt")
    assert first.decision == "attempt 1: connection refused; fault: latency, refused"
    assert (first.injected, second.injected) == (True, False)
    assert close(first.own_ms, 2.1)
    assert close(first.total_ms, 2.1)
    lb = trace.span("lb-a")
    assert lb is not None
    assert (lb.decision, lb.injected) == ("to app-2, attempt 2", False)
    assert close(sum(span.own_ms for span in trace.spans), trace.total_ms)


@pytest.mark.parametrize("word", ["corrupt", "truncate", "bandwidth", "slow-close"])
def test_a_fault_of_the_content_is_marked_when_the_answer_is_there_and_took_none_of_the_waiting(word: str) -> None:
    text = f"""
    server-timing: app-1.app;dur=3.0;desc="answered"
    server-timing: lb-a.choose;dur=0.1;desc="chosen", lb-a.fault;dur=5.0;desc="{word}", lb-a.attempt;dur=0.1;desc="answered";to="app-1"
    """
    trace = made(text)
    lb, app = trace.span("lb-a"), trace.span("app-1")
    assert lb is not None
    assert app is not None
    assert lb.decision == f"fault: {word}; to app-1"
    assert close(lb.own_ms, 0.1 + 5.1 - 3.0)
    assert close(app.start_ms, lb.start_ms + 0.1 + (5.1 - 3.0) / 2)
    assert lb.faults == ()


def test_an_answer_that_a_fault_gave_is_nobody_elses() -> None:
    text = """
    server-timing: lb-a.choose;dur=0.1;desc="chosen", lb-a.fault;dur=0.0;desc="status", lb-a.attempt;dur=0.2;desc="bad-status";to="app-1"
    """
    trace = made(text, status=503)
    assert [span.kind for span in trace.spans[len(BEFORE) :]] == ["http", "loadbalancer"]
    assert trace.spans[-1].decision == "fault: status; app-1: answered 5xx"


def test_a_fault_met_while_serving_keeps_its_time() -> None:
    trace = made('server-timing: edge-fra.lookup;dur=0.1;desc="hit", edge-fra.fault;dur=3.0;desc="slow-close"')
    edge = trace.span("edge-fra")
    assert edge is not None
    assert close(sum(took for _, took in edge.faults), 3.0)


def test_what_a_server_makes_up_is_bounded() -> None:
    hops = ", ".join(f'edge-{number}.fetch;dur=1.0;desc="fetched"' for number in range(900))
    said = ", ".join(f"entry-{number};dur=1" for number in range(900))
    trace = made(f"server-timing: {hops}")
    assert len(trace.spans) < 60
    assert trace.edge == "edge-899"
    assert len(made(f"server-timing: {said}").spans) < 60
