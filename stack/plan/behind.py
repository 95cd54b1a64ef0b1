"""What stands behind the proxies: the demo shop, the user's app, servers that run already, or files alone."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from stack.plan import links
from stack.plan.draft import Draft, Stack
from stack.plan.entries import DNS, EDGES, Entries
from stack.plan.layout import SECTIONS, prefixed
from stack.plan.sources import Said, derived

SHOP: Final = "appserver.shop:create_app"
REPLICAS: Final = 3
ANSWERS: Final = "100-499"
"""Of an app that was not asked where its health is: whatever it answers, it runs."""
_LOUDER: Final[Mapping[str, int]] = {"flag": 2, "environment": 1}


def populate(stack: Stack, entries: Entries) -> None:
    """Which hops there are, with what was said of each."""
    _one_of(stack, entries)
    for title, usual in (("dns", DNS), ("edges", EDGES), ("balancers", ("a",))):
        stack.drafts[title] = entries.drafts(SECTIONS[title], usual)
    _hosts(stack, entries)
    for balancer in stack.of("balancers"):
        name = links.pool_of(balancer, entries.pools)
        balancer.said = {**entries.pool_values(name), **balancer.said}


def _one_of(stack: Stack, entries: Entries) -> None:
    """An app or origins: what flags say stands in for what the file has, and one place must not say both."""
    app, origin = stack.site.get("app"), stack.site.get("origin")
    if origin is None:
        return
    if app is not None:
        difference = _loudness(origin) - _loudness(app)
        if not difference:
            stack.fault(origin.source, f"an app stands behind already ({app.source.key}); give one of them")
        stack.site.pop("app" if difference > 0 else "origin")
    elif entries.keys("apps") and not _loudness(origin):
        stack.fault(origin.source, "apps stand behind already ([apps]); give one of them")


def _loudness(said: Said) -> int:
    return _LOUDER.get(said.source.kind, 0)


def _hosts(stack: Stack, entries: Entries) -> None:
    """Proxies, and the apps behind them."""
    site = stack.site
    others = ("origin" in site or ("static" in site and not entries.keys("apps"))) and "app" not in site
    numbers = [str(number) for number in range(1, _number(stack, others=others) + 1)]
    for title in ("proxies", "apps"):
        _replicated(stack, entries, title, numbers)
    proxies, apps = SECTIONS["proxies"], SECTIONS["apps"]
    if entries.has("proxies") or not entries.has("apps") or others:
        stack.drafts["proxies"] = entries.drafts(proxies, numbers)
        behind = [] if others else [key for proxy in stack.of("proxies") if (key := _app_of(proxy))]
        stack.drafts["apps"] = [] if others else entries.drafts(apps, tuple(dict.fromkeys(behind)))
    else:
        stack.drafts["apps"] = entries.drafts(apps, numbers)
        stack.drafts["proxies"] = entries.drafts(proxies, [app.key for app in stack.of("apps")])


def _number(stack: Stack, *, others: bool) -> int:
    """How many proxies, each with what is behind it."""
    origins = len(stack.top("origin", ()))
    if "replicas" in stack.site:
        return max(int(stack.top("replicas", REPLICAS)), origins)
    return origins or (1 if others else REPLICAS)


def _replicated(stack: Stack, entries: Entries, title: str, numbers: list[str]) -> None:
    """With `replicas`, entries are for some of them: all numbers are there. Entries that are called otherwise count."""
    said = stack.site.get("replicas")
    keys = entries.keys(title)
    if said is None or not keys:
        return
    if set(keys) <= set(numbers):
        entries.number(title, numbers)
    elif len(keys) != said.value:
        stack.fault(
            said.source, f"[{title}] has {len(keys)} entries of its own; leave replicas out, or name them 1, 2, 3"
        )


def _app_of(proxy: Draft) -> str:
    """The key of the app behind a proxy, which need not be written down. None behind one that names a server."""
    upstream = proxy.get("upstream", default="")
    prefix = SECTIONS["apps"].prefix
    if "://" in upstream:
        return ""
    return upstream.removeprefix(prefix) if upstream.startswith(prefix) else proxy.key


def is_demo(stack: Stack) -> bool:
    """Whether nothing of the user's own stands behind."""
    if any(name in stack.site for name in ("app", "origin", "static")):
        return False
    return all(app.get("app") in (None, SHOP) for app in stack.of("apps")) and bool(stack.of("apps"))


