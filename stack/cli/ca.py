"""`hopstack ca`: its options."""

from __future__ import annotations

import click


@click.group(invoke_without_command=True)
@click.pass_context
def ca(context: click.Context) -> None:
    """Say how to trust the certificate authority of this stack."""
    if context.invoked_subcommand is None:
        from stack.cli.authority import explain

        explain()


@ca.command("path")
def ca_path() -> None:
    """Print the path of the CA certificate, and nothing else."""
    from stack.cli.authority import ensure

    click.echo(ensure())
