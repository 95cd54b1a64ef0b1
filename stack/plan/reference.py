"""docs/reference: pages about every option, section, command and word, made from what the programs themselves read."""

from __future__ import annotations

import json
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from stack.config import flags, values
from stack.config.flags import Option
from stack.faults.spec import Fault
from stack.path import STEPS
from stack.plan.layout import ALL, NAMED, NOT_OF_POOLS, OWN, SECTIONS, SHARED, SINGLE, Section, Site, Tls
from stack.plan.model import Kinds
from stack.plan.schema import FILE, WHAT, schema

NOTE: Final = "<!-- made by `make docs` from the sources; edits here are lost -->"


EXAMPLES: Final[Mapping[str, str]] = {
    "dns": '[dns.root]\n[dns.tld]\n[dns.shop]\n[dns.resolver]\ncache.max_ttl = "1h"',
    "edges": '[edges.fra]\ncache.size = "1G"\n[edges.iad]',
    "balancers": '[balancers.a]\npool = "hosts"',
    "proxies": "[proxies.1]\ncompression.br_level = 5\n[proxies.2]",
    "apps": "[apps.1]\nworkers = 2\n[apps.2]",
    "zones": '[zones."shop.test"]\nrecords = ["api 60 IN A 127.0.1.1"]',
    "pools": '[pools.hosts]\nbalance = "least-connections"\nretries = 1\nweight = { proxy-1 = 3 }',
    "routes": '[routes.assets]\nprefix = "/assets/"\nstatic = "public"',
    "faults": '[faults.slow]\non = "lb-a>proxy-2"\nlatency = "200ms"\nshare = 0.2',
    "defaults": '[defaults]\naccess_log = "off"\notlp = "http://127.0.0.1:4318"',
    "limits": '[limits]\nbody = "10M"',
    "timeouts": '[timeouts]\nhead = "5s"',
    "cache": '[cache]\nsize = "64M"\nstale_if_unreachable = "1h"',
    "tls": '[tls]\nserver_names = ["shop.test", "shop.example"]',
}
"""One of each section; a test checks that each holds."""
_EXAMPLES: Final = {"dns": "root", "edges": "fra", "balancers": "a", "proxies": "1", "apps": "1"}


def pages(kinds: Kinds, commands: Mapping[str, str]) -> dict[str, str]:
    """Text by file name. `commands`: the help of each command by its words, as `hopstack config check`."""
    found = {f"{section.kind}.md": _hop(section, kinds) for section in SECTIONS.values()}
    found["stack-toml.md"] = _file(kinds)
    found["command-line.md"] = _commands(commands)
    found["steps.md"] = _steps()
    found["README.md"] = _index(kinds)
    found[FILE] = json.dumps(schema(kinds), indent=1, ensure_ascii=False) + "\n"
    return found


def _page(title: str, *parts: str) -> str:
    return "\n\n".join([NOTE, f"# {title}", *(part.strip("\n") for part in parts if part)]) + "\n"


def _index(kinds: Kinds) -> str:
    hops = "\n".join(
        f"- [{section.kind}]({section.kind}.md): {_sentence(kinds.config(section.kind))}"
        for section in SECTIONS.values()
    )
    return _page(
        "Reference",
        "Made from the records of options, the table of commands and the vocabulary that the programs themselves use.",
        f"""- [stack.toml](stack-toml.md): the sections of the file, and [its JSON Schema]({FILE})
- [The command line](command-line.md): every command's help
- [Steps and words](steps.md): what stands in Server-Timing, the access log, the metrics and the spans""",
        "Every option of each kind of hop:",
        hops,
    )


# Hops.


def _hop(section: Section, kinds: Kinds) -> str:
    record = kinds.config(section.kind)
    name, example = section.process("NAME"), _EXAMPLES[section.title]
    groups: dict[tuple[str, ...], list[Option]] = {}
    for option in flags.options(record):
        groups.setdefault(option.path[:-1], []).append(option)
    parts = []
    for path, group in groups.items():
        if path:
            parts.append(f"## {'.'.join(path)}\n\n{_sentence(_record_at(record, path))}")
        parts += [_option(option) for option in group]
    return _page(
        section.kind,
        _sentence(record),
        f"`python -m {section.kind}` takes each option as a flag or from the environment. In "
        f"[stack.toml](stack-toml.md) it is a key of `[{section.title}.NAME]`, which is the process {name}. A flag "
        "wins over the environment, that over the file, and that over the default. In a stack, what is not said about "
        "addresses, next hops, certificates and whom to believe follows from the whole: "
        f"`hopstack config show {name.replace('NAME', example)}` says how.",
        *parts,
    )


def _option(option: Option) -> str:
    key = ".".join(option.path)
    flag = f"`{option.flag}`"
    if values.is_bool(option.type):
        flag += f", `{option.flag.replace('--', '--no-', 1)}`"
    facts = [flag, f"`{option.variable}`"]
    if option.path[0] in OWN:
        facts.append("not in the file")
    default = "needed" if option.default is msgspec.NODEFAULT else f"default `{_toml(option.type, option.default)}`"
    return f"### {key}\n\n{option.doc}\n\n{' · '.join([*facts, _form(option.type), default])}"


