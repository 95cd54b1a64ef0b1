from __future__ import annotations

from stack.clock import VirtualClock
from stack.http.message import Request
from stack.telemetry.exchange import Exchange
from stack.telemetry.metrics import Metrics
from stack.telemetry.requests import WORDS, RequestMetrics


async def finished(method: bytes, status: int, took: float, clock: VirtualClock, *words: str) -> Exchange:
    exchange = Exchange("edge-fra", clock.now, Request(method, b"/", [], authority=b"shop.test"))
    for word in words:
        exchange.mark("lookup", word)
    exchange.status, exchange.bytes_out = status, 10
    await clock.advance(took)
    exchange.ended = clock.now()
    return exchange


async def test_requests_are_counted_by_method_and_class_steps_by_word_time_by_bucket() -> None:
    clock, metrics = VirtualClock(), Metrics()
    count = RequestMetrics(metrics, "edge-fra")
    count.count(
        [
            await finished(b"GET", 200, 0.0004, clock, "hit"),
            await finished(b"GET", 204, 0.002, clock, "hit"),
            await finished(b"POST", 502, 3.0, clock, "bypass"),
        ]
    )
    count.count([await finished(b"GET", 0, 100.0, clock)])
    found = metrics.samples()
    assert found['hopstack_requests_total{hop="edge-fra",method="GET",status="2xx"}'] == 2
    assert found['hopstack_requests_total{hop="edge-fra",method="POST",status="5xx"}'] == 1
    assert found['hopstack_requests_total{hop="edge-fra",method="GET",status="none"}'] == 1
    assert found['hopstack_steps_total{hop="edge-fra",step="lookup",word="hit"}'] == 2
    assert found['hopstack_response_bytes_total{hop="edge-fra"}'] == 40
    buckets = {key.partition('le="')[2][:-2]: value for key, value in found.items() if "_bucket" in key}
    assert [buckets[le] for le in ("0.0005", "0.001", "0.0025", "2.5", "5", "10", "+Inf")] == [1, 1, 2, 2, 3, 3, 4]
    assert found['hopstack_request_seconds_count{hop="edge-fra"}'] == 4
    assert round(found['hopstack_request_seconds_sum{hop="edge-fra"}'], 4) == 103.0024


async def test_methods_that_a_client_invents_share_a_label() -> None:
    clock, metrics = VirtualClock(), Metrics()
    count = RequestMetrics(metrics, "edge-fra")
    for n in range(1000):
        count.count([await finished(b"M%d" % n, 501, 0, clock)])
    assert len(count._requests) == 1
    series = [key for key in metrics.samples() if key.startswith("hopstack_requests_total")]
    assert series == ['hopstack_requests_total{hop="edge-fra",method="other",status="5xx"}']
    assert metrics.samples()[series[0]] == 1000  # and no more when they are read again


def test_words_that_an_app_invents_share_a_label_in_the_end() -> None:
    clock, metrics = VirtualClock(), Metrics()
    count = RequestMetrics(metrics, "app-1")
    for number in range(5000):
        exchange = Exchange("app-1", clock.now)
        exchange.mark("db", f"row-{number}")
        count.count([exchange])
        assert len(count._steps) <= WORDS
    words = {key: value for key, value in metrics.samples().items() if "steps_total" in key}
    assert len(words) <= WORDS + 1
    assert sum(words.values()) == 5000
    assert words['hopstack_steps_total{hop="app-1",step="other",word="other"}'] >= 3000


def test_the_exposition_format() -> None:
    metrics = Metrics()
    counter = metrics.counter("hopstack_x_total", "Xs.", ("a",))
    counter.inc('q"\\\n', by=12_345_678)
    counter.inc("r", by=0.5)
    metrics.gauge("hopstack_g", "Gs.", (), lambda: [((), float("inf"))])
    histogram = metrics.histogram("hopstack_s", "Ss.", ("hop",), ("e",), (0.5, 1.0))
    metrics.histogram("hopstack_s", "Ss.", ("hop",), ("f",), (0.5, 1.0))
    histogram.counts[:] = [1, 0, 2]
    histogram.total = 7.25
    assert metrics.text() == (
        "# HELP hopstack_x_total Xs.\n# TYPE hopstack_x_total counter\n"
        'hopstack_x_total{a="q\\"\\\\\\n"} 12345678\nhopstack_x_total{a="r"} 0.5\n'
        "# HELP hopstack_g Gs.\n# TYPE hopstack_g gauge\nhopstack_g +Inf\n"
        "# HELP hopstack_s Ss.\n# TYPE hopstack_s histogram\n"
        'hopstack_s_bucket{hop="e",le="0.5"} 1\nhopstack_s_bucket{hop="e",le="1"} 1\n'
        'hopstack_s_bucket{hop="e",le="+Inf"} 3\nhopstack_s_sum{hop="e"} 7.25\nhopstack_s_count{hop="e"} 3\n'
        'hopstack_s_bucket{hop="f",le="0.5"} 0\nhopstack_s_bucket{hop="f",le="1"} 0\n'
        'hopstack_s_bucket{hop="f",le="+Inf"} 0\nhopstack_s_sum{hop="f"} 0\nhopstack_s_count{hop="f"} 0\n'
    )
