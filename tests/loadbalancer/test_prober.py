"""The prober on a virtual clock with scripted results."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random

import pytest

from loadbalancer.prober import Prober
from loadbalancer.probes import Result, http_probe, tcp_probe
from loadbalancer.rules.blame import Blame
from loadbalancer.rules.health import Health
from stack.errors import CertificateRefused, ConnectRefused, DnsFailed, HopError, TlsFailed
from stack.http.message import Response
from stack.http.statuses import Statuses
from stack.net.tasks import Tasks
from tests.loadbalancer.scripted import Bench, ScriptedBody, ScriptedPool


class ScriptedProbe:
    """`+` passes, `-` fails, `!` raises, `?` hangs, `s` passes after half a second, `x` has a bug; the last one for ever. Knows when it was asked."""

    def __init__(self, bench: Bench, script: str, error: HopError) -> None:
        self.bench, self.script, self.error = bench, script, error
        self.at: list[float] = []

    async def __call__(self) -> Result:
        self.at.append(self.bench.clock.now() - 1000.0)
        step = self.script[0]
        self.script = self.script[1:] or step
        match step:
            case "!":
                raise self.error
            case "?":
                await asyncio.Event().wait()
            case "s":
                await self.bench.clock.sleep(0.5)
                step = "+"
            case "x":
                raise RuntimeError("a bug")
        return Result(step == "+", "200" if step == "+" else "503")


class Steady(Random):
    """No jitter: always in the middle."""

    def random(self) -> float:
        return 0.5

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


class Watching:
    def __init__(self, tasks: Tasks) -> None:
        self.tasks = tasks
        self.bench = Bench(ScriptedPool())
        self.one = self.bench["a"]

    def start(self, script: str, random: Random | None = None, *, error: HopError | None = None) -> ScriptedProbe:
        probe = ScriptedProbe(self.bench, script, error or ConnectRefused(private="a: nobody there"))
        self.prober = Prober(
            self.bench.backends,
            {"a": probe},
            timeout=1.0,
            clock=self.bench.clock,
            random=random or Steady(),
            tasks=self.tasks,
        )
        self.prober.start()
        return probe


@pytest.fixture
async def watching() -> AsyncIterator[Watching]:
    tasks = Tasks()
    watching = Watching(tasks)
    yield watching
    await watching.prober.stop()
    assert len(tasks) == 0


async def test_a_steady_backend_is_asked_at_the_interval(watching: Watching) -> None:
    probe = watching.start("+")
    await watching.bench.clock.advance(6.5)
    assert probe.at == pytest.approx([0.125, 2.125, 4.125, 6.125])
    assert watching.one.health is Health.UP


async def test_one_that_starts_with_us_is_found_soon(watching: Watching) -> None:
    probe = watching.start("!!!+")
    await watching.bench.clock.advance(1.0)
    assert probe.at == pytest.approx([0.125, 0.375, 0.625, 0.875])
    assert watching.one.health is Health.UP, "the first pass ever is enough"


async def test_one_that_never_comes_is_asked_slowly_after_a_while(watching: Watching) -> None:
    probe = watching.start("!")
    await watching.bench.clock.advance(40.0)
    assert probe.at[-1] - probe.at[-2] == pytest.approx(2.0)
    assert len(probe.at) < 130


async def test_a_dead_one_leaves_within_the_checks_time_and_returns(watching: Watching) -> None:
    probe = watching.start("+---++")
    await watching.bench.clock.advance(2.2)
    assert watching.one.health is Health.UP
    await watching.bench.clock.advance(0.5)
    assert probe.at == pytest.approx([0.125, 2.125, 2.375, 2.625])
    assert (watching.one.health, watching.one.reason) == (Health.DOWN, "check: 503")
    await watching.bench.clock.advance(2.3)
    assert probe.at[4:] == pytest.approx([4.625, 4.875])
    assert watching.one.health is Health.UP


async def test_a_look_that_hangs_is_given_up(watching: Watching) -> None:
    watching.start("+?")
    await watching.bench.clock.advance(3.2)
    assert watching.one.check == "timeout"
    assert watching.one.streak == -1


async def test_a_bug_in_a_look_does_not_end_the_checks(watching: Watching, caplog: pytest.LogCaptureFixture) -> None:
    watching.start("x+")
    await watching.bench.clock.advance(1.0)
    assert watching.one.health is Health.UP
    assert "the check of a failed" in caplog.text


async def test_the_word_and_the_detail_of_a_failed_look(watching: Watching) -> None:
    watching.start("!")
    await watching.bench.clock.advance(0.2)
    state = watching.bench.backends.state_of(watching.one)
    assert state["reason"] == "check: refused"
    assert state["last_check"]["detail"] == "nobody there"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (CertificateRefused(private="a: self-signed certificate"), "check: certificate: self-signed certificate"),
        (TlsFailed(private="a: wrong version number"), "check: tls: wrong version number"),
        (DnsFailed(private="a: Name or service not known"), "check: dns: Name or service not known"),
        (ConnectRefused(private="a: Connection refused"), "check: refused"),
    ],
)
async def test_the_reason_says_what_of_tls_or_dns_failed(watching: Watching, error: HopError, reason: str) -> None:
    watching.start("!", error=error)
    await watching.bench.clock.advance(0.2)
    assert watching.bench.backends.state_of(watching.one)["reason"] == reason


async def test_what_is_asked_while_a_look_is_made_is_not_forgotten(watching: Watching) -> None:
    probe = watching.start("+s+")
    await watching.bench.clock.advance(2.3)
    watching.bench.backends.failed(watching.one, Blame.SUSPECT, "failed")  # the look under way passes all the same
    await watching.bench.clock.advance(0.7)
    assert probe.at == pytest.approx([0.125, 2.125, 2.875])
    await watching.bench.clock.advance(2.5)
    assert probe.at[3:] == pytest.approx([4.875]), "asked once is looked once"


async def test_a_failed_request_has_it_looked_at_at_once(watching: Watching) -> None:
    probe = watching.start("+")
    await watching.bench.clock.advance(1.0)
    watching.bench.backends.failed(watching.one, Blame.DEAD, "refused")
    assert watching.one.health is Health.DOWN
    await watching.bench.clock.advance(0.3)
    assert probe.at == pytest.approx([0.125, 1.0, 1.25])
    assert watching.one.health is Health.UP


async def test_many_failed_requests_do_not_make_many_checks(watching: Watching) -> None:
    probe = watching.start("!")
    await watching.bench.clock.advance(31.0)
    before = len(probe.at)
    for _ in range(100):
        watching.bench.backends.failed(watching.one, Blame.DEAD, "refused")
        await watching.bench.clock.advance(0.01)
    assert len(probe.at) - before <= 5


async def test_a_request_that_fails_during_a_look_has_the_next_one_soon(watching: Watching) -> None:
    probe = watching.start("+?+")
    await watching.bench.clock.advance(2.5)
    watching.bench.backends.failed(watching.one, Blame.SUSPECT, "failed")
    await watching.bench.clock.advance(1.0)
    assert probe.at == pytest.approx([0.125, 2.125, 3.375])


async def test_looks_are_spread(watching: Watching) -> None:
    probe = watching.start("+", Random(7))
    await watching.bench.clock.advance(60.0)
    pauses = [after - before for before, after in zip(probe.at, probe.at[1:], strict=False)]
    assert all(1.8 <= pause <= 2.2 for pause in pauses)
    assert len({round(pause, 3) for pause in pauses}) > 20


@pytest.mark.parametrize(
    ("passing", "status", "passed"),
    [
        ("200-399", 200, True),
        ("200-399", 204, True),
        ("200-399", 302, True),
        ("200-399", 399, True),
        ("200-399", 404, False),
        ("200-399", 500, False),
        ("200-399", 503, False),
        ("100-499", 404, True),
        ("100-499", 499, True),
        ("100-499", 500, False),
        ("204", 200, False),
        ("204", 204, True),
    ],
)
async def test_http_probe_by_status(passing: str, status: int, passed: bool) -> None:
    content = ScriptedBody(b"ok")
    pool = ScriptedPool(Response(status, [], content))
    probe = http_probe(
        pool,
        "/health?deep=1",
        host="shop.test",
        scheme="https",
        passing=Statuses([passing]),
        name="lb-a",
        now=lambda: 0.0,
    )
    assert await probe() == Result(passed, str(status))
    assert content.closed
    sent = pool.sent[0]
    assert (sent.method, sent.target, sent.authority, sent.scheme) == (
        b"GET",
        b"/health?deep=1",
        b"shop.test",
        b"https",
    )


@pytest.mark.parametrize("error", [None, ConnectRefused(), CertificateRefused()])
async def test_tcp_probe(error: HopError | None) -> None:
    asked: list[tuple[object, ...]] = []

    class Net:
        async def connect(self, host: str, port: int, **options: object) -> None:
            asked.append((host, port, options))
            if error is not None:
                raise error

    probe = tcp_probe(Net(), "127.0.0.1", 9441, timeout=1.0, tls=None, source="127.0.0.2", name="a")  # type: ignore[arg-type]
    if error is None:
        assert (await probe()).passed
    else:
        with pytest.raises(type(error)):
            await probe()
    assert asked == [
        ("127.0.0.1", 9441, {"timeout": 1.0, "tls": None, "server_name": None, "source": "127.0.0.2", "name": "a"})
    ]
