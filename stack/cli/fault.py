"""`hopstack fault add`, `list` and `clear`: in the processes of the running stack that each fault is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stack.faults.places import Standing
    from stack.faults.spec import Fault

PATIENCE: Final = 5.0
"""Seconds that a hop has to answer."""
KINDS: Final = ("dns_server", "cdn_edge", "loadbalancer", "proxy")
"""Kinds that inject; apps are behind a proxy, which does it for them."""

Table = dict[str, Any]


@click.group()
def fault() -> None:
    """Make a link or a hop slow, lossy or broken, and see what the others do.

    A fault acts at once, on kept-alive connections too, until it is cleared or
    its hop is started again. docs/faults.md has every kind.
    """


@fault.command()
@click.argument("on")
@click.argument("words", nargs=-1, metavar="KIND=VALUE...")
@click.option("--name", default="", metavar="NAME", help="Name in logs and `fault list`. Default: link and kinds.")
@click.option("--for", "lasts", default="", metavar="TIME", help="It ends by itself, as after 30s.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON where it acts.")
def add(on: str, words: tuple[str, ...], name: str, lasts: str, as_json: bool) -> int:
    """Add a fault to the link or hop ON.

    \b
      hopstack fault add 'lb-a>proxy-2' latency=200ms jitter=50ms share=0.2
      hopstack fault add 'edge-*>lb-a' refused first=3
      hopstack fault add app-1 status=503 path='/api/*' --for 30s
      hopstack fault add dns-shop rcode=SERVFAIL qname='www.*'

    ON is a link as lb-a>proxy-2 (in quotes), client>edge-fra for the clients
    of an edge, or a hop as proxy-1; * and ? stand for any name.

    \b
    Kinds:  latency=200ms [jitter=50ms]  bandwidth=64K, down=, up= (a second)
            refused  blackhole  status=503  reset=BYTES  truncate=BYTES
            corrupt=OFFSET  slow_close=5s
    Which:  share=0.2  first=3  count=10  path=/api/*  method=GET,HEAD
            checks=yes|no  seed=1

    \b
    DNS:    delay=2s [jitter=1s]  drop  refused  rcode=SERVFAIL  truncate
            wrong_address=192.0.2.66  lame  down=100 (TCP, octets a second)
    Which:  share= first= count= seed=  qname=www.*  qtype=A,AAAA
            source=192.0.2.0/24  proto=udp,tcp

    Exit status: 0 it is on, 1 a hop did not answer, 2 no such fault or place,
    3 nothing runs here.
    """
    from stack.faults.spec import as_table, parse, show

    text = " ".join((on, *words, *([f"for={lasts}"] if lasts else [])))
    wanted = parse(text, name=name)
    hops = _hops()
    if hops is None:
        return _nothing_runs()
    described, silent = _described(hops)
    chosen = {hop: standing for hop, table in described.items() if (standing := _standing(table)).places(wanted)}
    if not chosen:
        raise click.ClickException(_no_place(wanted, [_standing(table) for table in described.values()]))
    answers: dict[str, Table] = {}
    for hop in chosen:
        answer = _ask(hops[hop], "POST", "/-/faults", {**as_table(wanted), "name": wanted.name})
        silent += [hop] if answer is None else []
        answers |= {} if answer is None else {hop: answer}
    if as_json:
        _print_json({"name": wanted.name, "text": show(wanted), "hops": answers})
    elif answers:
        places = ", ".join(dict.fromkeys(place for answer in answers.values() for place in answer["here"]))
        again = ", in place of the one before" if any(answer["replaced"] for answer in answers.values()) else ""
        click.echo(f"{wanted.name}: on at {places}{again}")
    return _unless(silent)


@fault.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print every hop's faults, with their counts, as JSON.")
def list_(as_json: bool) -> int:
    """List the faults that are on, with how often each was injected.

    Exit status: 0 also when there is none, 1 a hop did not answer, 3 nothing
    runs here.
    """
    hops = _hops()
    if hops is None:
        return _nothing_runs()
    described, silent = _described(hops)
    if as_json:
        _print_json({name: table["faults"] for name, table in described.items()})
    else:
        click.echo(_listing(described) or "No faults.")
    return _unless(silent)


@fault.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "everything", is_flag=True, help="All of them; so does no name at all.")
def clear(names: tuple[str, ...], everything: bool) -> int:
    """Clear the faults called NAME, or all.

    Faults of the configuration are back when their hop is started again.

    Exit status: 0 they are off, 1 a hop did not answer, 2 no such fault, 3
    nothing runs here.
    """
    from stack.faults.spec import nearest

    if names and everything:
        raise click.UsageError("Give names or --all, not both.")
    hops = _hops()
    if hops is None:
        return _nothing_runs()
    described, silent = _described(hops)
    where = {hop: [fault["name"] for fault in table["faults"]] for hop, table in described.items()}
    known = list(dict.fromkeys(name for found in where.values() for name in found))
    for name in names:
        if name not in known:
            hint = nearest(name, known) or (f"there are {', '.join(known)}" if known else "there is none")
            raise click.ClickException(f"no fault is called {name}: {hint}")
    for hop, found in where.items():
        for name in found:
            if (not names or name in names) and _ask(hops[hop], "DELETE", f"/-/faults/{name}") is None:
                silent.append(hop)
    cleared = [name for name in known if not names or name in names]
    click.echo(f"Cleared: {', '.join(cleared)}" if cleared else "No faults.")
    return _unless(silent)


# The running stack.


def _hops() -> dict[str, str] | None:
    """Admin URL by name, of the hops that inject; None when nothing runs."""
    from stack.supervisor.state import StateDir

    status = StateDir.chosen().running()
    if not status:
        return None
    return {hop["name"]: hop["admin"] for hop in status["hops"] if hop["kind"] in KINDS and hop["admin"]}


def _nothing_runs() -> int:
    from stack.cli.control import NOTHING_RUNS
    from stack.supervisor.state import StateDir

    click.echo(f"No stack runs in {StateDir.chosen().path}; `hopstack up` starts one.", err=True)
    return NOTHING_RUNS


def _described(hops: dict[str, str]) -> tuple[dict[str, Table], list[str]]:
    """What each hop says of its faults, and those that do not answer."""
    answers = {name: _ask(admin, "GET", "/-/faults") for name, admin in hops.items()}
    return (
        {name: answer for name, answer in answers.items() if answer is not None},
        [name for name, answer in answers.items() if answer is None],
    )


def _ask(admin: str, method: str, path: str, content: Table | None = None) -> Table | None:
    """None without an answer; ClickException for a refusal, with its reason."""
    import http.client
    import json
    from urllib.parse import urlsplit

    place = urlsplit(admin)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=PATIENCE)
    try:
        connection.request(
            method, path, None if content is None else json.dumps(content), {"accept": "application/json"}
        )
        response = connection.getresponse()
        answer: Table = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    if response.status == 404 and method == "DELETE":
        return {"removed": 0}  # it has ended meanwhile
    if response.status >= 400:
        raise click.ClickException(str(answer.get("detail") or answer.get("title") or response.status))
    return answer


def _unless(silent: list[str]) -> int:
    for name in dict.fromkeys(silent):
        click.echo(f"{name} does not answer; see `hopstack status`", err=True)
    return 1 if silent else 0


# What is said.


def _standing(table: Table) -> Standing:
    from stack.faults.places import Standing

    return Standing(table["name"], table["kind"], tuple(table["links"]))


def _no_place(wanted: Fault, standings: list[Standing]) -> str:
    from stack.faults.spec import nearest

    for standing in standings:
        if reason := standing.refusal(wanted):
            return reason
    known = list(dict.fromkeys(place for standing in standings for place in standing.known()))
    links = [place for place in known if (">" in place) == (">" in wanted.on)]
    hint = nearest(wanted.on, links)
    if not hint:
        hint = f"there are {', '.join(links)}" if links else "no hop answers; see `hopstack status`"
    return f"{wanted.on}: the running stack has no such {'link' if '>' in wanted.on else 'hop'}; {hint}"


def _listing(described: dict[str, Table]) -> str:
    """A line for each fault, its counts of all processes together, then where it acts."""
    found: dict[str, list[Table]] = {}
    for table in described.values():
        for one in table["faults"]:
            found.setdefault(one["name"], []).append(one)
    rows = [("NAME", "STATE", "HITS", "LEFT", "FAULT")]
    for name, ones in found.items():
        state = next((one["state"] for one in ones if one["state"] == "active"), ones[0]["state"])
        hits, seen = (sum(one[key] for one in ones) for key in ("hits", "seen"))
        left = max((one["left_s"] for one in ones if one["left_s"] is not None), default=None)
        text = ones[0]["text"].removesuffix(f" name={name}")
        rows.append((name, state, f"{hits} of {seen}", "-" if left is None else f"{left:.0f} s", text))
        here = list(dict.fromkeys(place for one in ones for place in one["here"]))
        if here != [ones[0]["on"]]:
            rows.append(("", "", "", "", f"  at {', '.join(here) or 'nowhere'}"))
    if len(rows) == 1:
        return ""
    return "\n".join(_lines(rows))


def _lines(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Within 80 columns: what is too long goes on below itself."""
    import textwrap

    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    indent = " " * (sum(widths) + 8)
    for *cells, text in rows:
        start = "".join(f"{cell.ljust(width)}  " for cell, width in zip(cells, widths, strict=True))
        for line in textwrap.wrap(
            start + text, max(80, len(indent) + 24), subsequent_indent=f"{indent}  ",
            break_on_hyphens=False, break_long_words=False, drop_whitespace=False,
        ):  # fmt: skip
            yield line.rstrip()


def _print_json(value: object) -> None:
    import json

    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
