"""The path in containers: every hop is passed, nothing else can be reached, nothing is lost. In this order."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.message
import dns.query
import pytest

from tests.compose.project import HOPS, PORTS, ROOT, SERVICES, Project, connects, docker, until

pytestmark = pytest.mark.timeout(300)

ALARMING = re.compile(r"traceback|error|fatal|panic|refused|failed|cannot|could not|denied|warn|is down", re.IGNORECASE)
BUSY = re.compile(r"is down \(check: timeout\)")
"""Of a machine that had no time for a health check: not for the order of start."""
CLIENT = "10.53.0.1"
"""The host, as the network of the clients sees it."""


def test_up_says_nothing_alarming(project: Project) -> None:
    assert not ALARMING.search(project.said), project.said
    for service in SERVICES:
        lines = [line for line in project.log(service).splitlines() if not line.startswith("{")]
        assert lines, f"{service} says nothing"
        assert not [line for line in lines if ALARMING.search(line) and not BUSY.search(line)], service


def test_a_request_passes_every_hop(project: Project) -> None:
    status, fields, _ = project.get("/products/shoes?every-hop")
    assert status == 200
    host = re.search(r"proxy-(\d)", fields["via"])
    assert host is not None
    passed = ("edge-fra", "lb-a", f"proxy-{host[1]}", f"app-{host[1]}")
    assert fields["via"] == f"1.1 {passed[2]}, 1.1 lb-a, 1.1 edge-fra"
    traces: set[str] = set()
    for hop in passed:
        mine: list[str] = []

        def logged(hop: str = hop, mine: list[str] = mine) -> bool:
            mine[:] = [
                item["trace_id"] for item in project.records(hop) if item.get("request_id") == fields["x-request-id"]
            ]
            return bool(mine)

        until(logged, 10, lambda hop=hop: project.log(hop))  # type: ignore[misc]
        assert len(mine) == 1, hop
        traces |= set(mine)
    assert len(traces) == 1
    other = {"app-1", "app-2", "app-3", "edge-nrt"} - set(passed)
    for hop in other:
        assert not [item for item in project.records(hop) if item.get("request_id") == fields["x-request-id"]], hop
    assert project.get("/products/shoes?every-hop", edge="NRT")[1]["via"].endswith("1.1 lb-a, 1.1 edge-nrt")


def test_every_hop_knows_the_client_and_nobody_can_claim_to_be_another(project: Project) -> None:
    _, fields, _ = project.get("/search?q=claim", **{"X-Forwarded-For": "203.0.113.9", "X-Request-ID": "claimed"})
    assert fields["x-request-id"] != "claimed"
    hops = ["edge-fra", "lb-a", *(hop for hop in HOPS if hop.startswith(("proxy", "app")))]

    def seen() -> dict[str, str]:
        found = [(hop, item) for hop in hops for item in project.records(hop)]
        return {hop: item["client"] for hop, item in found if item.get("request_id") == fields["x-request-id"]}

    until(lambda: len(seen()) == 4, 10, seen)
    assert set(seen().values()) == {CLIENT}


def test_the_name_is_found_by_root_tld_and_zone(project: Project) -> None:
    for service in SERVICES[1:]:
        found = project.execute(service, "getent", "ahosts", "www.shop.test")
        assert set(re.findall(r"^10[\d.]+", found, re.MULTILINE)) == {"10.53.0.11", "10.53.0.12"}, service
    for server, answer in (("dns-root", "referral"), ("dns-tld", "referral"), ("dns-shop", "answered")):
        assert any(["answer", answer] in item["marks"] for item in project.records(server)), server
    walks = [item["walk"] for item in project.records("resolver") if "walk" in item]
    assert ["10.53.0.2:53", "10.53.0.3:53", "10.53.0.4:53"] in [[step.split()[0] for step in walk] for walk in walks]


def test_every_door_of_the_resolver_is_open_to_the_host(project: Project) -> None:
    """UDP, TCP, TLS and, by curl below, HTTPS at the published ports; its certificate is good for localhost."""
    asked = dns.message.make_query("shop.test", "A", use_edns=0)
    port, ca = project.ports["DNS_PORT"], str(project.ca)
    answers = [
        dns.query.udp(asked, "127.0.0.1", port=port, timeout=20),
        dns.query.tcp(asked, "127.0.0.1", port=port, timeout=20),
        dns.query.tls(
            asked, "127.0.0.1", port=project.ports["DOT_PORT"], timeout=20, verify=ca, server_hostname="localhost"
        ),
    ]
    for answer in answers:
        assert {rdata.to_text() for rdata in answer.answer[0]} == {"10.53.0.11", "10.53.0.12"}


@pytest.mark.needs("curl")
@pytest.mark.parametrize("number", [0, 1])
def test_the_lines_of_the_readme(project: Project, number: int) -> None:
    """As they stand there, but for ports that somebody else has on this machine."""
    section = (ROOT / "README.md").read_text().partition("## In containers\n")[2].partition("\n## ")[0]
    line = re.findall(r"^    (curl .*)$", section, re.MULTILINE)[number]
    if number == 0:  # by the published port; with DNS over HTTPS the zone says where, and that port is always the same
        line = line.replace(":8443", f":{project.ports['FRA_HTTPS_PORT']}")
    line = line.replace(":8053", f":{project.ports['DOH_PORT']}")
    done = subprocess.run(shlex.split(line), cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert re.match(r"HTTP/2 200", done.stdout), done.stdout[:500]


def test_only_the_edges_and_the_resolver_publish_ports(project: Project) -> None:
    published = {
        service: {
            inside: {(item["HostIp"], int(item["HostPort"])) for item in outside}
            for inside, outside in project.inspect(service)["NetworkSettings"]["Ports"].items()
            if outside
        }
        for service in SERVICES
    }
    ports = project.ports
    assert {service: found for service, found in published.items() if found} == {
        "resolver": {
            "53/udp": {("127.0.0.1", ports["DNS_PORT"])},
            "53/tcp": {("127.0.0.1", ports["DNS_PORT"])},
            "8053/tcp": {("127.0.0.1", ports["DOH_PORT"])},
            "853/tcp": {("127.0.0.1", ports["DOT_PORT"])},
        },
        "edge-fra": {
            "8443/tcp": {("127.0.0.1", ports["FRA_HTTPS_PORT"])},
            "8080/tcp": {("127.0.0.1", ports["FRA_HTTP_PORT"])},
        },
        "edge-nrt": {
            "8443/tcp": {("127.0.0.1", ports["NRT_HTTPS_PORT"])},
            "8080/tcp": {("127.0.0.1", ports["NRT_HTTP_PORT"])},
        },
    }
    text = (ROOT / "docker-compose.yml").read_text()
    assert {name: int(port) for name, port in re.findall(r"\$\{(\w+_PORT):-(\d+)\}", text)} == PORTS


REACHED = {
    "edge-fra": ["lb-a:8101", "10.53.0.53:53"],
    "lb-a": ["proxy-1.shop.test:8111", "proxy-2.shop.test:8111", "proxy-3.shop.test:8111"],
    "proxy-1": ["app-1:8121", "10.53.2.53:53"],
    "app-1": ["db:5432", "10.53.20.53:53"],
}
"""The way on from each hop, and its resolver."""

OUT = "1.1.1.1:443"
EDGES = ["10.53.0.11:8443", "10.53.0.12:8443", "10.53.1.11:8443"]
APPS = ["10.53.11.41:8121", "10.53.12.42:8121", "10.53.13.43:8121", "10.53.20.41:8121"]
DB = "10.53.20.50:5432"
CLOSED = {
    "edge-fra": [*APPS, DB, "10.53.2.31:8111", "app-1:8121", "db:5432", "10.53.1.12:8443", "10.53.0.53:8100"],
    "dns-shop": [*APPS, DB, "10.53.1.20:8101"],
    "lb-a": [*APPS, DB, OUT, *EDGES],
    "proxy-1": [*APPS[1:], DB, OUT, *EDGES, "10.53.1.20:8101", "10.53.2.20:8101", "10.53.2.32:8100"],
    "app-1": [*APPS[1:3], OUT, *EDGES, "10.53.0.53:8053", "10.53.0.53:53", "10.53.11.31:8111", "10.53.20.42:8121"],
    "app-2": ["10.53.0.1:8443", "10.53.20.1:8443", "10.53.20.1:22", "10.53.12.1:8443"],
}
"""What nobody can open a connection to from there: neither by another network nor by the host's own addresses."""


