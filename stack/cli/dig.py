"""`hopstack dig`: its options. What it does is imported when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from stack.cli.complete import hops

if TYPE_CHECKING:
    from stack.trace.dig_ask import Reply, Server
    from stack.trace.dig_message import Question, Wish

PORTS: Final = {"udp": 53, "tcp": 53, "tls": 853, "https": 443}
STATUSES: Final = {
    "answered": 0,
    "referral": 0,
    "absent": 1,
    "failed": 4,
    "connection": 5,
    "malformed": 5,
    "timeout": 6,
}
MOST: Final = 20
"""Types in one go."""


@click.command(context_settings={"ignore_unknown_options": False})
@click.argument("words", nargs=-1, metavar="NAME [TYPE]...")
@click.option(
    "--at",
    metavar="SERVER",
    default="",
    shell_complete=hops,
    help="Ask this one: a hop as dns-root, or ADDRESS[:PORT]. Default: the stack's resolver.",
)
@click.option(
    "-x", "address", metavar="ADDRESS", default="", help="The name of an address: PTR below in-addr.arpa or ip6.arpa."
)
@click.option("--udp", "protocol", flag_value="datagram", help="UDP alone: no TCP after a truncated response.")
@click.option("--tcp", "protocol", flag_value="tcp", help="Over TCP.")
@click.option("--tls", "protocol", flag_value="tls", help="Over TLS (RFC 7858).")
@click.option("--https", "protocol", flag_value="https", help="Over HTTPS, at /dns-query (RFC 8484).")
@click.option("--dnssec", is_flag=True, help="With DO set: signatures too, if there are any.")
@click.option("--cd", is_flag=True, help="With CD set: no validation on the way.")
@click.option("--norecurse", is_flag=True, help="With RD clear: only what the server itself knows.")
@click.option("--no-edns", is_flag=True, help="Without EDNS, as of 1987: 512 octets, no extended errors.")
@click.option("--cookie", is_flag=True, help="With a client cookie (RFC 7873).")
@click.option(
    "--cacert", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Trust the authorities in FILE. Default: the stack's, and the system's.",
)  # fmt: skip
@click.option(
    "--timeout",
    type=click.FloatRange(0, 60, min_open=True),
    default=2.0,
    metavar="S",
    help="Seconds for each of three tries. Default: 2.",
)
@click.option("--short", is_flag=True, help="Only the data of the answer, one a line.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON, which docs/dns.md describes.")
def dig(
    words: tuple[str, ...],
    at: str,
    address: str,
    protocol: str | None,
    dnssec: bool,
    cd: bool,
    norecurse: bool,
    no_edns: bool,
    cookie: bool,
    cacert: Path | None,
    timeout: float,
    short: bool,
    as_json: bool,
) -> int:
    """Ask a DNS server for the records of NAME, and say what the answer means.

    \b
      hopstack dig www.shop.test
      hopstack dig shop.test AAAA MX HTTPS
      hopstack dig www.shop.test --at dns-tld
      hopstack dig example.com --at 192.0.2.53 --tcp

    Without TYPE it asks for A. `hopstack trace` walks from the root down.

    \b
    Exit status: 0 answered, or referred to other servers
                 1 there is no such name, or no such records (NXDOMAIN, NODATA)
                 2 a wrong option or name
                 3 no stack runs here
                 4 refused or failed (SERVFAIL, ...), lame, truncated
                 5 no connection, or what came is no DNS message
                 6 no reply in time
    Of several types, the highest.
    """
    from stack.errors import ConfigError
    from stack.trace.dig_message import Wish

    if short and as_json:
        raise ConfigError("give --short or --json, not both")
    if no_edns and (dnssec or cookie):
        raise ConfigError(f"--no-edns: {'--dnssec' if dnssec else '--cookie'} is a part of EDNS")
    at, questions = _questions(words, at, address)
    server, ca = _server(at, protocol)
    if server is None:
        return _nothing_runs()
    import os

    wish = Wish(not norecurse, not no_edns, dnssec, cd, os.urandom(8) if cookie else b"")
    replies = _ask(questions, wish, server, cacert or ca, timeout, again=protocol != "datagram")
    if any(reply.error for reply in replies) and (hint := _elsewhere(server)):
        click.echo(f"hopstack: {hint}", err=True)
    from stack.cli.dig_output import json_of, lines, short_lines

    if as_json:
        import json

        click.echo(json.dumps(json_of(replies), indent=2, ensure_ascii=False))
    elif short:
        for reply in replies:
            for line in short_lines(reply):
                click.echo(line)
            if reply.error:
                click.echo(f"hopstack: {reply.error}", err=True)
    else:
        click.echo("\n\n".join("\n".join(lines(reply)) for reply in replies))
    return max(map(_status, replies))


def _status(reply: Reply) -> int:
    from stack.trace.dig_says import outcome

    return STATUSES[reply.failure or (outcome(reply.response) if reply.response is not None else "malformed")]


def _questions(words: Sequence[str], at: str, address: str) -> tuple[str, list[Question]]:
    """Whom and what to ask; as dig takes it, `@SERVER` and types in any place."""
    from stack.errors import ConfigError
    from stack.trace.dig_message import is_type, question, reverse

    names: list[str] = []
    types: list[str] = []
    for word in words:
        if word.startswith("+"):
            raise ConfigError(
                f"{word}: {_PLUS.get(word.lstrip('+').partition('=')[0], 'no such option')}; see hopstack dig --help"
            )
        if word.startswith("@"):
            if at:
                raise ConfigError(f"{word}: --at {at} is given too")
            at = word[1:]
        elif is_type(word.upper()) and (names or address or any(not is_type(other.upper()) for other in words)):
            types.append(word.upper())
        else:
            names.append(word)
    if address:
        if names:
            raise ConfigError(f"-x {address}: it takes no name besides, and {names[0]} is given")
        names, types = [reverse(address)], types or ["PTR"]
    if not names:
        raise click.UsageError("Missing argument 'NAME'.")
    if len(names) > 1:
        known = "no type of records is called so" if len(names) == 2 else "it takes one name"
        raise ConfigError(f"{names[1]}: {known}; give NAME and then types, as shop.test AAAA MX")
    types = list(dict.fromkeys(types)) or ["A"]
    if any(type in ("AXFR", "IXFR") for type in types):
        raise ConfigError("a zone transfer is many messages: `kdig @SERVER NAME AXFR` or `dig` has them")
    if len(types) > MOST:
        raise ConfigError(f"there are {len(types)} types; at most {MOST} are asked for in one go")
    return at, [question(names[0], type) for type in types]


_PLUS: Final = {
    "short": "say --short", "tcp": "say --tcp", "vc": "say --tcp", "tls": "say --tls", "https": "say --https",
    "norecurse": "say --norecurse", "norec": "say --norecurse", "dnssec": "say --dnssec", "do": "say --dnssec",
    "noedns": "say --no-edns", "cookie": "say --cookie", "trace": "that is hopstack trace NAME", "cd": "say --cd",
    "cdflag": "say --cd", "nsid": "it is always asked for", "ignore": "say --udp", "timeout": "say --timeout",
}  # fmt: skip


def _server(at: str, protocol: str | None) -> tuple[Server | None, Path | None]:
    """Whom to ask, None where nothing runs that could be; and the authority of the stack that runs here."""
    from stack.supervisor.state import StateDir
    from stack.trace.dig_ask import Server

    wanted = "udp" if protocol in (None, "datagram") else str(protocol)
    state = StateDir.chosen()
    if (given := _address(at, wanted)) is not None:
        ca = state.path / "ca.pem"
        host, port = given
        name = ""
        status = state.running()
        for hop in status.get("hops", ()) if status else ():
            if hop["kind"] == "dns_server" and f"{host}:{port}" in hop["listen"].values():
                name = hop["name"]
        return Server(host, port, wanted, name), ca if ca.exists() else None
    status = state.running()
    if not status:
        return None, None
    hop = _hop(at, status["hops"])
    return _of_hop(hop, wanted, Server), Path(status["ca"]) if status.get("ca") else None


def _elsewhere(server: Server) -> str:
    """A server of the running stack at this address and another port: who leaves the port out means that one."""
    from stack.supervisor.state import StateDir

    for hop in () if server.name else (StateDir.chosen().running() or {}).get("hops", ()):
        place = hop["listen"].get("dns", "") if hop["kind"] == "dns_server" else ""
        if place.rpartition(":")[0].strip("[]") == server.host:
            return f"{hop['name']} is there at port {place.rpartition(':')[2]}: --at {place}, or --at {hop['name']}"
    return ""


def _address(at: str, protocol: str) -> tuple[str, int] | None:
    """Host and port of `192.0.2.1`, `192.0.2.1:5053`, `[2001:db8::1]:53`, `ns.example.com`; None for a hop."""
    import ipaddress

    from stack.errors import ConfigError

    host, port = at, ""
    if at.startswith("["):
        host, _, port = at[1:].partition("]")
        port = port.removeprefix(":")
    elif at.count(":") == 1:
        host, _, port = at.partition(":")
    elif at.count("#") == 1:
        host, _, port = at.partition("#")
    try:
        host = str(ipaddress.ip_address(host))
    except ValueError:
        if port == "" and "." not in host and host != "localhost":
            return None
        if not host.replace("-", "").replace(".", "").isalnum():
            raise ConfigError(f"--at {at}: wanted a hop as dns-root, or ADDRESS[:PORT] as 127.0.53.1:5053") from None
    if port and not (port.isdigit() and 0 < int(port) < 65536):
        raise ConfigError(f"--at {at}: {port} is no port, which is a number from 1 to 65535")
    return host, int(port) if port else PORTS[protocol]


def _hop(at: str, running: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """By its name or the end of it: `root` is dns-root."""
    import difflib

    from stack.errors import ConfigError

    servers = {hop["name"]: hop for hop in running if hop["kind"] == "dns_server"}
    if not servers:
        raise ConfigError("the running stack has no DNS server; --at ADDRESS asks another")
    wanted = at or "resolver"
    for name in (wanted, f"dns-{wanted}"):
        if name in servers:
            return servers[name]
    other = next((hop for hop in running if hop["name"] == at), None)
    if other is not None:
        raise ConfigError(f"--at {at}: it is no DNS server; there is {', '.join(servers)}")
    if not at:
        raise ConfigError(f"the running stack has no resolver; name a server, as --at {next(iter(servers))}")
    near = difflib.get_close_matches(wanted, servers, 1)
    hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(servers)}"
    raise ConfigError(f"--at {wanted}: the running stack has no such DNS server; {hint}")


def _of_hop(hop: dict[str, Any], protocol: str, make: Any) -> Server:
    from stack.errors import ConfigError

    scheme = protocol if protocol in ("tls", "https") else "dns"
    listen = hop["listen"].get(scheme)
    if listen is None:
        doors = [
            {"dns": "--udp and --tcp"}.get(one, f"--{one}") for one in hop["listen"] if one in ("dns", "tls", "https")
        ]
        raise ConfigError(f"--{protocol}: {hop['name']} does not listen for it; it has {', '.join(doors)}")
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    server: Server = make({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), int(port), protocol, hop["name"])
    return server


def _nothing_runs() -> int:
    from stack.cli.control import NOTHING_RUNS
    from stack.supervisor.state import StateDir

    where = StateDir.chosen().path
    click.echo(
        f"No stack runs in {where}; `hopstack up` starts one. Else say whom to ask: --at ADDRESS[:PORT].", err=True
    )
    return NOTHING_RUNS


def _ask(
    questions: Sequence[Question], wish: Wish, server: Server, ca: Path | None, within: float, *, again: bool
) -> list[Reply]:
    import asyncio
    from random import SystemRandom

    from stack.clock import SystemClock
    from stack.errors import ConfigError
    from stack.trace.dig_ask import Asker

    if ca is not None and not ca.is_file():
        raise ConfigError(f"--cacert {ca}: there is no such file")
    asker = Asker(clock=SystemClock(), random=SystemRandom(), within=within, ca=ca, again=again)

    async def every() -> list[Reply]:
        return [await asker.ask(question, wish, server) for question in questions]

    return asyncio.run(every())
