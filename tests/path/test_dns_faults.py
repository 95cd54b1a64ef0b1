"""Faults on the DNS servers of a running stack: what clients see, and how log, metrics, headers and trace say so."""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from stack.clock import eventually
from tests.support.stack import Stack, running_stack

HOSTS = {"dns-root": "127.0.53.1", "dns-tld": "127.0.53.2", "dns-shop": "127.0.53.3", "resolver": "127.0.0.1"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("dns-faults") / "home") as running:
        yield running


@pytest.fixture(autouse=True)
def cleared(stack: Stack) -> Iterator[None]:
    yield
    assert fault(stack, "clear", "--all")
    flush(stack)


def fault(stack: Stack, *argv: str, status: int = 0) -> str:
    done = stack.hopstack("fault", *argv)
    assert done.returncode == status, done.stdout + done.stderr
    return (done.stdout if status == 0 else done.stderr).strip()


def admin(stack: Stack, hop: str, path: str, method: str = "GET") -> str:
    request = urllib.request.Request(f"{stack.hop(hop)['admin']}{path}", method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def flush(stack: Stack) -> None:
    """The resolver forgets what it was told."""
    admin(stack, "resolver", "/-/flush", "POST")


def ask(
    stack: Stack, server: str, name: str = "www.shop.test", type: str = "A", *, tcp: bool = False, timeout: float = 10
) -> dns.message.Message:
    query = dns.message.make_query(name, type, use_edns=0)
    send = dns.query.tcp if tcp else dns.query.udp
    found: dns.message.Message = send(query, HOSTS[server], port=stack.base + 53, timeout=timeout)
    return found


def addresses(message: dns.message.Message) -> list[str]:
    return [rdata.to_text() for rrset in message.answer for rdata in rrset]


async def logged(stack: Stack, hop: str, name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    def some() -> bool:
        found[:] = [line for line in stack.log(hop) if name in line.get("fault", [])]
        return bool(found)

    await eventually(some)
    return found[-1]


async def test_an_rcode_for_some_names(stack: Stack) -> None:
    told = fault(stack, "add", "dns-shop", "rcode=SERVFAIL", "qname=www.*", "--name", "broken")
    assert told == "broken: on at dns-shop"
    assert ask(stack, "dns-shop").rcode() == dns.rcode.SERVFAIL
    assert addresses(ask(stack, "dns-shop", "shop.test"))
    assert ask(stack, "resolver").rcode() == dns.rcode.SERVFAIL
    line = await logged(stack, "dns-shop", "broken")
    assert (line["rcode"], line["marks"]) == ("SERVFAIL", [["fault", "rcode"], ["answer", "servfail"]])
    assert 'hopstack_faults_injected_total{fault="broken",kind="rcode"}' in admin(stack, "dns-shop", "/metrics")
    assert "dns-shop rcode=SERVFAIL qname=www.*" in " ".join(fault(stack, "list").split())
    assert fault(stack, "clear", "broken") == "Cleared: broken"
    flush(stack)
    assert addresses(ask(stack, "resolver"))


def test_who_asks_is_told_by_an_extended_error(stack: Stack) -> None:
    fault(stack, "add", "dns-shop", "rcode=SERVFAIL", "--name", "broken")
    [option] = [option for option in ask(stack, "dns-shop").options if isinstance(option, dns.edns.EDEOption)]
    assert (int(option.code), option.text) == (0, "injected: broken")
    done = stack.hopstack("dig", "www.shop.test", "--at", "dns-shop")
    assert done.returncode == 4
    assert "by the fault broken; see hopstack fault list" in " ".join(done.stdout.split())
    flush(stack)
    done = stack.hopstack("trace", "/")
    assert done.returncode == 4
    assert "injected: broken" in done.stdout


async def test_a_link_between_dns_servers(stack: Stack) -> None:
    assert fault(stack, "add", "resolver>dns-tld", "rcode=REFUSED", "--name", "cut") == "cut: on at resolver>dns-tld"
    flush(stack)
    assert ask(stack, "resolver").rcode() == dns.rcode.SERVFAIL
    assert ask(stack, "dns-tld").authority  # the server itself is well
    line = await logged(stack, "resolver", "cut")
    assert f"127.0.53.2:{stack.base + 53} test. refused (injected: cut)" in line["walk"]
    assert ["fault", "rcode"] in line["marks"]


def test_dropped_datagrams_and_streams_that_say_nothing(stack: Stack) -> None:
    fault(stack, "add", "client>resolver", "drop")
    for tcp in (False, True):
        with pytest.raises(dns.exception.Timeout):
            ask(stack, "resolver", tcp=tcp, timeout=0.5)


def test_truncated_over_udp_and_whole_over_tcp(stack: Stack) -> None:
    fault(stack, "add", "dns-shop", "truncate")
    assert ask(stack, "dns-shop").flags & dns.flags.TC
    assert addresses(ask(stack, "dns-shop", tcp=True)) == ["127.0.1.1", "127.0.1.2"]
    flush(stack)
    assert addresses(ask(stack, "resolver")) == ["127.0.1.1", "127.0.1.2"]


def test_a_wrong_address_reaches_the_client_of_the_resolver(stack: Stack) -> None:
    fault(stack, "add", "resolver>dns-shop", "wrong_address=192.0.2.66")
    flush(stack)
    assert addresses(ask(stack, "resolver")) == ["192.0.2.66"]


def test_a_connection_is_reset(stack: Stack) -> None:
    fault(stack, "add", "dns-shop", "refused", "proto=tcp")
    with pytest.raises((ConnectionResetError, EOFError)):
        ask(stack, "dns-shop", tcp=True)
    assert addresses(ask(stack, "dns-shop"))


def test_slow_tcp_comes_whole_and_in_order(stack: Stack) -> None:
    """Two questions on one connection, 160 octets a second: both answers come, and neither cuts the other."""
    fault(stack, "add", "dns-shop", "down=160", "qname=www.*")
    slow, quick = (dns.message.make_query(f"{name}shop.test", "A") for name in ("www.", ""))
    with socket.create_connection((HOSTS["dns-shop"], stack.base + 53), timeout=10) as sock:
        began = time.monotonic()
        sock.sendall(framed(slow))
        received = sock.recv(1)
        sock.sendall(framed(quick))  # its answer is ready at once, and the other one is on its way
        while len(received) < 2 or len(received) < 4 + sum(sizes(received)):
            data = sock.recv(65536)
            assert data
            received += data
        took = time.monotonic() - began
    first, second = (dns.message.from_wire(wire) for wire in messages(received))
    assert (first.id, second.id) == (slow.id, quick.id)
    assert all(addresses(message) == ["127.0.1.1", "127.0.1.2"] for message in (first, second))
    assert took > 0.3


def framed(query: dns.message.Message) -> bytes:
    wire: bytes = query.to_wire()
    return len(wire).to_bytes(2, "big") + wire


def messages(data: bytes) -> list[bytes]:
    """Of a stream, as far as they have come."""
    found = []
    while len(data) >= 2:
        end = 2 + int.from_bytes(data[:2], "big")
        found.append(data[2:end])
        data = data[end:]
    return found


def sizes(data: bytes) -> list[int]:
    """What the first two messages of a stream have in all; a large one while that is not known."""
    first = int.from_bytes(data[:2], "big")
    rest = data[2 + first :]
    return [first, int.from_bytes(rest[:2], "big") if len(rest) >= 2 else 65536]


def test_server_timing_of_dns_over_https_names_it(stack: Stack) -> None:
    fault(stack, "add", "resolver", "delay=100ms", "proto=https")
    wire = dns.message.make_query("www.shop.test", "A", id=0).to_wire()
    context = ssl.create_default_context(cafile=str(stack.ca))
    request = urllib.request.Request(
        f"https://localhost:{stack.base + 54}/dns-query", wire, {"content-type": "application/dns-message"}
    )
    with urllib.request.urlopen(request, timeout=10, context=context) as answer:
        timing = answer.headers["server-timing"]
    [took] = re.findall(r'resolver\.fault;dur=([0-9.]+);desc="latency"', timing)
    assert float(took) > 95


def test_the_trace_shows_what_its_walk_met(stack: Stack) -> None:
    fault(stack, "add", "client>dns-tld", "delay=150ms", "--name", "late")
    done = stack.hopstack("trace", "--json", "/")
    [line] = [span for span in json.loads(done.stdout)["requests"][0]["spans"] if span["name"] == "dns-tld"]
    assert line["total_ms"] > 140
    assert line["injected"]
    assert "(injected: late)" in line["decision"]


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("add", "dns-shop", "status=503"), "dns-shop: status (here: rcode) is of HTTP alone, and this speaks DNS"),
        (("add", "resolver>dns-tld", "blackhole"), "resolver>dns-tld: blackhole (here: drop) is of HTTP alone"),
        (("add", "lb-a", "drop"), "drop (here: blackhole) is of DNS alone, and this speaks HTTP"),
        (("add", "dns-shop", "rcode=SERVFIAL"), "did you mean SERVFAIL?"),
        (("add", "dns-shp", "drop"), "dns-shp: the running stack has no such hop; did you mean dns-shop?"),
        (("add", "resolver>dns-tdl", "drop"), "no such link; did you mean resolver>dns-tld?"),
        (("add", "dns-shop", "rcode=SERVFAIL", "name=www.*"), "for one that is asked for say qname="),
        (("add", "resolver>dns-tld", "down=10"), "put it on that server"),
    ],
)
def test_a_slip_is_said_with_its_remedy(stack: Stack, argv: tuple[str, ...], says: str) -> None:
    told = fault(stack, *argv, status=2)
    assert says in told
    assert "\n" not in told