@pytest.mark.parametrize("service", REACHED)
def test_the_way_on_is_open(project: Project, service: str) -> None:
    assert connects(project, service, REACHED[service]) == dict.fromkeys(REACHED[service], True)


@pytest.mark.parametrize("service", CLOSED)
def test_every_other_way_is_closed(project: Project, service: str) -> None:
    ports = project.ports
    targets = [
        target.replace(":8443", f":{ports['FRA_HTTPS_PORT']}") if target.endswith(".1:8443") else target
        for target in CLOSED[service]
    ]
    assert connects(project, service, targets) == dict.fromkeys(targets, False)


@pytest.mark.parametrize("service", HOPS)
def test_a_hop_is_confined(project: Project, service: str) -> None:
    found = project.inspect(service)
    host = found["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert not host["Privileged"]
    assert any(option.startswith("no-new-privileges") for option in host["SecurityOpt"])
    script = """
import json, os, pathlib
def writes(path):
    try:
        pathlib.Path(path, "x").write_text("")
    except OSError:
        return False
    return True
status = dict(line.split(":\\t", 1) for line in open("/proc/1/status").read().splitlines() if ":\\t" in line)
tls = "/etc/hopstack/tls"
print(json.dumps({
    "ids": [os.getuid(), os.getgid(), status["Uid"].split()],
    "capabilities": int(status["CapEff"], 16),
    "writes": [path for path in ("/", "/etc", "/etc/hopstack", tls, "/opt/hopstack", "/usr/local") if writes(path)],
    "tls": sorted(os.listdir(tls)),
    "keys": [
        str(path)
        for folder in os.listdir("/") if folder not in ("proc", "sys")
        for path in pathlib.Path("/", folder).rglob("*key*.pem")
    ],
}))
"""
    inside = json.loads(project.execute(service, "python", "-c", script))
    assert inside == {
        "ids": [10001, 10001, ["10001"] * 4],
        "capabilities": 0,
        "writes": [],
        "tls": ["ca.pem", "cert.json", "cert.pem", "key.pem"],
        "keys": ["/etc/hopstack/tls/key.pem"],
    }


def test_no_two_hops_have_the_same_key(project: Project) -> None:
    keys = {project.execute(hop, "sha256sum", "/etc/hopstack/tls/key.pem").split()[0] for hop in HOPS}
    assert len(keys) == len(HOPS)
    mode = (ROOT / ".hopstack" / "ca-key.pem").stat().st_mode & 0o777
    assert mode == 0o600
    assert (ROOT / ".hopstack" / "ca.pem").stat().st_uid == (ROOT / "docker" / "stack.toml").stat().st_uid


def test_the_image_holds_nothing_that_builds_or_installs(project: Project) -> None:
    for tool in ("pip", "pip3", "gcc", "cc", "make", "ld", "uv", "easy_install"):
        assert not project.execute("app-1", "sh", "-c", f"command -v {tool}", check=False), tool
    for module in ("pip", "ensurepip", "setuptools", "hatchling", "pytest", "mypy"):
        said = project.execute("app-1", "python", "-c", f"import {module}", check=False)
        assert "ModuleNotFoundError" in said, module
    image = json.loads(docker("image", "inspect", project.inspect("app-1")["Image"]))[0]["Config"]
    assert image["User"] == "10001:10001"
    assert image["Healthcheck"]["Test"] == ["CMD", "python", "-m", "stack.hop.ask", "/-/ready"]


@contextmanager
def load(project: Project, outcomes: Counter[str], clients: int = 4) -> Iterator[None]:
    """GETs that no cache can answer, each client on a kept-alive connection."""
    end = threading.Event()

    def client(number: int) -> None:
        count = 0
        connection = project.connect()
        while not end.is_set():
            count += 1
            try:
                connection.request(
                    "GET", f"/search?q=load-{number}-{count}", headers={"Host": project.authority("FRA")}
                )
                answer = connection.getresponse()
                answer.read()
                outcomes[str(answer.status)] += 1
            except OSError as error:
                outcomes[repr(error)] += 1
                connection.close()
                connection = project.connect()
        connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        end.set()
        for thread in threads:
            thread.join()


def backends(project: Project) -> dict[str, str]:
    """The load balancer's view."""
    found = json.loads(project.execute("lb-a", "python", "-m", "stack.hop.ask", "/-/backends"))
    return {item["name"]: item["state"] for item in found["backends"]}


def test_a_killed_app_costs_no_failed_get(project: Project) -> None:
    outcomes: Counter[str] = Counter()
    with load(project, outcomes):
        until(lambda: outcomes["200"] > 40, 30, lambda: outcomes)
        docker("kill", project.container("app-1"))
        until(lambda: backends(project)["proxy-1"] == "down", 30, lambda: backends(project))
        before = outcomes["200"]
        until(lambda: outcomes["200"] > before + 40, 30, lambda: outcomes)
    assert set(outcomes) == {"200"}
    assert any(item["status"] == 502 for item in project.records("proxy-1") if "status" in item), "nothing was hit"
    docker("start", project.container("app-1"))
    until(lambda: backends(project)["proxy-1"] == "up", 60, lambda: backends(project))


def test_a_stopped_host_drains_and_exits_0(project: Project) -> None:
    outcomes: Counter[str] = Counter()
    with load(project, outcomes):
        until(lambda: outcomes["200"] > 20, 30, lambda: outcomes)
        project.run("stop", "proxy-2")
        before = outcomes["200"]
        until(lambda: outcomes["200"] > before + 20, 30, lambda: outcomes)
    assert set(outcomes) == {"200"}
    assert project.state("proxy-2")["ExitCode"] == 0
    docker("start", project.container("proxy-2"))
    project.healthy()


def test_the_database_holds_the_data_over_down_and_up(project: Project) -> None:
    body = json.dumps({"slug": "shoes", "quantity": 3})
    status, fields, content = project.request(
        "POST", "/api/cart", body=body, headers={"Content-Type": "application/json"}
    )
    assert status == 201, content
    cookie = fields["set-cookie"].partition(";")[0]
    before = json.loads(project.get("/api/cart", Cookie=cookie)[2])
    assert [line["quantity"] for line in before["lines"]] == [3]
    certificate = project.ca.read_bytes()
    project.down()
    assert set(project.left()) == {"volume"}
    project.up()
    assert json.loads(project.get("/api/cart", edge="NRT", Cookie=cookie)[2]) == before
    assert project.ca.read_bytes() == certificate, "a browser that trusted it would have to be told anew"


def test_down_with_volumes_leaves_nothing(project: Project) -> None:
    began = time.monotonic()
    stopped = {service: project.container(service) for service in HOPS}
    project.run("stop")
    codes = {service: json.loads(docker("inspect", stopped[service]))[0]["State"]["ExitCode"] for service in HOPS}
    assert codes == dict.fromkeys(HOPS, 0)
    assert time.monotonic() - began < 60
    project.down("--volumes")
    assert project.left() == {}
    assert Path(project.ca).exists()