def settle(stack: Stack, entries: Entries) -> None:
    """What is behind says how it is served, and how it is asked for its health."""
    demo = is_demo(stack)
    for app in stack.of("apps"):
        _app(stack, app)
    statics = _statics(stack, entries, demo=demo)
    health = stack.site.get("health")
    for proxy in stack.of("proxies"):
        if statics and ("static",) not in proxy.said:
            proxy.said["static",] = Said(tuple(item.value for item in statics), statics[0].source)
        if health is not None:
            _prefer(proxy, "health", health)
        proxy.derive("health_host", stack.names[0], "the site's name")
        _accept(proxy, "health_status", demo=demo, health=health)
    for balancer in stack.of("balancers"):
        if health is not None:
            check = f"http:{health.value}" if health.value else "tcp"  # nobody is to be asked, as of gRPC
            _prefer(balancer, "check", Said(check, health.source))
        balancer.derive("check", "http:/health", "the proxies answer there")
        balancer.derive("check_host", stack.names[0], "the site's name")
        _accept(balancer, "check_status", demo=demo, health=health)
    for draft in stack.of("edges", "balancers", "proxies", "apps"):
        if health is not None and health.value:
            draft.said.setdefault(("access_log_skip",), Said((str(health.value),), health.source))


def _prefer(draft: Draft, option: str, said: Said) -> None:
    """A top-level key for one option: the entry's own wins, but not over a flag or the environment."""
    if _loudness(said) or (option,) not in draft.said:
        draft.said[option,] = said


def _accept(draft: Draft, option: str, *, demo: bool, health: Said | None) -> None:
    """Which answers of the app's health are good ones."""
    if health is not None:
        draft.derive(option, ("200-399",), "as health is said")
    elif not demo:
        draft.derive(option, (ANSWERS,), "an app that does not say where its health is")


def _app(stack: Stack, app: Draft) -> None:
    said = stack.site.get("app")
    if said is not None and said.value:
        _prefer(app, "app", said)
    app.derive("app", SHOP, "the demo shop")
    folder = stack.site.get("app_dir")
    if folder is not None and folder.value:
        _prefer(app, "app_dir", folder)
    elif stack.document.directory is not None and app.said["app",].source.kind == "file":
        app.derive("app_dir", str(stack.document.directory), "the directory of the file")
    url = stack.top("database_url", "")
    if app.get("app") == SHOP:
        app.env["DATABASE_URL"] = url or f"sqlite:///{stack.state_dir / 'shop.db'}"
    elif url:
        app.env["DATABASE_URL"] = url


def _statics(stack: Stack, entries: Entries, *, demo: bool) -> list[Said]:
    """`PREFIX=DIR`, each with who said it; without a prefix for the usual one."""
    found: list[Said] = []
    if demo and (shop := static_directory()) is not None:
        found.append(Said(str(shop), derived("the demo shop's")))
    if (said := stack.site.get("static")) is not None:
        alone = not stack.of("apps") and "origin" not in stack.site
        found += [Said(text if prefixed(text)[0] or not alone else f"/={text}", said.source) for text in said.value]
    for source, route in entries.routes.values():
        if "static" in route:
            prefix = route["prefix"].value if "prefix" in route else "/static/"
            found.append(Said(f"{prefix}={route['static'].value}", route["static"].source))
        else:
            stack.fault(source, 'static is needed, as static = "public"')
    return found


def static_directory() -> Path | None:
    """The shop's assets, found without importing the shop."""
    found = importlib.util.find_spec("appserver")
    for folder in (found.submodule_search_locations or ()) if found is not None else ():
        static = Path(folder) / "shop" / "static"
        if static.is_dir():
            return static
    return None
