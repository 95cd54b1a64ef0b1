"""What does not go together, though each value alone is fine: faults, and warnings of what will surprise."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from stack.config import flags, values
from stack.config.listen import Listen
from stack.config.listen import parse as parse_listen
from stack.config.upstream import parse_upstream
from stack.errors import ConfigError
from stack.plan.draft import Draft, Stack, bare
from stack.plan.links import next_name
from stack.plan.model import HopPlan, Kinds
from stack.plan.options import check_options
from stack.plan.sources import Said

ONWARD: Final[Mapping[str, str]] = {"cdn_edge": "origin", "loadbalancer": "backend", "proxy": "upstream"}
"""How a kind calls its next hop: `origin_timeouts`, `origin_pool`."""


def check(stack: Stack, kinds: Kinds, hops: Sequence[HopPlan]) -> None:
    """Both places and the remedy of each. `hops`: those that could be made."""
    check_options(stack, kinds)
    _shared_addresses(stack)
    made = {hop.name: hop.config for hop in hops}
    for draft in stack:
        if draft.name in made:
            _alone(stack, kinds, draft, made[draft.name])
            _protocol(stack, draft, made[draft.name])
    for earlier, later in _links(stack):
        if earlier.name in made and later.name in made:
            _keep_alive(stack, earlier, later, made)
            _waits(stack, earlier, later, made)
            _limits(stack, earlier, later, made)
    _connections(stack, made)
    _loops(stack)
    _idle_hops(stack)


def _links(stack: Stack) -> Iterator[tuple[Draft, Draft]]:
    """From hop to next hop; the outermost first."""
    for later in stack:
        for earlier in later.before:
            yield earlier, later


# Addresses.


def _shared_addresses(stack: Stack) -> None:
    taken: list[tuple[str, Listen, str]] = []
    for draft in stack:
        machine = str(draft.more["host"].value) if draft.is_elsewhere else ""
        own = [("listen", item) for item in draft.listens] + [("admin", item) for item in _admin(draft)]
        for option, item in own:
            other = next(((it, who) for place, it, who in taken if place == machine and _same(item, it)), None)
            if other is None:
                taken.append((machine, item, draft.name))
                continue
            what = f"{other[1]} listens on {_address(other[0])} already; give another port or address"
            stack.fault(draft.place(option), what, value=str(item))


def _admin(draft: Draft) -> list[Listen]:
    try:
        return [parse_listen(draft.get("admin"), option="--admin")] if draft.get("admin") else []
    except ConfigError:
        return []  # told elsewhere


def _same(one: Listen, other: Listen) -> bool:
    if one.fd is not None or other.fd is not None or one.port == 0 or one.port != other.port:
        return False
    hosts = [ipaddress.ip_address(item.host) for item in (one, other)]
    return hosts[0] == hosts[1] or any(host.is_unspecified for host in hosts)


def _address(item: Listen) -> str:
    return str(item).partition("://")[2]


# One hop alone.


def _alone(stack: Stack, kinds: Kinds, draft: Draft, config: Any) -> None:
    if draft.kind == "loadbalancer":
        _weights(stack, kinds, draft, config)
        if config.check_timeout > config.check_interval:
            _warn(
                stack, draft, ("check_timeout",), ("check_interval",),
                "a check that takes its whole time delays the next one",
            )  # fmt: skip
    elif draft.kind == "cdn_edge":
        _cache(stack, kinds, draft, config.cache)
    elif draft.kind == "dns_server" and config.zone and config.resolver:
        stack.fault(draft.place("resolver"), "a DNS server has zones or resolves, not both; make it two")
    elif draft.kind == "appserver" and not config.app:
        stack.fault(draft.place("app"), "name the application, as package.module:attribute")


def _cache(stack: Stack, kinds: Kinds, draft: Draft, cache: Any) -> None:
    for option, text in kinds.part("cdn_edge", "checks").faults(cache):
        path = ("cache", *option)
        stack.fault(draft.place(*path), text)
    if ("cache", "max_object") in draft.said and cache.max_object > cache.size // 8:
        _warn(
            stack, draft, ("cache", "max_object"), ("cache", "size"),
            "nothing larger than an eighth of it is stored",
        )  # fmt: skip


def _protocol(stack: Stack, draft: Draft, config: Any) -> None:
    """ALPN is of TLS: in the clear the URL says what is spoken."""
    if draft.kind not in ONWARD:
        return
    option = f"{ONWARD[draft.kind]}_protocol"
    said = draft.said.get((option,))
    if said is None or said.value == "h1":
        return
    hops = [parse_upstream(text, option="", example="") for text in _several(getattr(config, ONWARD[draft.kind]))]
    if not hops or any(hop.scheme != "http" for hop in hops):
        return
    clear = f"h2c://{hops[0].authority}"
    known = hops[0].name and stack.named(hops[0].name)
    remedy = f"let {hops[0].name} listen on {clear}" if known else f'write {ONWARD[draft.kind]} = "{clear}"'
    text = (
        f"{option} is for https, and {hops[0].address} is in the clear, where HTTP/1.1 is spoken; for HTTP/2 {remedy}"
    )
    stack.fault(said.source, text, warning=True)


def _several(value: str | Sequence[str]) -> Sequence[str]:
    return ([value] if value else []) if isinstance(value, str) else value


def _weights(stack: Stack, kinds: Kinds, draft: Draft, config: Any) -> None:
    names = set(map(next_name, config.backend))
    if not names or any(text.rpartition("=")[0] not in names for text in config.weight):
        return  # told elsewhere
    try:
        kinds.part("loadbalancer", "config").parse_backends(config.backend, config.weight)
    except ConfigError as error:
        stack.fault(draft.place("weight"), bare(error))


def _warn(stack: Stack, draft: Draft, one: tuple[str, ...], other: tuple[str, ...], why: str) -> None:
    place = draft.place(*one) if one in draft.said else draft.place(*other)
    text = f"{'.'.join(one)} is {_shown(draft, one)} and {'.'.join(other)} {_shown(draft, other)}: {why}"
    stack.fault(place, text, warning=True)


# One hop and the next.


def _keep_alive(stack: Stack, earlier: Draft, later: Draft, made: Mapping[str, Any]) -> None:
    """Who sends on an idle connection must also be who closes it, or a request meets the close (RFC 9112 §9.5)."""
    pool, own = (f"{ONWARD[earlier.kind]}_timeouts", "idle"), ("timeouts", "idle")
    if _at(made[later.name], own) > _at(made[earlier.name], pool):
        return
    said = later.said.get(own) or earlier.said.get(pool)
    closes = f"{later.name} closes an idle connection after {_shown(later, own)}{_where(later, own, said)}"
    keeps = f"{earlier.name} keeps one for {_shown(earlier, pool)}{_where(earlier, pool, said)}"
    remedy = f"a request would meet the close; make {later.name}'s {'.'.join(own)} the longer one"
    stack.fault(said.source if said else later.source, f"{closes}, but {keeps}: {remedy}")


def _waits(stack: Stack, earlier: Draft, later: Draft, made: Mapping[str, Any]) -> None:
    """An outer hop that gives up before an inner one answers 504 while the work goes on."""
    if later.kind not in ONWARD:
        return
    one = f"{ONWARD[earlier.kind]}_timeouts", "head"
    other = f"{ONWARD[later.kind]}_timeouts", "total" if later.kind == "loadbalancer" else "head"
    if _at(made[earlier.name], one) >= _at(made[later.name], other):
        return
    said = earlier.said.get(one) or later.said.get(other)
    text = (
        f"{earlier.name} waits {_shown(earlier, one)} for an answer and {later.name} behind it {_shown(later, other)}: "
        "the outer one gives up first, and the client is not told where the time went"
    )
    stack.fault(said.source if said else earlier.source, text, warning=True)


def _limits(stack: Stack, earlier: Draft, later: Draft, made: Mapping[str, Any]) -> None:
    """What an outer hop lets in, an inner one refuses: the client sees the inner hop's error, all the way through."""
    for name in ("head", "fields", "target", "body"):
        outer, inner = (getattr(made[draft.name].limits, name) for draft in (earlier, later))
        if not inner or outer <= inner:  # 0 is without bound: whoever says nothing leaves it to the hops behind
            continue
        said = later.said.get(("limits", name)) or earlier.said.get(("limits", name))
        path = ("limits", name)
        text = (
            f"limits.{name} of {later.name} is {_shown(later, path)}, of {earlier.name} before it "
            f"{_shown(earlier, path)}: what that lets in is refused further inside"
        )
        stack.fault(said.source if said else later.source, text, warning=True)


