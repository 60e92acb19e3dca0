"""Swaps of one picture in many encodings: each result looks the same, and keeps its own."""

import numpy as np
import PIL.Image
import pytest

from faceswap_jax.faces import video
from faceswap_jax.faces.encoding import Profiled
from faceswap_jax.faces.landmarks import SidecarLandmarker, sidecar_path, write_landmarks
from faceswap_jax.faces.picture import read_picture
from faceswap_jax.faces.still import Notes, Still, read_still, write_still
from faceswap_jax.inference.clip import Count
from faceswap_jax.swap import swap
from tests.support.pictures import exr, icc_profile, light_seen_as


@pytest.fixture
def image(clips):
    return next(video.read_frames(clips / "ben.mp4")).image


def in_p3(image: np.ndarray) -> Still:
    """What looks the same by Display P3's numbers."""
    profile = icc_profile()
    encoding = Profiled(profile)
    # Any picture of that encoding may be changed to look so.
    pixels = encoding.changed(image, image)
    for _ in range(3):
        pixels = encoding.changed(pixels, image)
    return Still(pixels, encoding, notes=Notes(profile=profile))


def write(path, image: np.ndarray) -> None:
    """A picture that looks so, in the encoding that the name tells."""
    if path.name == "p3.png":
        write_still(path, in_p3(image))
    elif path.name == "deep.tif":
        write_still(path, Still(image * np.uint16(257), bits=16))
    elif path.name == "light.exr":
        light = light_seen_as(image)
        path.write_bytes(exr({n: np.ascontiguousarray(light[..., i]) for i, n in enumerate("RGB")}))
    elif path.name == "clear.webp":
        alpha = np.full(image.shape[:2], 200, np.uint8)
        rgba = PIL.Image.fromarray(np.dstack([image, alpha]))
        rgba.save(path, lossless=True)
    else:
        PIL.Image.fromarray(image).save(path, quality=95)


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("p3.png", 1),
        ("deep.tif", 0),
        ("light.exr", 0.5),
        ("clear.webp", 2),
        ("a.avif", 3),
        ("a.heic", 3),
    ],
)
def test_all_encodings_give_the_same_swap(run, clips, image, tmp_path, name, most):
    landmarks = SidecarLandmarker(sidecar_path(clips / "ben.mp4"))(None, 0)[0].landmarks
    looks = []
    for kind in ("plain.png", name):
        source, output = tmp_path / kind, tmp_path / f"out_{kind}"
        write(source, image)
        write_landmarks(sidecar_path(source), {0: landmarks})
        assert swap(run, "ada", source, output) == Count(1, 0)
        looks.append((read_picture(source).astype(int), read_picture(output).astype(int)))

    (plain, plain_swapped), (other, other_swapped) = looks
    assert np.abs(other - plain).mean() <= most
    assert np.abs(other_swapped - plain_swapped).mean() <= most
    assert np.abs(plain_swapped - plain).max() > 10
    before, after = read_still(tmp_path / name), read_still(tmp_path / f"out_{name}")
    assert (after.bits, after.notes, after.alpha is None) == (
        before.bits,
        before.notes,
        before.alpha is None,
    )
    assert after.pixels.dtype == before.pixels.dtype
