"""stack.toml, environment and flags -> the plan of a stack: every hop with its whole configuration.

The default stack is the same with nothing said. What a file leaves out is as in the default stack, and every entry
inherits what it does not say; then follows, in this order: where each hop listens, who is next, who is believed.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from stack.config import flags, values
from stack.errors import ConfigError, ConfigErrors, Problem
from stack.plan import faults, links, zones
from stack.plan.checks import check
from stack.plan.document import Document
from stack.plan.draft import Draft, Stack, bare, is_ip, listeners
from stack.plan.entries import DNS, EDGES, Entries
from stack.plan.layout import SECTIONS
from stack.plan.model import HopPlan, Kinds, StackPlan
from stack.plan.ports import Places, Ports
from stack.plan.reading import Reader
from stack.plan.sources import Said, derived

NAME: Final = "shop.test"
SHOP: Final = "appserver.shop:create_app"
REPLICAS: Final = 3
ANSWERS: Final = "100-499"
"""Of an app that was not asked where its health is: whatever it answers, it runs."""


def make_plan(
    document: Document | None,
    *,
    kinds: Kinds,
    state_dir: Path,
    environ: Mapping[str, str] | None = None,
    many_addresses: bool = True,
    given: Mapping[str, Any] | None = None,
) -> StackPlan:
    """Raises ConfigErrors with every fault at once, in the order of the file.

    `given`: top-level keys from flags, None for one that was not given; they win over `environ` (default: that of
    this process), and that over the document. `state_dir` is where generated files will be.
    """
    document = Document({}) if document is None else document
    environ = os.environ if environ is None else environ
    problems: list[Problem] = []
    reader = Reader(document, problems)
    entries = Entries(reader, kinds, environ, given or {}, problems)
    site = entries.site
    base = site["port_base"].value if "port_base" in site else None
    stack = Stack(document, Places(Ports.above(base), many_addresses), site, problems)
    _populate(stack, entries)
    stack.names = _names(stack, entries)
    _place(stack)
    _behind(stack, entries, state_dir)
    for draft in stack:
        entries.overrule(draft)
    links.link(stack, entries.pool_members())
    links.believe(stack)
    _certificates(stack)
    zones.serve(stack, kinds, state_dir, entries.zones)
    faults.inject(stack, reader)
    hops = tuple(hop for draft in stack if (hop := _hop(stack, draft)) is not None)
    check(stack, kinds, hops)
    wrong = _in_order(problem for problem in problems if not problem.warning)
    if wrong:
        raise ConfigErrors(wrong)
    sources = {draft.name: {path: said.source for path, said in draft.said.items()} for draft in stack}
    flagged = {key: value for key, value in (given or {}).items() if value is not None and key != "database_url"}
    return StackPlan(stack.names[0], hops, sources, tuple(_in_order(problems)), flagged)


def _in_order(problems: Any) -> list[Problem]:
    """Of the file first, by line, each once; then what flags and environment said."""
    return sorted(dict.fromkeys(problems), key=lambda item: (not item.file, item.line))


# Which hops there are.


def _populate(stack: Stack, entries: Entries) -> None:
    site = stack.site
    hosts = _hosts(stack, entries)
    stack.drafts["dns"] = entries.drafts(SECTIONS["dns"], DNS)
    stack.drafts["edges"] = entries.drafts(SECTIONS["edges"], EDGES)
    stack.drafts["balancers"] = entries.drafts(SECTIONS["balancers"], ("a",))
    numbers = [str(number) for number in range(1, hosts + 1)]
    others = ("origin" in site or "static" in site) and "app" not in site and not entries.has("apps")
    if entries.has("proxies") or not entries.has("apps"):
        stack.drafts["proxies"] = entries.drafts(SECTIONS["proxies"], numbers)
        behind = [] if others else [key for proxy in stack.of("proxies") if (key := _app_of(proxy))]
        stack.drafts["apps"] = entries.drafts(SECTIONS["apps"], dict.fromkeys(behind))
    else:
        stack.drafts["apps"] = entries.drafts(SECTIONS["apps"], numbers)
        stack.drafts["proxies"] = entries.drafts(SECTIONS["proxies"], [app.key for app in stack.of("apps")])
    for balancer in stack.of("balancers"):
        name = links.pool_of(balancer, entries.pools)
        balancer.said = {**entries.pool_values(name), **balancer.said}
    if "origin" in site and "app" in site:
        stack.fault(site["origin"].source, f"an app stands behind already ({site['app'].source.key}); give one of them")


def _hosts(stack: Stack, entries: Entries) -> int:
    """How many proxies, each with what is behind it."""
    origins = len(stack.top("origin", ()))
    if "replicas" in stack.site:
        return max(int(stack.top("replicas", REPLICAS)), origins)
    if origins and "app" not in stack.site:
        return origins
    return 1 if "static" in stack.site and "app" not in stack.site and not entries.has("apps") else REPLICAS


def _app_of(proxy: Draft) -> str:
    """The key of the app behind a proxy, which need not be written down. None behind one that names a server."""
    upstream = proxy.get("upstream", default="")
    prefix = SECTIONS["apps"].prefix
    if "://" in upstream:
        return ""
    return upstream.removeprefix(prefix) if upstream.startswith(prefix) else proxy.key


def _names(stack: Stack, entries: Entries) -> tuple[str, ...]:
    """Of the sites: the stack's own, and those of further zones."""
    written = zones.site_names(entries.zones)
    name = str(stack.top("name", "")).rstrip(".").lower()
    if not name and written:
        name = written[0]
    elif not name and _is_demo(stack):
        name = NAME
    elif not name:
        folder = stack.document.directory or Path.cwd()
        label = re.sub(r"[^a-z0-9]+", "-", folder.name.lower()).strip("-")[:63].strip("-")
        name = f"{label or 'app'}.test"
    return tuple(dict.fromkeys((name, *written)))


