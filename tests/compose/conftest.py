"""One stack of containers for all tests here, gone afterwards however they end."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.compose.project import Project, missing


@pytest.fixture(scope="session")
def project() -> Iterator[Project]:
    if reason := missing():
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    project = Project()
    project.down("--volumes")  # of a run that was killed
    try:
        project.build()
        project.up()
        yield project
    finally:
        project.down("--volumes")
