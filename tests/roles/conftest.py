"""A run whose faces are lent features by others, and pictures of puppets."""

from pathlib import Path

import numpy as np
import pytest

from faceswap_jax.faces import video
from faceswap_jax.faces.landmarks import SidecarLandmarker, sidecar_path, write_landmarks
from faceswap_jax.faces.picture import write_picture
from faceswap_jax.inference import trained
from tests.support.tiny_attribute import write_run
from tests.support.tiny_run import SIZE


@pytest.fixture(scope="session")
def lending(tmp_path_factory) -> Path:
    """A run of MC-AAD, with an identity and an expression role."""
    return write_run(tmp_path_factory.mktemp("lending") / "run")


@pytest.fixture(scope="session")
def generator(lending):
    """Its generator."""
    return trained.load(lending)


@pytest.fixture(scope="module")
def loaded_once(lending, generator):
    """Reading the run takes a second or more, each time that somebody names its folder."""

    def load(workdir, step=None):
        return generator if (workdir, step) == (lending, None) else loads(workdir, step)

    loads = trained.load
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trained, "load", load)
        yield


@pytest.fixture(scope="session")
def stills(clips, tmp_path_factory) -> Path:
    """A folder for each puppet with two frames of its clip as pictures."""
    folder = tmp_path_factory.mktemp("stills")
    for name in ("ada", "ben"):
        (folder / name).mkdir()
        landmarker = SidecarLandmarker(sidecar_path(clips / f"{name}.mp4"))
        for frame in video.read_frames(clips / f"{name}.mp4"):
            if frame.index in (0, 7):
                path = folder / name / f"{frame.index}.png"
                write_picture(path, frame.image)
                (face,) = landmarker(None, frame.index)
                write_landmarks(sidecar_path(path), {0: face.landmarks})
    return folder


@pytest.fixture
def faceless(tmp_path) -> Path:
    """A picture that shows no face."""
    path = tmp_path / "faceless.png"
    write_picture(path, np.zeros((SIZE, SIZE, 3), np.uint8))
    write_landmarks(sidecar_path(path), {})
    return path
