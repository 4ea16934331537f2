"""Fixtures that several test modules share."""

from pathlib import Path

import pytest
from hypothesis import settings

import marsad
from tests import stub

# every run proves the same, on slow machines too; `pytest --hypothesis-profile explore` looks further
settings.register_profile("proof", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=2000, deadline=None)
settings.load_profile("proof")


@pytest.fixture(scope="session")
def tiny_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact that reads the single words of `stub.WORDS`, for tests that need no trained model."""
    return stub.build(tmp_path_factory.mktemp("artifact") / "stub")


@pytest.fixture(scope="session")
def tiny_extractor(tiny_artifact: Path) -> marsad.Extractor:
    return marsad.load(tiny_artifact, threads=1)
