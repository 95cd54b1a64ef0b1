"""The order of the path and its vocabulary: the one truth that dashboard, docs and tests are checked against."""

from __future__ import annotations

from collections.abc import Mapping

from stack import cache_words

HOPS = ("dns_server", "cdn_edge", "loadbalancer", "proxy", "appserver")
"""The request path, in order. Each name is a folder, an importable package and the `kind` of its processes."""

FAULTS = ("latency", "bandwidth", "refused", "reset", "blackhole", "slow-close", "truncate", "corrupt", "status")
"""Words of the step `fault`: what may be injected on a link or a hop (`stack.faults`)."""

DNS_FAULTS = ("latency", "bandwidth", "refused", "truncate", "drop", "rcode", "wrong-address", "lame")
"""The same on a DNS server and what it asks."""

STEPS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "dns_server": {
        "answer": (
            "answered",
            "referral",
            "nxdomain",
            "nodata",
            "refused",
            "formerr",
            "notimp",
            "badvers",
            "badcookie",
            "truncated",
            "rate-limited",
            "servfail",
            "yxdomain",
            "yxrrset",
            "nxrrset",
            "notauth",
            "dropped",
            "notzone",
            "updated",
        ),
        "cache": ("hit", "miss"),
        "fault": DNS_FAULTS,
        "walk": ("walked", "failed"),
    },
    "cdn_edge": {
        "fault": FAULTS,
        "disk": tuple(cache_words.DISK),
        "lookup": tuple(cache_words.LOOKUP),
        "fetch": tuple(cache_words.FETCH),
        "store": tuple(cache_words.STORE),
    },
    "loadbalancer": {
        "fault": FAULTS,
        "choose": ("chosen", "panic", "none"),
        "attempt": ("answered", "refused", "timeout", "failed", "bad-status", "client"),
    },
    "proxy": {
        "fault": FAULTS,
        "route": ("app", "static", "none"),
        "serve": (
            "file",
            "precompressed",
            "not-modified",
            "partial",
            "redirect",
            "not-found",
            "forbidden",
            "unsatisfiable",
            "precondition-failed",
            "method",
        ),
        "forward": ("answered", "failed"),
        "compress": (
            "br",
            "zstd",
            "gzip",
            "identity",
            "small",
            "type",
            "encoded",
            "no-transform",
            "status",
            "range",
            "head",
        ),
    },
    "appserver": {
        "app": ("asking", "answered", "failed"),
        "db": ("asked",),
        "health": ("healthy", "unhealthy"),
    },
}
"""What each kind of hop does, step by step, and the words a step may come to.

`exchange.mark(step, word)` uses these; what the edge's mean is in `stack.cache_words`. The same words stand in
Server-Timing, the access log, the metrics and docs/life-of-a-request.md.
"""
