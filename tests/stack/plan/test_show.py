"""A plan as a file: it is one, it fits a terminal, and what it says makes the same plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stack.config import flags
from stack.errors import ConfigErrors
from stack.hop import registry
from stack.plan import show
from stack.plan.document import Document
from stack.plan.make import make_plan
from stack.plan.model import StackPlan

HOME = Path("/srv/.hopstack")


def plan(text: str, **more: Any) -> StackPlan:
    return make_plan(Document.of_text(text), kinds=registry, state_dir=HOME, **{"environ": {}, **more})


@pytest.mark.parametrize(
    "text",
    [
        "",
        'replicas = 12\nedges = ["fra", "iad", "sfo"]\n',
        '[edges.fra]\ncache.size = 1234567\ncache.heuristic = 0.25\ntimeouts.idle = "1500ms"\n'
        'access_log = "a \\"b\\".log"\n[faults.slow]\non = "lb-a>proxy-1"\nlatency = "20ms"\n',
        'origin = "http://127.0.0.1:3000"\n[balancers.a]\nweight = { proxy-1 = 3 }\npanic = false\n',
    ],
)
def test_what_is_shown_is_a_file_that_makes_the_same_plan(text: str) -> None:
    made = plan(text)
    again = plan("\n".join(show.lines(made, every=True)))
    assert again.name == made.name
    for hop in made.hops:
        assert again.hop(hop.name).config == hop.config


def test_it_fits_a_terminal_but_for_long_texts() -> None:
    for line in show.lines(plan('edges = ["fra"]\n'), every=True):
        if not line.startswith("#") and "#" in line.partition('"')[0]:
            assert len(line) <= 110


def test_what_was_said_comes_first_with_its_place() -> None:
    lines = list(show.lines(plan('\n[edges.fra]\ncache.size = "10M"\n'), only="edge-fra"))
    assert lines[0].split() == ["[edges.fra]", "#", "edge-fra:", "cdn_edge"]
    said = next(number for number, line in enumerate(lines) if line.startswith("cache.size"))
    assert lines[said].split() == ["cache.size", "=", '"10M"', "#", "stack.toml:3"]
    usual = next(number for number, line in enumerate(lines) if line.startswith("timeouts.idle"))
    assert lines[usual].split() == ["timeouts.idle", "=", '"75s"', "#", "default"]
    assert said < usual


def test_without_all_the_defaults_are_counted() -> None:
    made = plan("")
    few, every = ("\n".join(show.lines(made, every=every)) for every in (False, True))
    assert "timeouts.idle" not in few
    assert "more are at their defaults: hopstack config show app-3" in few
    assert "timeouts.idle" in every


def test_secrets_are_hidden() -> None:
    made = plan("", given={"database_url": "postgresql://me:hunter2@h/x"})
    for text in ("\n".join(show.lines(made, every=True)), json.dumps(show.as_data(made))):
        assert "hunter2" not in text
        assert "postgresql://me:***@h/x" in text
    with pytest.raises(ConfigErrors) as raised:
        plan('[defaults]\notlp = "http://me:hunter2@h:1"\n')
    assert "http://me:***@h:1" in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_for_programs_each_value_has_its_source() -> None:
    made = plan('[edges.fra]\ncache.size = "10M"\n', environ={"HOPSTACK_LIMITS_BODY": "1M"})
    (edge,) = show.as_data(made, only="edge-fra")["hops"]
    assert edge["options"]["cache.size"] == {
        "value": 10 << 20, "source": "file", "key": "edges.fra.cache.size", "file": "stack.toml", "line": 2,
    }  # fmt: skip
    assert edge["options"]["limits.body"] == {"value": 1 << 20, "source": "environment", "key": "HOPSTACK_LIMITS_BODY"}
    assert edge["options"]["source"]["why"] == "by its position"
    assert edge["options"]["timeouts.head"] == {"value": 10.0, "source": "default"}


def test_what_is_different() -> None:
    old = plan('[edges.fra]\n[edges.nrt]\n[defaults]\naccess_log = "off"\n')
    hops = [
        {"name": hop.name, "kind": hop.kind, "config": flags.effective(hop.config), "files": dict(hop.files)}
        for hop in old.hops
    ]
    was = msgspec.json.decode(msgspec.json.encode({"name": old.name, "hops": hops}))
    assert list(show.differences(was, old)) == []
    new = plan('[edges.fra]\ncache.size = "10M"\n[edges.iad]\n[defaults]\naccess_log = "off"\n')
    found = list(show.differences(was, new))
    assert ("edge-fra", 'cache.size "256M" -> "10M"  # stack.toml:2') in found
    assert ("edge-iad", "added") in found
    assert ("edge-nrt", "removed") in found
    assert ("dns-shop", "zones/shop.zone has changed") in found
    assert {hop for hop, _ in found} == {"edge-fra", "edge-iad", "edge-nrt", "dns-shop"}
