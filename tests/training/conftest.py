"""The toy system of tests/support/toy.py, and a run of it."""

import pytest

from faceswap_jax.train import train
from tests.support import toy as toy_system


@pytest.fixture
def toy():
    """The config of the toy, to change."""
    return toy_system.config()


@pytest.fixture(scope="package")
def uninterrupted(tmp_path_factory):
    """A finished run of the toy; copy it to change it."""
    workdir = tmp_path_factory.mktemp("uninterrupted") / "run"
    assert train(toy_system.config(), workdir)
    return workdir
