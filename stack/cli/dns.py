"""`hopstack dns`: records of the running stack, shown and changed."""

from __future__ import annotations

from typing import Any

import click

from stack.cli.complete import hops

Table = dict[str, Any]

_at = click.option("--at", metavar="NAME", shell_complete=hops, help="Only at this server, as dns-shop.")
_json = click.option("--json", "as_json", is_flag=True, help="Print what the servers answered as JSON.")
_keep = click.option("--keep-cache", is_flag=True, help="The stack's resolver keeps what it has, until its TTL ends.")


@click.group()
def dns() -> None:
    """Show and change DNS records of the running stack.

    A change is in force when the command returns, and is still there after a
    restart; `hopstack dns reset` gives what the zone's text says.
    """


@dns.command()
@click.argument("name", required=False, metavar="[ZONE|NAME]")
@click.argument("type", required=False)
@click.option("--changed", is_flag=True, help="Only what differs from the zones' texts.")
@_at
@_json
def show(name: str | None, type: str | None, changed: bool, at: str | None, as_json: bool) -> int:
    """Show records as a zone file has them.

    All of the site's zone, all of a ZONE, or those of a NAME.

    Marked are those that were changed while running, with what the text says.

    Exit status: 0 there are some, 1 there is none, 2 no such zone or type,
    3 nothing runs here.
    """
    from stack.cli import dns_records as records

    servers = records.servers(at)
    if servers is None:
        return records.nothing_runs()
    return records.show(servers, name, type, changed=changed, as_json=as_json)


@dns.command("set", context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("words", nargs=-1, required=True, metavar="[TTL] TYPE DATA...")
@click.option("--add", is_flag=True, help="Beside the data that is there, not in its place.")
@_keep
@_at
@_json
def set_(name: str, words: tuple[str, ...], add: bool, keep_cache: bool, at: str | None, as_json: bool) -> int:
    """Set the records of NAME and TYPE to DATA.

    \b
      hopstack dns set www.shop.test 60 A 192.0.2.1 192.0.2.2
      hopstack dns set blog CNAME other.example
      hopstack dns set shop.test TXT "v=spf1 -all"
      hopstack dns set shop.test MX "10 mail.shop.test"

    A NAME without a dot is one of the site. Without TTL it keeps the one it
    has. The stack's resolver forgets the name; others keep it for its TTL.

    Exit status: 0 it is so now, 1 a server did not answer, 2 it cannot be set,
    3 nothing runs here.
    """
    from stack.cli import dns_records as records

    servers = records.servers(at)
    if servers is None:
        return records.nothing_runs()
    return records.put(servers, name, words, add=add, flush=not keep_cache, as_json=as_json)


@dns.command()
@click.argument("name")
@click.argument("type", required=False)
@click.argument("data", nargs=-1)
@_keep
@_at
@_json
def unset(name: str, type: str | None, data: tuple[str, ...], keep_cache: bool, at: str | None, as_json: bool) -> int:
    """Take away records of NAME: all, of TYPE, or the one with DATA.

    Exit status: 0 they are gone, 1 a server did not answer, 2 there is no such
    record, 3 nothing runs here.
    """
    from stack.cli import dns_records as records

    servers = records.servers(at)
    if servers is None:
        return records.nothing_runs()
    return records.unset(servers, name, type, data, flush=not keep_cache, as_json=as_json)


@dns.command()
@click.argument("name", required=False, metavar="[ZONE|NAME]")
@click.argument("type", required=False)
@_keep
@_at
@_json
def reset(name: str | None, type: str | None, keep_cache: bool, at: str | None, as_json: bool) -> int:
    """Give up what was changed while running.

    Everything, or that of a ZONE or NAME. The zone's text holds again.

    Exit status: 0 also when nothing was changed, 1 a server did not answer,
    2 no such zone or type, 3 nothing runs here.
    """
    from stack.cli import dns_records as records

    servers = records.servers(at)
    if servers is None:
        return records.nothing_runs()
    return records.reset(servers, name, type, flush=not keep_cache, as_json=as_json)


@dns.command()
@click.argument("name")
@click.option(
    "--algorithm",
    type=click.Choice(["hmac-sha256", "hmac-sha384", "hmac-sha512"]),
    default="hmac-sha256",
    show_default=True,
    help="How it signs.",
)
@click.option("--file", metavar="FILE", help="Where to write it. Default: NAME.key; it must not be there yet.")
def key(name: str, algorithm: str, file: str | None) -> int:
    """Make a key for signed updates and transfers (TSIG).

    It is in a file that only you can read; how it is used is printed.

    Exit status: 0 it is made, 2 the file is there or cannot be written.
    """
    from stack.cli import dns_key

    return dns_key.make(name, algorithm, file or f"{name.rstrip('.')}.key")
