"""What of this directory's stack is in order: state, configuration, ports, authority, database."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from stack.cli.checkup import COMMAND, Finding, Level, Machine
from stack.config.listen import address
from stack.errors import ConfigError, ConfigErrors
from stack.hop import registry
from stack.net import ca
from stack.net.bind import bind
from stack.net.loopback import has_many_addresses
from stack.plan.document import Document
from stack.plan.make import make_plan
from stack.plan.model import StackPlan
from stack.supervisor.state import StateDir

BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where systems keep the authorities that they trust: Debian, Fedora, SUSE, Alpine and macOS."""
DATABASE_PORTS: Final = {"postgresql": 5432, "postgres": 5432, "mysql": 3306, "mariadb": 3306, "redis": 6379}
_CONFIG: Final = "stack.toml"
_DAY: Final = 86_400.0


def _plan(machine: Machine) -> StackPlan:
    """Of the file in this directory, else the default one. ConfigErrors."""
    file = machine.directory / _CONFIG
    return make_plan(
        Document.read(file) if file.is_file() else None,
        kinds=registry,
        state_dir=machine.home,
        environ=machine.environ,
        many_addresses=has_many_addresses(),
    )


def state(machine: Machine) -> Iterator[Finding]:
    """Created by the first start, so the nearest directory that is there has to take it."""
    home = machine.home
    there = next(path for path in (home, *home.parents) if path.exists())
    remedy = "Name another one:\n  export HOPSTACK_HOME=$HOME/.local/state/hopstack"
    if not there.is_dir():
        yield Finding("state", Level.MISSING, f"{there} is no directory", remedy)
    elif not os.access(there, os.W_OK | os.X_OK):
        yield Finding("state", Level.MISSING, f"{there} cannot be written to", remedy)
    else:
        words = "is there and can be written to" if there == home else "will be made by the first start"
        yield Finding("state", Level.OK, f"{home} {words}")


def configuration(machine: Machine) -> Iterator[Finding]:
    file = machine.directory / _CONFIG
    if not file.exists():
        yield Finding("stack.toml", Level.OK, "none here: the default stack (`hopstack init` writes one)")
        return
    try:
        plan = _plan(machine)
    except ConfigErrors as errors:
        count = len(errors.problems)
        text = f"{count} fault{'s' if count > 1 else ''}; the first: {str(errors).splitlines()[0]}"
        yield Finding("stack.toml", Level.MISSING, text, "All of them:\n  hopstack config check")
    except ConfigError as error:
        yield Finding("stack.toml", Level.MISSING, str(error))
    else:
        yield Finding("stack.toml", Level.OK, f"{len(plan.hops)} hops for {plan.name}")


def running(machine: Machine) -> Iterator[Finding]:
    status = StateDir(machine.home).running()
    hops = status.get("hops", [])
    late = [hop["name"] for hop in hops if hop["state"] != "ready"]
    if not status:
        yield Finding("stack", Level.OK, "none runs here; `hopstack up` starts one")
    elif late:
        text = f"{len(late)} of {len(hops)} hops are not ready: {', '.join(late[:5])}"
        yield Finding("stack", Level.WARN, text, "Why:\n  hopstack status")
    else:
        yield Finding("stack", Level.OK, f"one runs here, all {len(hops)} hops are ready")


def ports(machine: Machine) -> Iterator[Finding]:
    """Each address of the plan is bound for a moment."""
    if StateDir(machine.home).running():
        yield Finding("ports", Level.OK, "held by the stack that runs here")
        return
    try:
        plan = _plan(machine)
    except ConfigError:
        return  # said already
    listens = [item for hop in plan.hops for item in (*hop.listen, *((hop.admin,) if hop.admin else ()))]
    faults: list[str] = []
    for item in listens:
        if item.fd is not None or not item.port:
            continue
        try:
            for sock in bind(item):
                sock.close()
        except ConfigError as error:
            faults.append(str(error).partition(";")[0])
    if not faults:
        yield Finding("ports", Level.OK, f"all {len(listens)} addresses are free")
        return
    shown = "; ".join(faults[:3]) + (f"; and {len(faults) - 3} more" if len(faults) > 3 else "")
    remedy = "Stop who holds them, or take others, above a number of your own:\n  hopstack up --port-base 20000"
    yield Finding("ports", Level.MISSING, shown, remedy)


