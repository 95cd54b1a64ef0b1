"""The JSON Schema of stack.toml: valid itself, and of one mind with the reader of the file."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from stack.config import flags
from stack.errors import ConfigErrors
from stack.hop import registry
from stack.plan.document import Document
from stack.plan.layout import ALL, SECTIONS, Site
from stack.plan.make import make_plan
from stack.plan.reading import Reader
from stack.plan.schema import schema


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return schema(registry)


@pytest.fixture(scope="module")
def validator(made: dict[str, Any]) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(made)


def test_it_is_valid_against_the_meta_schema(made: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(made)
    assert made["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    json.dumps(made)


def test_patterns_are_those_of_ecma_262(made: dict[str, Any]) -> None:
    patterns: list[str] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("pattern"), str):
                patterns.append(value["pattern"])
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk(made)
    assert len(patterns) > 50
    for pattern in patterns:
        for foreign in (r"\A", r"\Z", "(?P", "(?i"):
            assert foreign not in pattern


def test_every_option_is_there_with_its_text(made: dict[str, Any]) -> None:
    for section in SECTIONS.values():
        for option in flags.options(registry.config(section.kind)):
            if option.path[0] in ("name", "config"):
                continue
            place = made["$defs"][section.title]
            for name in option.path:
                place = place["properties"][name]
            assert place["description"].startswith(option.doc), option.path
            assert place["title"] == option.path[-1]
    assert set(made["properties"]) == {*Site.__struct_fields__, *ALL}


def test_every_table_is_closed(made: dict[str, Any]) -> None:
    def walk(value: Any, path: str) -> None:
        if isinstance(value, dict):
            if "object" in value.get("type", ()):
                assert "additionalProperties" in value, path
            for key, item in value.items():
                walk(item, f"{path}.{key}")
        elif isinstance(value, list):
            for item in value:
                walk(item, path)

    walk(made, "")


def test_defaults_are_what_people_write(made: dict[str, Any]) -> None:
    edge = made["$defs"]["edges"]["properties"]
    assert edge["cache"]["properties"]["size"]["default"] == "256M"
    assert edge["timeouts"]["properties"]["head"]["default"] == "10s"
    assert edge["limits"]["properties"]["fields"]["default"] == 100
    assert made["$defs"]["proxies"]["properties"]["compress"]["default"] is True


def verdicts(text: str, validator: jsonschema.Draft202012Validator, tmp_path: Path) -> tuple[bool, bool]:
    """By the schema, by the reader."""
    file = tmp_path / "stack.toml"
    file.write_text(text)
    (tmp_path / "public").mkdir()
    by_schema = validator.is_valid(tomllib.loads(text))
    try:
        make_plan(Document.read(file), kinds=registry, state_dir=tmp_path, environ={}, many_addresses=True)
    except ConfigErrors:
        return by_schema, False
    return by_schema, True


VALID = [
    pytest.param("", id="empty"),
    pytest.param('app = "shop.main:app"\nreplicas = 2\n', id="an app"),
    pytest.param('origin = "http://127.0.0.1:3000"\n', id="one origin"),
    pytest.param('origin = ["http://127.0.0.1:3000", "http://127.0.0.1:3001"]\n', id="origins"),
    pytest.param("port_base = 20000\n", id="a port base"),
    pytest.param("[edges.iad]\n", id="an edge"),
    pytest.param('edges = ["fra", "iad"]\n', id="edges as a list"),
    pytest.param('[cache]\nsize = "64M"\nmax_object = "1 MiB"\n', id="sizes"),
    pytest.param("[cache]\nsize = 1000000\n", id="a size as a number"),
    pytest.param('[timeouts]\nhead = "500ms"\nbody = 30\nsend = 2.5\nidle = "75"\n', id="durations"),
    pytest.param('[edges.fra]\ntimeouts = { head = "5s" }\ncache.set_cookie = "store"\n', id="inline and dotted"),
    pytest.param('[limits]\nbody = "10M"\nfields = "64"\n', id="limits"),
    pytest.param('[proxies.1]\ncompress = "no"\n[proxies.2]\ncompress = false\n', id="truth values"),
    pytest.param('[proxies.1]\ncompression.codings = ["br", "gzip"]\n', id="a list of texts"),
    pytest.param('[proxies.1]\ncompression.codings = "br"\n', id="one for a list"),
    pytest.param("[balancers.a]\nweight = { proxy-1 = 3 }\n", id="weights as a table"),
    pytest.param('[balancers.a]\npool = "web"\n[pools.web]\nmembers = ["proxy-1"]\nretries = 1\n', id="a pool"),
    pytest.param('[defaults]\naccess_log = "off"\nlimits.streams = 10\n', id="defaults"),
    pytest.param('[zones."shop.test"]\nrecords = ["api 60 IN A 127.0.1.1"]\n', id="records of a zone"),
    pytest.param('[edges.fra]\notlp = "http://127.0.0.1:4318"\notlp_sample = 0.1\n', id="a share"),
    pytest.param('[routes.assets]\nprefix = "/assets/"\nstatic = "."\n', id="a route"),
    pytest.param('[faults.slow]\non = "lb-a>proxy-2"\nlatency = "200ms"\nshare = 0.2\n', id="a fault"),
    pytest.param('[faults.gone]\non = "app-1"\nrefused = true\nfor = "30s"\nmethod = ["GET"]\n', id="for a time"),
]
INVALID = [
    pytest.param("nome = 1\n", id="an unknown key"),
    pytest.param("[edge.fra]\n", id="an unknown section"),
    pytest.param("[edges.fra]\norigine = 1\n", id="an unknown option"),
    pytest.param("[edges.fra]\ncache.sise = 1\n", id="an unknown option deeper"),
    pytest.param('[edges."a b"]\n', id="a name that is none"),
    pytest.param("replicas = 0\n", id="below the range"),
    pytest.param("replicas = 1000\n", id="above the range"),
    pytest.param("replicas = true\n", id="a truth value for a number"),
    pytest.param("replicas = 1.5\n", id="a fraction for a whole number"),
    pytest.param('replicas = "many"\n', id="text for a number"),
    pytest.param("app = 3\n", id="a number for text"),
    pytest.param("app = [3]\n", id="a list for text"),
    pytest.param('[timeouts]\nhead = "10 years"\n', id="a unit that is none"),
    pytest.param("[timeouts]\nhead = -1\n", id="a negative duration"),
    pytest.param("[timeouts]\nhead = 0\n", id="no duration"),
    pytest.param('[cache]\nsize = "64Q"\n', id="a size that is none"),
    pytest.param('[cache]\nset_cookie = "maybe"\n', id="none of the choices"),
    pytest.param("[cache]\nheuristic = 1.5\n", id="a share above one"),
    pytest.param('[proxies.1]\ncompress = "perhaps"\n', id="neither yes nor no"),
    pytest.param("[proxies.1]\ncompress = 1\n", id="a number for a truth value"),
    pytest.param("[proxies]\n1 = 3\n", id="an entry that is no table"),
    pytest.param('[pools.web]\nlisten = ["http://127.0.0.1:1"]\n', id="an option that a pool has not"),
    pytest.param('[defaults]\nlisten = ["http://127.0.0.1:1"]\n', id="an option that is no default"),
    pytest.param('[edges.fra]\nname = "x"\n', id="a name besides the key"),
    pytest.param('[faults.slow]\nlatency = "1s"\n', id="a fault that is nowhere"),
    pytest.param('[faults.slow]\non = "app-1"\n', id="a fault that does nothing"),
    pytest.param('[faults.slow]\non = "app-1"\nlatencey = "1s"\n', id="an unknown key of a fault"),
    pytest.param('[faults.slow]\non = "app-1"\njitter = "1s"\nstatus = 503\n', id="jitter alone"),
    pytest.param('[faults.slow]\non = "app-1"\nstatus = 200\n', id="no error"),
    pytest.param('[routes.assets]\nprefix = "/assets/"\n', id="a route without a directory"),
]


@pytest.mark.parametrize("text", VALID)
def test_valid_for_both(text: str, validator: jsonschema.Draft202012Validator, tmp_path: Path) -> None:
    assert verdicts(text, validator, tmp_path) == (True, True)


@pytest.mark.parametrize("text", INVALID)
def test_invalid_for_both(text: str, validator: jsonschema.Draft202012Validator, tmp_path: Path) -> None:
    assert verdicts(text, validator, tmp_path) == (False, False)


def test_every_default_is_valid_by_itself(made: dict[str, Any]) -> None:
    found = 0

    def walk(value: Any, path: str) -> None:
        nonlocal found
        if isinstance(value, dict):
            if "default" in value and isinstance(value.get("title"), str):
                found += 1
                rest = {key: item for key, item in value.items() if key != "default"}
                errors = list(jsonschema.Draft202012Validator(rest).iter_errors(value["default"]))
                assert not errors, f"{path}: {errors[0].message}"
            for key, item in value.items():
                walk(item, f"{path}.{key}")

    walk(made, "")
    assert found > 150


CANDIDATES: list[Any] = [
    *(True, False, 0, 1, -1, 3, 10**6, 10**12, 0.5, 1.0, 1.5, -0.5, 70000, 500, 599),
    *(
        "",
        "x",
        "yes",
        "Off",
        "TRUE",
        "maybe",
        "0",
        "12",
        "-3",
        "1.5",
        ".5",
        " 12 ",
        "64K",
        "64KiB",
        "1.5M",
        "2 GB",
        "64Q",
    ),
    *("500ms", "2s", "1.5h", "10 m", "5 years", "1e3", "0x10", "explicit", "auto", "a b", "a/0", "ä"),
    *([], ["x"], ["x", 3], [3], ["64K"], [True], [[]], [""], {}, {"a": 1}, {"a": "x"}),
]


def options_of_every_section() -> list[Any]:
    kinds = {title: registry.config(section.kind) for title, section in SECTIONS.items()}
    return [
        pytest.param(title, option, id=f"{title}.{'.'.join(option.path)}")
        for title, record in kinds.items()
        for option in flags.options(record)
        if option.path[0] not in ("name", "config")
    ]


@pytest.mark.parametrize(("title", "option"), options_of_every_section())
def test_each_value_of_each_option(title: str, option: flags.Option, made: dict[str, Any]) -> None:
    """The schema of one option takes what the reader takes, over values of every type and form.

    Two things no schema can see, and it is lenient then: the range of a number in quotes, and 1 from 1.0.
    """
    place = made["$defs"][title]
    for name in option.path:
        place = place["properties"][name]
    validator = jsonschema.Draft202012Validator(place)
    for value in CANDIDATES:
        problems: list[Any] = []
        Reader(Document({}), problems).value(option.type, option.path[-1], value, option.path)
        by_schema, by_reader = validator.is_valid(value), not problems
        unseen = value == 1.0 or (isinstance(value, str) and any(map(str.isdigit, value))) or value == ["64K"]
        assert by_schema is by_reader or (by_schema and unseen), f"{value!r}: {problems}"