def _is_demo(stack: Stack) -> bool:
    """Whether nothing of the user's own stands behind."""
    if any(name in stack.site for name in ("app", "origin", "static")):
        return False
    return all(app.get("app") in (None, SHOP) for app in stack.of("apps")) and bool(stack.of("apps"))


# Where they listen.


def _place(stack: Stack) -> None:
    places = stack.places
    for draft in stack.of("dns"):
        if draft.name == "resolver":
            draft.derive("resolver", True, "by its name")
    counts = {True: 0, False: 0}
    others = dict.fromkeys(SECTIONS, 0)
    for title, drafts in stack.drafts.items():
        for position, draft in enumerate(drafts):
            if title == "dns":
                position = counts[draft.is_resolver]
                counts[draft.is_resolver] += 1
            draft.position = position
            spread = ("listen",) not in draft.said
            draft.derive("listen", tuple(map(str, _usual(draft, places))), "by its position")
            listeners(stack, draft)
            admin = places.admin(title, draft.name, others[title])
            others[title] += not places.has_own_admin(draft.name)
            draft.derive("admin", str(admin), "by its position")
            _source(draft, places, spread=spread)


def _usual(draft: Draft, places: Places) -> tuple[Any, ...]:
    title = draft.section.title
    if title == "dns":
        return places.resolver(draft.position) if draft.is_resolver else (places.authority(draft.position),)
    return places.edge(draft.position) if title == "edges" else (places.inner(title, draft.position),)


def _source(draft: Draft, places: Places, *, spread: bool) -> None:
    """An address of its own to connect from, if it stays on loopback."""
    local = draft.host.startswith("127.") and is_ip(draft.host)
    source = places.source(draft.section.title, draft.position, draft.host)
    if source and (spread or (local and all(item.host.startswith("127.") for item in draft.listens))):
        draft.derive("source", source, "by its position")


# What stands behind.


def _behind(stack: Stack, entries: Entries, state_dir: Path) -> None:
    demo = _is_demo(stack)
    for app in stack.of("apps"):
        _app(stack, app, state_dir)
    health = stack.site.get("health")
    path = str(health.value) if health is not None else "/health"
    statics = _statics(stack, entries, demo=demo)
    for proxy in stack.of("proxies"):
        if statics:
            _serve_static(proxy, statics)
    for draft in stack:
        if health is not None and draft.has("access_log_skip") and draft.kind != "dns_server":
            draft.said.setdefault(("access_log_skip",), Said((path,), health.source))
    for proxy in stack.of("proxies"):
        if health is not None:
            proxy.said.setdefault(("health",), Said(path, health.source))
        _accept(proxy, "health_status", demo=demo, health=health)
    for balancer in stack.of("balancers"):
        check = Said(f"http:{path}", health.source if health is not None else derived("the proxies answer there"))
        balancer.said.setdefault(("check",), check)
        balancer.derive("check_host", stack.names[0], "the site's name")
        _accept(balancer, "check_status", demo=demo, health=health)


