"""Cache-Status and Proxy-Status, read and put in words."""

from __future__ import annotations

from stack.http.message import Fields, combined, get
from stack.trace import words
from stack.trace.fields import Item, items
from stack.trace.model import CacheDecision, ProxyError


def decisions(fields: Fields) -> tuple[CacheDecision, ...]:
    """The cache nearest to the origin first (RFC 9211 §2)."""
    vary = _text(get(fields, b"vary"))
    return tuple(_decision(item, vary) for item in items(_text(combined(fields, b"cache-status"))))


def errors(fields: Fields) -> tuple[ProxyError, ...]:
    """The members of Proxy-Status that have an error (RFC 9209 §2.1.1); the others only say that they forwarded."""
    found = []
    for item in items(_text(combined(fields, b"proxy-status"))):
        if error := item.params.get("error", ""):
            why = words.ERRORS.get(error, error.replace("_", " "))
            details = item.params.get("details", "")
            found.append(ProxyError(item.name, error, f"{why} ({details})" if details else why))
    return tuple(found)


def _decision(item: Item, vary: str) -> CacheDecision:
    params = item.params
    fwd, detail = params.get("fwd", ""), params.get("detail", "")
    seconds = item.number("ttl")
    ttl = None if seconds is None else int(seconds)
    status = item.number("fwd-status")
    if "hit" in params:
        result = "hit" if ttl is None or ttl >= 0 else "stale"
    elif not fwd:
        result = "none"
    elif detail.startswith("stale-if-"):
        result = "stale"
    elif fwd in ("stale", "request") and status == 304:
        result = "revalidated"
    elif fwd in ("method", "bypass"):
        result = "pass"
    else:
        result = "miss"
    stored = "stored" in params
    decision = CacheDecision(item.name, result, "", fwd=fwd, stored=stored, ttl=ttl, detail=detail)
    return CacheDecision(
        item.name, result, _why(decision, vary), fwd=fwd, stored=decision.stored, ttl=ttl, detail=detail
    )


def _why(said: CacheDecision, vary: str) -> str:
    """Sentences."""
    told = words.DETAIL.get(said.detail, "")
    if said.result == "hit":
        left = "" if said.ttl is None else f", fresh for another {seconds(said.ttl)}"
        return f"answered from the store{left}" + (f"; {told or said.detail}" if said.detail else "")
    if said.result == "stale":
        age = "" if said.ttl is None else f", {seconds(-said.ttl)} past its freshness"
        return f"answered from the store{age}" + (f"; {told or said.detail}" if said.detail else "")
    if said.result == "none":
        return told or words.ERRORS.get(said.detail, said.detail) or "neither answered from the store nor passed on"
    why = words.FORWARDED.get(said.fwd, said.fwd)
    if said.fwd == "vary-miss" and vary:
        why += f" (Vary: {vary})"
    if said.result == "revalidated":
        why += "; the origin says that it still holds (304)"
    if said.stored:
        why += "; stored now" if said.ttl is None else f"; stored now, {freshness(said.ttl)}"
        return f"{why}: {words.KEPT[said.detail]}" if said.detail in words.KEPT else why
    if said.result == "revalidated" and said.ttl is not None:
        return f"{why}, {freshness(said.ttl)}"
    if said.detail in words.ERRORS:
        return f"{why}; asking the origin failed: {words.ERRORS[said.detail]}"
    if said.detail:
        return f"{why}; not stored: {words.KEPT.get(said.detail, told or said.detail)}"
    return why


def freshness(ttl: int) -> str:
    return f"fresh for {seconds(ttl)}" if ttl > 0 else "to be validated before each use"


def seconds(value: float) -> str:
    """60 s, 5 min, 2 h, 3 d: one unit, rounded down."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if value >= 2 * size:
            return f"{int(value // size)} {unit}"
    return f"{int(value)} s"


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("latin-1")
