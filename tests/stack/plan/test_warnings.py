"""What works and will surprise: said, and no fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack.hop import registry
from stack.plan.document import Document
from stack.plan.make import make_plan


def warnings(text: str) -> list[str]:
    made = make_plan(Document.of_text(text), kinds=registry, state_dir=Path("/s"), environ={})
    assert all(problem.warning for problem in made.warnings)
    return [str(problem) for problem in made.warnings]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        pytest.param(
            '[apps.1]\nlimits.head = "8K"\n',
            "stack.toml:2: apps.1.limits.head: limits.head of app-1 is 8K, of proxy-1 before it 32K: what that lets in "
            "is refused further inside",
            id="limits that shrink inwards",
        ),
        pytest.param(
            '[edges.fra]\nlimits.body = "2M"\n[balancers.a]\nlimits.body = "1M"\n',
            "stack.toml:4: balancers.a.limits.body: limits.body of lb-a is 1M, of edge-fra before it 2M: what that "
            "lets in is refused further inside",
            id="a body that shrinks inwards",
        ),
        pytest.param(
            '[edges.fra]\norigin_timeouts.head = "5s"\n',
            "stack.toml:2: edges.fra.origin_timeouts.head: edge-fra waits 5s for an answer and lb-a behind it 90s: the "
            "outer one gives up first, and the client is not told where the time went",
            id="an outer hop that gives up first",
        ),
        pytest.param(
            "[apps.1]\nlimits.connections = 10\n",
            "stack.toml:2: apps.1.limits.connections: app-1 accepts 10 connections, proxy-1 may open 1024: the rest "
            "waits until it times out",
            id="more connections than the next hop takes",
        ),
        pytest.param(
            '[pools.hosts]\ncheck_timeout = "5s"\n',
            "stack.toml:2: pools.hosts.check_timeout: check_timeout is 5s and check_interval 2s: a check that takes "
            "its whole time delays the next one",
            id="checks that overtake each other",
        ),
        pytest.param(
            '[cache]\nsize = "8M"\nmax_object = "1G"\n',
            "stack.toml:3: cache.max_object: cache.max_object is 1G and cache.size 8M: nothing larger than an eighth of "
            "it is stored",
            id="an object larger than the cache",
        ),
        pytest.param(
            '[apps.1]\n[apps.2]\n[proxies.1]\n',
            "stack.toml:2: apps.2: no hop sends to app-2",
            id="a hop that nobody asks",
        ),
        pytest.param(
            '[edges.fra]\norigin_protocol = "h2"\n',
            "stack.toml:2: edges.fra.origin_protocol: origin_protocol is for https, and http://127.0.0.1:8101 is in the "
            "clear, where HTTP/1.1 is spoken; for HTTP/2 let lb-a listen on h2c://127.0.0.1:8101",
            id="ALPN without TLS",
        ),
        pytest.param(
            'origin = "http://127.0.0.1:9"\n[proxies.1]\nupstream_protocol = "auto"\n',
            "stack.toml:3: proxies.1.upstream_protocol: upstream_protocol is for https, and http://127.0.0.1:9 is in the "
            'clear, where HTTP/1.1 is spoken; for HTTP/2 write upstream = "h2c://127.0.0.1:9"',
            id="ALPN without TLS, of a URL",
        ),
        pytest.param("[pools.hosts]\n[pools.old]\n", "stack.toml:2: pools.old: no balancer has this pool", id="a pool"),
    ],
)  # fmt: skip
def test_warned_of(text: str, wanted: str) -> None:
    assert wanted in warnings(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        'app = "main:app"\n',
        "[edges.iad]\n",
        '[limits]\nbody = "1M"\n',
        '[edges.fra]\nlimits.body = "1M"\n[edges.nrt]\nlimits.body = "1M"\n',
        '[defaults]\norigin_timeouts.head = "90s"\n',
        '[apps.1]\ntimeouts.idle = "5m"\n',
        '[cache]\nsize = "8M"\n',
        '[balancers.a]\nbackend_protocol = "h2"\n',
        '[balancers.a]\nlisten = "h2c://127.0.0.1:8101"\n[edges.fra]\norigin_protocol = "h2"\n',
        '[apps.1]\nlimits.body = "8M"\n',
    ],
)
def test_what_is_fine_is_not_warned_of(text: str) -> None:
    assert warnings(text) == []


def test_a_variable_that_is_nearly_one() -> None:
    environ = {
        "HOPSTACK_LIMTS_BODY": "1M",
        "HOPSTACK_HOME": "/s",
        "HOPSTACK_URL": "x",
        "HOPSTACK_LOG": "debug",
        "LIMITS": "1",
    }
    made = make_plan(None, kinds=registry, state_dir=Path("/s"), environ=environ)
    assert [str(problem) for problem in made.warnings] == [
        "HOPSTACK_LIMTS_BODY: no option has this variable; did you mean HOPSTACK_LIMITS_BODY?"
    ]


def test_what_exec_and_containers_set_is_no_slip() -> None:
    names = (
        "URL",
        "NAME",
        "EDGE",
        "CA",
        "DNS",
        "DOH",
        "ADDRESS",
        "RESOLVE",
        "HOME",
        "LOG",
        "WORKER",
        "CONTROL_FD",
        "HOSTS",
        "SITE",
        "ADMIN",
        "CONFIG",
    )
    made = make_plan(None, kinds=registry, state_dir=Path("/s"), environ={f"HOPSTACK_{name}": "x" for name in names})
    assert made.warnings == ()
