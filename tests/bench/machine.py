"""Where figures come from: interpreter, processor, programs."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PROGRAMS = {
    "nginx": ("-v",),
    "varnishd": ("-V",),
    "haproxy": ("-v",),
    "wrk": ("-v",),
    "h2load": ("--version",),
    "openssl": ("version",),
    "nsd": ("-v",),
    "knotd": ("-V",),
    "named": ("-v",),
    "dnsperf": ("-h",),
}
PACKAGES = ("uvloop", "httptools", "h2", "uvicorn", "granian")


def find(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path="/usr/sbin")


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def interpreter() -> str:
    """`CPython 3.11.7, no PGO, /usr/bin/python3`: what a profile-guided build is worth is 10 to 20 %."""
    return f"{platform.python_implementation()} {platform.python_version()}, {optimised()}, {os.path.realpath(sys.executable)}"


def optimised() -> str:
    if "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or ""):
        return "PGO"
    # Debian's rules call `make profile-opt` themselves
    return "PGO (Debian)" if debian_build() else "no PGO"


def debian_build() -> bool:
    return os.path.realpath(sys.executable).startswith("/usr/bin/") and Path("/etc/debian_version").exists()


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names) or os.cpu_count()} x {names[0] if names else platform.machine()}"


def busy(load: float, cores: int) -> str:
    """A warning where others use the machine: empty below a fifth of it."""
    if load < cores / 5:
        return ""
    return (
        f"The machine is busy (load {load:.2f} on {cores} cores): ratios come out too high, and latencies say nothing."
    )


def programs() -> dict[str, str]:
    found = {}
    for name, flags in PROGRAMS.items():
        if (path := find(name)) is not None:
            said = subprocess.run([path, *flags], capture_output=True, text=True, check=False)
            found[name] = ((said.stdout or said.stderr).splitlines() or [""])[0].removeprefix("nginx version: ")
    return found | {name: known for name in PACKAGES if (known := installed(name))}


def described() -> dict[str, object]:
    return {
        "interpreter": interpreter(),
        "processor": processor(),
        "kernel": platform.release(),
        "load": [round(one, 2) for one in os.getloadavg()],
        "bytecode": "not written (PYTHONDONTWRITEBYTECODE)" if sys.dont_write_bytecode else "written",
        "programs": programs(),
    }
