"""`hopstack config`: what it prints, and its exit status."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from stack.cli.main import main
from stack.hop import registry
from stack.plan.make import make_plan
from stack.supervisor.state import StateDir


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("HOPSTACK_") or name == "DATABASE_URL"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOPSTACK_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, list[str], list[str]]:
    """Exit status, lines of output, lines of errors."""
    status = main(["config", *argv])
    printed = capsys.readouterr()
    return status, printed.out.splitlines(), printed.err.splitlines()


def test_fine(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / "stack.toml").write_text("[edges.iad]\n")
    assert run(capsys, "check") == (0, ["stack.toml: ok, 12 hops"], [])
    assert run(capsys, "check", "-c", "stack.toml")[0] == 0


def test_without_a_file_the_default_stack_is_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "check") == (0, ["the default stack: ok, 13 hops"], [])


def test_every_fault_is_a_line_and_the_status_2(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / "mine.toml").write_text("replcas = 2\n[edges.fra]\ncache.sise = 1\n")
    assert run(capsys, "check", "mine.toml") == (
        2,
        [],
        [
            "mine.toml:1: replcas: there is no such key; did you mean replicas?",
            "mine.toml:3: edges.fra.cache.sise: there is no such option; did you mean size?",
        ],
    )


def test_a_warning_does_not_fail(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / "stack.toml").write_text("[apps.1]\nlimits.connections = 10\n")
    status, printed, told = run(capsys, "check")
    assert (status, printed) == (0, ["stack.toml: ok, 9 hops, 1 warning"])
    assert told[0].startswith("stack.toml:2: warning: apps.1.limits.connections: app-1 accepts 10 connections")


DNS = "[dns.root]\n[dns.tld]\n[dns.resolver]\n[dns.shop]\n"
KEY = 'key "acme" { algorithm hmac-sha256; secret "c2VjcmV0"; };'


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ('zone = "shop.test"', ['dns.shop.zone = "shop.test": wanted NAME=FILE']),
        ('zone = ["shop.test=bad.zone"]', ["bad.zone:4: ", "bad.zone:5: ", "more.zone:2: "]),
        ('update = ["acme zone=shop.test"]', ['dns.shop.update[0] = "acme zone=shop.test": no key is called acme']),
        ('tsig_key = ["broken.key"]', ["dns.shop.tsig_key: broken.key:1: 'a..b' is no name of a key"]),
        ('cookie_secret = "acme.key"', ["dns.shop.cookie_secret: wanted 32 hexadecimal digits"]),
        (
            'notify = ["x"]\ntransfer.allow = ["x", "#k"]\ntransfer.notify_from = ["#k"]\nsecondary = ["x"]\nrrl.exempt = ["x"]',
            [
                'dns.shop.notify[0] = "x": wanted ADDRESS',
                """dns.shop.transfer.allow[0] = "x": 'x' does not appear""",
                "dns.shop.transfer.notify_from: no key is called k",
                'dns.shop.secondary[0] = "x": wanted ADDRESS',
                """dns.shop.rrl.exempt[0] = "x": 'x' does not appear""",
            ],
        ),
        ("\n[dns.second]\nroot = ['x']\nresolver = true", ["""dns.second.root[0] = "x": wanted ADDRESS"""]),
    ],
)  # fmt: skip
def test_what_a_dns_server_would_not_start_with(
    lines: str, told: list[str], directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (directory / "acme.key").write_text(KEY)
    (directory / "broken.key").write_text(KEY.replace("acme", "a..b"))
    soa = "$TTL 60\n@ SOA ns hostmaster 1 3600 600 86400 30\n@ NS ns\n"
    (directory / "bad.zone").write_text(soa + "ns A 300.1.1.1\nwww MX mail\n$INCLUDE more.zone\n")
    (directory / "more.zone").write_text("ns A 192.0.2.1\nb A c\n")
    (directory / "stack.toml").write_text(DNS + lines + "\n")
    status, printed, errors = run(capsys, "check")
    assert (status, printed) == (2, [])
    plain = [line.replace(f"{directory}/", "") for line in errors]
    bare = [line.partition(": ")[2] if line.startswith("stack.toml") else line for line in plain]
    assert [line[: len(text)] for line, text in zip(bare, told, strict=True)] == told


def test_a_dns_server_that_will_surprise(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / "acme.key").write_text(KEY)
    own = 'tsig_key = ["acme.key"]\nupdate = ["acme zone=shp.test", "acme zone=shop.test"]\n[dns.other]\nzone = ["a.test=no.zone"]\n'
    (directory / "stack.toml").write_text(DNS + own)
    status, printed, errors = run(capsys, "check")
    assert (status, printed) == (0, ["stack.toml: ok, 14 hops, 2 warnings"])
    assert errors == [
        'stack.toml:8: warning: dns.other.zone[0] = "a.test=no.zone": there is no such file',
        'stack.toml:6: warning: dns.shop.update[0] = "acme zone=shp.test": dns-shop has no zone shp.test, so nothing is granted',
    ]
    (directory / "stack.toml").write_text('[defaults]\ntsig_key = ["acme.key"]\nupdate = ["acme zone=shop.test"]\n')
    assert run(capsys, "check") == (0, ["stack.toml: ok, 13 hops"], [])


def test_a_zone_file_that_is_legal_and_unwise(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / "own.zone").write_text("$TTL 60\n@ SOA ns hostmaster 1 3600 600 1209600 30\n@ NS ns\n")
    (directory / "stack.toml").write_text('[zones."shop.test"]\nfile = "own.zone"\n')
    status, printed, errors = run(capsys, "check")
    assert (status, printed) == (0, ["stack.toml: ok, 13 hops, 1 warning"])
    assert errors == [f"warning: {directory}/own.zone:3: the name server ns.shop.test. has no address here"]


def test_faults_of_a_zone_file_with_more_records(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soa = "$TTL 60\n@ SOA ns hostmaster 1 3600 600 1209600 30\n@ NS ns\nns A 192.0.2.1\n"
    (directory / "own.zone").write_text(soa + "www BAD\n$INCLUDE more.zone\nb MX mail\n")
    (directory / "more.zone").write_text("a AAAA 192.0.2.1\n")
    (directory / "stack.toml").write_text(
        '[zones."shop.test"]\nfile = "own.zone"\nrecords = ["c A 1.2.3", "d A 192.0.2.1"]\n'
    )
    status, _, errors = run(capsys, "check")
    assert status == 2
    assert [line.replace(f"{directory}/", "").partition(" not understood")[0] for line in errors] == [
        "stack.toml:2: zones.\"shop.test\".file: own.zone:5: unknown rdatatype 'BAD'",
        'stack.toml:2: zones."shop.test".file: own.zone:7: expecting an integer',
        'stack.toml:3: zones."shop.test".records: more.zone:1:',
        'stack.toml:3: zones."shop.test".records[0] = "c A 1.2.3":',
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [("a = b", "stack.toml:1:5: not TOML"), (None, "nowhere.toml: No such file or directory; `hopstack init` writes")],
)
def test_no_file_to_speak_of(text: str | None, told: str, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if text is not None:
        (directory / "stack.toml").write_text(text)
    status, printed, errors = run(capsys, "check", *([] if text is not None else ["nowhere.toml"]))
    assert (status, printed, len(errors)) == (2, [], 1)
    assert told in errors[0]


def test_show_one_hop_with_sources(
    directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory / "stack.toml").write_text('[edges.fra]\ncache.size = "64M"\n')
    monkeypatch.setenv("HOPSTACK_LIMITS_BODY", "1M")
    status, printed, _ = run(capsys, "show", "edge-fra", "--port-base", "30000")
    assert status == 0
    by_key = {line.partition(" = ")[0]: line.partition(" = ")[2].split("  ", 1) for line in printed[1:]}
    assert [part.strip() for part in by_key["cache.size"]] == ['"64M"', "# stack.toml:2"]
    assert [part.strip() for part in by_key["limits.body"]] == ['"1M"', "# HOPSTACK_LIMITS_BODY"]
    assert [part.strip() for part in by_key["timeouts.idle"]] == ['"75s"', "# default"]
    assert "https://127.0.1.1:30443" in by_key["listen"][0]
    assert all(len(line) <= 80 for line in printed if line.startswith(("cache", "limits", "timeouts")))


def test_show_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    status, printed, _ = run(capsys, "show", "--json")
    shown = json.loads("\n".join(printed))
    assert status == 0
    assert [hop["name"] for hop in shown["hops"]][:4] == ["dns-root", "dns-tld", "dns-shop", "resolver"]
    assert shown["hops"][4]["options"]["cache.size"] == {"value": 256 << 20, "source": "default"}


def test_show_a_hop_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, told = run(capsys, "show", "edge-fre")
    assert (status, told) == (2, ["hopstack: no hop is called 'edge-fre': did you mean edge-fra?"])


def test_diff_without_a_running_stack_is_against_the_default(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "diff") == (
        0, [], ["the default stack against the default stack (none runs here): no difference"],
    )  # fmt: skip
    (directory / "stack.toml").write_text("[edges.fra]\n[edges.nrt]\ncache.size = '64M'\n")
    status, printed, told = run(capsys, "diff")
    assert (status, printed) == (1, ['edge-nrt: cache.size "256M" -> "64M"  # stack.toml:3'])
    assert told == ["stack.toml against the default stack (none runs here): 1 difference"]


def test_diff_against_the_running_stack_counts_its_flags(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = StateDir.chosen()
    state.create()
    state.lock()
    given: dict[str, Any] = {"port_base": 30_000, "edges": ["fra"], "database_url": "postgresql://me:hunter2@x/y"}
    plan = make_plan(None, kinds=registry, state_dir=state.path, environ={}, given=given)
    state.write_plan(plan)
    try:
        assert "hunter2" not in state.plan_path.read_text()
        assert run(capsys, "diff")[:2] == (0, [])
        (directory / "stack.toml").write_text("[cache]\nsize = '64M'\n")
        status, printed, told = run(capsys, "diff", "stack.toml")
        assert (status, printed) == (1, ['edge-fra: cache.size "256M" -> "64M"  # stack.toml:2'])
        assert told == ["stack.toml against the running stack: 1 difference"]
        assert run(capsys, "diff", "--edges", "fra,nrt")[1][-1].startswith("app-3: trusted")
    finally:
        state.unlock()


def test_schema_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    status, printed, _ = run(capsys, "schema")
    schema = json.loads("\n".join(printed))
    assert status == 0
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert "replicas" in schema["properties"]


def test_a_file_is_called_as_in_its_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "a.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    assert main(["config", "check", "conf/a.toml"]) == 0
    assert capsys.readouterr().out == "conf/a.toml: ok, 13 hops\n"
