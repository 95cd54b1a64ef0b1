"""`hopstack exec`: its options."""

from __future__ import annotations

from typing import Any

import click

from stack.cli.options import stack_options


@click.command("exec", context_settings={"allow_interspersed_args": False})
@stack_options
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND [ARG]...")
def execute(command: tuple[str, ...], **values: Any) -> int:
    """Run COMMAND beside a stack, which is stopped when it ends.

    Without an option the stack that runs here is used, and left running; else one
    is started, on free ports and in a temporary state directory (in $HOPSTACK_HOME,
    if that is set, where its logs stay).

    COMMAND finds the stack in its environment: HOPSTACK_URL, by a name that Python
    and Node look up as it is; HOPSTACK_EDGE, the same by address, for clients that know
    only the system's DNS; HOPSTACK_RESOLVE, for curl --resolve; HOPSTACK_DNS,
    HOPSTACK_DOH, HOPSTACK_SITE, HOPSTACK_CA, HOPSTACK_HOME. SSL_CERT_FILE, REQUESTS_CA_BUNDLE,
    CURL_CA_BUNDLE and NODE_EXTRA_CA_CERTS make it trust the stack, besides what it
    trusts else.

    Exit status: that of COMMAND, 128 + N if signal N ended it; 2 no stack could be
    started, 126 COMMAND cannot be run, 127 there is none of that name.
    """
    from stack.cli.beside import run

    return run(values, command)
