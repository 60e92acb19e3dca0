"""What pictures are survives a change of what is seen of them: depth, transparency, profile, light."""

import io
from dataclasses import replace

import cv2
import numpy as np
import PIL.Image
import pillow_heif
import pytest
import tifffile

from faceswap_jax.errors import InputError
from faceswap_jax.faces import video
from faceswap_jax.faces.encode import own_pixels
from faceswap_jax.faces.encoding import SRGB, SceneLinear
from faceswap_jax.faces.picture import read_overlay, read_picture, write_picture
from faceswap_jax.faces.still import Notes, Still, missing, read_still, write_still
from tests.support.face_scenes import smooth_picture
from tests.support.hdr import signal_of
from tests.support.pictures import BT2020, exr, exr_channels, icc_profile, light_seen_as

WHERE = (slice(5, 20), slice(10, 30))
"""What the tests change."""


def deep_picture(channels: int = 3) -> np.ndarray:
    """A smooth picture of 16 bits whose last digits are noise."""
    rng = np.random.default_rng(0)
    image = smooth_picture(40, 60).astype(np.uint16) * 255
    image += rng.integers(0, 255, image.shape, np.uint16)
    alpha = rng.integers(0, 65536, (40, 60, 1), np.uint16)
    return np.concatenate([image, alpha], 2)[..., :channels]


def write_deep(path, image: np.ndarray, profile: bytes = b"") -> None:
    if path.suffix == ".png":
        swapped = cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else 4)
        kinds = [cv2.IMAGE_METADATA_ICCP] if profile else []
        texts = [np.frombuffer(profile, np.uint8)] if profile else []
        path.write_bytes(cv2.imencodeWithMetadata(".png", swapped, kinds, texts)[1].tobytes())
    else:
        more = {"extrasamples": ["unassalpha"]} if image.shape[2] == 4 else {}
        tifffile.imwrite(path, image, photometric="rgb", iccprofile=profile or None, **more)


def brightened(image: np.ndarray) -> np.ndarray:
    """What is seen, changed in one place."""
    after = image.copy()
    after[WHERE] = np.clip(after[WHERE].astype(int) + 20, 0, 255)
    return after


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff"])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("profile", [b"", icc_profile()])
def test_sixteen_bits_transparency_and_profile_are_kept(tmp_path, suffix, channels, profile):
    image = deep_picture(channels)
    source, output = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    write_deep(source, image, profile)
    seen = read_picture(source)
    write_still(output, read_still(source).changed(brightened(seen)))

    result = read_still(output)
    assert result.notes.profile == profile and result.bits == 16
    outside = np.ones((40, 60), bool)
    outside[WHERE] = False
    np.testing.assert_array_equal(result.pixels[outside], image[outside][:, :3])
    if channels == 4:
        np.testing.assert_array_equal(result.alpha, image[..., 3])
    # The change is as large in the picture's own colours, to the step of the profile's table.
    change = read_picture(output).astype(int) - seen
    assert not change[outside].any()
    assert np.abs(change[WHERE] - (brightened(seen).astype(int) - seen)[WHERE]).max() <= 2
    with PIL.Image.open(output) as opened:
        assert opened.info.get("icc_profile", b"") == profile


def test_display_p3_is_seen_as_a_managed_viewer_shows_it(tmp_path):
    """P3's (0, 255, 0) is more green than sRGB has; a grey is the same grey."""
    colours = np.zeros((2, 8, 3), np.uint8)
    colours[0] = (200, 100, 80)
    colours[1] = 128
    path = tmp_path / "p3.png"
    PIL.Image.fromarray(colours).save(path, icc_profile=icc_profile())
    seen = read_picture(path)
    assert seen[0, 0, 0] > 205 and seen[0, 0, 1] < 100
    assert np.abs(seen[1].astype(int) - 128).max() <= 2


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".avif", ".heic"])
def test_profiles_of_telephones_are_kept(tmp_path, suffix):
    image, profile = smooth_picture(40, 60), icc_profile()
    source, output = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    exif = PIL.Image.Exif()
    exif[0x010F] = "a maker"
    PIL.Image.fromarray(image).save(source, quality=98, icc_profile=profile, exif=exif.tobytes())
    still = read_still(source)
    assert np.abs(still.pixels.astype(int) - image).mean() < 4
    seen = read_picture(source)
    write_still(output, still.changed(brightened(seen)))
    change = read_picture(output).astype(float) - seen
    assert np.abs(change[25:]).mean() < 3 and change[10:15, 15:25].mean() > 12
    with PIL.Image.open(output) as opened:
        assert opened.info["icc_profile"] == profile
        assert opened.getexif()[0x010F] == "a maker"


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".tif", ".avif", ".heic"])
def test_xmp_is_kept(tmp_path, suffix):
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"></x:xmpmeta>'
    path = tmp_path / f"a{suffix}"
    write_still(path, Still(smooth_picture(40, 60), notes=Notes(xmp=xmp)))
    assert read_still(path).notes.xmp == xmp


