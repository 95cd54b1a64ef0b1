"""Records change over the network: nsupdate and knsupdate against a real server, and what a kill leaves."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.resolver
import dns.tsig
import dns.tsigkeyring
import dns.update
import pytest

from stack.clock import eventually
from tests.support.name_servers import SECRET, NameServers, free_port

TEXT = """\
$TTL 60
@    IN SOA ns1 host 1 3600 600 86400 30
@    IN NS  ns1
ns1  IN A   192.0.2.53
www  IN A   192.0.2.1
www  IN A   192.0.2.2
old  IN TXT "old"
"""


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[NameServers]:
    made = NameServers(tmp_path)
    (tmp_path / "shop.zone").write_text(TEXT)
    yield made
    made.stop()


def start(servers: NameServers, port: int, *grants: str, more: tuple[str, ...] = ()) -> None:
    updates = [item for grant in grants for item in ("--update", grant)]
    servers.ours("ns1", port, "--zone", f"shop.test={servers.directory / 'shop.zone'}", *updates, *more)
    asyncio.run(eventually(lambda: bool(ask(port, "shop.test", "SOA")), within=40, every=0.05))


def ask(port: int, name: str, type: str) -> list[str]:
    try:
        response = dns.query.udp(dns.message.make_query(name, type), "127.0.0.1", port=port, timeout=1)
    except (dns.exception.DNSException, OSError):
        return []
    return sorted(rdata.to_text() for rrset in response.answer for rdata in rrset)


def run(program: str, port: int, lines: str, *arguments: str) -> tuple[int, str]:
    script = f"server 127.0.0.1 {port}\nzone shop.test\n{lines}\nsend\n"
    made = subprocess.run([program, *arguments], input=script, capture_output=True, text=True, timeout=30)
    return made.returncode, made.stdout + made.stderr


CLIENTS = [
    pytest.param("nsupdate", (), marks=pytest.mark.needs("nsupdate"), id="nsupdate"),
    pytest.param("nsupdate", ("-v",), marks=pytest.mark.needs("nsupdate"), id="nsupdate-tcp"),
    pytest.param("knsupdate", (), marks=pytest.mark.needs("knsupdate"), id="knsupdate"),
]


@pytest.mark.parametrize(("program", "arguments"), CLIENTS)
def test_clients_change_records(servers: NameServers, program: str, arguments: tuple[str, ...]) -> None:
    port = free_port()
    start(servers, port, "xfr")
    key = ("-k", str(servers.key)) if program == "nsupdate" else ("-y", f"hmac-sha256:xfr:{SECRET}")
    status, said = run(
        program, port,
        "prereq yxrrset www.shop.test. A\nprereq nxdomain new.shop.test.\n"
        "update add new.shop.test. 30 MX 10 www.shop.test.\nupdate add www.shop.test. 60 A 192.0.2.3\n"
        "update delete www.shop.test. A 192.0.2.1\nupdate delete old.shop.test.",
        *key, *arguments,
    )  # fmt: skip
    assert (status, said) == (0, "")
    assert ask(port, "new.shop.test", "MX") == ["10 www.shop.test."]
    assert ask(port, "www.shop.test", "A") == ["192.0.2.2", "192.0.2.3"]
    assert ask(port, "old.shop.test", "TXT") == []
    assert ask(port, "shop.test", "SOA")[0].split()[2] == "2"
    status, said = run(program, port, "prereq nxdomain new.shop.test.\nupdate delete www.shop.test.", *key, *arguments)
    assert status != 0
    assert "YXDOMAIN" in said
    assert ask(port, "www.shop.test", "A") == ["192.0.2.2", "192.0.2.3"]
    log = servers.directory / "ns1.log"

    def words() -> list[str]:
        rows = [json.loads(line) for line in log.read_text().splitlines()]
        return [dict(row["marks"])["answer"] for row in rows if "update" in row["flags"]]

    asyncio.run(eventually(lambda: words() == ["updated", "yxdomain"]))


@pytest.mark.needs("nsupdate")
def test_only_who_may_changes_what_it_may(servers: NameServers) -> None:
    port = free_port()
    other = servers.directory / "other.key"
    other.write_text(servers.key.read_text().replace("xfr", "acme"))
    wrong = servers.directory / "wrong.key"
    wrong.write_text(servers.key.read_text().replace(SECRET, SECRET[::-1].replace("=", "") + "="))
    unknown = servers.directory / "unknown.key"
    unknown.write_text(servers.key.read_text().replace("xfr", "nobody"))
    grants = ("acme name=_acme-challenge.* type=TXT", "xfr zone=other.test")
    start(servers, port, *grants, more=("--tsig-key", str(other)))
    change = "update add www.shop.test. 60 A 192.0.2.9"
    challenge = 'update add _acme-challenge.shop.test. 60 TXT "token"'
    for arguments, lines, rcode in (
        ((), change, "REFUSED"),
        (("-k", str(servers.key)), change, "REFUSED"),
        (("-k", str(other)), change, "REFUSED"),
        (("-k", str(other)), f"{challenge}\n{change}", "REFUSED"),
        (("-k", str(unknown)), change, "NOTAUTH(BADKEY)"),
        (("-k", str(wrong)), change, "NOTAUTH(BADSIG)"),
    ):
        status, said = run("nsupdate", port, lines, *arguments)
        assert status != 0
        assert rcode in said, (arguments, said)
    assert ask(port, "www.shop.test", "A") == ["192.0.2.1", "192.0.2.2"]
    assert run("nsupdate", port, challenge, "-k", str(other)) == (0, "")
    assert ask(port, "_acme-challenge.shop.test", "TXT") == ['"token"']


@pytest.mark.needs("nsupdate", "knotd")
def test_an_update_reaches_a_secondary(servers: NameServers) -> None:
    """NOTIFY, IXFR: Knot serves what nsupdate has set."""
    port, there = free_port(), free_port()
    start(servers, port, "xfr", more=("--transfer-allow", "127.0.0.1#xfr", "--notify", f"127.0.0.1:{there}#xfr"))
    servers.knot(there, port, secondary=True)
    asyncio.run(eventually(lambda: bool(ask(there, "www.shop.test", "A")), within=40, every=0.05))
    assert run("nsupdate", port, "update add new.shop.test. 60 A 192.0.2.9", "-k", str(servers.key)) == (0, "")
    asyncio.run(eventually(lambda: ask(there, "new.shop.test", "A") == ["192.0.2.9"], within=20, every=0.05))


def test_what_was_answered_is_there_after_kill_9(servers: NameServers) -> None:
    port = free_port()
    start(servers, port, "xfr")
    keyring = dns.tsigkeyring.from_text({"xfr": SECRET})
    answered: list[int] = []
    lock = threading.Lock()
    count = iter(range(10_000))

    def client(ending: threading.Event) -> None:
        while not ending.is_set():
            with lock:
                number = next(count)
            update = dns.update.UpdateMessage("shop.test", keyring=keyring, keyname="xfr", keyalgorithm="hmac-sha256")
            update.add(f"host{number}", 60, "A", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
            try:
                response = dns.query.tcp(update, "127.0.0.1", port=port, timeout=2)
            except (dns.exception.DNSException, OSError, EOFError):
                return
            assert response.rcode() == dns.rcode.NOERROR
            with lock:
                answered.append(number)

    draw = random.Random(7)
    for _ in range(3):
        before, ending = len(answered), threading.Event()
        clients = [threading.Thread(target=client, args=(ending,)) for _ in range(4)]
        for thread in clients:
            thread.start()
        asyncio.run(eventually(lambda: len(answered) >= before + 20, within=40))  # noqa: B023
        time.sleep(draw.random() / 20)  # in the middle of whatever it does then
        process = servers.running["ns1"]
        process.send_signal(signal.SIGKILL)
        process.wait()
        ending.set()
        for thread in clients:
            thread.join()
        start(servers, port, "xfr")
        for number in answered:
            assert ask(port, f"host{number}.shop.test", "A") != [], number
    assert len(answered) >= 60
    assert int(ask(port, "shop.test", "SOA")[0].split()[2]) > len(answered)


@pytest.mark.needs("nsupdate")
def test_a_reload_and_a_restart_keep_what_was_set_over_the_text(servers: NameServers) -> None:
    port = free_port()
    start(servers, port, "xfr")
    assert run("nsupdate", port, "update add www.shop.test. 60 A 192.0.2.9", "-k", str(servers.key)) == (0, "")
    (servers.directory / "shop.zone").write_text(TEXT.replace("192.0.2.2", "192.0.2.7") + "more IN A 192.0.2.8\n")
    servers.hang_up("ns1")
    asyncio.run(eventually(lambda: ask(port, "more.shop.test", "A") == ["192.0.2.8"], within=20))
    assert ask(port, "www.shop.test", "A") == ["192.0.2.1", "192.0.2.2", "192.0.2.9"]
    assert ask(port, "shop.test", "SOA")[0].split()[2] == "3"
    assert "www.shop.test. A: the text has changed" in servers.said("ns1")
    rows = servers.ask_admin("ns1", "GET", "/-/records?changed=1")["records"]
    assert [(row["name"], row["by"], row["text"]["data"]) for row in rows] == [
        ("www.shop.test.", "key xfr. from 127.0.0.1", ["192.0.2.1", "192.0.2.7"])
    ]
    servers.ask_admin("ns1", "DELETE", "/-/changes?name=www.shop.test")
    assert ask(port, "www.shop.test", "A") == ["192.0.2.1", "192.0.2.7"]
