"""What single options of a hop must be like beyond their type. The hop itself would refuse them when it starts."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from stack.config import listen
from stack.config.collector import parse_collector
from stack.config.upstream import check_authority, check_host
from stack.errors import ConfigError
from stack.http.trust import Trust, peers
from stack.plan.draft import Draft, Stack, bare
from stack.plan.layout import WORDS, prefixed
from stack.plan.model import Kinds

Check = Callable[[Any, Kinds], None]
_APP = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*(?::[^\W\d]\w*(?:\.[^\W\d]\w*)*)?")


def check_options(stack: Stack, kinds: Kinds) -> None:
    """A fault for each, at the place where it was said."""
    for draft in stack:
        for path, said in draft.said.items():
            test = CHECKS.get(path[0])
            if test is None or len(path) > 1 or not said.value or said.source.kind == "derived":
                continue
            try:
                test(said.value, kinds)
            except ConfigError as error:
                stack.fault(said.source, bare(error), value=said.value)
        _pair(stack, draft)
        if not draft.is_elsewhere:
            _files(stack, draft)


_FILES: Final = (
    "cert", "key", "client_ca", "origin_ca", "origin_cert", "origin_key", "backend_ca", "backend_cert", "backend_key",
    "upstream_ca", "upstream_cert", "upstream_key", "tsig_key",
)  # fmt: skip


def _pair(stack: Stack, draft: Draft) -> None:
    certs, keys = (len(draft.get(option, default=())) for option in ("cert", "key"))
    if certs != keys:
        more, fewer = ("cert", "key") if certs > keys else ("key", "cert")
        stack.fault(draft.place(more), f"a certificate and its key go together; give {fewer} too")
    for onward in ("origin", "backend", "upstream"):
        cert, key = f"{onward}_cert", f"{onward}_key"
        if bool(draft.get(cert)) != bool(draft.get(key)):
            more, fewer = (cert, key) if draft.get(cert) else (key, cert)
            stack.fault(draft.place(more), f"a certificate and its key go together; give {fewer} too")


def _files(stack: Stack, draft: Draft) -> None:
    """What is named must be there, unless the hop runs in a container, where it may be."""
    for option in _FILES:
        said = draft.said.get((option,))
        if said is None or said.source.kind == "derived" or said.value in WORDS:
            continue  # the stack's own authority is made when it starts
        several = isinstance(said.value, tuple | list)
        for number, path in enumerate(said.value if several else (said.value,)):
            if not os.path.isfile(path):
                place = said.source.item(number) if several else said.source
                stack.fault(place, "there is no such file", value=path)
    for text in draft.get("static", default=()):
        prefix, folder = prefixed(text)
        if not os.path.isdir(folder):
            hint = "" if prefix or "=" not in text else "; a prefix begins and ends with a slash, as /files/=DIR"
            stack.fault(draft.place("static"), f"there is no such directory{hint}", value=folder)


def _trusted(value: tuple[str, ...], kinds: Kinds) -> None:
    peers(value)


def _allow(value: tuple[str, ...], kinds: Kinds) -> None:
    Trust(value)


def _admin(value: str, kinds: Kinds) -> None:
    item = listen.parse(value, option="--admin", schemes=("http",))
    if item.scheme != "http":
        raise ConfigError("wanted http://127.0.0.1:PORT")
    if item.fd is None and not ipaddress.ip_address(item.host).is_loopback:
        raise ConfigError("the admin endpoint is for loopback only, as http://127.0.0.1:0")


def _source(value: str, kinds: Kinds) -> None:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        raise ConfigError("wanted an IP address of this machine, such as 127.0.0.1") from None


def _path(value: str, kinds: Kinds) -> None:
    if not re.fullmatch(r"/[\x21-\x7e]*", value) or "#" in value:
        raise ConfigError("wanted a path, as /health")


def _prefix(value: str, kinds: Kinds) -> None:
    if not (value.startswith("/") and value.endswith("/")):
        raise ConfigError("it begins and ends with a slash, as /static/")


def _static(value: tuple[str, ...], kinds: Kinds) -> None:
    try:
        kinds.part("proxy", "rules.roots").roots(value, "/static/")
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _app(value: str, kinds: Kinds) -> None:
    if _APP.fullmatch(value) is None:
        raise ConfigError("write it as package.module:attribute, such as shop.main:app")


def _check(value: str, kinds: Kinds) -> None:
    kinds.part("loadbalancer", "config").parse_check(value)


def _otlp(value: str, kinds: Kinds) -> None:
    parse_collector(value)


CHECKS: Final[Mapping[str, Check]] = {
    "otlp": _otlp,
    "trusted": _trusted,
    "allow": _allow,
    "admin": _admin,
    "source": _source,
    "health": _path,
    "root_path": _path,
    "static_prefix": _prefix,
    "static": _static,
    "app": _app,
    "check": _check,
    "update": lambda value, kinds: kinds.part("dns_server", "grants").read_grants(value),
    "check_host": lambda value, kinds: check_authority(value, "--check-host"),
    "health_host": lambda value, kinds: check_authority(value, "--health-host"),
    "origin_server_name": lambda value, kinds: check_host(value, "--origin-server-name"),
}
