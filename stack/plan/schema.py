"""JSON Schema 2020-12 of stack.toml, for editors: derived from the layout of the file and the records of the hops.

It knows what one value may be. What follows from several (names that lead nowhere, two hops on one address) only
`hopstack config check` knows.
"""

from __future__ import annotations

import enum
import typing
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import msgspec

from stack.config import values
from stack.faults.spec import KINDS, Fault
from stack.plan.layout import (
    ALL,
    KEY,
    MOST,
    NAMED,
    NOT_OF_POOLS,
    OWN,
    SECTIONS,
    SHARED,
    SINGLE,
    TABLES,
    Pool,
    Section,
    Site,
    Tls,
)
from stack.plan.model import Kinds

Schema = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
COMMENT: Final = "#:schema"
"""How a TOML file names its schema, for taplo (Even Better TOML) and tombi: a comment on the first line."""
FILE: Final = "stack.schema.json"

WHAT: Final[Mapping[str, str]] = {
    "zones": "DNS zones by name: from a master file, or generated.",
    "dns": "DNS servers: [dns.root] is dns-root, [dns.resolver] is resolver.",
    "edges": "CDN edges: [edges.fra] is edge-fra. Or a list of names.",
    "balancers": "Load balancers: [balancers.a] is lb-a.",
    "pools": "Backends by name, and how they are checked and chosen from.",
    "proxies": "Reverse proxies: [proxies.1] is proxy-1.",
    "apps": "App servers: [apps.1] is app-1.",
    "routes": "Files under a path.",
    "faults": "Injected faults: on = LINK or HOP, and what happens there.",
    "defaults": "Options of every hop that has them; an entry's own value wins.",
    "limits": "Bounds on clients, of every hop.",
    "timeouts": "Time-outs of clients, of every hop.",
    "cache": "The cache of every edge.",
    "tls": "The certificate that clients see, at every edge.",
}

_NUMBER: Final = r"([0-9]+(\.[0-9]+)?|\.[0-9]+)"
_FORMS: Final[Mapping[str, tuple[str, str]]] = {
    "s": (rf"^\s*{_NUMBER}\s*([uU][sS]|[mM][sS]|[sSmMhHdD])?\s*$", "a duration, as 500ms, 2s or 1m"),
    "bytes": (rf"^\s*{_NUMBER}\s*([kKmMgGtT]?([iI]?[bB])?)\s*$", "a size, as 512, 64K or 256M"),
    "": (rf"^\s*{_NUMBER}\s*$", ""),
}
_BOOLS: Final = "^({})$".format(
    "|".join("".join(f"[{c.upper()}{c}]" if c.isalpha() else c for c in word) for word in values.BOOLS)
)


def schema(kinds: Kinds) -> Schema:
    """The whole file."""
    properties: Schema = {}
    for field in msgspec.structs.fields(Site):
        properties[field.name] = _option(field, Site)
    definitions: Schema = {}
    for title in ALL:
        if title in SECTIONS:
            section = SECTIONS[title]
            definitions[title] = _entry(section, kinds)
            properties[title] = _by_name(title, {"$ref": f"#/$defs/{title}"}, keys=KEY.pattern)
            if title == "edges":
                properties[title] = _or_names(properties[title])
        elif title == "pools":
            balancer = _record(kinds.config("loadbalancer"), without=NOT_OF_POOLS)
            properties[title] = _by_name(title, _merged(_record(Pool), balancer))
        elif title in NAMED:
            properties[title] = _by_name(title, _record(NAMED[title]))
        elif title == "faults":
            properties[title] = _by_name(title, _fault())
    for title in SHARED:
        properties[title] = {**_shared(title, kinds), "title": title, "description": WHAT[title]}
    return {
        "$schema": DIALECT,
        "title": "stack.toml",
        "description": "The one file of a hopstack stack. What it leaves out is as in the default stack.",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "$defs": definitions,
    }


def _shared(title: str, kinds: Kinds) -> Schema:
    records = [kinds.config(section.kind) for section in SECTIONS.values()]
    if title == "defaults":
        return _merged(*(_record(record, without=SINGLE) for record in records))
    if title == "tls":
        return _record(Tls)
    if title == "cache":
        records = [kinds.config("cdn_edge")]
    inner = (_nested(record, title) for record in records)
    return _merged(*(_record(record) for record in inner if record is not None))


def _entry(section: Section, kinds: Kinds) -> Schema:
    entry = _merged(_record(section.extra), _record(kinds.config(section.kind), without=OWN))
    name = section.process("NAME")
    return {**entry, "title": f"[{section.title}.NAME]", "description": f"The process {name}. {WHAT[section.title]}"}


def _by_name(title: str, entry: Schema, *, keys: str = "") -> Schema:
    found: Schema = {"title": title, "description": WHAT[title], "type": "object", "additionalProperties": entry}
    if keys:
        found["propertyNames"] = {"pattern": f"^{keys}$"}
        found["maxProperties"] = MOST
    return found


def _or_names(tables: Schema) -> Schema:
    """A keyword judges values of its own type alone: so one schema says both, and an editor says what is wrong."""
    name = {"type": "string", "pattern": _names()}
    return {**tables, "type": ["object", "array"], "items": name, "uniqueItems": True}


