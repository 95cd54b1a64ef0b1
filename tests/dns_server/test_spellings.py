"""A name with its final dot, without it, in another letter case, and `.`: the same wherever a zone or a host is named."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from dns_server.access import Access
from dns_server.build import zone_files
from dns_server.config import Config
from dns_server.grants import read_grants
from dns_server.places import place, zone_places
from dns_server.replication import secondary_zones
from dns_server.rules.names import from_text
from dns_server.server import _zone_key
from dns_server.zones import default_zones
from stack.cli.dns_records import Server, Servers, _place
from stack.errors import ConfigError
from stack.faults import spec
from stack.hop import registry
from stack.http.authorities import host_of
from stack.http.message import Request
from stack.plan.document import Document
from stack.plan.make import make_plan
from stack.plan.model import StackPlan
from stack.trace.dig_message import question

KEYS = frozenset({from_text("key.test"), from_text(".")})
SPELLINGS = ("shop.test", "shop.test.", "SHOP.Test", "SHOP.TEST.")


def plan(text: str) -> StackPlan:
    document = Document.of_text(textwrap.dedent(text), directory=Path("/srv"))
    return make_plan(document, kinds=registry, state_dir=Path("/srv/.hopstack"), environ={})


def shown(made: StackPlan) -> object:
    return [(hop.name, hop.config, hop.files) for hop in made.hops]


def stack(name: str, zones: str = "[]", table: str | None = None) -> object:
    records = f'[zones."{table}"]\nrecords = ["api 60 IN A 192.0.2.1"]\n' if table is not None else ""
    servers = f"[dns.ns]\nzones = {zones}\n[dns.resolver]\n" if zones != "[]" else ""
    return shown(plan(f'name = "{name}"\n{servers}{records}'))


def asked(part: str) -> Callable[[str], object]:
    def key(name: str) -> object:
        return _zone_key(Request(b"POST", f"/-/refresh?{part}={name}".encode(), [], authority=b"localhost"))

    return key


def access(name: str) -> bool:
    return Access([f"#{name}"], "--transfer-allow").allows("192.0.2.1", from_text("shop.test" if name != "." else "."))


def cli(name: str) -> object:
    server = Server("dns-shop", "", False, ("", "test", "shop.test"), ("",))
    whole, zone, asked = _place(Servers([server], [], "shop.test", True), name)
    return from_text(whole).lower(), zone, asked


PLACES: dict[str, Callable[[str], object]] = {
    "--zone": lambda name: [origin.lower() for origin in zone_files(Config(zone=(f"{name}=a.zone",)))],
    "--secondary": lambda name: [
        origin.lower() for origin in secondary_zones(Config(secondary=(f"{name}=192.0.2.1",)))
    ],
    "--notify": lambda name: (zone_places(f"{name}=192.0.2.1", "--notify")[0] or b"").lower(),
    "--update zone": lambda name: read_grants([f"key.test zone={name}"], KEYS).of(
        from_text("key.test"), from_text(name).lower(), "192.0.2.1"
    ),
    "fault qname": lambda name: spec.parse(f"dns-shop drop=1 qname={name} name=x").qname,
    "stack.toml name": lambda name: stack(name) if name != "." else None,
    "stack.toml zones": lambda name: stack("shop.test", table=name) if name != "." else stack("shop.test", table="."),
    "stack.toml dns.zones": lambda name: stack("shop.test", f'["{name}", ".", "test", "shop.test"]'),
    "#KEY": access,
    "--notify #KEY": lambda name: place(f"192.0.2.1#{name}", "--notify").key,
    "/-/refresh?zone": asked("zone"),
    "Host": lambda name: host_of(name.encode()),
    "hopstack dns": cli,
    "hopstack dig": lambda name: question(name, "A").name.lower(),
}


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("spelling", SPELLINGS[1:])
def test_a_zone_is_the_same_however_its_name_is_written(where: str, spelling: str) -> None:
    assert PLACES[where](spelling) == PLACES[where](SPELLINGS[0])


ROOT: dict[str, object] = {
    "--zone": [b"\0"],
    "--secondary": [b"\0"],
    "--notify": b"\0",
    "fault qname": ".",
    "#KEY": True,
    "--notify #KEY": b"\0",
    "/-/refresh?zone": b"\0",
    "hopstack dig": ".",
}


@pytest.mark.parametrize("where", ROOT)
def test_the_root_is_a_dot(where: str) -> None:
    assert PLACES[where](".") == ROOT[where]


def test_the_root_is_a_zone_of_the_command_line_and_of_the_file() -> None:
    name, zone, [server] = cli(".")  # type: ignore[misc]
    assert (name, zone, server.name) == (b"\0", "", "dns-shop")
    made = plan(
        '[zones."."]\nrecords = ["extra 60 IN A 192.0.2.1"]\n[dns.ns]\nzones = [".", "test.", "shop.test"]\n[dns.resolver]\n'
    )
    assert made.hop("dns-ns").files["zones/root.zone"].endswith("extra 60 IN A 192.0.2.1\n")


@pytest.mark.parametrize("wrong", ["", "shop..test", ".test", "shop.test..", "a" * 64 + ".test"])
@pytest.mark.parametrize("where", ["--zone", "--secondary", "--update zone", "stack.toml zones", "stack.toml name"])
def test_what_is_no_name_is_told(where: str, wrong: str) -> None:
    if where == "stack.toml name" and not wrong:
        return  # not said: a name is found
    with pytest.raises(ConfigError):
        PLACES[where](wrong)


def test_a_default_zone_may_be_named_with_its_dot() -> None:
    edges, servers = {"edge-fra": "127.0.1.1"}, {"root": "127.0.53.1", "tld": "127.0.53.2", "shop": "127.0.53.3"}
    assert default_zones("shop.test.", edges=edges, servers=servers) == default_zones(
        "shop.test", edges=edges, servers=servers
    )
