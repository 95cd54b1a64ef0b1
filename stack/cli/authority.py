"""`hopstack ca`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from stack.net import ca
from stack.supervisor.state import StateDir


def ensure() -> Path:
    """The CA certificate's path; made when there is none yet."""
    state = StateDir.chosen()
    state.create()
    return ca.ensure(state.path)


def explain() -> None:
    plain = ensure()
    names = ", ".join(
        name if "." in name or name == "localhost" else f"*.{name}" for name in ca.permitted(StateDir.chosen().path)
    )
    path = shlex.quote(str(plain))
    click.echo(
        f"""The certificate authority of this stack: {plain}
It can vouch for {names} and names below them, and for
loopback addresses, only; its key stays beside it, readable by you alone.

For one command     curl --cacert {path} ...
For a program       hopstack exec -- PROGRAM ...
For one shell       export SSL_CERT_FILE={path} CURL_CA_BUNDLE={path}
                    export REQUESTS_CA_BUNDLE={path} NODE_EXTRA_CA_CERTS={path}
                    (all but the last: instead of the system's authorities)
For Debian, Ubuntu  sudo cp {path} /usr/local/share/ca-certificates/hopstack.crt
                    sudo update-ca-certificates
For macOS           sudo security add-trusted-cert -d -r trustRoot \\
                      -k /Library/Keychains/System.keychain {path}
For Firefox         Settings, Privacy & Security, View Certificates, Authorities,
                    Import
For Chromium on Linux (package libnss3-tools)
                    certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n hopstack -i {path}"""
    )
