"""UPDATE beside real servers: the same random changes to ours, to BIND and to Knot leave the same zone."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterator
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.tsigkeyring
import dns.update
import dns.xfr
import dns.zone
import pytest

from stack.clock import eventually
from tests.support.name_servers import SECRET, NameServers, free_port

TEXT = """\
$TTL 300
@    IN SOA ns1 host 1 3600 600 86400 30
@    IN NS  ns1
@    IN NS  ns2
@    IN MX  10 www
ns1  IN A   192.0.2.53
ns2  IN A   192.0.2.54
www  IN A   192.0.2.1
www  IN A   192.0.2.2
alias IN CNAME www
x.ent IN TXT "deep"
*.w  IN A   192.0.2.3
"""
KEYS = dns.tsigkeyring.from_text({"xfr": SECRET})
NAMES = ("@", "www", "alias", "ns2", "x.ent", "ent", "*.w", "a.w", "new", "WWW", "sub", "a.sub")
DATA = {
    "A": ("192.0.2.1", "192.0.2.2", "192.0.2.3"),
    "AAAA": ("2001:db8::1",),
    "TXT": ('"deep"', '"two" "strings"'),
    "CNAME": ("www.shop.test.", "new.shop.test."),
    "MX": ("10 www.shop.test.", "20 NEW.shop.test."),
    "NS": ("ns1.shop.test.", "ns2.shop.test.", "ns.elsewhere.test."),
    "TYPE65280": (r"\# 2 0102",),
}
STEPS = 60


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[NameServers]:
    made = NameServers(tmp_path)
    for name in ("ours", "named", "knot"):
        (tmp_path / f"{name}.zone").write_text(TEXT)
    yield made
    made.stop()


def named(servers: NameServers, port: int) -> None:
    home = servers.directory / "named"
    home.mkdir()
    (home / "named.conf").write_text(
        f"""
include "{servers.key}";
options {{
  directory "{home}"; pid-file none; session-keyfile none; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
  recursion no; notify no; dnssec-validation no; allow-transfer {{ key xfr; }}; check-names primary ignore;
}};
controls {{ }};
zone "shop.test" {{ type primary; file "{servers.directory}/named.zone"; allow-update {{ key xfr; }}; check-integrity no; }};
"""
    )
    servers._run("named", ["named", "-g", "-n", "1", "-c", str(home / "named.conf")])


def knot(servers: NameServers, port: int) -> None:
    home = servers.directory / "knot"
    home.mkdir()
    (home / "knot.conf").write_text(
        f"""
server:
    listen: 127.0.0.1@{port}
    rundir: {home}
    background-workers: 1
    udp-workers: 1
    tcp-workers: 1
log:
  - target: stderr
    any: info
database:
    storage: {home}
    journal-db-max-size: 20M
key:
  - id: xfr
    algorithm: hmac-sha256
    secret: {SECRET}
acl:
  - id: all
    key: xfr
    action: [transfer, update]
zone:
  - domain: shop.test
    storage: {servers.directory}
    file: knot.zone
    zonefile-sync: -1
    acl: all
"""
    )
    servers._run("knot", ["knotd", "-c", str(home / "knot.conf")])


def fetch(port: int) -> dict[tuple[str, str], tuple[int, frozenset[str]]]:
    """The zone by owner and type; of the SOA only whether it is there."""
    zone = dns.zone.Zone("shop.test.", relativize=False)
    query, _ = dns.xfr.make_query(zone, keyring=KEYS, keyname="xfr", keyalgorithm="hmac-sha256")
    dns.query.inbound_xfr("127.0.0.1", zone, query, port=port, lifetime=20)
    return {
        (name.to_text().lower(), rdataset.rdtype.name): (
            rdataset.ttl, frozenset(rdata.to_text().lower() for rdata in rdataset),
        )
        for name, rdataset in zone.iterate_rdatasets() if rdataset.rdtype.name != "SOA"
    }  # fmt: skip


def answers(port: int) -> bool:
    with contextlib.suppress(dns.exception.DNSException, OSError):
        asked = dns.message.make_query("shop.test", "SOA")
        return bool(dns.query.udp(asked, "127.0.0.1", port=port, timeout=0.5).answer)
    return False


def drawn(draw: random.Random, other: str) -> tuple[dns.update.UpdateMessage, str]:
    """An update, and what it says; nothing of which the other side is known to think otherwise than the RFC."""
    update = dns.update.UpdateMessage("shop.test", keyring=KEYS, keyname="xfr", keyalgorithm="hmac-sha256")
    said = []
    # BIND refuses what leaves a name server of the zone without an address
    names = [name for name in NAMES if other != "named" or name != "ns2"]
    for _ in range(draw.choice((0, 0, 0, 1, 2))):
        name, type = draw.choice(names), draw.choice(list(DATA))
        kind = draw.choice(("present", "absent"))
        more = draw.choice(((), (type,), (type, *draw.sample(DATA[type], 1)) if kind == "present" else (type,)))
        getattr(update, kind)(name, *more)
        said.append(f"{kind} {name} {' '.join(more)}")
    for _ in range(draw.choice((1, 1, 2, 3, 4))):
        name, type = draw.choice(names), draw.choice(list(DATA))
        data = draw.choice(DATA[type])
        match draw.choice(("add", "add", "add", "delete", "record", "name")):
            case "add":
                # Knot keeps the TTL of a record that is added again; by §3.4.2.2 and §7.12 the new one holds
                ttl = 300 if other == "knot" else draw.choice((300, 300, 60))
                if other == "named" and type == "NS" and name == "*.w":
                    continue  # BIND passes over a delegation of a wildcard
                update.add(name, ttl, type, data)
                said.append(f"add {name} {ttl} {type} {data}")
            case "delete":
                update.delete(name, type)
                said.append(f"delete {name} {type}")
            case "record":
                update.delete(name, type, data)
                said.append(f"delete {name} {type} {data}")
            case "name":
                update.delete(name)
                said.append(f"delete {name}")
    return update, "; ".join(said)


@pytest.mark.parametrize(
    "kind",
    [pytest.param("named", marks=pytest.mark.needs("named")), pytest.param("knot", marks=pytest.mark.needs("knotd"))],
)
def test_the_same_updates_leave_the_same_zone(servers: NameServers, kind: str) -> None:
    ours, theirs = free_port(), free_port()
    zone = f"shop.test={servers.directory / 'ours.zone'}"
    servers.ours("ns1", ours, "--zone", zone, "--update", "xfr type=ANY", "--transfer-allow", "#xfr")
    {"named": named, "knot": knot}[kind](servers, theirs)
    asyncio.run(eventually(lambda: answers(ours) and answers(theirs), within=40, every=0.05))
    draw = random.Random(2136)
    done = []
    for _ in range(STEPS):
        update, said = drawn(draw, kind)
        rcodes = [dns.query.tcp(update, "127.0.0.1", port=port, timeout=10).rcode() for port in (ours, theirs)]
        done.append(f"{said} -> {dns.rcode.to_text(rcodes[0])}")
        assert rcodes[0] == rcodes[1], "\n".join([*done, f"{kind}: {dns.rcode.to_text(rcodes[1])}"])
        assert fetch(ours) == fetch(theirs), "\n".join(done)
    assert sum("-> NOERROR" in line for line in done) > STEPS // 3
