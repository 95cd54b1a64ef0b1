"""The certificates of a hop, on a clock that is moved."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stack.clock import VirtualClock, settle
from stack.config.base import HttpOptions
from stack.config.listen import parse
from stack.errors import ConfigError
from stack.hop.certificates import LOOK, Certificates, listener_options
from stack.hop.hop import Bound
from stack.net import ca
from stack.net.bind import bind
from stack.net.tasks import Tasks
from stack.net.tickets import LIFETIME
from stack.net.tls import client_context
from stack.telemetry.metrics import Metrics
from tests.support.certificates import Authority, authority

DAY = 86400.0


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    return authority(tmp_path / "ours")


@pytest.fixture
def bounds() -> Iterator[list[Bound]]:
    made = [Bound("https", item, listen.query) for listen in [parse("https://127.0.0.1:0")] for item in bind(listen)]
    yield made
    for one in made:
        one.socket.close()


def certificates(tmp_path: Path, clock: VirtualClock, metrics: Metrics | None = None, **options: Any) -> Certificates:
    return Certificates(
        HttpOptions(**options), name="edge", clock=clock, state_dir=tmp_path / "state", metrics=metrics or Metrics()
    )


async def test_a_certificate_of_the_local_ca_is_renewed_at_two_thirds_of_its_life(
    tmp_path: Path, bounds: list[Bound]
) -> None:
    clock, tasks, metrics = VirtualClock(time=time.time()), Tasks(), Metrics()
    own = certificates(tmp_path, clock, metrics)
    [listener] = own.listeners(bounds)
    tasks.spawn(own.run(), name="certificates")
    before, selection = own.describe()["certificates"][0]["expires"], listener.selection
    clock.leap(clock.now() + 59 * DAY)
    await settle()
    assert own.describe()["certificates"][0]["expires"] == before
    clock.leap(clock.now() + 2 * DAY)
    await settle()
    after = own.describe()["certificates"][0]["expires"]
    assert after - before == pytest.approx(61 * DAY, abs=3700)
    assert listener.selection is not selection
    assert list(metrics.samples().values()) == [after]
    await tasks.close()


def test_a_broken_file_changes_nothing_and_is_said_until_it_is_whole(
    ours: Authority, tmp_path: Path, bounds: list[Bound], caplog: pytest.LogCaptureFixture
) -> None:
    cert, key = ours.files("a.test")
    own = certificates(tmp_path, VirtualClock(), cert=(cert,), key=(key,))
    [listener] = own.listeners(bounds)
    selection, whole = listener.selection, Path(cert).read_bytes()
    Path(cert).write_bytes(whole[:400])
    for _ in range(3):
        own.look()
    assert listener.selection is selection
    assert cert in own.describe()["error"]
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1
    Path(cert).write_bytes(whole)
    own.look()
    assert own.describe()["error"] == ""
    assert listener.selection is not selection


def test_a_pair_that_is_changed_in_two_steps_is_taken_up_after_the_second(
    ours: Authority, tmp_path: Path, bounds: list[Bound]
) -> None:
    cert, key = ours.files("a.test")
    own = certificates(tmp_path, VirtualClock(), cert=(cert,), key=(key,))
    own.listeners(bounds)
    new_cert, new_key = ours.files("b.test")
    os.replace(new_cert, cert)
    own.look()
    assert own.describe()["error"]
    os.replace(new_key, key)
    own.look()
    assert own.describe()["error"] == ""
    assert own.describe()["certificates"][0]["names"] == ["b.test"]


def test_all_certificates_change_or_none(ours: Authority, tmp_path: Path, bounds: list[Bound]) -> None:
    one, other = ours.files("a.test"), ours.files("b.test")
    own = certificates(tmp_path, VirtualClock(), cert=(one[0], other[0]), key=(one[1], other[1]))
    own.listeners(bounds)
    for new, old in zip(ours.files("c.test"), one, strict=True):
        os.replace(new, old)
    Path(other[0]).unlink()
    with pytest.raises(ConfigError, match="no such file"):
        own.reload()
    assert [shown["names"] for shown in own.describe()["certificates"]] == [["a.test"], ["b.test"]]


def test_the_secret_of_tickets_is_renewed(tmp_path: Path, bounds: list[Bound], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = VirtualClock(time=time.time())
    own = certificates(tmp_path, clock)
    [listener] = own.listeners(bounds)
    used: list[bytes] = []
    monkeypatch.setattr(listener, "rekey", used.append)
    own.look()
    assert used == []
    clock.leap(clock.now() + LIFETIME + LOOK)
    own.look()
    assert len(used) == 1


def test_the_authority_of_a_next_hop_is_taken_up(ours: Authority, tmp_path: Path) -> None:
    state = tmp_path / "ca"
    context = client_context(ca.ensure(state))
    own = Certificates(
        HttpOptions(), name="edge", clock=VirtualClock(), state_dir=tmp_path, metrics=Metrics(),
        contexts=lambda: [context],
    )  # fmt: skip
    own.reload()
    ca.ca_path(state).write_bytes(Path(ours.path).read_bytes())
    own.look()
    assert len(context.get_ca_certs()) == 2


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("client=x", "client_ca=FILE"),
        ("client_cert=maybe", "required, optional or none"),
        ("client_ca=", "no value"),
        ("nonsense", "client_ca=FILE"),
    ],
)
def test_options_of_a_listener_that_are_none(query: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        listener_options(query)


@pytest.mark.parametrize(
    ("query", "options", "required"),
    [
        ("", {}, None),
        ("", {"client_ca": "CA"}, True),
        ("", {"client_ca": "CA", "client_cert": "optional"}, False),
        ("client_cert=none", {"client_ca": "CA"}, None),
        ("client_cert=required", {"client_ca": "CA", "client_cert": "optional"}, True),
        ("client_ca=CA", {}, True),
        ("client_ca=CA&client_cert=optional", {}, False),
    ],
)
def test_who_is_asked_for_a_certificate(
    ours: Authority, tmp_path: Path, bounds: list[Bound], query: str, options: dict[str, str], required: bool | None
) -> None:
    options = {name: value.replace("CA", ours.path) for name, value in options.items()}
    [bound] = bounds
    own = certificates(tmp_path, VirtualClock(time=time.time()), **options)
    [listener] = own.listeners([Bound("https", bound.socket, query.replace("CA", ours.path))])
    client = listener.policy.client
    assert (None if client is None else client.required) == required


def test_a_listener_that_asks_and_has_no_authority(tmp_path: Path, bounds: list[Bound]) -> None:
    own = certificates(tmp_path, VirtualClock(time=time.time()))
    with pytest.raises(ConfigError, match="--client-ca"):
        own.listeners([Bound("https", bounds[0].socket, "client_cert=required")])
