"""Who is next: names of hops and pools become addresses, and every hop believes those before it."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from stack.config.upstream import parse_upstream
from stack.errors import ConfigError
from stack.plan.document import written
from stack.plan.draft import Draft, Stack
from stack.plan.layout import SECTIONS
from stack.plan.sources import Said, Source, derived

EXAMPLE: Final = "http://127.0.0.1:3000"

CA: Final[Mapping[str, str]] = {"cdn_edge": "origin_ca", "proxy": "upstream_ca"}
"""What a hop verifies the next one by; a balancer takes the stack's own authority by itself."""

Pools = Mapping[str, tuple[Source, Said | None]]
"""Where each pool stands, and its members."""


def link(stack: Stack, pools: Pools) -> None:
    """Origins of edges, backends of balancers, upstreams of proxies."""
    for edge in stack.of("edges"):
        _origin(stack, edge)
    for balancer in stack.of("balancers"):
        _backends(stack, balancer, pools)
    for number, proxy in enumerate(stack.of("proxies")):
        _upstream(stack, proxy, number)
    used = [pool_of(balancer, pools) for balancer in stack.of("balancers")]
    for name, (source, members) in pools.items():
        if name not in used:
            _unused(stack, source, members)


def believe(stack: Stack) -> None:
    """Whom a hop believes: every hop before it, because the client is the nearest address that is none of them."""
    for draft in stack.of("balancers", "proxies", "apps"):
        hosts: dict[str, None] = {}
        for earlier in _all_before(draft):
            known = earlier.addresses(stack.places)
            hosts |= dict.fromkeys(known)
            if not known and ("trusted",) not in draft.said:
                what = (
                    f"{earlier.name} connects from an address that is not known here, so {draft.name} does not believe "
                )
                what += f"it who the client is; give its source, or trusted = [...] of {draft.name}"
                stack.fault(earlier.source, what, warning=True)
        if hosts:
            draft.derive("trusted", tuple(hosts), "the hops before it")


def _all_before(draft: Draft) -> list[Draft]:
    """Nearest first."""
    found: list[Draft] = []
    row = draft.before
    while row:
        found += [item for item in row if item not in found and item is not draft]
        row = [item for one in row for item in one.before if item not in found and item is not draft]
    return found


def _origin(stack: Stack, edge: Draft) -> None:
    said = edge.said.get(("origin",))
    if said is None:
        inner = next((stack.of(title)[0] for title in ("balancers", "proxies", "apps") if stack.of(title)), None)
        if inner is None:
            stack.fault(
                edge.source,
                'an edge needs an origin, as origin = "http://127.0.0.1:3000": no balancer, proxy or app is here',
            )
            return
        said = Said(inner.name, derived(f"{inner.name} listens there"))
    edge.said[("origin",)] = Said(_target(stack, edge, said.source, said.value, named=True), said.source)


def _backends(stack: Stack, balancer: Draft, pools: Pools) -> None:
    said = balancer.said.get(("backend",))
    if said is None:
        said = _members(stack, balancer, pools)
    if said is None:
        return
    found: list[str] = []
    names: set[str] = set()
    for number, text in enumerate(said.value):
        target = _target(stack, balancer, said.source.item(number), text, named=True)
        name = next_name(target)
        if target and name in names:
            stack.fault(said.source.item(number), f"{name} stands here twice")
        elif target:
            found.append(target)
            names.add(name)
    balancer.said[("backend",)] = Said(tuple(found), said.source)
    _weights(stack, balancer, names)


def _unused(stack: Stack, source: Source, members: Said | None) -> None:
    """A pool that no balancer has: its name may be a slip, and so may those of its members."""
    stack.fault(source, "no balancer has this pool", warning=True)
    names = [item.name for item in stack.of("balancers", "proxies", "apps")]
    for number, text in enumerate(members.value if members is not None else ()):
        if members is not None and "://" not in text and text not in names:
            stack.fault(members.source.item(number), f"no hop is called {text!r}{_nearest(text, names)}")


def pool_of(balancer: Draft, pools: Collection[str]) -> str:
    """The name of its pool; empty when it has backends of its own, or it must say which."""
    said = balancer.more.get("pool")
    if said is not None and said.value:
        return str(said.value)
    if ("backend",) in balancer.said and balancer.said["backend",].source.kind != "derived":
        return ""
    return "hosts" if "hosts" in pools or not pools else next(iter(pools)) if len(pools) == 1 else ""