def _names() -> str:
    return rf"^\s*{KEY.pattern}\s*$"


def _fault() -> Schema:
    found = _record(Fault, without=("name",))
    kinds = [{"required": [kind]} for kind in KINDS]
    return {**found, "required": ["on"], "anyOf": kinds, "dependentRequired": {"jitter": ["latency"]}}


def _record(record: type[msgspec.Struct], *, without: Collection[str] = ()) -> Schema:
    properties: Schema = {}
    required: list[str] = []
    for field in msgspec.structs.fields(record):
        if field.name in without:
            continue
        inner = _struct(field.type)
        if inner is None:
            properties[field.encode_name] = _option(field, record)
            if field.required and record in NAMED.values():
                required.append(field.name)  # of a hop, it is derived
        else:
            properties[field.name] = {**_record(inner), "title": field.name, "description": _first_line(inner)}
    found: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**found, "required": required} if required else found


def _merged(*schemas: Schema) -> Schema:
    """All their properties; of one that several have, the first's, and of tables all that is in them."""
    properties: Schema = {}
    for schema in schemas:
        for name, value in schema["properties"].items():
            known = properties.get(name)
            if known is None:
                properties[name] = value
            elif "properties" in known and "properties" in value:
                described = {key: known[key] for key in ("title", "description") if key in known}
                properties[name] = {**_merged(known, value), **described}
    required = sorted({name for schema in schemas for name in schema.get("required", ())})
    found: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**found, "required": required} if required else found


def _option(field: msgspec.structs.FieldInfo, record: type[msgspec.Struct]) -> Schema:
    found: Schema = {"title": field.encode_name, "description": _described(field.type)}
    one = values.element(field.type)
    if one is None:
        found |= _value(field.type)
    else:
        item = _value(one)
        if "enum" in item:
            found["anyOf"] = [item, {"type": "array", "items": item}]
        else:
            kinds = item["type"] if isinstance(item["type"], list) else [item["type"]]
            found |= {**item, "type": [*kinds, "array"], "items": item}
            if field.name in TABLES and record not in (Site, Pool):
                found["type"].append("object")
                found["additionalProperties"] = {"type": ["string", "number"]}
    default = _default(field)
    return found if default is None else {**found, "default": default}


def _value(annotation: Any) -> Schema:
    """One value as a file gives it: of its own type, or as text in the form of a flag's."""
    plain = values.plain(annotation)
    bare, metas = values.split(plain)
    if bare is bool:
        return {"type": ["boolean", "string"], "pattern": _BOOLS}
    if bare in (int, float):
        pattern, _ = _FORMS[values.unit(plain)]
        bounds = _bounds(metas)
        if not bounds.keys() & {"minimum", "exclusiveMinimum"}:
            pattern = pattern.replace("(", "-?(", 1)
        return {"type": ["integer" if bare is int else "number", "string"], "pattern": pattern, **bounds}
    if typing.get_origin(bare) is typing.Literal:
        return {"enum": list(typing.get_args(bare))}
    if isinstance(bare, type) and issubclass(bare, enum.Enum):
        return {"enum": [member.value for member in bare]}
    return {"type": "string", **_bounds(metas)}


def _bounds(metas: Sequence[msgspec.Meta]) -> Schema:
    found: Schema = {}
    for meta in metas:
        for name, value in (
            ("minimum", meta.ge), ("exclusiveMinimum", meta.gt), ("maximum", meta.le), ("exclusiveMaximum", meta.lt),
            ("minLength", meta.min_length), ("maxLength", meta.max_length),
            ("pattern", None if meta.pattern is None else _ecma(meta.pattern)),
        ):  # fmt: skip
            if value is not None:
                found[name] = value
    return found


def _ecma(pattern: str) -> str:
    """ECMA-262 has no \\A and \\Z, and its ^ and $ mean them where no flag says otherwise."""
    return pattern.replace(r"\A", "^").replace(r"\Z", "$")


def _described(annotation: Any) -> str:
    doc = next((meta.description for meta in reversed(values.split(annotation)[1]) if meta.description), "")
    one = values.element(annotation) or annotation
    form = _FORMS.get(values.unit(one), ("", ""))[1]
    return f"{doc} {form[:1].upper()}{form[1:]}.".strip() if form else doc


def _default(field: msgspec.structs.FieldInfo) -> Any:
    """In the form that people write: "10s", "64K"."""
    if field.default is not msgspec.NODEFAULT:
        value = field.default
    elif field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    else:
        return None
    if isinstance(value, tuple | list | frozenset):
        return [msgspec.to_builtins(item) for item in value]
    if isinstance(value, float | int) and not isinstance(value, bool):
        unit = values.unit(field.type)
        return values.show(field.type, value) if unit and value else value
    return msgspec.to_builtins(value)


def _struct(annotation: Any) -> type[msgspec.Struct] | None:
    bare = values.split(annotation)[0]
    return bare if isinstance(bare, type) and issubclass(bare, msgspec.Struct) else None


def _nested(record: type[msgspec.Struct], name: str) -> type[msgspec.Struct] | None:
    return next((_struct(field.type) for field in msgspec.structs.fields(record) if field.name == name), None)


def _first_line(record: type[msgspec.Struct]) -> str:
    return " ".join((record.__doc__ or "").partition("\n\n")[0].split())
