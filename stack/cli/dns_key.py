"""What `hopstack dns key` makes, and what it says."""

from __future__ import annotations

import base64
import os
import re
import secrets
import shlex
from typing import Final

import click

_SIZES: Final = {"hmac-sha256": 32, "hmac-sha384": 48, "hmac-sha512": 64}
_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME: Final = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*\.?")


def make(name: str, algorithm: str, file: str) -> int:
    """The file, for its owner alone, and how to use it. ClickException when there is one."""
    if not _NAME.fullmatch(name):
        raise click.ClickException(f"{name!r} is no name of a key: letters, digits, hyphens and dots, as acme")
    name = name.rstrip(".")
    secret = base64.b64encode(secrets.token_bytes(_SIZES[algorithm])).decode()
    text = f'key "{name}" {{\n\talgorithm {algorithm};\n\tsecret "{secret}";\n}};\n'
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise click.ClickException(f"{file} is there already; --file names another") from None
    except OSError as error:
        raise click.ClickException(f"cannot write {file}: {error.strerror}") from None
    with open(descriptor, "w", encoding="ascii") as opened:
        opened.write(text)
    click.echo(_told(name, file))
    return 0


def _told(name: str, file: str) -> str:
    quoted = shlex.quote(file)
    return f"""\
{file} is made: the key {name}.

In stack.toml, what it may change (all of the zone, or as here an ACME client's):
  [dns.root]
  [dns.tld]
  [dns.shop]
  tsig_key = ["{file}"]
  update = ["{name} name=_acme-challenge.* type=TXT"]
  [dns.resolver]

nsupdate:      nsupdate -k {quoted}
knsupdate:     knsupdate -k {quoted}
dig, signed:   dig -k {quoted} @SERVER ZONE AXFR
certbot:       dns_rfc2136_name, _secret and _algorithm, from this file
lego:          RFC2136_TSIG_FILE={quoted} RFC2136_NAMESERVER=SERVER:PORT lego --dns rfc2136"""
