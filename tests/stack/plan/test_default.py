"""The default stack as data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stack.config import flags
from stack.config.arguments import arguments
from stack.hop import registry
from stack.path import HOPS
from stack.plan.default import Ports, default_plan
from stack.plan.make import static_directory
from stack.plan.model import StackPlan

HOME = Path("/srv/home")


@pytest.fixture(params=[(None, True), (30_000, True), (30_000, False)], ids=["known", "base", "one-address"])
def plan(request: pytest.FixtureRequest) -> StackPlan:
    base, many = request.param
    return default_plan(registry, HOME, port_base=base, many_addresses=many)


@pytest.mark.parametrize(
    ("case", "base", "many"), [("known", None, True), ("base", 30_000, True), ("one-address", 30_000, False)]
)
def test_the_default_stack_is_what_it_always_was(case: str, base: int | None, many: bool) -> None:
    want = json.loads((Path(__file__).parent / "data" / "default_plan.json").read_text())[case]
    plan = default_plan(registry, HOME, port_base=base, many_addresses=many)
    assert plan.name == want["name"]
    for hop, wanted in zip(plan.hops, want["hops"], strict=True):
        given = [item.replace(str(static_directory()), "STATIC") for item in arguments(hop.config, changed_only=True)]
        assert {"kind": hop.kind, "arguments": given, "env": hop.env, "files": hop.files} == wanted


def test_hops_stand_in_the_order_of_the_path(plan: StackPlan) -> None:
    kinds = [HOPS.index(hop.kind) for hop in plan.hops]
    assert kinds == sorted(kinds)
    assert {hop.name for hop in plan.hops if hop.kind == "cdn_edge"} == {"edge-fra", "edge-nrt"}


def test_no_two_hops_share_an_address(plan: StackPlan) -> None:
    places = [(item.host, item.port, item.scheme == "dns") for hop in plan.hops for item in (*hop.listen, hop.admin)]
    assert len(places) == len(set(places))
    assert len({(host, port) for host, port, _ in places}) == len(places)


def test_every_flag_is_an_option_of_its_hop(plan: StackPlan) -> None:
    for hop in plan.hops:
        again = flags.parse(hop.kind, registry.config(hop.kind), arguments(hop.config, changed_only=True), {})
        assert again == hop.config


def test_each_hop_is_told_of_the_next(plan: StackPlan) -> None:
    balancer = f"lb-a={plan.hop('lb-a').listen[0]}"
    for edge in ("edge-fra", "edge-nrt"):
        assert plan.hop(edge).config.origin == balancer
    for number in (1, 2, 3):
        proxy, app = plan.hop(f"proxy-{number}"), plan.hop(f"app-{number}")
        assert f"proxy-{number}={proxy.listen[0]}" in plan.hop("lb-a").config.backend
        assert proxy.config.upstream == f"app-{number}={app.listen[0]}"


def test_each_hop_believes_the_hops_before_it_and_nobody_else(plan: StackPlan) -> None:
    def values(name: str, flag: str) -> set[str]:
        value = getattr(plan.hop(name).config, flag.removeprefix("--"))
        return {value} - {""} if isinstance(value, str) else set(value)

    edges = {plan.hop(name).listen[0].host for name in ("edge-fra", "edge-nrt")}
    several = bool(values("lb-a", "--source"))  # with one address for all they cannot be told apart
    balancer = values("lb-a", "--source") or edges
    assert not values("edge-fra", "--trusted")
    assert values("lb-a", "--trusted") == edges
    for number in (1, 2, 3):
        proxy = values(f"proxy-{number}", "--source") or edges
        assert values(f"proxy-{number}", "--trusted") == edges | balancer
        assert values(f"app-{number}", "--trusted") == edges | balancer | proxy
        assert len(values(f"app-{number}", "--trusted")) == (4 if several else 1)


def test_a_base_moves_every_port_above_it() -> None:
    assert Ports.above(31_000) == Ports(http=31_080, https=31_443, dns=31_053, doh=31_054, dot=31_055, rest=31_100)
    for hop in default_plan(registry, HOME, port_base=31_000).hops:
        for item in (*hop.listen, hop.admin):
            assert 31_000 < item.port < 31_500


def test_with_one_address_the_root_answers_for_all_zones() -> None:
    plan = default_plan(registry, HOME, many_addresses=False)
    assert {item.host for hop in plan.hops for item in hop.listen} == {"127.0.0.1"}
    assert len(plan.hop("dns-root").config.zone) == 3
    root = plan.hop("dns-root").listen[0].port
    assert plan.hop("resolver").config.port == root


def test_the_shop_is_told_its_database() -> None:
    assert default_plan(registry, HOME).hop("app-1").env == {"DATABASE_URL": "sqlite:////srv/home/shop.db"}
    assert default_plan(registry, HOME, database_url="postgresql://x/y").hop("app-3").env == {
        "DATABASE_URL": "postgresql://x/y"
    }