@pytest.mark.parametrize("mode", ["CMYK", "LA", "L", "YCbCr", "P"])
def test_tiffs_of_other_colours_become_rgb(tmp_path, mode):
    image = PIL.Image.fromarray(smooth_picture(40, 60)).convert(mode)
    image.save(tmp_path / "a.tif")
    still = read_still(tmp_path / "a.tif")
    assert (still.alpha is not None) == (mode == "LA")
    expected = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(still.pixels - expected).mean() < 2


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".avif"])
def test_a_turned_picture_is_written_upright(tmp_path, suffix):
    image = smooth_picture(40, 60)
    source, output = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    stored = PIL.Image.fromarray(np.ascontiguousarray(np.rot90(image)))
    stored.save(source, quality=98, exif=exif)
    assert np.abs(read_picture(source).astype(int) - image).mean() < 4
    write_still(output, read_still(source))
    assert np.abs(read_picture(output).astype(int) - image).mean() < 5


def test_heic_of_ten_bits_stays_so(tmp_path):
    image = deep_picture()
    source, output = tmp_path / "in.heic", tmp_path / "out.heic"
    file = pillow_heif.from_bytes("RGB;16", (60, 40), image.tobytes())
    file.save(source, quality=98)
    still = read_still(source)
    assert still.bits == 10 and still.pixels.dtype == np.uint16
    assert np.abs(still.pixels.astype(int) - image).mean() < 700
    write_still(output, still.changed(brightened(read_picture(source))))
    assert read_still(output).bits == 10
    assert np.abs(read_still(output).pixels.astype(int) - image)[25:].mean() < 900


def light(size=(20, 30)) -> np.ndarray:
    """A scene whose light goes from nothing to 60, in half floats."""
    rng = np.random.default_rng(0)
    return (60 * rng.random((*size, 3)) ** 4).astype(np.float16)


def test_light_above_white_survives(tmp_path):
    pixels = light()
    pixels[0, :3] = (np.nan, np.inf, -0.25)
    others = {
        "A": np.full((20, 30), 0.5, np.float16),
        "depth.Z": np.random.default_rng(1).random((20, 30)).astype(np.float32),
        "id": np.arange(600, dtype=np.uint32).reshape(20, 30),
    }
    colours = {name: np.ascontiguousarray(pixels[..., i]) for i, name in enumerate("RGB")}
    source, output = tmp_path / "in.exr", tmp_path / "out.exr"
    source.write_bytes(exr(colours | others, owner="a studio"))
    seen = read_picture(source)
    after = seen.copy()
    after[5:15, 10:20] = np.clip(after[5:15, 10:20].astype(int) - 10, 0, 255)
    write_still(output, read_still(source).changed(after))

    data = output.read_bytes()
    written = exr_channels(data)
    assert b"a studio" in data and written.keys() == colours.keys() | others.keys()
    for name, values in others.items():
        np.testing.assert_array_equal(written[name], values)
    result = np.stack([written[name] for name in "RGB"], -1)
    assert result.dtype == np.float16
    changed = (after != seen).any(2)
    np.testing.assert_array_equal(result[~changed], pixels[~changed])
    # What is brighter than white gets darker, and remains brighter than white.
    bright = changed & (pixels > 1.5).all(2)
    assert bright.any() and (result[bright] < pixels[bright]).all() and result[bright].max() > 1
    assert np.abs(read_picture(output).astype(int) - after).max() <= 1


