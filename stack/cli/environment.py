"""What a command is told that is to find and trust a stack: environment variables, and a bundle of authorities."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from stack.cli.site import site
from stack.errors import ConfigError
from stack.hop.files import write_whole

HOOKS: Final = Path(__file__).parent / "resolve"
"""What makes Python and Node find names that the system does not know."""
BUNDLE: Final = "ca-bundle.pem"
PLACES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # macOS, FreeBSD
)
"""Where systems keep the authorities that they trust, if Python's own OpenSSL looks elsewhere."""


def environment(status: Mapping[str, Any], home: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` and what leads to the stack whose status that is."""
    ca = Path(status["ca"])
    bundle = str(write_bundle(home, ca, environ))
    found = site(dict(status))
    told = {
        "HOPSTACK_HOME": str(home),
        "HOPSTACK_SITE": status["name"],
        "HOPSTACK_CA": str(ca),
        # in place of what a client trusts else, so the bundle has both
        "SSL_CERT_FILE": bundle,
        "REQUESTS_CA_BUNDLE": bundle,
        "CURL_CA_BUNDLE": bundle,
        # besides what Node trusts
        "NODE_EXTRA_CA_CERTS": str(ca),
    }
    if hosts := _hosts(status):
        told["HOPSTACK_HOSTS"] = hosts
        told["PYTHONPATH"] = _first(str(HOOKS), os.pathsep, environ.get("PYTHONPATH", ""))
        # first of all: what the user's own --require does may look names up already
        told["NODE_OPTIONS"] = _first(f'--require="{HOOKS / "hosts.cjs"}"', " ", environ.get("NODE_OPTIONS", ""))
    if found is not None:
        told |= {"HOPSTACK_URL": found.url, "HOPSTACK_EDGE": found.edge_url, "HOPSTACK_RESOLVE": found.resolve}
        told |= {"HOPSTACK_DNS": found.dns, "HOPSTACK_DOH": found.doh}
    return {**environ, **{name: value for name, value in told.items() if value}}


def _first(ours: str, mark: str, theirs: str) -> str:
    """Once: a command beside a stack may start another one."""
    return theirs if theirs.startswith(ours) else f"{ours}{mark}{theirs}" if theirs else ours


def _hosts(status: Mapping[str, Any]) -> str:
    """The names that the zone has for clients, for the look-up of Python and Node (`resolve`)."""
    name = status["name"]
    hosts: dict[str, str] = {}
    for hop in status["hops"]:
        place = hop["listen"].get("https") or hop["listen"].get("http")
        if hop["kind"] == "cdn_edge" and place:
            address = place.rpartition(":")[0].strip("[]")
            hosts |= {f"{hop['name']}.{name}": address}
            hosts = {name: address, f"www.{name}": address, **hosts}
    return " ".join(f"{host}={address}" for host, address in hosts.items())


def write_bundle(home: Path, ca: Path, environ: Mapping[str, str]) -> Path:
    """The system's authorities and the stack's, so that a command trusts both: TLS to elsewhere goes on working."""
    path = home / BUNDLE
    text = ca.read_text("utf-8")
    for known in _system(environ):
        if known != path and known.is_file():
            text = f"{known.read_text('utf-8', 'replace').rstrip()}\n{text}"
            break
    try:
        write_whole(path, text)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    return path


def _system(environ: Mapping[str, str]) -> list[Path]:
    given = [environ.get(name, "") for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")]
    own = ssl.get_default_verify_paths().openssl_cafile
    return [Path(name) for name in (*given, own, *PLACES) if name]
