"""The options of one process out of the file of the stack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cdn_edge.config import Config
from stack.config import flags
from stack.errors import ConfigError, ConfigErrors
from stack.hop.from_file import configured


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "stack.toml"
    path.write_text('[edges.fra]\ncache.size = "8M"\nlimits.body = "1M"\n[edges.nrt]\n')
    return path


def edge(file: Path, *argv: str, **environ: str) -> Any:
    given = flags.given("cdn_edge", Config, [f"--config={file}", *argv], environ)
    return configured("cdn_edge", given, {"HOPSTACK_HOME": str(file.parent), **environ})[0]


def test_the_file_says_what_flags_and_environment_do_not(file: Path) -> None:
    config = edge(file, "--name=edge-fra")
    assert (config.name, config.cache.size, config.origin) == ("edge-fra", 8 << 20, "lb-a=http://127.0.0.1:8101")
    assert config.config == "", "the record is whole: a worker that gets it reads no file"
    config = edge(
        file, "--cache-size=1M", "--listen=http://127.0.0.1:0", HOPSTACK_NAME="edge-fra", HOPSTACK_LIMITS_BODY="2M"
    )
    assert (config.cache.size, config.limits.body, config.listen) == (1 << 20, 2 << 20, ("http://127.0.0.1:0",))


def test_zones_are_written_before_a_server_reads_them(file: Path) -> None:
    given = {("config",): str(file), ("name",): "dns-shop", ("state_dir",): str(file.parent / "state")}
    config, _ = configured("dns_server", given, {})
    assert "edge-nrt IN A" in (file.parent / "state" / "zones" / "shop.zone").read_text()
    assert config.zone == (f"shop.test={file.parent / 'state' / 'zones' / 'shop.zone'}",)  # type: ignore[attr-defined]


def test_an_app_gets_its_environment(file: Path) -> None:
    given = {("config",): str(file), ("name",): "app-1"}
    assert configured("appserver", given, {"HOPSTACK_HOME": "/s"})[1] == {"DATABASE_URL": "sqlite:////s/shop.db"}
    assert configured("appserver", given, {"DATABASE_URL": "postgresql://x/y"})[1]["DATABASE_URL"].startswith("post")


def test_a_state_directory_that_cannot_be_written(file: Path) -> None:
    given = {("config",): str(file), ("name",): "dns-root", ("state_dir",): str(file)}
    with pytest.raises(ConfigError, match="Not a directory; name another directory in --state-dir"):
        configured("dns_server", given, {})


def test_all_that_is_wrong_with_the_file(file: Path) -> None:
    file.write_text("a = 1\nb = 2\n")
    with pytest.raises(ConfigErrors) as raised:
        edge(file, "--name=edge-fra")
    assert len(raised.value.problems) == 2