def test_anamorphic_light_keeps_its_pixels(tmp_path):
    """Faces are seen in square pixels; what is not changed there stays."""
    pixels = light((40, 30))
    colours = {name: np.ascontiguousarray(pixels[..., i]) for i, name in enumerate("RGB")}
    source = tmp_path / "in.exr"
    source.write_bytes(exr(colours, pixelAspectRatio=2.0))
    (frame,) = video.read_frames(source)
    assert frame.image.shape == (40, 60, 3) and frame.own.shape == (40, 30, 3)
    info = video.probe(source)
    assert (info.width, info.height, info.pixel_aspect) == (60, 40, 2)
    image = frame.image.copy()
    image[:20] //= 2
    still = read_still(source)
    changed = still.changed(own_pixels(replace(frame, image=image), info.pixel_aspect))
    np.testing.assert_array_equal(changed.pixels[21:], pixels[21:])
    assert (changed.pixels[:19] < pixels[:19]).mean() > 0.9


def test_scene_linear_light_is_seen_by_a_curve_that_goes_back():
    scene = SceneLinear()
    grey = np.array([[[0.18] * 3, [1.0] * 3, [16.0] * 3, [-1.0] * 3]], np.float32)
    assert scene.shown(grey)[0, :, 0].tolist() == [118, 230, 251, 0]
    image = smooth_picture(40, 60)
    assert np.abs(scene.shown(light_seen_as(image)).astype(int) - image).max() == 0


@pytest.mark.parametrize("brightest", [2.0, 4.0, 8.0, 16.0])
def test_what_gets_brighter_is_no_brighter_than_the_brightest(brightest):
    """Near a display's white a step is worth any amount of light: it must not become a spark."""
    scene = SceneLinear()
    pixels = np.linspace(0.1, brightest, 300, dtype=np.float32).reshape(10, 10, 3)
    seen = scene.shown(pixels)
    after = np.clip(seen.astype(int) + 12, 0, 255).astype(np.uint8)
    changed = scene.changed(pixels, after)
    assert changed.max() == pytest.approx(brightest)
    assert (changed[seen < 200] > pixels[seen < 200]).all()


def test_a_display_s_white_is_light_of_1(tmp_path):
    """As compositing programs read it; nothing of a display is brighter."""
    write_picture(tmp_path / "a.exr", np.uint8([[[255] * 3, [186] * 3, [0] * 3]]))
    written = exr_channels((tmp_path / "a.exr").read_bytes())
    np.testing.assert_allclose(written["R"], [[1.0, 0.491, 0.0]], atol=1e-3)


def test_tiffs_whose_order_is_not_known_are_refused(tmp_path):
    image = np.full((3, 20, 30), 9000, np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="rgb", planarconfig="separate")
    tifffile.imwrite(tmp_path / "b.tif", image[0], photometric="miniswhite")
    for name in ("a.tif", "b.tif"):
        with pytest.raises(InputError, match=f"{name} has 16 bits, .*interleaved"):
            read_still(tmp_path / name)


def write_heic(path, pixels, primaries, transfer, matrix):
    """A picture of 10 bits whose colours numbers tell."""
    height, width, _ = pixels.shape
    file = pillow_heif.from_bytes("RGB;16", (width, height), pixels.tobytes())
    told = {"color_primaries": primaries, "transfer_characteristics": transfer}
    file.save(path, quality=100, matrix_coefficients=matrix, full_range_flag=1, **told)


@pytest.mark.parametrize(("primaries", "transfer", "matrix"), [(9, 16, 9), (9, 18, 9), (12, 13, 6)])
def test_colours_that_numbers_tell_are_seen_and_kept(tmp_path, primaries, transfer, matrix):
    image = smooth_picture(64, 96) // 4 * 3
    signal = signal_of(image, primaries, transfer)
    pixels = np.rint(65535 * signal.clip(0, 1)).astype(np.uint16)
    write_heic(tmp_path / "a.heic", pixels, primaries, transfer, matrix)
    still = read_still(tmp_path / "a.heic")
    seen = still.encoding.shown(still.pixels).astype(int)
    assert still.bits == 10 and np.abs(seen - image).mean() < 1.5

    after = seen.astype(np.uint8)
    after[20:40, 30:60] //= 2
    write_still(tmp_path / "out.heic", still.changed(after))
    again = read_still(tmp_path / "out.heic")
    assert (again.bits, again.notes.nclx) == (10, still.notes.nclx)
    assert np.abs(again.encoding.shown(again.pixels).astype(int) - after).mean() < 2.5
    for suffix in (".png", ".tif"):
        assert missing(still, suffix) == ["HDR or a wide gamut told by numbers"]


