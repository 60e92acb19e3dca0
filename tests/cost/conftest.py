"""Four personas of two pictures at a time, at 8 and at 16 px, on eight devices."""

import pytest

from faceswap_jax.cost.program import costs
from faceswap_jax.cost.report import without_data
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.tasks.autoencoder import Task
from tests.support.tiny_run import experiment


@pytest.fixture(scope="session")
def task():
    """Of data that are not there."""
    c = experiment()
    c.batch = 2
    return Task(Task.resolve(without_data(c, 4)))


@pytest.fixture(scope="session")
def mesh():
    """Two devices share every persona."""
    return make_mesh(4)


@pytest.fixture(scope="session")
def spread(task, mesh):
    """What every phase costs there, and what was told meanwhile."""
    told = []
    return costs(task, mesh, told.append), told
