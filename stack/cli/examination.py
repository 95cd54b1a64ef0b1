"""`hopstack doctor`: which probes there are, in the order that they are shown in."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Final

import click
import msgspec

from stack.cli import probes_machine, probes_stack
from stack.cli.checkup import Machine, Probe, as_plain, examine, report, status
from stack.errors import ConfigError

PROBES: Final[Mapping[str, Probe]] = {
    "Python": probes_machine.python,
    "libraries": probes_machine.libraries,
    "loopback": probes_machine.loopback,
    "IPv6": probes_machine.ipv6,
    "descriptors": probes_machine.descriptors,
    "clock": probes_machine.wall_clock,
    "state": probes_stack.state,
    "stack.toml": probes_stack.configuration,
    "stack": probes_stack.running,
    "ports": probes_stack.ports,
    "CA": probes_stack.authority,
    "database": probes_stack.database,
    "curl": probes_machine.curl,
    "dig": probes_machine.dig,
    "docker": probes_machine.docker,
    "compose": probes_machine.compose,
}


def show(*, as_json: bool) -> int:
    try:
        machine = Machine()
    except OSError as error:
        raise ConfigError(f"the working directory cannot be looked at: {error.strerror}; change to another") from None
    findings = examine(PROBES, machine)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(as_plain(findings))))
    else:
        click.echo(report(findings, colour=sys.stdout.isatty() and not os.environ.get("NO_COLOR")))
    return status(findings)
