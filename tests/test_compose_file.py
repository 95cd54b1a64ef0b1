"""docker-compose.yml against the Compose Specification, and against docker/stack.toml: what can be seen without Docker."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from stack.hop import registry
from stack.plan.document import Document
from stack.plan.make import make_plan
from stack.plan.model import HopPlan, StackPlan

ROOT = Path(__file__).parent.parent
SCHEMA = Path(__file__).parent / "data" / "compose-spec" / "compose-spec.json"
OTHERS = {"ca", "db"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return document


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> StackPlan:
    return make_plan(
        Document.read(ROOT / "docker" / "stack.toml"),
        kinds=registry,
        state_dir=tmp_path_factory.mktemp("state"),
        environ={},
    )


def hops(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: service for name, service in compose["services"].items() if name not in OTHERS}


def address(service: dict[str, Any], network: str) -> str:
    return str(service["networks"][network]["ipv4_address"])


def test_it_is_a_compose_file_of_today(compose: dict[str, Any]) -> None:
    schema = json.loads(SCHEMA.read_text())
    validator = jsonschema.validators.validator_for(schema, default=jsonschema.Draft7Validator)(schema)
    assert [f"{list(fault.path)}: {fault.message}" for fault in validator.iter_errors(compose)] == []
    assert "version" not in compose, "today's docker compose warns of it"


def test_every_service_is_the_process_of_its_name(compose: dict[str, Any], plan: StackPlan) -> None:
    ran = {name: (service["command"][2], service["command"][-1]) for name, service in hops(compose).items()}
    assert ran == {hop.name: (hop.kind, hop.name) for hop in plan.hops}


def test_services_stand_in_the_order_of_the_path(compose: dict[str, Any], plan: StackPlan) -> None:
    assert list(compose["services"]) == ["ca", *(hop.name for hop in plan.hops), "db"]


def test_a_hop_has_the_addresses_that_the_file_says(compose: dict[str, Any], plan: StackPlan) -> None:
    def wanted(hop: HopPlan) -> set[str]:
        named = {item.host for item in hop.listen} | {getattr(hop.config, "source", "")}
        return {host for host in named if host and not ipaddress.ip_address(host).is_unspecified}

    services = hops(compose)
    for hop in plan.hops:
        given = {network["ipv4_address"] for network in services[hop.name]["networks"].values()}
        assert wanted(hop) <= given, hop.name


def test_an_address_lies_in_its_network(compose: dict[str, Any]) -> None:
    subnets = {
        name: ipaddress.ip_network(one["ipam"]["config"][0]["subnet"]) for name, one in compose["networks"].items()
    }
    taken: list[tuple[str, str]] = []
    for name, service in compose["services"].items():
        for network in service.get("networks", ()):
            place = address(service, network)
            assert ipaddress.ip_address(place) in subnets[network], (name, network)
            taken.append((network, place))
    assert len(set(taken)) == len(taken)


def test_networks_join_neighbours_only(compose: dict[str, Any]) -> None:
    on = {
        network: {name for name, one in compose["services"].items() if network in one.get("networks", ())}
        for network in compose["networks"]
    }
    edges, hosts = {"edge-fra", "edge-nrt"}, (1, 2, 3)
    assert on == {
        "clients": {"dns-root", "dns-tld", "dns-shop", "resolver", *edges},
        "edge-lb": {*edges, "lb-a"},
        "lb-proxy": {"lb-a", "resolver", *(f"proxy-{number}" for number in hosts)},
        **{f"proxy-app-{number}": {f"proxy-{number}", f"app-{number}"} for number in hosts},
        "app-db": {"db", "resolver", *(f"app-{number}" for number in hosts)},
    }
    assert [name for name, one in compose["networks"].items() if not one.get("internal")] == ["clients"]


def test_only_edges_and_resolver_publish_and_only_on_loopback(compose: dict[str, Any]) -> None:
    published = {name: one["ports"] for name, one in compose["services"].items() if "ports" in one}
    assert set(published) == {"edge-fra", "edge-nrt", "resolver"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_every_hop_is_confined(compose: dict[str, Any]) -> None:
    for name, service in hops(compose).items():
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"]), name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not {"privileged", "cap_add", "user", "network_mode", "pid"} & set(service), name


def test_every_hop_sees_its_own_certificate_only(compose: dict[str, Any]) -> None:
    for name, service in hops(compose).items():
        volumes = [volume for volume in service["volumes"] if not volume.endswith("stack.toml:ro")]
        assert volumes == [f"tls-{name}:/etc/hopstack/tls:ro"]
