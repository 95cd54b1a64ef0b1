"""`hopstack trace`: its options. What it does is imported when asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import click

if TYPE_CHECKING:
    from stack.http.message import Fields
    from stack.trace.known import KnownStack
    from stack.trace.run import Order, Outcome

_OF_THE_CONNECTION: Final = frozenset(
    {b"connection", b"content-length", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade"}
)
_FORM: Final = b"application/x-www-form-urlencoded"


@click.command()
@click.argument("url")
@click.option("--request", "-X", "method", metavar="METHOD", help="Default: GET, with -d POST.")
@click.option("--header", "-H", "headers", multiple=True, metavar="'NAME: VALUE'", help="Repeats. 'NAME:' removes one.")
@click.option("--data", "-d", "data", metavar="DATA", help="Content to send; @FILE for that of a file.")
@click.option(
    "--edge", metavar="NAME", help="Connect to this edge, as nrt or edge-nrt, or to ADDRESS:PORT, whatever DNS says."
)
@click.option(
    "--repeat",
    type=click.IntRange(1, 100),
    default=1,
    metavar="N",
    help="Send it N times, on one connection: the second may be a HIT.",
)
@click.option("--http1.1", "http", flag_value="1.1", help="HTTP/1.1 only.")
@click.option("--http2", "http", flag_value="2", help="HTTP/2 only; in the clear by prior knowledge.")
@click.option(
    "--cacert",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Trust the authorities in FILE. Default: the stack's for its names, else the system's.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=30.0,
    metavar="S",
    help="Seconds for one request. Default: 30.",
)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON, which docs/trace.md describes.")
@click.option("--har", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write an HTTP Archive.")
@click.option(
    "--output",
    "-o",
    metavar="FILE",
    help="Write the content to FILE, - for standard output (the waterfall then goes to standard error).",
)
@click.option("--verbose", "-v", is_flag=True, help="Show the fields of request and response.")
@click.option("--secrets", is_flag=True, help="Keep Authorization, cookies and -d in what -v and --har show.")
def trace(
    url: str,
    method: str | None,
    headers: tuple[str, ...],
    data: str | None,
    edge: str | None,
    repeat: int,
    http: Literal["1.1", "2"] | None,
    cacert: Path | None,
    timeout: float,
    as_json: bool,
    har: Path | None,
    output: str | None,
    verbose: bool,
    secrets: bool,
) -> int:
    """Send one request to URL and show what every hop did, as a waterfall.

    Names of the running stack are resolved by walking root, TLD and zone. URL
    may be a path, such as /products/shoes, of the running stack. Redirects are
    shown, not followed. Any other http or https URL works too;
    ws and wss open a WebSocket and close it again.

    \b
    Exit status: 0 answered, with a status below 500
                 1 answered 5xx, or with an error of a hop's own
                 2 a wrong option or URL
                 3 no stack runs here, and nobody else knows URL
                 4 the name was not resolved
                 5 no connection, TLS failed, or the response broke off
                 6 time-out
    """
    from stack.cli.control import NOTHING_RUNS
    from stack.errors import ConfigError

    if as_json and (output == "-" or verbose):
        raise ConfigError("--json is all there is on standard output: not together with -v or -o -")
    if url.lstrip().startswith("/") and (nowhere := _nothing_runs()):
        click.echo(f"No stack runs in {nowhere}; `hopstack up` starts one. Else give a whole URL.", err=True)
        return NOTHING_RUNS
    order, stack, home = _order(
        url, method, headers, data, edge, repeat, http, cacert, timeout, plain=output is not None
    )
    return _run(order, stack, home, as_json=as_json, har=har, output=output, verbose=verbose, secrets=secrets)


def _nothing_runs() -> Path | None:
    """Where, if it is so."""
    from stack.supervisor.state import StateDir

    state = StateDir.chosen()
    return None if state.running() else state.path


def _order(
    url: str,
    method: str | None,
    headers: tuple[str, ...],
    data: str | None,
    edge: str | None,
    repeat: int,
    http: Literal["1.1", "2"] | None,
    cacert: Path | None,
    seconds: float,
    *,
    plain: bool,
) -> tuple[Order, KnownStack | None, str]:
    """The request to send, the stack that runs here, and what to say where none does."""
    from stack.errors import ConfigError
    from stack.supervisor.state import StateDir
    from stack.trace.known import KnownStack
    from stack.trace.run import Order, chosen
    from stack.trace.target import parse

    state = StateDir.chosen()
    stack = KnownStack.of(state.running())
    target = chosen(stack, parse(url, default=stack.name if stack is not None else ""))
    body = _content(data)
    wanted = method or ("POST" if data is not None else "GET")
    if not wanted.isascii() or not wanted.replace("-", "").isalnum():
        raise ConfigError(f"-X {wanted}: a method is letters, digits and -")
    if cacert is not None:
        if target.scheme == "http":
            raise ConfigError(f"--cacert: {target} is without TLS")
        try:
            cacert.read_bytes()
        except OSError as error:
            raise ConfigError(f"--cacert {cacert}: {error.strerror}") from None
    order = Order(
        target=target,
        method=wanted,
        fields=_fields(headers, form=data is not None, plain=plain),
        body=body,
        edge=edge or "",
        http=http or "auto",
        cacert=cacert,
        own_ca=state.path / "ca.pem",
        seconds=seconds,
        repeat=repeat,
    )
    return order, stack, f"no stack runs in {state.path}"


def _content(data: str | None) -> bytes:
    from stack.errors import ConfigError

    if data is None or not data.startswith("@"):
        return (data or "").encode("utf-8", "surrogateescape")
    try:
        return Path(data[1:]).read_bytes()
    except OSError as error:
        raise ConfigError(f"-d {data}: {error.strerror}") from None


def _fields(headers: tuple[str, ...], *, form: bool, plain: bool) -> Fields:
    """The defaults, then what was given: a name that is given takes the place of its default."""
    import re
    from importlib.metadata import version

    from stack.config.base import TCHAR
    from stack.errors import ConfigError

    fields: Fields = [
        (b"user-agent", f"hopstack/{version('hopstack')}".encode()),
        (b"accept", b"*/*"),
        (b"accept-encoding", b"gzip, br, zstd"),
    ]
    if plain:
        del fields[-1]  # what is written to a file should be readable there
    if form:
        fields.append((b"content-type", _FORM))
    given: Fields = []
    removed: set[bytes] = set()
    for header in headers:
        name, colon, value = header.partition(":")
        value = value.strip()
        if not colon or re.fullmatch(rf"{TCHAR}+", name) is None or not value.isprintable():
            raise ConfigError(f"-H {header!r}: wanted 'NAME: VALUE', such as 'Accept-Language: de'")
        wire = name.lower().encode("ascii")
        if wire in _OF_THE_CONNECTION:
            raise ConfigError(f"-H {header!r}: {name} is the connection's own; it cannot be given")
        removed.add(wire)
        if value:
            given.append((wire, value.encode("utf-8", "surrogateescape")))
    return [field for field in fields if field[0] not in removed] + given


def _run(
    order: Order,
    stack: KnownStack | None,
    nothing_runs: str,
    *,
    as_json: bool,
    har: Path | None,
    output: str | None,
    verbose: bool,
    secrets: bool,
) -> int:
    import asyncio
    import contextlib
    import sys

    from stack.cli.trace_output import Printer, opened
    from stack.trace import har as archive
    from stack.trace import report
    from stack.trace.run import exit_status

    outcomes: list[Outcome] = []
    printer = Printer(to_stderr=output == "-", verbose=verbose, secrets=secrets)

    def done(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if not as_json:
            printer.show(outcome, len(outcomes), order.repeat)

    with contextlib.ExitStack() as held:
        kept = None if har is None else held.enter_context(opened(har, "--har"))
        sink: Callable[[bytes], object] | None = None
        if output == "-":
            sink = sys.stdout.buffer.write
        elif output is not None:
            sink = held.enter_context(opened(Path(output), "-o")).write
        asyncio.run(_trace(order, stack, nothing_runs, sink, done))
        if kept is not None:
            kept.write(archive.archive(outcomes, secrets=secrets))
    if as_json:
        click.echo(report.document(outcomes))
    return exit_status(outcomes)


async def _trace(
    order: Order,
    stack: KnownStack | None,
    nothing_runs: str,
    sink: Callable[[bytes], object] | None,
    done: Callable[[Outcome], None],
) -> None:
    from random import SystemRandom

    from stack.clock import SystemClock
    from stack.net.tasks import Tasks
    from stack.trace.run import Tracer

    tasks = Tasks()
    tracer = Tracer(
        order, stack, clock=SystemClock(), random=SystemRandom(), tasks=tasks, nothing_runs=nothing_runs, sink=sink
    )
    try:
        async for outcome in tracer.outcomes():
            done(outcome)
    finally:
        await tasks.close()
