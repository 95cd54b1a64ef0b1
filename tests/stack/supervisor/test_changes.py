"""What is different between two plans, in words."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from appserver.config import Config as App
from cdn_edge.config import Cache
from cdn_edge.config import Config as Edge
from stack.config.base import HopOptions
from stack.plan.model import HopPlan, StackPlan
from stack.supervisor.changes import Change, changes, files

EDGE = Edge(name="edge-fra", listen=("https://127.0.1.1:8443",), origin="http://127.0.0.1:8101")


def plan(*hops: HopPlan, name: str = "shop.test") -> StackPlan:
    return StackPlan(name, hops)


def edge(**changed: Any) -> HopPlan:
    import msgspec

    return HopPlan("cdn_edge", msgspec.structs.replace(EDGE, **changed))


@pytest.mark.parametrize(
    ("changed", "detail"),
    [
        ({"cache": Cache(size=1 << 30)}, "cache.size 256M -> 1G"),
        ({"cache": Cache(stale_if_unreachable=0.5)}, "cache.stale_if_unreachable 1d -> 500ms"),
        ({"origin": "http://127.0.0.1:1"}, "origin http://127.0.0.1:8101 -> http://127.0.0.1:1"),
        ({"trusted": ("10.0.0.0/8",)}, "trusted +10.0.0.0/8"),
        ({"server_names": ("a.test", "b.test")}, "server_names +a.test +b.test"),
        ({"listen": ("https://127.0.1.2:8443",)}, "listen -https://127.0.1.1:8443 +https://127.0.1.2:8443"),
        ({"source": "127.0.1.1"}, 'source "" -> 127.0.1.1'),
    ],
)
def test_an_option_that_changed(changed: dict[str, Any], detail: str) -> None:
    [change] = changes(plan(edge()), plan(edge(**changed)))
    assert change == Change("edge-fra", "changed", (detail,))
    assert change.lines() == [f"edge-fra: {detail}"]


def test_the_same_is_no_change() -> None:
    assert changes(plan(edge()), plan(edge())) == ()


def test_what_comes_and_what_goes() -> None:
    other = HopPlan("cdn_edge", Edge(name="edge-nrt", listen=("https://127.0.1.2:8443", "http://127.0.1.2:8080")))
    assert changes(plan(edge()), plan(other)) == (
        Change("edge-nrt", "added", ("added, https://127.0.1.2:8443, http://127.0.1.2:8080",)),
        Change("edge-fra", "removed"),
    )
    assert Change("edge-fra", "removed").lines() == ["edge-fra: removed"]


def test_no_secret_is_told() -> None:
    def app(url: str, key: str) -> HopPlan:
        return HopPlan("appserver", App(name="app-1", key=key), env={"DATABASE_URL": url})

    [change] = changes(plan(app("postgresql://me:one@host/db", "a")), plan(app("postgresql://me:two@host/db", "b")))
    assert change.details == ("key has changed", "environment DATABASE_URL has changed")
    [change] = changes(plan(edge(origin="http://me:one@h:1")), plan(edge(origin="http://me:two@h:2")))
    assert "one" not in str(change)
    assert "two" not in str(change)


def test_files_and_kind() -> None:
    def zone(text: str, kind: str = "dns_server") -> HopPlan:
        return HopPlan(kind, HopOptions(name="dns-shop"), files={"zones/shop.zone": text})

    [change] = changes(plan(zone("a")), plan(zone("b")))
    assert change.details == ("zones/shop.zone has changed",)
    [change] = changes(plan(zone("a")), plan(zone("a", "proxy")))
    assert change.details == ("kind dns_server -> proxy",)


def test_who_was_given_up_and_who_reads_a_changed_file() -> None:
    [change] = changes(plan(edge()), plan(edge()), broken={"edge-fra": "crash-loop"})
    assert change == Change("edge-fra", "restarted", ("started again, was crash-loop",))
    [change] = changes(plan(edge()), plan(edge()), touched={"edge-fra"})
    assert change.details == ("a file that it reads has changed",)


def test_files_that_options_name_are_read(tmp_path: Path) -> None:
    """A renewed certificate is a change; what the supervisor makes itself in its state directory is none."""
    state = tmp_path / "home"
    (state / "certs").mkdir(parents=True)
    cert, own, large = tmp_path / "cert.pem", state / "certs" / "edge.pem", tmp_path / "large.pem"
    for path in (cert, own):
        path.write_text("one")
    large.write_bytes(b"x" * (2 << 20))
    hop = edge(cert=str(cert), key=str(own), origin_ca=str(large), access_log=str(tmp_path / "access.log"))
    before = files(hop, state)
    assert set(before) == {str(cert), str(large)}
    own.write_text("two")
    assert files(hop, state) == before
    cert.write_text("two")
    assert files(hop, state) != before
    before = files(hop, state)
    os.utime(large, ns=(1, 1))
    assert files(hop, state) != before