def _accept(draft: Draft, option: str, *, demo: bool, health: Said | None) -> None:
    """Which answers of the app's health are good ones."""
    if not demo and health is None:
        draft.derive(option, (ANSWERS,), "an app that does not say where its health is: any answer below 500")
    elif health is not None:
        draft.derive(option, ("200-399",), "health")


def _app(stack: Stack, app: Draft, state_dir: Path) -> None:
    said = stack.site.get("app")
    own = app.get("app")
    if own is None:
        app.said[("app",)] = said if said is not None and said.value else Said(SHOP, derived("the demo shop"))
    folder = stack.site.get("app_dir")
    if folder is not None and folder.value:
        app.said.setdefault(("app_dir",), folder)
    elif stack.document.directory is not None and app.said[("app",)].source.kind == "file":
        app.derive("app_dir", str(stack.document.directory), "the directory of the file")
    url = stack.top("database_url", "")
    if app.get("app") == SHOP:
        app.env["DATABASE_URL"] = url or f"sqlite:///{state_dir / 'shop.db'}"
    elif url:
        app.env["DATABASE_URL"] = url


def _statics(stack: Stack, entries: Entries, *, demo: bool) -> list[Said]:
    """`PREFIX=DIR`, each with who said it; without a prefix for the usual one."""
    found: list[Said] = []
    for text in ((said := stack.site.get("static")) and said.value) or ():
        assert said is not None
        alone = not stack.of("apps") and "origin" not in stack.site
        found.append(Said(text if "=" in text or not alone else f"/={text}", said.source))
    for source, route in entries.routes.values():
        if "static" in route:
            prefix = route["prefix"].value if "prefix" in route else "/static/"
            found.append(Said(f"{prefix}={route['static'].value}", route["static"].source))
        else:
            stack.fault(source, 'static is needed, as static = "public"')
    if not found and demo and (shop := static_directory()) is not None:
        found.append(Said(str(shop), derived("the demo shop's")))
    return found


def _serve_static(proxy: Draft, statics: list[Said]) -> None:
    option = next(item for item in flags.options(proxy.type) if item.path == ("static",))
    if ("static",) in proxy.said:
        return
    if values.element(option.type) is not None:
        proxy.said[("static",)] = Said(tuple(item.value for item in statics), statics[0].source)
        return
    prefix, mark, folder = statics[0].value.rpartition("=")
    proxy.said[("static",)] = Said(folder, statics[0].source)
    if mark:
        proxy.said.setdefault(("static_prefix",), Said(prefix, statics[0].source))


def static_directory() -> Path | None:
    """The shop's assets, found without importing the shop."""
    found = importlib.util.find_spec("appserver")
    for folder in (found.submodule_search_locations or ()) if found is not None else ():
        static = Path(folder) / "shop" / "static"
        if static.is_dir():
            return static
    return None


# Certificates.


def _certificates(stack: Stack) -> None:
    for draft in stack:
        if not any(item.scheme in ("https", "tls") for item in draft.listens):
            continue
        names: list[str] = []
        if draft.section.title == "edges":
            names += [name for site in stack.names for name in (site, f"www.{site}", f"{draft.name}.{site}")]
        names.append("localhost")
        if not is_ip(draft.host):
            names.append(draft.host)
        draft.derive("server_names", tuple(names), "the names it is reached by")


def _hop(stack: Stack, draft: Draft) -> HopPlan | None:
    found = {path: said.value for path, said in draft.said.items()}
    found[("name",)] = draft.name
    try:
        config = flags.make(draft.type, found)
    except ConfigError as error:
        if not stack.faults():  # else it is the consequence of one that is known
            stack.fault(draft.source, bare(error))
        return None
    return HopPlan(draft.kind, config, draft.env, draft.files)
