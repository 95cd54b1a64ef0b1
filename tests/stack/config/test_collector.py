"""Where spans go, as it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack.config.collector import parse_collector
from stack.errors import ConfigError, ConfigErrors
from stack.hop import registry
from stack.plan.document import Document
from stack.plan.make import make_plan


@pytest.mark.parametrize(
    ("text", "address", "target"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318", "/v1/traces"),
        ("http://127.0.0.1:4318/", "http://127.0.0.1:4318", "/v1/traces"),
        ("http://127.0.0.1:4318/v1/traces", "http://127.0.0.1:4318", "/v1/traces"),
        ("https://otlp.example/otlp", "https://otlp.example:443", "/otlp/v1/traces"),
    ],
)
def test_where_traces_go(text: str, address: str, target: str) -> None:
    spec, path = parse_collector(text)
    assert (spec.address, path) == (address, target)


@pytest.mark.parametrize(
    "text", ["127.0.0.1:4318", "grpc://127.0.0.1:4317", "http://", "http://a/b?c=d", "http://a:0", "http://[::1"]
)
def test_what_is_no_collector(text: str) -> None:
    with pytest.raises(ConfigError, match="--otlp") as error:
        parse_collector(text)
    assert "\n" not in str(error.value)


def test_the_check_of_a_file_finds_it(tmp_path: Path) -> None:
    document = Document.of_text('[edges.fra]\notlp = "127.0.0.1:4318"\n')
    with pytest.raises(ConfigErrors, match=r"stack\.toml:2: edges\.fra\.otlp") as error:
        make_plan(document, kinds=registry, state_dir=tmp_path, environ={})
    assert "http://127.0.0.1:4318" in str(error.value)
