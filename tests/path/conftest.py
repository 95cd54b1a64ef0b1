"""One default stack for the tests that leave it as they found it; those that break it start their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.site import Site, site
from tests.support.stack import Stack, running_stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("stack") / "home") as running:
        yield running


@pytest.fixture(scope="session")
def clients_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """What real clients are pointed at: the whole path, in front of an app with what they try."""
    with site(tmp_path_factory.mktemp("clients"), folder="clients") as made:
        yield made


@pytest.fixture(scope="session")
def sockets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A stack before an app of WebSockets and events."""
    with site(tmp_path_factory.mktemp("sockets")) as running:
        yield running
