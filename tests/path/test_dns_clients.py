"""The stack's DNS in a network of its own, at port 53 and at ordinary addresses, asked by those who ask the Internet's:
the C library, curl, dig, delv, drill, kdig, host, nslookup, Python, BIND as a resolver, zonemaster."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.clock import eventually
from tests.conftest import find
from tests.support.netns import Namespace
from tests.support.stack import Stack

SERVERS = {
    "a.root-servers": "8.53.0.1",
    "ns.nic.test": "8.53.0.2",
    "ns1.shop.test": "8.53.0.3",
    "ns2.shop.test": "9.53.0.4",
}
"""Nobody else is in this network; zonemaster takes no address for a server's that nobody on the Internet could have."""
FILE = """
[dns.root]
listen = "dns://8.53.0.1:53"
[dns.tld]
listen = "dns://8.53.0.2:53"
[dns.shop]
listen = "dns://8.53.0.3:53"
zones = ["shop.test"]
[dns.shop2]
listen = "dns://9.53.0.4:53"
zones = ["shop.test"]
[dns.resolver]
listen = ["dns://127.0.0.1:53", "https://127.0.0.1:8053", "tls://127.0.0.1:853"]
[edges.fra]
listen = ["https://127.0.1.1:8443", "https://127.0.1.1:443", "http://127.0.1.1:80"]
[proxies.1]
[apps.1]
[zones."."]
records = ["3.0.53.8.in-addr.arpa. IN PTR ns1.shop.test.", "4.0.53.9.in-addr.arpa. IN PTR ns2.shop.test."]
"""

pytestmark = pytest.mark.needs("unshare", "ip")


class Net:
    def __init__(self, namespace: Namespace, stack: Stack, directory: Path) -> None:
        self.namespace, self.stack, self.directory = namespace, stack, directory
        self.run = namespace.run

    @property
    def ca(self) -> str:
        return self.stack.hopstack("ca", "path").stdout.strip()

    @property
    def hints(self) -> str:
        """The root, as every resolver is told of it."""
        file = self.directory / "hints"
        file.write_text(f". 3600 IN NS a.root-servers.\na.root-servers. 3600 IN A {SERVERS['a.root-servers']}\n")
        return str(file)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    directory = tmp_path_factory.mktemp("net")
    namespace = Namespace(directory, addresses=list(SERVERS.values()))
    (directory / "stack.toml").write_text(FILE)
    stack = Stack(directory / "home", 0, cwd=directory, inside=namespace.command)
    try:
        done = stack.hopstack("up", "--detach", "-c", "stack.toml")
        assert done.returncode == 0, done.stdout + done.stderr
        yield Net(namespace, stack, directory)
    finally:
        stack.hopstack("down")
        for pid in stack.pids():
            os.kill(pid, signal.SIGKILL)
        namespace.close()


ADDRESS = "127.0.1.1"


@pytest.mark.needs("curl")
def test_the_c_library_and_curl_with_nothing_special(net: Net) -> None:
    assert net.run("getent", "ahostsv4", "shop.test").split()[0] == ADDRESS
    answer = ["curl", "-sS", "--noproxy", "*", "-o", "/dev/null", "-w", "%{http_code} %{remote_ip}", "--max-time", "20"]
    assert net.run(*answer, "http://shop.test/") == f"200 {ADDRESS}"
    assert net.run(*answer, "--cacert", net.ca, "https://www.shop.test/products/shoes") == f"200 {ADDRESS}"


@pytest.mark.needs("curl")
async def test_curl_by_dns_over_https(net: Net) -> None:
    """The line of the README, and nothing but it."""
    line = ["curl", "--doh-url", "https://localhost:8053/dns-query", "--cacert", net.ca, "https://shop.test:8443/"]
    assert "<html" in net.run(*line)

    def asked() -> set[str]:
        return {line["type"] for line in net.stack.log("resolver") if line.get("proto") == "https"}

    await eventually(lambda: asked() == {"A", "AAAA"})


