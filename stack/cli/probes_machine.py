"""What of the machine a stack needs, or is better with."""

from __future__ import annotations

import contextlib
import platform
import re
import resource
import socket
import sys
from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from stack.cli.checkup import Finding, Level, Machine

OLDEST: Final = (3, 11)
NEEDED: Final = (
    "aiohttp", "aiosqlite", "asyncpg", "brotli", "click", "cryptography", "dns", "dnslib", "h2", "jinja2",
    "msgspec", "watchfiles", "zstandard",
)  # fmt: skip
FASTER: Final = {"uvloop": "a third of the CPU of every request", "isal": "gzip at the proxies"}
"""Without these all works, and costs more."""
DESCRIPTORS: Final = 10_000
LOOPBACK: Final = (
    "127.0.53.1", "127.0.53.2", "127.0.53.3", "127.0.1.1", "127.0.1.2", "127.0.2.1", "127.0.3.1", "127.0.3.2",
    "127.0.3.3",
)  # fmt: skip
"""Of the default stack: DNS servers, edges, the balancer's and the proxies' own."""
DOH: Final = (7, 62)
_DAY: Final = 86_400.0


def python(machine: Machine) -> Iterator[Finding]:
    version = platform.python_version()
    if sys.version_info < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        yield Finding("Python", Level.MISSING, version, f"hopstack needs Python {wanted} or newer")
        return
    yield Finding(
        "Python", Level.OK, f"{version} ({platform.python_implementation()}), {platform.platform(terse=True)}"
    )


def libraries(machine: Machine) -> Iterator[Finding]:
    """Imported by another process: a compiled one may be there and not load, or end the process that tries."""
    code, text = machine.command([sys.executable, "-P", "-c", _IMPORTS, *NEEDED, *FASTER])
    errors = dict(re.findall(r"^import (\S+): (.*)$", text, re.MULTILINE))
    tried = re.findall(r"^trying (\S+)$", text, re.MULTILINE)
    if code and tried:
        errors[tried[-1]] = f"it ends the process, exit status {code}"
    missing = [f"{name} ({errors[name]})" for name in NEEDED if name in errors]
    if missing:
        remedy = f"  {sys.executable} -m pip install --force-reinstall hopstack"
        yield Finding("libraries", Level.MISSING, f"cannot be imported: {', '.join(missing)}", remedy)
    else:
        yield Finding("libraries", Level.OK, f"all {len(NEEDED)} can be imported")
    for name, gain in FASTER.items():
        if name in errors:
            remedy = f"  {sys.executable} -m pip install {name}"
            yield Finding(name, Level.WARN, f"cannot be imported ({errors[name]}); it would save {gain}", remedy)


_IMPORTS: Final = """
import importlib, sys
for name in sys.argv[1:]:
    print("trying", name, flush=True)
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        print(f"import {name}: not installed" if error.name == name else f"import {name}: {error}", flush=True)
    except BaseException as error:
        print(f"import {name}: {type(error).__name__}: {' '.join(str(error).split())}", flush=True)
"""


def loopback(machine: Machine) -> Iterator[Finding]:
    absent = [host for host in LOOPBACK if not _can_bind(host, socket.AF_INET)]
    if not _can_bind("127.0.0.1", socket.AF_INET):
        yield Finding("loopback", Level.MISSING, "127.0.0.1 is not there", "  ip link set lo up")
    elif not absent:
        yield Finding("loopback", Level.OK, f"127.0.0.1 and the {len(LOOPBACK)} others of the default stack")
    else:
        shown = ", ".join(absent[:3]) + (" ..." if len(absent) > 3 else "")
        adds = "  sudo ifconfig lo0 alias {} up" if machine.system == "Darwin" else "  sudo ip address add {}/8 dev lo"
        lines = "\n".join(adds.format(host) for host in absent)
        yield Finding(
            "loopback",
            Level.WARN,
            f"this machine has no {shown}: hops share 127.0.0.1 and differ by their ports",
            f"To give each its own, until the next start of the machine:\n{lines}",
        )


def ipv6(machine: Machine) -> Iterator[Finding]:
    if _can_bind("::1", socket.AF_INET6):
        yield Finding("IPv6", Level.OK, "::1 is there")
    else:
        remedy = "Only listeners on [::1] need it."
        if machine.system == "Linux":
            remedy += "\n  sudo sysctl net.ipv6.conf.lo.disable_ipv6=0"
        yield Finding("IPv6", Level.WARN, "::1 is not there", remedy)


def _can_bind(host: str, family: socket.AddressFamily) -> bool:
    try:
        with contextlib.closing(socket.socket(family, socket.SOCK_DGRAM)) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