def _form(annotation: Any) -> str:
    """What a value looks like, with its unit and range."""
    one = values.element(annotation)
    if values.is_bool(annotation):
        return "`true` or `false`"
    bare = values.split(values.plain(one or annotation))[0]
    if typing.get_origin(bare) is typing.Literal:
        form = "one of " + ", ".join(f"`{choice}`" for choice in typing.get_args(bare))
    else:
        form = values.wanted(one or annotation).removeprefix("wanted ").replace("|", "\\|")
    return f"repeats: {form}" if one is not None else form


def _toml(annotation: Any, value: Any) -> str:
    """A value as the file has it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list | frozenset):
        return "[" + ", ".join(_toml(values.element(annotation), item) for item in value) + "]"
    if isinstance(value, int | float):
        shown = values.show(annotation, value)
        return f'"{shown}"' if not _is_number(shown) else shown
    return json.dumps(msgspec.to_builtins(value), ensure_ascii=False)


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).lstrip("-").isdigit()


def _sentence(record: type[msgspec.Struct]) -> str:
    return " ".join((record.__doc__ or "").partition("\n\n")[0].split())


def _record_at(record: type[msgspec.Struct], path: tuple[str, ...]) -> type[msgspec.Struct]:
    for name in path:
        kind = next(field.type for field in msgspec.structs.fields(record) if field.name == name)
        record = values.split(kind)[0]
    return record


# The file.


def _file(kinds: Kinds) -> str:
    intro = "What the stack is called, and what stands behind it. `hopstack up` has a flag for each."
    parts = [f"## Top level\n\n{intro}", *(_key(field, top=True) for field in msgspec.structs.fields(Site))]
    for title in ALL:
        example = f"\n\n```toml\n{EXAMPLES[title]}\n```"
        parts.append(f"## {title}\n\n{WHAT[title]}{example}")
        parts += list(_section(title, kinds))
    return _page(
        "stack.toml",
        "All sections may be left out: what is not said is as in the default stack. A section of hops that is there "
        "names all of them, and an entry has the defaults for what it does not say: `[edges.iad]` alone is one whole "
        "edge, and no other. Sizes may be written `64K` or `256M`, durations `500ms`, `2s` or `1m`; numbers are bytes "
        "and seconds. Paths begin at the directory of the file.",
        f"Editors check the file by its [JSON Schema]({FILE}), named in its first line: "
        "`#:schema .hopstack/stack.schema.json` where `hopstack init` wrote it; `hopstack config schema` prints it.",
        *parts,
    )


def _section(title: str, kinds: Kinds) -> Iterator[str]:
    if title in SECTIONS:
        section = SECTIONS[title]
        yield f"Every option of [{section.kind}]({section.kind}.md), and:"
        yield from (_key(field) for field in msgspec.structs.fields(section.extra))
    elif title in NAMED:
        if title == "pools":
            record = kinds.config("loadbalancer")
            names = (field.name for field in msgspec.structs.fields(record) if field.name not in NOT_OF_POOLS)
            yield f"These options of [loadbalancer](loadbalancer.md): {_listed(names)}; and:"
        yield from (_key(field) for field in msgspec.structs.fields(NAMED[title]))
    elif title == "faults":
        yield 'As `on = "lb-a>proxy-2"`, `latency = "200ms"`, `share = 0.2`; the name of the entry is the fault\'s.'
        yield from (_key(field) for field in msgspec.structs.fields(Fault) if field.name != "name")
    elif title in SHARED:
        yield _shared(title, kinds)


def _shared(title: str, kinds: Kinds) -> str:
    if title == "defaults":
        return f"Any option of any hop but those of one process: {_listed(sorted(SINGLE))}."
    if title == "tls":
        return f"The options {_listed(Tls.__struct_fields__)} of [cdn_edge](cdn_edge.md)."
    kind = "cdn_edge" if title == "cache" else "proxy"
    record = _record_at(kinds.config(kind), (title,))
    return f"The options {_listed(record.__struct_fields__)} of [{title}]({kind}.md#{title})."


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _key(field: msgspec.structs.FieldInfo, *, top: bool = False) -> str:
    option = Option((field.encode_name,), field.type, _default(field))
    facts = [f"`{option.flag}`"] if top else []
    if top and field.name != "name":  # `exec` tells a command the site's name, which is no wish
        facts.append(f"`{option.variable}`")
    default = "needed" if option.default is msgspec.NODEFAULT else f"default `{_toml(option.type, option.default)}`"
    return f"### {field.encode_name}\n\n{option.doc}\n\n{' · '.join([*facts, _form(option.type), default])}"


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


# Commands and words.


def _commands(commands: Mapping[str, str]) -> str:
    parts = [f"## {words}\n\n```text\n{text.strip()}\n```" for words, text in commands.items()]
    return _page("The command line", *parts)


def _steps() -> str:
    parts = []
    for kind, steps in STEPS.items():
        rows = "\n".join(f"| {step} | {', '.join(words)} |" for step, words in steps.items())
        parts.append(f"## {kind}\n\n| step | words |\n| --- | --- |\n{rows}")
    return _page(
        "Steps and words",
        "What a hop does with a request, step by step, and what each step may come to. The same words stand in "
        'Server-Timing (`edge-fra.lookup;dur=0.1;desc="hit"`), in `marks` of the access log, in the metric '
        "`hopstack_steps_total`, and in the names of spans. An app may add words of its own.",
        *parts,
    )
