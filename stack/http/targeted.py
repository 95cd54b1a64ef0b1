"""Cache directives for some caches only: targeted fields (RFC 9213), and Surrogate-Control from before them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from stack.http.cache_control import FLAGS, FOREVER, CacheControl, parse
from stack.http.fields import split_list, tokens
from stack.http.structured_parsing import dictionary

_SECONDS: Final = {
    "max-age": "max_age",
    "s-maxage": "s_maxage",
    "stale-while-revalidate": "stale_while_revalidate",
    "stale-if-error": "stale_if_error",
}
_NAMING: Final = {"no-cache": "no_cache", "private": "private"}
_FLAGS: Final[Mapping[str, str]] = {name.decode(): attribute for name, attribute in FLAGS.items()}


def parse_targeted(value: bytes) -> CacheControl | None:
    """The combined lines of a targeted field. None for one that is to be ignored: empty, or no Dictionary (§2.1, §2.2).

    §2.1: a value of the wrong type is not used; the field with it is not either, since what is left of it would say
    something else than was meant. But where it can only forbid (`no-store=1`), it does.
    """
    members = dictionary(value)
    if not members:
        return None
    flags: dict[str, bool] = {}
    seconds: dict[str, int] = {}
    named: dict[str, frozenset[bytes]] = {}
    extensions: list[tuple[bytes, bytes | None]] = []
    for name, argument in members.items():
        if name in _SECONDS:
            if type(argument) is not int:
                return None
            seconds[_SECONDS[name]] = min(max(argument, 0), FOREVER)
        elif name in _FLAGS:
            if name == "public" and argument is not True:
                continue
            flags[_FLAGS[name]] = argument is not False
        elif name in _NAMING:
            fields = frozenset(tokens(argument.encode("latin-1"))) if isinstance(argument, str) else frozenset()
            if fields:
                named[f"{_NAMING[name]}_fields"] = fields
            else:
                flags[_NAMING[name]] = argument is not False
        else:
            extensions.append((name.encode("ascii"), None if argument is True else str(argument).encode()))
    if flags.get("private"):
        flags.pop("public", None)
    return CacheControl(**flags, **seconds, **named, extensions=tuple(extensions))  # type: ignore[arg-type]


def parse_surrogate(value: bytes, own: CacheControl) -> CacheControl | None:
    """Surrogate-Control in the syntax of the Edge Architecture note (W3C, 2001), where `own` is Cache-Control.

    None where it says nothing of caching (`content="ESI/1.0"`). `max-age=60+30` may be served stale for 30 seconds
    more. What is addressed to one surrogate by name (`max-age=60;abc`) is not for us. It takes the place of
    Cache-Control, but never makes a response shared that `own` calls private: no standard says that it may.
    """
    directives: list[bytes] = []
    for directive in split_list(value):
        if b";" in directive and b'"' not in directive:
            continue
        name, equals, argument = directive.partition(b"=")
        if name.lower() == b"max-age" and b"+" in argument:
            argument, _, more = argument.partition(b"+")
            directives.append(b"stale-while-revalidate=%b, stale-if-error=%b" % (more, more))
        directives.append(name + equals + argument)
    said = parse(b", ".join(directives))
    if said.max_age is None and said.s_maxage is None and not (said.no_store or said.no_cache or said.private):
        return None
    return replace(
        said,
        private=said.private or own.private,
        private_fields=said.private_fields | own.private_fields,
        public=said.public and not own.private,
    )
