"""A folder of stand-ins in front of PATH."""

import pytest

from tests.support.cluster import Fakes


@pytest.fixture
def fakes(tmp_path) -> Fakes:
    return Fakes(tmp_path)