@pytest.mark.needs("dig", "host", "nslookup", "delv")
def test_the_tools_of_bind(net: Net) -> None:
    trace = net.run("dig", "+trace", "+nodnssec", "shop.test")
    asked = re.findall(r"bytes from (\S+)#53\((\S+)\)", trace)
    assert asked[:3] == [
        ("127.0.0.1", "127.0.0.1"),
        *((SERVERS[name], name) for name in ("a.root-servers", "ns.nic.test")),
    ]
    assert asked[3][1] in ("ns1.shop.test", "ns2.shop.test")
    assert f"shop.test.\t\t60\tIN\tA\t{ADDRESS}" in trace
    for flags in (["+https", "-p", "8053"], ["+https-get", "-p", "8053"], ["+tls"]):
        verified = [f"+tls-ca={net.ca}", "+tls-hostname=localhost"]
        assert net.run("dig", "@127.0.0.1", "+short", *flags, *verified, "shop.test") == f"{ADDRESS}\n"
    assert net.run("host", "shop.test").splitlines()[0] == f"shop.test has address {ADDRESS}"
    assert "3(NXDOMAIN)" in subprocess.run(
        [*net.namespace.command, "host", "nope.shop.test"], capture_output=True, text=True, timeout=30, check=False
    ).stdout  # fmt: skip
    assert f"Address: {ADDRESS}" in net.run("nslookup", "shop.test")
    assert "name = ns1.shop.test." in net.run("nslookup", SERVERS["ns1.shop.test"])
    # our root is not the Internet's, whose key delv knows: without signatures there is nothing to validate
    assert net.run("delv", "+noroot", "+short", "@127.0.0.1", "shop.test").splitlines()[-1] == ADDRESS
    assert net.run("delv", "-i", "+short", "@127.0.0.1", "shop.test") == f"{ADDRESS}\n"
    broken = subprocess.run(
        [*net.namespace.command, "delv", "@127.0.0.1", "shop.test"], capture_output=True, text=True, timeout=30, check=False
    )  # fmt: skip
    assert "parent indicates it should be secure" in broken.stdout + broken.stderr


@pytest.mark.needs("drill")
def test_drill_walks_from_our_root(net: Net) -> None:
    found = net.run("drill", "-T", "-r", net.hints, "shop.test", "A").splitlines()
    assert [line.split()[0] for line in found if "\tNS\t" in line][:2] == [".", "test."]
    assert found[-1].split() == ["shop.test.", "60", "IN", "A", ADDRESS]


