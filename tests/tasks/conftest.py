"""What the tests of the autoencoder task share."""

import jax
import pytest

from tests.support import small_comb


@pytest.fixture(scope="session")
def noise():
    """A batch of the small comb's first phase."""
    return small_comb.noise()


@pytest.fixture
def one_device():
    """The first device is all that there is."""
    with jax.set_mesh(small_comb.one_device()):
        yield
