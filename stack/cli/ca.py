"""`hopstack ca`: its options."""

from __future__ import annotations

import click


@click.group(invoke_without_command=True)
@click.pass_context
def ca(context: click.Context) -> None:
    """Say how to trust the certificate authority of this stack.

    It is made when there is none yet.

    Exit status: 0 said, 2 there is none and none can be made.
    """
    if context.invoked_subcommand is None:
        from stack.cli.authority import explain

        explain()


@ca.command("path")
def ca_path() -> None:
    """Print the path of the CA certificate, and nothing else.

    Exit status: 0 printed, 2 there is none and none can be made.
    """
    from stack.cli.authority import ensure

    click.echo(ensure())


@ca.command("issue")
@click.option("--config", "-c", default="stack.toml", metavar="FILE", help="The stack. Default: stack.toml.")
@click.option("--into", required=True, metavar="DIR", help="Directory of the hops' directories.")
def ca_issue(config: str, into: str) -> None:
    """Issue a certificate for every hop of a file.

    Each hop gets a directory of its name, with cert.pem, key.pem and the
    authority's ca.pem: all that a container of that hop needs to see. What is
    there and still good is kept.

    Exit status: 0 all are there, 2 one could not be issued.
    """
    from stack.cli.issue import issue_all

    click.echo(issue_all(config, into))