@pytest.mark.needs("kdig")
def test_kdig_over_every_door(net: Net) -> None:
    verified = [f"+tls-ca={net.ca}", "+tls-hostname=localhost"]
    for door in (
        [],
        ["+tcp"],
        ["+tls", *verified],
        ["+https", "-p", "8053", *verified],
        ["+https", "+https-get", "-p", "8053", *verified],
    ):
        for more in ([], ["+cookie"], ["+nsid"], ["+padding"], ["+dnssec"], ["+keepopen"]):
            said = net.run("kdig", "@127.0.0.1", *door, *more, "shop.test")
            assert "status: NOERROR" in said
            assert re.search(rf"^shop\.test\.\s+\d+\s+IN\s+A\s+{ADDRESS}$", said, re.MULTILINE), said
            assert "WARNING" not in said
            assert "ERROR:" not in said
    assert "opportunistic" not in said
    strange = subprocess.run(
        [*net.namespace.command, "kdig", "@127.0.0.1", "+tls", verified[0], "+tls-hostname=elsewhere.test", "+retry=0", "shop.test"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert "TLS, handshake failed" in strange.stdout + strange.stderr


PYTHON = """
import base64, json, ssl, sys
import dns.message, dns.query, httpx
ca = sys.argv[1]
query = dns.message.make_query("shop.test", "A", use_edns=0)
said = {
    "udp": dns.query.udp(query, "127.0.0.1", timeout=20),
    "tcp": dns.query.tcp(query, "127.0.0.1", timeout=20),
    "tls": dns.query.tls(query, "127.0.0.1", timeout=20, verify=ca, server_hostname="localhost"),
}
with httpx.Client(verify=ssl.create_default_context(cafile=ca), trust_env=False, timeout=20) as client:
    place, kind = "https://localhost:8053/dns-query", {"content-type": "application/dns-message"}
    text = base64.urlsafe_b64encode(query.to_wire()).decode().rstrip("=")
    for method, response in (
        ("get", client.get(place, params={"dns": text})),
        ("post", client.post(place, content=query.to_wire(), headers=kind)),
    ):
        said[method] = dns.message.from_wire(response.read())
    page = client.get(place)
print(json.dumps([{door: [str(rrset) for rrset in answer.answer] for door, answer in said.items()}, page.status_code]))
"""


def test_python(net: Net) -> None:
    said, status = json.loads(net.run(sys.executable, "-c", PYTHON, net.ca))
    assert {re.sub(r" \d+ IN", "", *answers) for answers in said.values()} == {f"shop.test. A {ADDRESS}"}
    assert len(said) == 5
    assert status == 400


@pytest.mark.needs("named", "dig")
def test_bind_resolves_from_our_root(net: Net) -> None:
    """A resolver that was not written here takes what the three authorities say."""
    config = net.directory / "named.conf"
    config.write_text(
        f"""options {{ directory "{net.directory}"; listen-on port 5300 {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
        pid-file none; session-keyfile none; recursion yes; dnssec-validation no; }}; controls {{ }};
        zone "." {{ type hint; file "{net.hints}"; }};\n"""
    )
    named = subprocess.Popen(
        [*net.namespace.command, find("named") or "named", "-g", "-n", "1", "-c", str(config)],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    said: list[str] = []
    try:
        assert named.stderr is not None
        for line in named.stderr:
            said.append(line)
            if line.rstrip().endswith(" running"):
                break
        else:
            raise AssertionError("".join(said))

        def ask(*question: str) -> str:
            return net.run("dig", "@127.0.0.1", "-p", "5300", "+time=5", *question)

        assert re.search(rf"^shop\.test\.\s+60\s+IN\s+A\s+{ADDRESS}$", ask("shop.test"), re.MULTILINE)
        assert 'alpn="h2,http/1.1" port=8443' in ask("shop.test", "HTTPS")
        assert re.search(r"ANSWER: 0, AUTHORITY: 1", ask("shop.test", "MX"))
        assert "status: NXDOMAIN" in ask("nope.shop.test")
        assert "status: NXDOMAIN" in ask("nope.test")
        assert "status: NXDOMAIN" in ask("nope")
        assert "ns1.shop.test." in ask("-x", SERVERS["ns1.shop.test"], "+short")
    finally:
        named.terminate()
        said += named.communicate(timeout=20)[1].splitlines()
    assert [line for line in said if re.search("lame|FORMERR|unexpected|broken|error ", line)] == []


@pytest.mark.needs("zonemaster-cli")
def test_zonemaster_finds_nothing_but_what_is_meant(net: Net) -> None:
    """No WARNING and no ERROR over a zone with two name servers; its notices are about choices."""
    said = net.run(
        "zonemaster-cli", "--hints", net.hints, "--no-ipv6", "--no-progress", "--level", "NOTICE", "--raw", "--json",
        "shop.test", timeout=120,
    )  # fmt: skip
    found = json.loads(said)
    assert {entry["level"] for entry in found} == {"NOTICE"}, said
    assert {entry["tag"] for entry in found} == {
        "NEITHER_DNSKEY_NOR_DS", "NOT_SIGNED", "NO_IPV6_NS_CHILD", "NO_IPV6_NS_DEL",
        "SOA_DEFAULT_TTL_MAXIMUM_VALUE_LOWER", "Z09_MISSING_MAIL_TARGET",
    }  # fmt: skip