def authority(machine: Machine) -> Iterator[Finding]:
    home = machine.home
    path, ends = ca.ca_path(home), ca.expires(home)
    if ends is None:
        if path.exists():
            remedy = f"To have a new one made:\n  rm {shlex.quote(str(path))} {shlex.quote(str(home / 'ca-key.pem'))}"
            yield Finding("CA", Level.MISSING, f"{path} was not made here", remedy)
        else:
            yield Finding("CA", Level.OK, "will be made by the first start")
        return
    days = (ends - machine.clock.time()) / _DAY
    if days <= ca.RENEW_DAYS:
        when = f"ends in {days:.0f} days" if days > 0 else "has ended"
        yield Finding("CA", Level.WARN, f"{path} {when}", "The next `hopstack up` makes a new one: trust it again.")
    else:
        yield Finding("CA", Level.OK, f"{path}, for {days:.0f} days more")
    by = trusted_by(machine, path)
    if by:
        yield Finding("CA trust", Level.OK, f"trusted by way of {by}")
    else:
        remedy = "curl --cacert, `hopstack exec -- COMMAND` and `hopstack trace` need no trust."
        remedy += "\nFor browsers and the rest:\n  hopstack ca"
        yield Finding("CA trust", Level.WARN, "this system's programs do not trust it", remedy)


def trusted_by(machine: Machine, path: Path) -> str:
    """Which bundle of this system, or variable, has the certificate in it; empty when none has."""
    try:
        wanted = ssl.PEM_cert_to_DER_cert(path.read_text())
    except (OSError, ValueError):
        return ""
    for variable in ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        if (named := machine.environ.get(variable)) and wanted in _certificates(Path(named)):
            return variable
    for bundle in BUNDLES:
        if wanted in _certificates(Path(bundle)):
            return bundle
    if machine.system == "Darwin":
        with contextlib.suppress(FileNotFoundError):
            code, _ = machine.command(["security", "verify-cert", "-c", str(path)])
            return "the keychain" if code == 0 else ""
    return ""


def _certificates(bundle: Path) -> set[bytes]:
    try:
        text = bundle.read_text("ascii", "replace")
    except OSError:
        return set()
    found = set()
    for part in text.split("-----BEGIN CERTIFICATE-----")[1:]:
        with contextlib.suppress(ValueError):
            body = part.partition("-----END CERTIFICATE-----")[0]
            found.add(ssl.PEM_cert_to_DER_cert(f"-----BEGIN CERTIFICATE-----{body}-----END CERTIFICATE-----\n"))
    return found


def database(machine: Machine) -> Iterator[Finding]:
    """Whether somebody listens there; who may ask is the database's to say."""
    url = machine.environ.get("DATABASE_URL")
    if not url:
        return
    scheme, _, rest = url.partition("://")
    if scheme.startswith("sqlite"):
        folder = Path(rest.partition("?")[0].removeprefix("/") or "x").parent
        if rest.startswith("/") and not os.access(folder, os.W_OK):
            yield Finding("database", Level.MISSING, f"DATABASE_URL: {folder} cannot be written to")
        else:
            yield Finding("database", Level.OK, "DATABASE_URL: SQLite")
        return
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "localhost", parts.port or DATABASE_PORTS.get(scheme.partition("+")[0], 0)
    except ValueError as error:
        yield Finding("database", Level.MISSING, f"DATABASE_URL: {error}")
        return
    if not port:
        yield Finding("database", Level.WARN, f"DATABASE_URL: the port of {scheme}:// is not known here")
        return
    place = address(host, port)
    try:
        socket.create_connection((host, port), timeout=COMMAND / 2).close()
    except OSError as error:
        remedy = "Start the database, or mend DATABASE_URL; without it the demo shop takes SQLite."
        reason = error.strerror or str(error)
        yield Finding("database", Level.MISSING, f"DATABASE_URL: {place} does not answer: {reason}", remedy)
    else:
        yield Finding("database", Level.OK, f"DATABASE_URL: somebody answers at {place}")