def descriptors(machine: Machine) -> Iterator[Finding]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    shown = "without bound" if hard == resource.RLIM_INFINITY else str(hard)
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
        yield Finding(
            "descriptors",
            Level.WARN,
            f"a process may open {hard}; each hop is ready for {DESCRIPTORS} connections",
            "  ulimit -Hn 65536     as root, or LimitNOFILE= of the service, nofile in limits.conf",
        )
    else:
        yield Finding("descriptors", Level.OK, f"a process may open {shown} (now {soft}; hops raise it themselves)")


def wall_clock(machine: Machine) -> Iterator[Finding]:
    """Certificates hold from one moment to another: a clock that is years off makes all of them bad."""
    now = machine.clock.time()
    made = Path(__file__).stat().st_mtime
    shown = datetime.fromtimestamp(now, UTC).isoformat(sep=" ", timespec="seconds").replace("+00:00", " UTC")
    if now < made - _DAY:
        yield Finding(
            "clock",
            Level.WARN,
            f"it says {shown}, which is before hopstack was installed: certificates will not be valid",
            "Set it: `sudo timedatectl set-ntp true`, or restart the virtual machine.",
        )
    else:
        yield Finding("clock", Level.OK, shown)


def curl(machine: Machine) -> Iterator[Finding]:
    text = yield from _asked(machine, "curl", ["curl", "--version"], "the examples use it", _package(machine, "curl"))
    if not text:
        return
    match = re.match(r"curl (\d+)\.(\d+)\S*", text)
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    lacks = []
    if version < DOH:
        lacks.append("--doh-url (7.62)")
    if "HTTP2" not in text:
        lacks.append("HTTP/2")
    if "https" not in text.partition("Protocols:")[2].split():
        lacks.append("https")
    name = match[0] if match else "curl"
    if lacks:
        remedy = "The stack's own DNS can be asked with `hopstack trace` instead, or by --resolve."
        yield Finding("curl", Level.WARN, f"{name}, without {' and '.join(lacks)}", remedy)
    else:
        yield Finding("curl", Level.OK, f"{name} with HTTP/2, TLS and DNS over HTTPS")


def dig(machine: Machine) -> Iterator[Finding]:
    package = _package(machine, "bind9-dnsutils", mac="bind")
    text = yield from _asked(machine, "dig", ["dig", "-v"], "some examples ask DNS with it", package)
    if text:
        yield Finding("dig", Level.OK, text.strip().splitlines()[0])


def docker(machine: Machine) -> Iterator[Finding]:
    use = "only containers need it"
    remedy = "https://docs.docker.com/get-docker/" if machine.system == "Darwin" else _package(machine, "docker.io")
    try:
        code, text = machine.command(["docker", "version", "--format", "{{.Server.Version}}"])
    except FileNotFoundError:
        yield Finding("docker", Level.WARN, f"not installed; {use}", remedy)
        return
    last = _last_line(text)
    if code == 0 and re.match(r"\d", last):
        yield Finding("docker", Level.OK, f"engine {last}")
        return
    remedy = "Start it; if it runs, may this user ask it?  sudo usermod -aG docker $USER"
    yield Finding("docker", Level.WARN, f"the engine does not answer ({use}): {last or f'exit status {code}'}", remedy)


def compose(machine: Machine) -> Iterator[Finding]:
    """The plugin (v2), else the program of old (1.29)."""
    for argv in (["docker", "compose", "version", "--short"], ["docker-compose", "version", "--short"]):
        with contextlib.suppress(FileNotFoundError):
            code, text = machine.command(argv)
            version = _last_line(text).removeprefix("v")
            if code == 0 and re.match(r"\d", version):
                yield Finding("compose", Level.OK, f"{version} (`{' '.join(argv[:-2])}`)")
                return
    remedy = _package(machine, "docker-compose", mac="docker-compose")
    yield Finding("compose", Level.WARN, "not installed; only containers need it", remedy)


def _asked(machine: Machine, name: str, argv: list[str], use: str, remedy: str) -> Generator[Finding, None, str]:
    """What the program says; a finding, and nothing said, where it is not there or fails."""
    try:
        code, text = machine.command(argv)
    except FileNotFoundError:
        yield Finding(name, Level.WARN, f"not installed; {use}", remedy)
        return ""
    if code:
        yield Finding(name, Level.WARN, f"`{' '.join(argv)}` fails: {_last_line(text) or code}", remedy)
        return ""
    return text


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")[:200]


def _package(machine: Machine, name: str, *, mac: str = "") -> str:
    return f"  brew install {mac or name}" if machine.system == "Darwin" else f"  sudo apt-get install {name}"
