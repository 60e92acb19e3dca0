"""Pictures survive being written and read; a failure says what to do."""

import cv2
import numpy as np
import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.faces import video
from faceswap_jax.faces.picture import (
    PICTURE_SUFFIXES,
    is_picture,
    read_picture,
    save_grid,
    write_picture,
)
from tests.support.face_scenes import smooth_picture


@pytest.mark.parametrize("suffix", sorted(PICTURE_SUFFIXES))
def test_pictures(tmp_path, suffix):
    path, image = tmp_path / f"picture{suffix}", smooth_picture(61, 83)
    write_picture(path, image)
    (frame,) = video.read_frames(path)
    assert frame.image.shape == image.shape and (frame.time, frame.index) == (0, 0)
    assert np.abs(frame.image.astype(int) - image).mean() < (
        0.01 if suffix in (".png", ".bmp") else 3
    )
    info = video.probe(path)
    assert is_picture(path) and (info.width, info.height, info.frames) == (83, 61, 1)


def test_deep_pictures(tmp_path):
    path = tmp_path / "deep.png"
    image = np.random.default_rng(0).integers(0, 65536, (20, 30, 3), np.uint16)
    path.write_bytes(cv2.imencode(".png", image[..., ::-1])[1].tobytes())
    np.testing.assert_array_equal(read_picture(path, depth=16), image)
    np.testing.assert_allclose(read_picture(path), image / 257.0, atol=1)


def test_bad_output(tmp_path):
    image = smooth_picture(8, 8)
    with pytest.raises(InputError, match="no folder"):
        write_picture(tmp_path / "missing" / "out.png", image)
    with pytest.raises(InputError, match="suffix"):
        write_picture(tmp_path / "out.gif", image)
    assert list(tmp_path.iterdir()) == []


def test_a_grid_is_written_with_its_folder(tmp_path):
    images = np.zeros((1, 2, 96, 96, 3))
    images[0, 0] = (1.5, -0.5, 0.5)  # beyond black and white
    path = tmp_path / "new" / "grid.png"
    save_grid(path, images)
    grid = read_picture(path)
    assert grid.shape == (96, 2 * 96, 3)
    assert grid[0, 0].tolist() == [255, 0, 128] and not grid[:, 96:].any()
