"""Fixtures and markers of all tests."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("hopstack", deadline=None)  # how long an example takes is the machine's
hypothesis.settings.load_profile("hopstack")

PACKAGES = {
    "named-checkzone": "bind9-utils",
    "nsd-checkzone": "nsd",
    "knotc": "knot",
    "dig": "bind9-dnsutils",
    "nghttp": "nghttp2-client",
    "h2load": "nghttp2-client",
    "curl": "curl",
    "chromium": "chromium",
    "openssl": "openssl",
    "testssl": "testssl.sh",
    "wrk": "wrk",
    "nginx": "nginx",
    "haproxy": "haproxy",
    "postgres": "postgresql",
    "node": "nodejs",
    "slowhttptest": "slowhttptest",
    "dnsperf": "dnsperf",
    "nsd": "nsd",
    "knotd": "knot",
    "named": "bind9",
    "delv": "bind9-dnsutils",
    "nsupdate": "bind9-dnsutils",
    "tsig-keygen": "bind9",
    "knsupdate": "knot-dnsutils",
    "pebble": "pebble",
    "nslookup": "bind9-dnsutils",
    "host": "bind9-host",
    "drill": "ldnsutils",
    "kdig": "knot-dnsutils",
    "zonemaster-cli": "zonemaster-cli",
    "ip": "iproute2",
}
"""Debian's package of each outside program."""

SSLYZE = str(Path(__file__).parents[1] / ".venv/sslyze/bin")
"""`make .venv/sslyze` makes it."""
PLACES = (SSLYZE, "/usr/sbin", "/usr/lib/postgresql/15/bin", "/usr/lib/postgresql/17/bin")

collect_ignore = ["compose"]
"""Containers have a target of their own: `make test-compose`."""


def find(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path=os.pathsep.join(PLACES))


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for program in marker.args:
            if find(program) is None:
                how = (
                    "make .venv/sslyze" if program == "sslyze" else f"apt-get install {PACKAGES.get(program, program)}"
                )
                message = f"{program} is not installed: {how}"
                if os.environ.get("CI") == "true":
                    pytest.fail(message, pytrace=False)
                pytest.skip(message)
