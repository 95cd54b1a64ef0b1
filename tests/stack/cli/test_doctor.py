"""`hopstack doctor`: each probe on machines that lack something, the command on this one; no probe can end or hold it."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from stack.cli import probes_machine, probes_stack
from stack.cli.checkup import Finding, Level, Machine, Probe, examine, report, run, status
from stack.cli.examination import PROBES
from stack.cli.main import cli, main
from stack.clock import VirtualClock
from stack.net import ca
from tests.support.stack import free_base


def answers(table: dict[str, tuple[int, str] | Exception]) -> Callable[[Sequence[str]], tuple[int, str]]:
    """Commands by their first words."""

    def command(argv: Sequence[str]) -> tuple[int, str]:
        line = " ".join(argv)
        for words, answer in table.items():
            if line.startswith(words):
                if isinstance(answer, Exception):
                    raise answer
                return answer
        raise FileNotFoundError(argv[0])

    return command


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(environ={}, directory=tmp_path, system="Linux", command=answers({}))


def only(probe: Probe, machine: Machine) -> Finding:
    [finding] = probe(machine)
    return finding


class TestRunning:
    def test_a_probe_that_fails_is_a_finding(self, machine: Machine) -> None:
        def broken(machine: Machine) -> Iterator[Finding]:
            raise RuntimeError("no such luck\n")
            yield

        [finding] = examine({"x": broken}, machine)
        assert (finding.name, finding.level) == ("x", Level.WARN)
        assert finding.text == "could not be looked at: RuntimeError: no such luck"

    def test_a_probe_that_hangs_is_a_finding_and_holds_nobody(self, machine: Machine) -> None:
        end = threading.Event()

        def stuck(machine: Machine) -> Iterator[Finding]:
            end.wait(30)
            yield Finding("stuck", Level.OK, "late")

        def quick(machine: Machine) -> Iterator[Finding]:
            yield Finding("quick", Level.OK, "here")

        began = machine.clock.now()
        try:
            first, second = examine({"stuck": stuck, "quick": quick}, machine, patience=0.3)
        finally:
            end.set()
        assert machine.clock.now() - began < 5
        assert (first.name, first.level) == ("stuck", Level.WARN)
        assert "0.3 s" in first.text
        assert second.text == "here"

    def test_a_program_that_hangs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("stack.cli.checkup.COMMAND", 0.2)
        with pytest.raises(TimeoutError, match="sleep did not answer"):
            run(["sleep", "30"])

    @pytest.mark.parametrize(
        ("levels", "code"),
        [(["ok"], 0), (["ok", "warn"], 0), (["warn", "missing"], 1), ([], 0)],
    )
    def test_the_exit_status(self, levels: list[str], code: int) -> None:
        assert status([Finding("x", Level(level), "") for level in levels]) == code

    def test_the_report_fits_80_columns_and_keeps_lines_to_paste_whole(self) -> None:
        paste = "  " + "x" * 120
        text = report(
            [
                Finding("a", Level.WARN, "word " * 60, f"Say so: {'blah ' * 30}\n{paste}"),
                Finding("b", Level.MISSING, "gone"),
            ],
            colour=False,
        )
        assert [line for line in text.splitlines() if len(line) > 80] == [" " * 9 + paste]
        assert text.endswith("\n1 missing, 1 warning.")
        assert "\x1b" not in text
        assert report([Finding("a", Level.OK, "x")], colour=False).endswith("\nAll is well.")


class TestMachine:
    def test_libraries(self, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        machine = replace(machine, command=run)
        monkeypatch.setattr(probes_machine, "FASTER", {"no_such_loop": "time"})
        monkeypatch.setattr(probes_machine, "NEEDED", ("json", "no_such_library"))
        needed, faster = probes_machine.libraries(machine)
        assert needed.level is Level.MISSING
        assert needed.text == "cannot be imported: no_such_library (not installed)"
        assert (faster.name, faster.level) == ("no_such_loop", Level.WARN)
        (tmp_path / "broken.py").write_text("raise OSError('undefined symbol:\\n  x')")
        (tmp_path / "fatal.py").write_text("import os; os._exit(7)")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(probes_machine, "NEEDED", ("json", "broken", "fatal"))
        needed = next(iter(probes_machine.libraries(machine)))
        assert "broken (OSError: undefined symbol: x)" in needed.text
        assert "fatal (it ends the process, exit status 7)" in needed.text

    @pytest.mark.parametrize(
        ("system", "line"),
        [
            ("Darwin", "  sudo ifconfig lo0 alias 127.0.53.1 up"),
            ("Linux", "  sudo ip address add 127.0.53.1/8 dev lo"),
        ],
    )
    def test_loopback_addresses(
        self, system: str, line: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert only(probes_machine.loopback, machine).level is Level.OK
        monkeypatch.setattr(probes_machine, "_can_bind", lambda host, family: host == "127.0.0.1")
        finding = only(probes_machine.loopback, replace(machine, system=system))
        assert finding.level is Level.WARN
        assert line in finding.remedy.splitlines()
        assert len(finding.remedy.splitlines()) == 1 + len(probes_machine.LOOPBACK)

    def test_ipv6(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(probes_machine, "_can_bind", lambda host, family: False)
        assert only(probes_machine.ipv6, machine).level is Level.WARN

    def test_descriptors(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        for limit, level in ((1024, Level.WARN), (65536, Level.OK), (-1, Level.OK)):
            monkeypatch.setattr(probes_machine.resource, "getrlimit", lambda _, limit=limit: (1024, limit))
            assert only(probes_machine.descriptors, machine).level is level

    def test_a_clock_that_is_years_behind(self, machine: Machine) -> None:
        assert only(probes_machine.wall_clock, machine).level is Level.OK
        behind = replace(machine, clock=VirtualClock(time=1_000_000_000.0))
        finding = only(probes_machine.wall_clock, behind)
        assert finding.level is Level.WARN
        assert "2001-09-09" in finding.text

    @pytest.mark.parametrize(
        ("text", "level", "says"),
        [
            ("curl 7.88.1 (x) libcurl\nProtocols: http https\nFeatures: HTTP2 SSL", Level.OK, "curl 7.88.1"),
            ("curl 7.29.0 (x)\nProtocols: http https\nFeatures: SSL", Level.WARN, "--doh-url (7.62) and HTTP/2"),
            ("curl 8.0.0 (x)\nProtocols: http\nFeatures: HTTP2", Level.WARN, "https"),
            ("something else", Level.WARN, "curl, without"),
        ],
    )
    def test_curl(self, text: str, level: Level, says: str, machine: Machine) -> None:
        finding = only(probes_machine.curl, replace(machine, command=answers({"curl --version": (0, text)})))
        assert finding.level is level
        assert says in finding.text

    @pytest.mark.parametrize("probe", [probes_machine.curl, probes_machine.dig, probes_machine.docker])
    def test_what_is_not_installed_names_its_package(self, probe: Probe, machine: Machine) -> None:
        finding = only(probe, machine)
        assert finding.level is Level.WARN
        assert "not installed" in finding.text
        assert finding.remedy.startswith("  sudo apt-get install ")

    @pytest.mark.parametrize(
        ("answer", "level", "says"),
        [
            ((0, "27.3.1\n"), Level.OK, "27.3.1"),
            ((1, "\nCannot connect to the Docker daemon at unix:///x.\n"), Level.WARN, "Cannot connect"),
            ((0, ""), Level.WARN, "exit status 0"),
        ],
    )
    def test_docker(self, answer: tuple[int, str], level: Level, says: str, machine: Machine) -> None:
        finding = only(probes_machine.docker, replace(machine, command=answers({"docker version": answer})))
        assert finding.level is level
        assert says in finding.text

    @pytest.mark.parametrize(
        ("table", "level", "says"),
        [
            ({"docker compose": (0, "v2.29.7\n")}, Level.OK, "2.29.7 (`docker compose`)"),
            (
                {"docker compose": (1, "docker: 'compose' is not a docker command."), "docker-compose": (0, "1.29.2\n")},
                Level.OK, "1.29.2 (`docker-compose`)",
            ),
            ({"docker compose": (0, "Usage: docker [OPTIONS] COMMAND")}, Level.WARN, "not installed"),
            ({}, Level.WARN, "not installed"),
        ],
        ids=["version 2", "version 1", "a docker without it", "nothing"],
    )  # fmt: skip
    def test_compose(
        self, table: dict[str, tuple[int, str] | Exception], level: Level, says: str, machine: Machine
    ) -> None:
        finding = only(probes_machine.compose, replace(machine, command=answers(table)))
        assert finding.level is level
        assert says in finding.text


class TestStack:
    def test_a_taken_port_names_who_has_it(self, machine: Machine) -> None:
        base = free_base()
        machine = replace(machine, environ={"HOPSTACK_PORT_BASE": str(base)})
        assert only(probes_stack.ports, machine).level is Level.OK
        with contextlib.closing(socket.socket()) as taker:
            taker.bind(("127.0.1.1", base + 443))
            taker.listen()
            finding = only(probes_stack.ports, machine)
        assert finding.level is Level.MISSING
        assert f"127.0.1.1:{base + 443} is taken (by pid" in finding.text
        assert "--port-base" in finding.remedy

    def test_the_file_in_this_directory(self, machine: Machine) -> None:
        assert "default stack" in only(probes_stack.configuration, machine).text
        file = machine.directory / "stack.toml"
        file.write_text('name = "a.test"\n')
        assert "13 hops for a.test" in only(probes_stack.configuration, machine).text
        file.write_text("replicas = 0\nnome = 1\n")
        finding = only(probes_stack.configuration, machine)
        assert finding.level is Level.MISSING
        assert finding.text.startswith("2 faults; the first: ")
        assert list(probes_stack.ports(machine)) == [], "said once"
        file.write_text("= 3\n")
        assert only(probes_stack.configuration, machine).level is Level.MISSING

    def test_the_state_directory(self, machine: Machine, tmp_path: Path) -> None:
        assert only(probes_stack.state, machine).level is Level.OK
        assert not machine.home.exists(), "a look makes nothing"
        (tmp_path / "file").write_text("")
        finding = only(probes_stack.state, replace(machine, environ={"HOPSTACK_HOME": str(tmp_path / "file" / "x")}))
        assert finding.level is Level.MISSING
        assert "HOPSTACK_HOME" in finding.remedy
        if Path("/proc/self").is_dir():
            sealed = replace(machine, environ={"HOPSTACK_HOME": "/proc/none/x"})
            assert only(probes_stack.state, sealed).level in (Level.MISSING, Level.OK)

    def test_the_authority(self, machine: Machine, tmp_path: Path) -> None:
        assert "first start" in only(probes_stack.authority, machine).text
        path = ca.ensure(machine.home)
        made, trust = probes_stack.authority(machine)
        assert made.level is Level.OK
        assert (trust.name, trust.level) == ("CA trust", Level.WARN)
        bundle = tmp_path / "bundle.pem"
        bundle.write_text("# some authorities\n" + path.read_text() + "\n-----BEGIN CERTIFICATE-----\nbroken\n")
        _, trust = probes_stack.authority(replace(machine, environ={"SSL_CERT_FILE": str(bundle)}))
        assert trust.level is Level.OK
        assert "SSL_CERT_FILE" in trust.text
        ends = ca.expires(machine.home)
        assert ends is not None
        for before, words in ((10 * 86400.0, "ends in 10 days"), (-86400.0, "has ended")):
            made, _ = probes_stack.authority(replace(machine, clock=VirtualClock(time=ends - before)))
            assert made.level is Level.WARN
            assert words in made.text
        (machine.home / "ca.json").unlink()
        assert only(probes_stack.authority, machine).level is Level.MISSING

    def test_the_database(self, machine: Machine) -> None:
        def asked(url: str) -> Finding:
            return only(probes_stack.database, replace(machine, environ={"DATABASE_URL": url}))

        assert list(probes_stack.database(machine)) == []
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
            port = server.getsockname()[1]
            assert asked(f"postgresql://me:secret@127.0.0.1:{port}/shop").level is Level.OK
        finding = asked(f"postgresql://me:secret@127.0.0.1:{port}/shop")
        assert finding.level is Level.MISSING
        assert f"127.0.0.1:{port}" in finding.text
        assert "secret" not in finding.text + finding.remedy
        assert asked("sqlite:////tmp/x.db").level is Level.OK
        assert asked("sqlite:////no/such/folder/x.db").level is Level.MISSING
        assert asked("odd://host/x").level is Level.WARN
        assert asked("postgresql://host:port/x").level is Level.MISSING

    def test_no_stack_runs(self, machine: Machine) -> None:
        assert "none runs here" in only(probes_stack.running, machine).text


def test_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All real probes; ports may be taken by others."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOPSTACK_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOPSTACK_PORT_BASE", str(free_base()))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    done = CliRunner().invoke(cli, ["doctor", "--json"], standalone_mode=False)
    assert done.exception is None
    found = json.loads(done.output)
    levels = {item["name"]: item["level"] for item in found["findings"]}
    assert set(PROBES) - {"database", "compose", "docker"} <= set(levels)
    for name in ("Python", "libraries", "state", "stack.toml", "stack", "CA"):
        assert levels[name] == "ok", found
    assert levels["ports"] in ("ok", "missing"), found  # a client of others may have one of them for a moment
    assert found["ok"] is (done.return_value == 0)
    assert not any("could not be looked at" in item["text"] for item in found["findings"]), found
    assert not (tmp_path / "state").exists()


def test_a_working_directory_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert main(["doctor"]) == 2
    assert "change to another" in capsys.readouterr().err