def test_numbers_that_tell_nothing_that_is_known_are_refused(tmp_path):
    write_heic(tmp_path / "a.heic", np.zeros((16, 16, 3), np.uint16), 12, 8, 6)
    with pytest.raises(InputError, match=r"a\.heic has colours .* numbers 12 and 8 .*ICC profile"):
        read_still(tmp_path / "a.heic")


def test_other_primaries_are_converted(tmp_path):
    pixels = np.zeros((4, 4, 3), np.float16)
    pixels[:] = (0.2, 0.4, 0.1)
    colours = {name: np.ascontiguousarray(pixels[..., i]) for i, name in enumerate("RGB")}
    paths = [tmp_path / "rec709.exr", tmp_path / "bt2020.exr"]
    paths[0].write_bytes(exr(colours))
    paths[1].write_bytes(exr(colours, chromaticities=BT2020))
    narrow, wide = (read_picture(path)[0, 0].astype(int) for path in paths)
    assert wide[0] < narrow[0] - 20 and wide[1] > narrow[1]  # the same numbers are more green
    still = read_still(paths[1])
    after = read_picture(paths[1]) // 2
    edited = still.changed(after)
    assert np.abs(edited.encoding.shown(edited.pixels).astype(int) - after).max() <= 1


def test_what_a_format_cannot_hold_is_named(tmp_path):
    write_deep(tmp_path / "deep.png", deep_picture(4), icc_profile())
    deep = read_still(tmp_path / "deep.png")
    assert missing(deep, ".tif") == []
    assert missing(deep, ".jpg") == ["16 bits", "transparency"]
    assert missing(deep, ".bmp") == ["16 bits", "transparency", "a colour profile"]
    assert missing(deep, ".exr") == ["a display's colours"]
    write_picture(tmp_path / "light.exr", smooth_picture(8, 8))
    assert missing(read_still(tmp_path / "light.exr"), ".png") == ["scene-linear light"]


def test_pictures_that_cannot_be_used_are_told(tmp_path):
    plane = np.zeros((4, 4), np.float32)
    (tmp_path / "depth.exr").write_bytes(exr({"Z": plane, "beauty.R": plane}))
    (tmp_path / "whole.exr").write_bytes(exr({name: plane.astype(np.uint32) for name in "RGB"}))
    tifffile.imwrite(tmp_path / "float.tif", np.zeros((4, 4, 3), np.float32), photometric="rgb")
    cut = exr({name: light()[..., 0].copy() for name in "RGB"})
    (tmp_path / "cut.exr").write_bytes(cut[: len(cut) // 2])
    for name, message in (
        ("depth.exr", "depth.exr has the channels Z, beauty.R, but not R, G and B"),
        ("whole.exr", "whole.exr has the channels B, G, R, but not"),
        ("float.tif", "float.tif has numbers of 32 bits"),
        ("cut.exr", "cut.exr is damaged"),
    ):
        with pytest.raises(InputError, match=message):
            read_picture(tmp_path / name)


def test_a_damaged_profile_is_left_out(tmp_path, caplog):
    image = smooth_picture(8, 8)
    path = tmp_path / "a.png"
    PIL.Image.fromarray(image).save(path, icc_profile=b"no profile" * 20)
    still = read_still(path)
    assert still.encoding is SRGB and still.notes.profile == b""
    assert "a.png: its colour profile is damaged" in caplog.text
    np.testing.assert_array_equal(still.pixels, image)


def test_transparency_of_all_kinds(tmp_path):
    rgba = np.dstack([smooth_picture(8, 8), np.arange(64, dtype=np.uint8).reshape(8, 8)])
    for suffix in (".png", ".tif", ".webp", ".avif", ".heic"):
        path = tmp_path / f"a{suffix}"
        buffer = io.BytesIO()
        PIL.Image.fromarray(rgba).save(buffer, PIL.Image.registered_extensions()[suffix])
        path.write_bytes(buffer.getvalue())
        assert np.abs(read_overlay(path)[..., 3].astype(int) - rgba[..., 3]).mean() < 3