def _weights(stack: Stack, balancer: Draft, names: set[str]) -> None:
    said = balancer.said.get(("weight",))
    for text in said.value if said is not None else ():
        name = text.rpartition("=")[0]
        if said is not None and name not in names:
            stack.fault(said.source, f"no backend is called {name!r}{_nearest(name, names)}")


def _members(stack: Stack, balancer: Draft, pools: Pools) -> Said | None:
    name = pool_of(balancer, pools)
    chosen = balancer.more.get("pool")
    if not name:
        what = f'which pool? say pool = "{next(iter(pools))}": there is {", ".join(pools)}'
        stack.fault(balancer.source, what)
        return None
    if chosen is not None and chosen.value and name not in pools and name != "hosts":
        hint = _nearest(name, pools) or f"; write it as [{written(('pools', name))}]"
        stack.fault(chosen.source, f"no pool is called {name!r}{hint}")
        return None
    members = pools[name][1] if name in pools else None
    if members is not None:
        return members
    proxies = stack.of("proxies") or stack.of("apps")
    if not proxies:
        what = 'a balancer needs backends, as backend = ["http://127.0.0.1:3000"]: no proxy is here'
        stack.fault(balancer.source, what)
        return None
    return Said(tuple(item.name for item in proxies), derived(f"pool {name}: every proxy"))


def _upstream(stack: Stack, proxy: Draft, number: int) -> None:
    said = proxy.said.get(("upstream",))
    if said is None:
        origins = stack.top("origin", ())
        app = stack.named(SECTIONS["apps"].process(proxy.key))
        if app is not None:
            said = Said(app.name, derived(f"{app.name} listens there"))
        elif origins:
            one = number % len(origins)
            text = origins[one] if "=" in origins[one].partition("://")[0] else f"origin-{one + 1}={origins[one]}"
            said = Said(text, stack.site["origin"].source)
        elif stack.of("apps"):
            names = ", ".join(item.name for item in stack.of("apps"))
            stack.fault(
                proxy.source, f'which app is behind it? say upstream = "{stack.of("apps")[0].name}": there is {names}'
            )
            return
        else:
            proxy.derive("upstream", "", "files only")
            return
    proxy.said[("upstream",)] = Said(_target(stack, proxy, said.source, said.value, named=True), said.source)


def _target(stack: Stack, draft: Draft, source: Source, text: str, *, named: bool) -> str:
    """`NAME=URL` of a hop by its name, or the URL as it is; a fault and nothing if it is neither."""
    if "://" in text:
        try:
            parse_upstream(text, option="", named=named, example=EXAMPLE)
        except ConfigError as error:
            stack.fault(source, str(error).partition(": ")[2])
            return ""
        return text
    found = stack.named(text)
    inner = [item for item in stack.of("balancers", "proxies", "apps") if item is not draft]
    if found is None or found not in inner:
        names = [item.name for item in (reversed(inner) if draft.kind == "proxy" else inner)]
        what = "it stands before that hop" if found is not None else f"no hop is called {text!r}"
        hint = _nearest(text, names) or (f"; there is {', '.join(names[:6])}" if names else "")
        stack.fault(source, f"{what}{hint or '; give a URL, as ' + EXAMPLE}")
        return ""
    if not found.url:
        if found.listens:
            stack.fault(found.place("listen"), f"{draft.name} cannot be told of port 0 (any free one): give a port")
        return ""
    if draft not in found.before:
        found.before.append(draft)
    if found.url.startswith("https:") and draft.kind in CA and not found.get("cert"):
        draft.derive(CA[draft.kind], str(stack.state_dir / "ca.pem"), f"{found.name} has its certificate from there")
    return f"{found.name}={found.url}" if named else found.url


def next_name(text: str) -> str:
    """What a next hop written as `[NAME=]URL` is called by: its host and port, unless it has a name."""
    name, mark, _ = text.partition("=")
    return name if mark and "://" not in name else text.partition("://")[2]


def _nearest(name: str, names: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, list(names), 1)
    return f"; did you mean {found[0]}?" if found else ""
