"""What `hopstack dns` prints and does, over the pages of a real server."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path
from typing import Any

import click
import pytest

from dns_server.book import Book
from dns_server.changes import Changes
from dns_server.records import record_pages
from dns_server.rules.names import from_text
from dns_server.rules.zone import Zones
from dns_server.tsig_keys import read_keys
from dns_server.zonefile import load_text
from stack.cli import dns_records
from stack.cli.dns_records import Server, Servers
from stack.cli.main import main
from stack.clock import SystemClock
from stack.errors import HopError
from stack.http.message import Request, Response

TEXT = """\
$TTL 300
@    IN SOA ns hostmaster 5 3600 600 86400 30
@    IN NS  ns
@    IN TXT "site"
ns   IN A   192.0.2.1
www  60 IN A 192.0.2.2
sub  IN NS  ns.sub
ns.sub IN A 192.0.2.3
"""
ROOT = "$TTL 300\n@ IN SOA ns.test. h 1 1 1 1 30\n@ IN NS ns.test.\nns.test. IN A 192.0.2.9\n"


class Stack:
    """Two authorities and a resolver; `silent` ones do not answer."""

    def __init__(self, directory: Path) -> None:
        self.silent: set[str] = set()
        self.flushed: list[str] = []
        self.changes = {
            "dns-root": Changes(Book(), directory / "root", clock=SystemClock()),
            "dns-shop": Changes(Book(), directory / "shop", clock=SystemClock()),
        }
        asyncio.run(self.changes["dns-root"].load(Zones([load_text(b"\0", ROOT)[0]])))
        asyncio.run(self.changes["dns-shop"].load(Zones([load_text(from_text("shop.test"), TEXT)[0]])))

    def servers(self, at: str | None) -> Servers:
        known = [
            Server("dns-root", "dns-root", False, ("",), ("",)),
            Server("dns-shop", "dns-shop", False, ("shop.test",), ("shop.test",)),
        ]
        chosen = [server for server in known if at in (None, server.name)]
        return Servers(chosen, [Server("resolver", "resolver", True, (), ())], "shop.test", at is not None)

    def ask(self, admin: str, method: str, path: str, content: dict[str, Any] | None = None) -> dict[str, Any] | None:
        if admin in self.silent:
            return None
        if admin == "resolver":
            self.flushed.append(path)
            return {"flushed": 1}
        page = record_pages(self.changes[admin])[method.encode(), path.partition("?")[0].encode()]
        body = json.dumps(content).encode() if content is not None else b""
        fields = [(b"user-agent", b"hopstack dns")]
        made = page(Request(method.encode(), path.encode(), fields, authority=b"localhost", body=body))
        try:
            response = made if isinstance(made, Response) else asyncio.run(made)  # type: ignore[arg-type]
        except HopError as error:
            raise click.ClickException(error.detail) from None
        assert isinstance(response.body, bytes)
        answer: dict[str, Any] = json.loads(response.body)
        return answer


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    made = Stack(tmp_path)
    monkeypatch.setattr(dns_records, "servers", made.servers)
    monkeypatch.setattr(dns_records, "_ask", made.ask)
    return made


def told(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, list[str]]:
    status = main(["dns", *argv])
    said = capsys.readouterr()
    return status, (said.out + said.err).splitlines()


def test_show_is_the_sites_zone_as_a_file_has_it(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    status, lines = told(capsys, "show")
    assert status == 0
    assert lines == [
        "shop.test. 300 IN SOA ns.shop.test. hostmaster.shop.test. 5 3600 600 86400 30",
        "shop.test. 300 IN NS ns.shop.test.",
        'shop.test. 300 IN TXT "site"',
        "ns.shop.test. 300 IN A 192.0.2.1",
        "sub.shop.test. 300 IN NS ns.sub.shop.test.",
        "ns.sub.shop.test. 300 IN A 192.0.2.3",
        "www.shop.test. 60 IN A 192.0.2.2",
    ]


@pytest.mark.parametrize(
    ("argv", "lines"),
    [
        (("www",), ["www.shop.test. 60 IN A 192.0.2.2"]),
        (("www.shop.test.", "a"), ["www.shop.test. 60 IN A 192.0.2.2"]),
        (("shop.test", "TXT"), ['shop.test. 300 IN TXT "site"']),
        ((".", "NS"), [". 300 IN NS ns.test."]),
    ],
)
def test_show_some(stack: Stack, argv: tuple[str, ...], lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "show", *argv) == (0, lines)


def test_show_nothing(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "show", "nope") == (1, ["No records."])
    assert told(capsys, "show", "--changed") == (0, ["Nothing differs from the zones' texts."])


def test_set_show_and_reset(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    status, lines = told(capsys, "set", "www", "5m", "A", "192.0.2.7", "192.0.2.8")
    assert status == 0
    assert lines == [
        "www.shop.test. 300 IN A 192.0.2.7",
        "www.shop.test. 300 IN A 192.0.2.8",
        "; set by hopstack dns; the text says 60 192.0.2.2",
        "; at dns-shop, serial 6",
        "; resolver has forgotten the name; other caches may keep what was there for 60 s",
    ]
    assert stack.flushed == ["/-/flush?name=www.shop.test"]
    told(capsys, "unset", "ns")
    _, lines = told(capsys, "show", "--changed")
    assert lines == [
        "; ns.shop.test. A taken away by hopstack dns; the text says 300 192.0.2.1",
        "www.shop.test. 300 IN A 192.0.2.7",
        "www.shop.test. 300 IN A 192.0.2.8",
        "; set by hopstack dns; the text says 60 192.0.2.2",
    ]
    assert told(capsys, "reset", "www") == (0, ["www.shop.test. A: as in the zone's text"])
    assert told(capsys, "reset", "shop.test") == (0, ["ns.shop.test. A: as in the zone's text"])
    assert told(capsys, "reset") == (0, ["Nothing differs from the zones' texts."])
    assert told(capsys, "show", "www") == (0, ["www.shop.test. 60 IN A 192.0.2.2"])


@pytest.mark.parametrize(
    ("argv", "record"),
    [
        (("new", "A", "192.0.2.7"), "new.shop.test. 300 IN A 192.0.2.7"),
        (("a.b.shop.test", "30", "AAAA", "2001:DB8::1"), "a.b.shop.test. 30 IN AAAA 2001:db8::1"),
        (("www", "TXT", "v=spf1 -all"), 'www.shop.test. 300 IN TXT "v=spf1 -all"'),
        (("www", "TXT", "one", 'two "words"'), r'www.shop.test. 300 IN TXT "one" "two \"words\""'),
        (("www", "TXT", "x" * 300), f'www.shop.test. 300 IN TXT "{"x" * 255}" "{"x" * 45}"'),
        (("www", "TXT", "ümlaut; semi"), r'www.shop.test. 300 IN TXT "\195\188mlaut; semi"'),
        (("m", "MX", "10", "mail"), "m.shop.test. 300 IN MX 10 mail.shop.test."),
        (("m", "MX", "10 mail.example"), "m.shop.test. 300 IN MX 10 mail.example."),
        (("c", "CNAME", "www.shop.test"), "c.shop.test. 300 IN CNAME www.shop.test."),
        (("c", "CNAME", "www"), "c.shop.test. 300 IN CNAME www.shop.test."),
        (("_s._tcp.shop.test", "SRV", "0 5 80 www.shop.test"), "_s._tcp.shop.test. 300 IN SRV 0 5 80 www.shop.test."),
        (("www", "CAA", '0 issue "ca.example"'), 'www.shop.test. 300 IN CAA 0 issue "ca.example"'),
        (("www", "TYPE65280", r"\# 2 0102"), r"www.shop.test. 300 IN TYPE65280 \# 2 0102"),
        (("*.wild.shop.test", "A", "192.0.2.7"), "*.wild.shop.test. 300 IN A 192.0.2.7"),
        (("@", "MX", "0 ."), "shop.test. 300 IN MX 0 ."),
    ],
)
def test_what_may_be_set(stack: Stack, argv: tuple[str, ...], record: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, lines = told(capsys, "set", *argv)
    assert (status, lines[0]) == (0, record)


def test_add_and_take_away_one(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    told(capsys, "set", "--add", "www", "A", "192.0.2.7")
    assert told(capsys, "show", "www", "A")[1][:2] == [
        "www.shop.test. 60 IN A 192.0.2.2", "www.shop.test. 60 IN A 192.0.2.7",
    ]  # fmt: skip
    assert told(capsys, "unset", "www", "A", "192.0.2.2")[1][0] == "www.shop.test. 60 IN A 192.0.2.7"
    status, lines = told(capsys, "unset", "www", "A", "192.0.2.2")
    assert status == 2
    assert "www.shop.test. A has not 192.0.2.2; it has 192.0.2.7" in lines[0]


def test_a_name_of_other_letters_is_the_one_that_clients_ask_for(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(capsys, "set", "bücher", "A", "192.0.2.7")[1][0] == "xn--bcher-kva.shop.test. 300 IN A 192.0.2.7"
    assert told(capsys, "show", "BÜCHER.shop.test", "A")[0] == 0
    assert told(capsys, "set", "ü" * 64, "A", "192.0.2.7")[0] == 2


def test_what_was_only_set_is_taken_away_in_words(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    told(capsys, "set", "mail", "A", "192.0.2.25")
    told(capsys, "set", "mail", "TXT", "x")
    assert told(capsys, "unset", "mail")[1][:2] == [
        "; mail.shop.test. A taken away; the text has none either",
        "; mail.shop.test. TXT taken away; the text has none either",
    ]


def test_the_resolver_may_keep_what_it_has(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    _, lines = told(capsys, "set", "--keep-cache", "www", "A", "192.0.2.7")
    assert not stack.flushed
    assert lines[-2:] == [
        "; resolver, and other caches may keep what was there for 60 s",
        "; it forgets at once by: curl -X POST 'resolver/-/flush?name=www.shop.test'",
    ]


def test_what_was_so_already_is_no_change(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "set", "www", "60", "A", "192.0.2.2")[1] == [
        "www.shop.test. 60 IN A 192.0.2.2", "; at dns-shop, it was so already",
    ]  # fmt: skip


def test_what_nobody_would_be_answered_is_told(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    _, lines = told(capsys, "set", "a.sub.shop.test", "A", "192.0.2.7")
    assert "; sub.shop.test. is delegated: below it nothing of this zone is answered but glue" in lines


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("set", "www", "TXTT", "x"), "'TXTT' is no type of record: did you mean TXT?"),
        (("set", "www", "AXFR", "x"), "AXFR is no type of zone data"),
        (("set", "www", "A"), "DATA is missing, as in `hopstack dns set www 60 A 192.0.2.1`"),
        (("set", "www", "A", "1.2.3"), "'1.2.3' is no data of A (Text input is malformed): wanted as `192.0.2.1`"),
        (("set", "www", "MX", "10"), "wanted as `10 mail.example.test.`"),
        (
            ("set", "www.shpo.test", "A", "1.2.3.4"),
            "no server here has a zone for that name; did you mean www.shop.test?",
        ),
        (("set", "a.example", "A", "1.2.3.4"), "no server here has a zone for that name; zones are ., shop.test"),
        (("set", "*.wild", "A", "1.2.3.4"), "zones are ., shop.test; of the site it is *.wild.shop.test"),
        (("set", "a..b", "A", "1.2.3.4"), "'a..b' has an empty label"),
        (("set", "www", "-1", "A", "1.2.3.4"), "'-1' is no TTL: seconds, or as 1h30m"),
        (("set", "www", "1x", "A", "1.2.3.4"), "'1x' is no TTL"),
        (
            ("set", "www", "CNAME", "x.example"),
            "has a CNAME and other data (A); nothing was changed; take away first what it has, as `hopstack dns unset www`",
        ),
        (("set", "a..b.shop.test", "A", "1.2.3.4"), "has an empty label"),
        (("set", "www", "99999999999", "A", "1.2.3.4"), "A TTL is a whole number of seconds, at most 2147483647"),
        (("unset", "nope"), "nope.shop.test. has no records that could be taken away"),
        (("unset", "www", "AAAA"), "www.shop.test. has no AAAA; it has A"),
        (("unset", "shop.test", "SOA"), "has no SOA record"),
        (("unset", "shop.test", "NS"), "has no NS record"),
        (("reset", "other.test"), "no server here has a zone for that name"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(
    stack: Stack, argv: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, lines = told(capsys, *argv)
    assert status == 2
    assert len(lines) == 1
    assert said in lines[0]
    assert told(capsys, "show", "--changed")[1] == ["Nothing differs from the zones' texts."]


def test_the_root_is_changed_by_name(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "set", "--at", "dns-root", "a.example", "A", "1.2.3.4")[1][0] == "a.example. 300 IN A 1.2.3.4"
    assert told(capsys, "set", "b.example.", "A", "1.2.3.4")[0] == 0


def test_a_silent_server_is_named(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    stack.silent.add("dns-shop")
    assert told(capsys, "set", "www", "A", "192.0.2.7") == (1, ["dns-shop does not answer; see `hopstack status`"])


def test_json(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dns", "set", "--json", "www", "A", "192.0.2.7"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["flushed"] == ["resolver"]
    assert answer["servers"]["dns-shop"]["serial"] == 6
    (row,) = answer["servers"]["dns-shop"]["records"]
    assert (row["name"], row["data"], row["source"]) == ("www.shop.test.", ["192.0.2.7"], "changed")
    assert row["text"] == {"ttl": 60, "data": ["192.0.2.2"]}


def test_nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HOPSTACK_HOME", str(tmp_path))
    for argv in (["show"], ["set", "www", "A", "192.0.2.1"], ["unset", "www"], ["reset"]):
        assert main(["dns", *argv]) == 3
        assert "`hopstack up` starts one" in capsys.readouterr().err


def test_a_key_is_for_its_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for algorithm in ("hmac-sha256", "hmac-sha384", "hmac-sha512"):
        assert main(["dns", "key", algorithm, "--algorithm", algorithm]) == 0
        file = tmp_path / f"{algorithm}.key"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        (key,) = read_keys([file])
        assert key.name == from_text(algorithm)
        assert len(key.secret) == key.size
        assert f"nsupdate -k {algorithm}.key" in capsys.readouterr().out
    assert main(["dns", "key", "hmac-sha256"]) == 2
    assert capsys.readouterr().err == "hopstack: hmac-sha256.key is there already; --file names another\n"
    for name in ("a/b", "a..b", "a" * 64, ".a", "a-", "a" * 63 + 4 * ("." + "a" * 62)):
        assert main(["dns", "key", name]) == 2
        assert "is no name of a key" in capsys.readouterr().err
    assert main(["dns", "key", "host-1.acme."]) == 0
