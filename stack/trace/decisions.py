"""What a hop decided, in a few words: from the words of its steps."""

from __future__ import annotations

from stack.trace import caches, words
from stack.trace.hops import ANSWERED, Hop
from stack.trace.model import CacheDecision


def decision(hop: Hop, said: CacheDecision | None, behind: Hop | None) -> str:
    """`said` is its member of Cache-Status, `behind` the hop that answered it."""
    match hop.kind:
        case "cdn_edge":
            return _edge(hop, said)
        case "loadbalancer":
            return _balancer(hop, behind)
        case "proxy":
            return _proxy(hop)
        case "appserver":
            return hop.word("app")
    return ""


def failed(hop: Hop) -> bool:
    """Whether what it decided is a failure."""
    waits = hop.waits
    if waits and waits[-1].word not in ANSWERED:
        return not waits[-1].word.startswith("stale-if-")
    return hop.word("choose") == "none" or hop.word("app") == "failed" or hop.word("route") == "none"


def _edge(hop: Hop, said: CacheDecision | None) -> str:
    lookup, fetch, store = hop.word("lookup"), hop.word("fetch"), hop.word("store")
    if lookup == "hit":
        left = f", fresh {caches.seconds(said.ttl)} more" if said is not None and said.ttl is not None else ""
        return f"HIT{left}"
    if lookup in ("stale-while-revalidate", "max-stale"):
        return f"STALE: {lookup}"
    if fetch.startswith("stale-if-"):
        return f"STALE: {fetch}"
    first = {"method": "PASS", "bypass": "PASS", "only-if-cached": "MISS"}.get(lookup, "MISS")
    parts = [f"{first} {lookup}".strip() if lookup else ""]
    if fetch == "revalidated":
        parts = ["REVALIDATED"]
    if fetch == "failed":
        parts.append("fetch failed")
    elif store in ("stored", "stripped"):
        parts.append("stored" if said is None or said.ttl is None else f"stored {caches.seconds(max(0, said.ttl))}")
    elif store and store != lookup:
        parts.append(f"not stored: {store}")
    return ", ".join(part for part in parts if part)


def _balancer(hop: Hop, behind: Hop | None) -> str:
    waits = hop.waits
    chose = hop.word("choose")
    if not waits:
        return "no backend is up" if chose == "none" else ""
    last = waits[-1]
    to = last.to or (behind.name if behind is not None and last.word in ANSWERED else "")
    panic = ", all are down" if chose == "panic" else ""
    if last.word != "answered":
        told = words.ATTEMPT.get(last.word, last.word)
        return f"{len(waits)} attempts, none answered{panic}" if len(waits) > 1 else f"{to}: {told}{panic}".strip(": ")
    tried = f", attempt {len(waits)}" if len(waits) > 1 else ""
    return (
        f"to {to}{tried}{panic}" if to else f"1 attempt{panic}" if len(waits) == 1 else f"{len(waits)} attempts{panic}"
    )


def _proxy(hop: Hop) -> str:
    route, serve, coding = hop.word("route"), hop.word("serve"), hop.word("compress")
    parts = ["to the app" if route == "app" else f"static: {serve}" if serve else route]
    if hop.word("forward") == "failed":
        parts.append("failed")
    if coding:
        parts.append(words.CODING.get(coding, coding))
    return ", ".join(part for part in parts if part)
