"""Clips that are measured closely."""

import numpy as np
import pytest

from data_pipelines.puppets.clips import write_clip
from tests.support.bench import LARGE, SEEN
from tests.support.generators import PixelGenerator
from tests.support.puppets import describe_clips
from tests.support.tiny_run import RATE


@pytest.fixture(scope="session")
def large(tmp_path_factory):
    """Clips of two puppets, and the perfect swap of the second to the first."""
    folder = tmp_path_factory.mktemp("large")
    description = describe_clips(LARGE, SEEN, RATE)
    for clip in description.clips:
        write_clip(folder / clip.file, 0, clip.persona, clip.track, SEEN, LARGE, RATE)
    description.save(folder)
    perfect = tmp_path_factory.mktemp("perfect") / "ben_as_ada.mp4"
    write_clip(perfect, 0, 1, 0, SEEN, LARGE, RATE, show=0)
    return folder, perfect


@pytest.fixture(scope="session")
def generator():
    """Only how it cuts faces matters where the swapped clip is there already."""
    return PixelGenerator(np.copy, 64)
