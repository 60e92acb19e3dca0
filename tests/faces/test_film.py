"""Footage in cameras' logarithms: what is seen of it, and a change put back."""

import sys

import numpy as np
import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.faces import encode, film, video
from faceswap_jax.faces.encoding import SceneLinear
from tests.support.face_scenes import smooth_picture
from tests.support.hdr import numbers_seen_as, write_deep

pytest.importorskip("PyOpenColorIO")

GREY = {
    # Of 10 bits in the narrow range, as their makers' tables have a grey card
    "S-Log3 S-Gamut3.Cine": 420,
    "V-Log V-Gamut": 433,
    "CanonLog3 CinemaGamut D55": 351,
    # Counted from black to white
    "ARRI LogC3 (EI800)": 64 + 876 * 400 / 1023,
    "Apple Log": 64 + 876 * 0.4883,
}


@pytest.mark.parametrize("name", GREY)
def test_a_grey_card_is_seen_as_one(name):
    signal = (GREY[name] - 64) / 876
    pixels = np.full((2, 2, 3), round(65535 * signal), np.uint16)
    grey = SceneLinear().shown(np.full((2, 2, 3), 0.18, np.float32))
    seen = film.encoding_of(name, False).shown(pixels)
    assert np.abs(seen.astype(int) - grey).max() <= 1


@pytest.mark.parametrize("name", ["S-Log3 S-Gamut3.Cine", "ARRI LogC4", "sRGB Encoded P3-D65"])
@pytest.mark.parametrize("full", [False, True])
def test_a_change_of_what_is_seen_goes_back(name, full):
    encoding = film.encoding_of(name, full)
    rng = np.random.default_rng(0)
    pixels = (65535 * (0.3 + 0.1 * rng.random((20, 30, 3)))).astype(np.uint16)
    seen = encoding.shown(pixels)
    after = np.clip(seen + rng.integers(-20, 20, seen.shape), 20, 200).astype(np.uint8)
    after[:10] = seen[:10]
    changed = encoding.changed(pixels, after)
    np.testing.assert_array_equal(changed[:10], pixels[:10])
    error = encoding.shown(changed).astype(int) - after
    assert np.abs(error[(seen > 5).all(2) & (seen < 250).all(2)]).max() <= 1


def test_a_clip_is_seen_by_the_colour_space_that_is_named(tmp_path):
    image = smooth_picture(64, 96) // 3 * 2
    numbers = [numbers_seen_as(image, "ARRI LogC4")] * 3
    source = write_deep(tmp_path / "a.mkv", numbers, 1, 1, "ffv1", mastering=False)
    frames = list(video.read_frames(source, colorspace="ARRI LogC4"))
    error = np.abs(frames[0].image.astype(int) - image)
    assert error.mean() < 1.5 and np.abs(next(video.read_frames(source)).image - image).mean() > 20

    output = tmp_path / "out.mp4"
    encode.write_video(output, source, frames)
    (seen, *_) = video.read_frames(output, colorspace="ARRI LogC4")
    assert np.abs(seen.image.astype(int) - image).mean() < 3


def test_unknown_colour_spaces_and_pictures_are_told(tmp_path):
    clip = write_deep(tmp_path / "a.mkv", [smooth_picture(32, 32)], 1, 1, "ffv1", mastering=False)
    with pytest.raises(InputError, match=r"no colour space 'slog9'; choose one of .*'Apple Log'"):
        next(video.read_frames(clip, colorspace="slog9"))
    for name in ("Raw", "ACEScg", "sRGB - Display"):
        with pytest.raises(InputError, match=f"no colour space '{name}'"):
            video.check_colorspace(clip, name)
    with pytest.raises(InputError, match="leave --colorspace out"):
        video.check_colorspace(tmp_path / "a.png", "Apple Log")


def test_without_opencolorio_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "PyOpenColorIO", None)
    film._config.cache_clear()
    film._known.cache_clear()
    with pytest.raises(InputError, match="the extra 'film'"):
        film.check("Apple Log")
