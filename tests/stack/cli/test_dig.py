"""`hopstack dig`: what it takes, whom it asks, what it says of servers that are silent, closed or no DNS servers."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rrset
import pytest

from stack.cli import dig
from stack.cli.main import main
from stack.supervisor.state import StateDir


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOPSTACK_HOME", str(tmp_path / "home"))


def answered(message: Any) -> bytes:
    response: Any = dns.message.make_response(message)
    response.flags |= dns.flags.AA
    asked = message.question[0]
    if asked.rdtype == 1:
        response.answer.append(dns.rrset.from_text(asked.name, 60, "IN", "A", "192.0.2.1", "192.0.2.2"))
    wire: bytes = response.to_wire()
    return wire


class Udp:
    """A server of datagrams in a thread: `respond` makes of each query what is sent back."""

    def __init__(self, respond: Callable[[bytes], list[bytes]]) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.at = f"127.0.0.1:{self.socket.getsockname()[1]}"
        self.asked: list[Any] = []
        self._respond = respond
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            data, client = self.socket.recvfrom(65535)
            if data == b"end":
                return
            self.asked.append(dns.message.from_wire(data))
            for response in self._respond(data):
                self.socket.sendto(response, client)

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"end", self.socket.getsockname())
        self._thread.join(10)
        self.socket.close()


@pytest.fixture
def server() -> Iterator[Udp]:
    found = Udp(lambda data: [answered(dns.message.from_wire(data))])
    yield found
    found.close()


def test_an_address_needs_no_stack(server: Udp, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dig", "www.shop.test", "--at", server.at]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"NOERROR from {server.at} over UDP: ")
    assert "question  www.shop.test. A" in lines
    assert "flags     aa authoritative, rd recursion desired" in lines
    assert sorted(lines[lines.index("answer") + 1 :][:2]) == [
        "  www.shop.test.  60  A  192.0.2.1", "  www.shop.test.  60  A  192.0.2.2",
    ]  # fmt: skip
    assert lines[-1] == "meaning   2 records, from the zone itself"
    assert all(len(line) <= 80 for line in lines)


def test_several_types_in_any_place_as_dig_takes_them(server: Udp, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dig", f"@{server.at}", "mx", "shop.test.", "A", "type65280", "--short", "--norecurse"]) == 1
    assert sorted(capsys.readouterr().out.splitlines()) == ["192.0.2.1", "192.0.2.2"]
    asked = [(one.question[0].name.to_text(), one.question[0].rdtype, one.flags) for one in server.asked]
    assert asked == [("shop.test.", 15, 0), ("shop.test.", 1, 0), ("shop.test.", 65280, 0)]


def test_a_name_that_is_called_like_a_type(server: Udp) -> None:
    assert main(["dig", "ns", "--at", server.at]) == 0
    assert server.asked[0].question[0].to_text() == "ns. IN A"


def test_reverse(server: Udp) -> None:
    assert main(["dig", "-x", "192.0.2.1", "--at", server.at]) == 1
    assert server.asked[0].question[0].to_text() == "1.2.0.192.in-addr.arpa. IN PTR"


def test_json(server: Udp, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dig", "www.shop.test", "A", "AAAA", "--at", server.at, "--cookie", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["version"] == 1
    first, second = found["queries"]
    assert first["question"] == {"name": "www.shop.test.", "class": "IN", "type": "A"}
    assert (first["outcome"], second["outcome"], first["protocol"], first["error"]) == (
        "answered",
        "absent",
        "udp",
        None,
    )
    assert min(first["response"]["answer"], key=lambda record: str(record["data"])) == {
        "name": "www.shop.test.", "ttl": 60, "class": "IN", "type": "A", "data": "192.0.2.1",
    }  # fmt: skip
    assert first["response"]["authority"] == []
    assert f"127.0.0.1:{first['server']['port']}" == server.at
    assert len(next(option for option in server.asked[0].options if option.otype == 10).to_wire()) == 8


def test_every_key_of_the_json_is_documented(server: Udp, capsys: pytest.CaptureFixture[str]) -> None:
    main(["dig", "www.shop.test", "--at", server.at, "--json"])
    [one] = json.loads(capsys.readouterr().out)["queries"]
    text = (Path(__file__).parents[3] / "docs" / "dns.md").read_text().partition("### `hopstack dig`")[2]
    keys = {*one, *one["response"], *one["server"], *one["response"]["edns"], *one["response"]["answer"][0]}
    assert [key for key in sorted(keys) if f"`{key}`" not in text] == []


def test_forgeries_and_late_responses_are_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    def forged(data: bytes) -> list[bytes]:
        right = answered(dns.message.from_wire(data))
        other = bytes((right[0] ^ 0xFF,)) + right[1:]
        return [b"", data, other, right]

    server = Udp(forged)
    try:
        assert main(["dig", "shop.test", "--at", server.at, "--short"]) == 0
    finally:
        server.close()


def test_a_silent_server(capsys: pytest.CaptureFixture[str]) -> None:
    server = Udp(lambda data: [])
    try:
        assert main(["dig", "shop.test", "--at", server.at, "--timeout", "0.1"]) == 6
    finally:
        server.close()
    assert "no reply from 127.0.0.1:" in " ".join(capsys.readouterr().out.split())
    assert len(server.asked) == 3


def test_what_is_no_message(capsys: pytest.CaptureFixture[str]) -> None:
    server = Udp(lambda data: [data[:2] + b"\x80" + bytes(9) + b"rubbish" * 9])
    server_short = Udp(lambda data: [data[:2] + b"\x80\0\0\1" + bytes(6) + b"\xc0\x0c\0\1\0\1"])
    try:
        assert main(["dig", "shop.test", "--at", server_short.at]) == 5
        assert "sent what is no DNS message" in " ".join(capsys.readouterr().out.split())
        assert main(["dig", "shop.test", "--at", server.at]) in (1, 5)
    finally:
        server.close()
        server_short.close()


def test_nobody_listens(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for option in ("--udp", "--tcp", "--tls", "--https"):
        assert main(["dig", "shop.test", "--at", f"127.0.0.1:{port}", option]) == 5
        assert "nobody listens there (connection refused)" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ((), "Missing argument 'NAME'"),
        (("a.test", "b.test"), "b.test: no type of records is called so"),
        (("a.test", "AAA"), "AAA: no type of records is called so"),
        (("a.test", "+short"), "+short: say --short"),
        (("a.test", "+trace"), "that is hopstack trace NAME"),
        (("a.test", "+frob"), "+frob: no such option"),
        (("a.test", "--at", "x", "@y"), "@y: --at x is given too"),
        (("-x", "a.test"), "-x a.test: wanted an address"),
        (("-x", "::1", "a.test"), "it takes no name besides"),
        (("a..test", "--at", "::1"), "'a..test' is no domain name: a DNS label is empty"),
        (("a.test", "--at", "127.0.0.1:0"), "0 is no port"),
        (("a.test", "--at", "127.0.0.1:port"), "port is no port"),
        (("a.test", "--at", "no/name.test"), "wanted a hop as dns-root, or ADDRESS[:PORT]"),
        (("a.test", "--json", "--short"), "give --short or --json, not both"),
        (("a.test", "--no-edns", "--cookie"), "--cookie is a part of EDNS"),
        (("a.test", "AXFR"), "a zone transfer is many messages"),
        (("a.test", "--at", "::1", "--cacert", "/no/file"), "--cacert /no/file: there is no such file"),
        (("a.test", *(f"TYPE{number}" for number in range(1000, 1021))), "at most 20"),
    ],
)
def test_a_slip_is_one_line_and_status_2(argv: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dig", *argv]) == 2
    printed = capsys.readouterr()
    assert says in printed.err
    assert printed.out == ""
    assert printed.err.count("\n") == 1


def test_without_a_stack_it_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dig", "shop.test"]) == 3
    assert "`hopstack up` starts one. Else say whom to ask: --at ADDRESS[:PORT]." in capsys.readouterr().err


RUNNING: dict[str, Any] = {
    "hops": [
        {"name": "dns-root", "kind": "dns_server", "listen": {"dns": "127.0.53.1:5053"}},
        {"name": "resolver", "kind": "dns_server", "listen": {"dns": "0.0.0.0:5053", "https": "[::]:8053"}},
        {"name": "lb-a", "kind": "loadbalancer", "listen": {"http": "127.0.0.1:8101"}},
    ],
    "ca": "/srv/ca.pem",
}


@pytest.mark.parametrize(
    ("at", "protocol", "found"),
    [
        ("", None, "resolver (127.0.0.1:5053, udp)"),
        ("", "https", "resolver ([::1]:8053, https)"),
        ("root", "tcp", "dns-root (127.0.53.1:5053, tcp)"),
        ("dns-root", "datagram", "dns-root (127.0.53.1:5053, udp)"),
        ("127.0.53.1:5053", None, "dns-root (127.0.53.1:5053, udp)"),
        ("192.0.2.1", None, "192.0.2.1:53 (udp)"),
        ("192.0.2.1#5353", None, "192.0.2.1:5353 (udp)"),
        ("2001:db8::1", "tls", "[2001:db8::1]:853 (tls)"),
        ("[2001:db8::1]:5053", None, "[2001:db8::1]:5053 (udp)"),
        ("ns.example.com", "https", "ns.example.com:443 (https)"),
        ("localhost:99", None, "localhost:99 (udp)"),
    ],
)
def test_whom_it_asks(at: str, protocol: str | None, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StateDir, "running", lambda self: RUNNING)
    server, _ = dig._server(at, protocol)
    assert str(server) == found


@pytest.mark.parametrize(
    ("at", "option", "says"),
    [
        ("dns-rot", "--tcp", "the running stack has no such DNS server; did you mean dns-root?"),
        ("frankfurt", "--tcp", "no such DNS server; there is dns-root, resolver"),
        ("lb-a", "--tcp", "--at lb-a: it is no DNS server; there is dns-root, resolver"),
        ("dns-root", "--tls", "--tls: dns-root does not listen for it; it has --udp and --tcp"),
        ("resolver", "--tls", "resolver does not listen for it; it has --udp and --tcp, --https"),
    ],
)
def test_a_server_that_is_not_there(
    at: str, option: str, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(StateDir, "running", lambda self: RUNNING)
    assert main(["dig", "shop.test", "--at", at, option]) == 2
    assert says in capsys.readouterr().err


def test_the_address_of_a_hop_without_its_port(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
    hops = [{"name": "dns-root", "kind": "dns_server", "listen": {"dns": "127.0.0.1:5053"}}]
    monkeypatch.setattr(StateDir, "running", lambda self: {**RUNNING, "hops": hops})
    assert main(["dig", "shop.test", "--at", f"127.0.0.1:{port}"]) == 5
    told = "hopstack: dns-root is there at port 5053: --at 127.0.0.1:5053, or --at dns-root\n"
    assert capsys.readouterr().err == told
    monkeypatch.setattr(StateDir, "running", lambda self: {})
    assert main(["dig", "shop.test", "--at", f"127.0.0.1:{port}"]) == 5
    assert capsys.readouterr().err == ""


def test_a_stack_without_a_resolver(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    hops = [hop for hop in RUNNING["hops"] if hop["name"] != "resolver"]
    monkeypatch.setattr(StateDir, "running", lambda self: {**RUNNING, "hops": hops})
    assert main(["dig", "shop.test"]) == 2
    told = "hopstack: the running stack has no resolver; name a server, as --at dns-root\n"
    assert capsys.readouterr().err == told


def test_what_a_server_says_cannot_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    def evil(data: bytes) -> list[bytes]:
        response: Any = dns.message.make_response(dns.message.from_wire(data))
        response.use_edns(
            0, 0, 1232, options=[dns.edns.EDEOption(1, "\x1b[2J\u009b"), dns.edns.GenericOption(3, b"\x1b")]
        )
        return [response.to_wire()]

    server = Udp(evil)
    try:
        main(["dig", "shop.test", "--at", server.at])
    finally:
        server.close()
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "\u009b" not in printed
