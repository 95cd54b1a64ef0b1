"""The options of `up` and `exec` that say what a stack is made of: the top-level keys of the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: Final = (
    click.option(
        "--config", "-c", metavar="FILE", help="Configuration. Default: stack.toml in this directory, if there is one."
    ),
    click.option("--no-config", is_flag=True, help="The default stack, whatever file is there."),
    click.option("--app", metavar="MODULE:ATTR", help="Your app: ASGI, WSGI, aiohttp, or a factory of one."),
    click.option("--app-dir", metavar="DIR", help="Directory that --app is imported from. Default: this one."),
    click.option(
        "--origin",
        multiple=True,
        metavar="URL",
        help="A server of yours, in any language, instead of --app, as http://127.0.0.1:3000. Repeats.",
    ),
    click.option(
        "--static", multiple=True, metavar="[PREFIX=]DIR", help="A directory of files that the proxies serve. Repeats."
    ),
    click.option("--replicas", type=click.IntRange(1, 100), metavar="N", help="Instances of the app. Default: 3."),
    click.option(
        "--health",
        metavar="PATH",
        help="Path that says by 2xx or 3xx that the app is well. Default: any answer below 500 does.",
    ),
    click.option("--name", metavar="NAME", help="Name of the site. Default: that of this directory, and .test."),
    click.option("--edges", metavar="LIST", help="Points of presence, as fra,nrt,iad. Default: fra,nrt."),
    click.option(
        "--port-base",
        type=click.IntRange(1, 60000),
        metavar="N",
        help="http on N+80, https on N+443, DNS on N+53, DNS over HTTPS on N+54, over TLS on N+55, the rest "
        "above N+100. Default: 8080, 8443, 5053, 8053, 8853.",
    ),
    click.option(
        "--database-url",
        envvar="DATABASE_URL",
        metavar="URL",
        help="DATABASE_URL of the apps, as postgresql://user:password@host/name. "
        "Default: for the demo shop, SQLite in the state directory.",
    ),
)

REPEATED: Final = ("origin", "static")


def stack_options(command: F) -> F:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Top-level keys of the file from the options; those that were not given are left out."""
    keys = ("app", "app_dir", "origin", "static", "replicas", "health", "name", "edges", "port_base", "database_url")
    found = {key: list(value) if isinstance(value := values.get(key), tuple) else value for key in keys}
    if isinstance(found["edges"], str):
        found["edges"] = [name.strip() for name in found["edges"].split(",") if name.strip()]
    return {key: value for key, value in found.items() if value not in (None, [], "")}


def argv(values: Mapping[str, Any]) -> list[str]:
    """The same as flags, for the process that runs a detached stack; but no secrets: those go by environment."""
    flags = ["--no-config"] if values.get("no_config") else []
    flags += [f"--config={values['config']}"] if values.get("config") else []
    for key, value in given(values).items():
        flag = "--" + key.replace("_", "-")
        if key in REPEATED:
            flags += [f"{flag}={item}" for item in value]
        elif key == "edges":
            flags.append(f"{flag}={','.join(value)}")
        elif key != "database_url":
            flags.append(f"{flag}={value}")
    return flags