def _connections(stack: Stack, made: Mapping[str, Any]) -> None:
    """Connections that the hops before may open, against those that a hop accepts: the rest waits for nothing."""
    for later in stack:
        before = [earlier for earlier in later.before if earlier.name in made]
        if later.name not in made or not before:
            continue
        pools = [(earlier, (f"{ONWARD[earlier.kind]}_pool", "connections")) for earlier in before]
        wanted = sum(_at(made[earlier.name], path) for earlier, path in pools)
        accepted = made[later.name].limits.connections
        if accepted >= wanted:
            continue
        said = later.said.get(("limits", "connections")) or pools[0][0].said.get(pools[0][1])
        who = " and ".join(earlier.name for earlier in before)
        text = (
            f"{later.name} accepts {accepted} connections, {who} may open {wanted}: the rest waits until it times out"
        )
        stack.fault(said.source if said else later.source, text, warning=True)


# The whole.


def _loops(stack: Stack) -> None:
    for draft in stack.of("balancers", "proxies"):
        seen: dict[str, None] = {}
        row = list(draft.before)
        while row and draft.name not in seen:
            seen |= {one.name: None for one in row}
            row = [item for one in row for item in one.before if item.name not in seen]
        if draft.name in seen:
            option = ONWARD[draft.kind]
            stack.fault(draft.place(option), f"requests would go round: {draft.name} sends to a hop that sends to it")


def _idle_hops(stack: Stack) -> None:
    for draft in stack.of("balancers", "proxies", "apps"):
        if not draft.before and draft.source.kind == "file":
            stack.fault(draft.source, f"no hop sends to {draft.name}", warning=True)


def _at(config: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        config = getattr(config, name)
    return config


def _shown(draft: Draft, path: tuple[str, ...]) -> str:
    option = next(item for item in flags.options(draft.type) if item.path == path)
    return values.show(option.type, draft.get(*path, default=option.default))


def _where(draft: Draft, path: tuple[str, ...], told: Said | None) -> str:
    """The place of the other value, which the message does not begin with."""
    said = draft.said.get(path)
    if said is told:
        return ""
    return f" ({'by default' if said is None else said.source})"
