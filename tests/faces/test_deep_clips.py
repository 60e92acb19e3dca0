"""Clips that are HDR, of wide gamuts or of ten bits and more: what is seen of them, and a change put back."""

import itertools
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.faces import encode, mastering, video
from faceswap_jax.faces.decoded import Decoded, Layout
from faceswap_jax.faces.encoding import SRGB
from faceswap_jax.faces.tagged import Tagged, encoding_of
from tests.faces.test_encode import turn
from tests.support.face_scenes import smooth_picture, write_clip
from tests.support.hdr import MASTERING, hlg, pq, write_deep

PQ, HLG, SDR = (9, 16), (9, 18), (1, 1)
WIDE = {"pq": PQ, "hlg": HLG, "p3": (12, 13), "p3 of a camera": (12, 1), "bt2020": (9, 14)}
"""Code points of primaries and transfer."""


def codes(signal: float) -> np.ndarray:
    """A grey pixel of 16 bits."""
    return np.full((1, 1, 3), round(65535 * signal), np.uint16)


def planes(frame: av.VideoFrame) -> list[np.ndarray]:
    kind = "<u2" if frame.format.components[0].bits > 8 else np.uint8
    result = []
    for plane in frame.planes:
        values = np.frombuffer(plane, kind).reshape(plane.height, -1)
        result.append(values[:, : plane.width].astype(int))
    return result


def seen(frame: av.VideoFrame, tags: tuple[int, int, int]) -> np.ndarray:
    """What is seen of planes."""
    frame.color_primaries, frame.color_trc, frame.colorspace = tags
    return Decoded(frame).image(8, video.VideoReformatter()).astype(int)


def codec_of(path) -> tuple[str, str, str]:
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        return context.name, context.codec_tag, context.pix_fmt


@pytest.mark.parametrize("name", WIDE)
def test_what_is_seen_is_what_the_sdr_clip_shows(tmp_path, name):
    # Light that a camera sees: no more saturated than BT.709 allows, and no highlights.
    image = smooth_picture(96, 128) // 4 * 3
    path = write_deep(tmp_path / "a.mkv", [image], *WIDE[name], codec="ffv1")
    for depth, unit in ((8, 1), (16, 257)):
        frame = next(video.read_frames(path, depth=depth))
        error = np.abs(frame.image / unit - image)
        assert error.mean() < 1 and error.max() < 8


@pytest.mark.parametrize(("transfer", "signal"), [(16, pq), (18, hlg)])
def test_white_is_at_203_candelas_and_highlights_roll_off(transfer, signal):
    encoding = Tagged(9, transfer)
    lights = [0, 2, 20, 100, 150, 203, 400, 700, 1000]
    seen = [encoding.shown(codes(signal(np.full(3, float(light)))[0]))[0, 0, 0] for light in lights]
    below = [round(255 * (light / 203) ** (1 / 2.4)) for light in lights[:5]]
    np.testing.assert_allclose(seen[:5], below, atol=1)
    assert seen[5] == 242
    assert all(a < b for a, b in itertools.pairwise(seen)) and seen[-1] < 255


@pytest.mark.parametrize("name", WIDE)
def test_a_change_of_what_is_seen_goes_back(name):
    encoding = encoding_of(*WIDE[name])
    rng = np.random.default_rng(0)
    pixels = (65535 * (0.2 + 0.35 * rng.random((40, 50, 3)))).astype(np.uint16)
    seen = encoding.shown(pixels)
    np.testing.assert_array_equal(encoding.changed(pixels, seen), pixels)
    # Colours of sRGB
    after = rng.integers(60, 200, (40, 50, 1), np.uint8) + rng.integers(0, 20, seen.shape, np.uint8)
    after[:20] = seen[:20]
    changed = encoding.changed(pixels, after)
    np.testing.assert_array_equal(changed[:20], pixels[:20])
    inside = (seen > 0).all(2) & (seen < 255).all(2)
    assert np.abs(encoding.shown(changed).astype(int) - after)[inside].max() <= 1


def test_a_highlight_that_is_replaced_by_skin_is_gone():
    encoding = Tagged(*PQ)
    highlight = codes(pq(np.float64(900)))
    skin = np.full((1, 1, 3), 150, np.uint8)
    assert np.abs(encoding.shown(encoding.changed(highlight, skin)).astype(int) - 150).max() <= 1


def test_nothing_becomes_brighter_than_the_brightest_that_was_changed():
    encoding = Tagged(*HLG)
    pixels = np.concatenate([codes(0.5), codes(0.8)])
    white = np.full(pixels.shape, 255, np.uint8)
    assert encoding.changed(pixels, white).max() == pixels.max()


FRAMES = [
    ("libx265", "yuv420p10le", PQ, False),
    ("libx265", "yuv420p10le", HLG, True),
    ("libx265", "yuv422p10le", HLG, False),
    ("libx265", "yuv444p12le", PQ, False),
    ("prores_ks", "yuv422p10le", HLG, False),
    ("libx264", "yuv420p", (12, 1), False),
    ("libx264", "yuv420p10le", (1, 1), False),
    ("png", "rgb48be", PQ, False),
    ("libx264", "yuv420p", SDR, False),
    ("libx264", "yuvj420p", SDR, True),
    ("libx264", "yuv444p", SDR, False),
    ("prores_ks", "yuv422p10le", SDR, False),
    ("mjpeg", "yuvj422p", SDR, True),
]


CASES = [(*kind, turned) for kind in FRAMES for turned in (False, True)]
# No file of this codec can say that it is turned.
CASES += [
    ("ffv1", "yuv420p10le", HLG, False, False),
    ("ffv1", "yuv420p", SDR, False, False),
    ("ffv1", "gray", SDR, False, False),
]

ODD = ("png", "prores_ks", "ffv1")
"""Encoders that take odd sizes."""


@pytest.mark.parametrize(("codec", "pixel_format", "tags", "full", "turned"), CASES)
def test_samples_stay_where_nothing_is_changed(tmp_path, codec, pixel_format, tags, full, turned):
    size = (97, 129) if codec in ODD else (96, 128)
    path = tmp_path / ("a.mkv" if codec == "ffv1" else "a.mov")
    source = write_deep(path, [smooth_picture(*size)], *tags, codec, pixel_format, full)
    if turned:
        turn(source, (0, 1, -1, 0))
    (frame,) = video.read_frames(source)
    decoded = frame.decoded
    after = frame.image.copy()
    height, width, _ = after.shape
    place = np.s_[21 : height - 30, 33 : width - 28]
    after[place] = np.clip(after[place] + np.array([-30, 10, 20]), 0, 255)

    plain, changed = decoded.changed(frame.own, frame.own), decoded.changed(frame.own, after)
    assert plain.format.name == changed.format.name == decoded.layout.format
    for number, (old, new) in enumerate(zip(planes(plain), planes(changed), strict=True)):
        down, across = decoded.layout.steps if number else (1, 1)
        moved = old != new
        rows, columns = np.flatnonzero(moved.any(1)), np.flatnonzero(moved.any(0))
        # A sample of colour may have a part of the pixel beside its own.
        beside = number > 0
        assert rows.min() >= (21 - beside) // down
        assert rows.max() <= (height - 31 + beside) // down
        assert columns.min() >= (33 - beside) // across
        assert columns.max() <= (width - 29 + beside) // across
        assert moved.mean() > 0.1

    # What codecs give stays as it is, too.
    if pixel_format.replace("j", "") == decoded.layout.format and codec not in ODD and not turned:
        with av.open(str(source)) as container:
            stored = next(container.decode(video=0))
        for old, new in zip(planes(stored), planes(plain), strict=True):
            np.testing.assert_array_equal(old, new)

    # It looks as it should, but for colours beside an edge.
    one, two = (seen(planes, video.probe(source).tags) for planes in (plain, changed))
    moved = (two - one)[:height, :width]
    inner = np.s_[25 : height - 34, 37 : width - 32]
    wanted = (after.astype(int) - frame.image)[inner]
    assert np.abs(moved[inner] - wanted).mean() < 1.5
    moved[13 : height - 22, 25 : width - 20] = 0
    assert not moved.any()


@pytest.mark.parametrize("matrix", [(1, 0, 0, 1), (0, 1, -1, 0), (0, -1, 1, 0), (-1, 0, 0, -1)])
def test_changed_colours_are_put_where_samples_sit(tmp_path, matrix):
    """x265's sit at every second column. Half a pixel beside, old edges would shine through new skin."""
    bars = np.zeros((96, 128, 3), np.uint8)
    bars[:, np.arange(128) // 6 % 2 == 0] = (90, 130, 100)
    bars[:, np.arange(128) // 6 % 2 == 1] = (170, 90, 100)
    source = write_deep(tmp_path / "a.mp4", [bars] * 2, *HLG)
    turn(source, matrix)
    frame = next(video.read_frames(source))
    _, _, before = planes(frame.decoded.changed(frame.own, frame.own))
    _, _, after = planes(frame.decoded.changed(frame.own, np.full_like(frame.own, 110)))
    assert np.abs(before - 512).max() > 60
    assert np.abs(after - 512).max() < 20


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("tags", [PQ, HLG])
def test_depth_tags_and_mastering_are_kept(tmp_path, suffix, tags):
    images = [smooth_picture(64, 96, i / 5) for i in range(5)]
    source = write_deep(tmp_path / f"a{suffix}", images, *tags)
    output = tmp_path / f"out{suffix}"
    encode.write_video(output, source, video.read_frames(source))
    name, tag, pixel_format = codec_of(output)
    assert (name, pixel_format) == ("hevc", "yuv420p10le")
    assert tag == "hvc1" or suffix == ".mkv"
    info = video.probe(output)
    assert info.tags == (*tags, 9) and tuple(info.mastering) == MASTERING
    for one, two in zip(video.read_frames(source), video.read_frames(output), strict=True):
        assert one.time == pytest.approx(two.time, abs=1e-3)
        assert np.abs(one.image.astype(int) - two.image).mean() < 2.5


@pytest.mark.parametrize(
    ("codec", "depths"),
    [("h264", ("420", 10)), ("hevc", ("420", 10)), ("prores", ("422", 10)), (None, ("420", 10))],
)
def test_the_codec_is_chosen(tmp_path, codec, depths):
    source = write_deep(tmp_path / "a.mov", [smooth_picture(64, 96)] * 3)
    output = tmp_path / "out.mov"
    encode.write_video(output, source, video.read_frames(source), codec=codec)
    assert codec_of(output)[0] == (codec or "hevc")
    info = video.probe(output)
    assert info.layout == Layout(*depths) and info.tags == (9, 16, 9) and not info.full_range
    one, two = (next(video.read_frames(path)).image for path in (source, output))
    assert np.abs(one.astype(int) - two).mean() < 2


@pytest.mark.parametrize("codec", encode.CODECS)
@pytest.mark.parametrize("full", [False, True])
def test_clips_of_eight_bits_take_all_codecs(tmp_path, codec, full):
    source = write_clip(tmp_path / "a.mp4", [smooth_picture(64, 96)] * 3, full_range=full)
    output = tmp_path / "out.mov"
    encode.write_video(output, source, video.read_frames(source), codec=codec)
    assert codec_of(output)[0] == codec
    one, two = (next(video.read_frames(path)).image for path in (source, output))
    assert np.abs(one.astype(int) - two).mean() < 1.5


def test_deeper_clips_than_a_codec_takes_lose_depth_alone(tmp_path):
    image = smooth_picture(64, 96)
    source = write_deep(tmp_path / "a.mp4", [image] * 3, *PQ, pixel_format="yuv444p12le")
    output = tmp_path / "out.mp4"
    encode.write_video(output, source, video.read_frames(source), codec="h264")
    assert video.probe(output).layout == Layout("444", 10)
    seen = next(video.read_frames(output)).image.astype(int)
    assert np.abs(seen - next(video.read_frames(source)).image).mean() < 2


def test_ten_bits_of_plain_colours_are_kept(tmp_path):
    source = write_deep(tmp_path / "a.mp4", [smooth_picture(64, 96)] * 2, 1, 1)
    info = video.probe(source)
    assert info.encoding is SRGB and info.layout == Layout("420", 10)
    output = tmp_path / "out.mp4"
    encode.write_video(output, source, video.read_frames(source))
    assert codec_of(output)[::2] == ("hevc", "yuv420p10le")


@pytest.mark.parametrize("pixel_format", ["yuv444p", "yuv422p", "gray"])
def test_plain_clips_become_the_usual_h264(tmp_path, pixel_format):
    source = write_deep(
        tmp_path / "a.mkv", [smooth_picture(64, 96)] * 2, 1, 1, "ffv1", pixel_format
    )
    frames = list(video.read_frames(source))
    encode.write_video(tmp_path / "out.mp4", source, frames)
    assert codec_of(tmp_path / "out.mp4")[::2] == ("h264", "yuv420p")


def test_frames_of_an_sdr_clip_may_differ_in_matrix_and_range(tmp_path):
    image = smooth_picture(64, 96)
    one = write_deep(tmp_path / "one.mkv", [image], *SDR, "ffv1", "yuv420p")
    other = write_clip(tmp_path / "other.mp4", [image], full_range=True, matrix=5)
    (first,), (second,) = video.read_frames(one), video.read_frames(other)
    assert first.decoded.matrix != second.decoded.matrix and second.decoded.full_range
    assert first.decoded.kind == second.decoded.kind
    output = tmp_path / "out.mp4"
    encode.write_video(output, one, [first, replace(second, time=0.04)])
    for before, after in zip((first, second), video.read_frames(output), strict=True):
        assert np.abs(before.image.astype(int) - after.image).mean() < 1.5


def test_rgb_of_eight_bits_is_an_image(tmp_path):
    source = write_deep(tmp_path / "a.mkv", [smooth_picture(64, 96)] * 2, *SDR, "ffv1", "bgr0")
    assert all(frame.decoded is None for frame in video.read_frames(source))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_clips_of_few_frames(tmp_path, count):
    source = write_deep(tmp_path / "a.mkv", [smooth_picture(64, 96)] * count, *PQ, "ffv1")
    frames = list(video.read_frames(source))
    for number in range(4):
        output = tmp_path / f"out{number}.mp4"
        encode.write_video(output, source, frames)
        times = [frame.time for frame in video.read_frames(output)]
        assert times == pytest.approx([frame.time for frame in frames], abs=1e-3)


def test_turned_and_anamorphic_hdr(tmp_path):
    image = smooth_picture(64, 96)
    source = write_deep(tmp_path / "a.mp4", [image] * 2, *HLG)
    turn(source, (0, 1, -1, 0))
    output = tmp_path / "out.mp4"
    encode.write_video(output, source, video.read_frames(source))
    assert video.probe(output).orientation == video.Orientation()
    one, two = (next(video.read_frames(path)).image for path in (source, output))
    assert one.shape == (96, 64, 3) and np.abs(one.astype(int) - two).mean() < 2

    wide = write_deep(tmp_path / "wide.mp4", [image] * 2, *HLG, pixel_aspect=Fraction(2))
    (frame, _) = video.read_frames(wide)
    assert frame.image.shape == (64, 192, 3) and frame.own.shape == (64, 96, 3)
    after = frame.image.copy()
    after[16:48, 64:128] //= 2
    changed = replace(frame, image=after)
    encode.write_video(output, wide, [changed])
    seen = next(video.read_frames(output))
    assert video.probe(output).pixel_aspect == 2
    assert np.abs(seen.image[20:44, 70:122].astype(int) - after[20:44, 70:122]).mean() < 3
    assert np.abs(seen.image[:, :56].astype(int) - frame.image[:, :56]).mean() < 2


def test_whole_images_beside_an_hdr_clip_are_sdr(tmp_path):
    source = write_deep(tmp_path / "a.mp4", [smooth_picture(64, 96)] * 2, *PQ)
    image = smooth_picture(48, 48, 1.0)
    made = [replace(frame, image=image) for frame in video.read_frames(source)]
    output = tmp_path / "out.mp4"
    encode.write_video(output, source, made, whole=True)
    info = video.probe(output)
    assert codec_of(output)[::2] == ("h264", "yuv420p") and info.tags == (1, 1, 1)
    assert np.abs(next(video.read_frames(output)).image.astype(int) - image).mean() < 3


@pytest.mark.parametrize(("numbers", "known"), [(1, 1), (1, 0), (0, 1)])
def test_a_mastering_display_is_told_if_all_of_it_is_known(numbers, known):
    data = np.array([numbers] * 20 + [known, 1], np.int32).tobytes()
    told = "G(50000,50000)B(50000,50000)R(50000,50000)WP(50000,50000)L(10000,10000)"
    assert mastering._display(data) == (told if numbers and known else "")


@pytest.mark.parametrize(("height", "width"), [(8, 8), (33, 35), (40, 200), (200, 40)])
def test_small_frames_become_h264_and_are_refused_by_hevc(tmp_path, height, width):
    image = smooth_picture(height, width)
    source = write_deep(tmp_path / "a.mkv", [image] * 3, *PQ, "ffv1", mastering=False)
    output = tmp_path / "out.mp4"
    encode.write_video(output, source, video.read_frames(source))
    assert codec_of(output)[::2] == ("h264", "yuv420p10le")
    with pytest.raises(InputError, match=f"{width} x {height} pixels are too small for HEVC"):
        encode.write_video(tmp_path / "o.mp4", source, video.read_frames(source), codec="hevc")
    assert not (tmp_path / "o.mp4").exists()


def test_planes_that_are_no_luma_are_refused(tmp_path):
    source = write_deep(tmp_path / "a.mkv", [smooth_picture(64, 96)] * 2, *PQ, matrix=14)
    with pytest.raises(InputError, match=r"a\.mkv has planes of ICtCp .* zscale"):
        video.probe(source)


def test_codecs_that_do_not_fit_are_told(tmp_path):
    source = write_deep(tmp_path / "a.mp4", [smooth_picture(64, 96)])
    for name, codec, message in (
        ("out.mp4", "prores", r"cannot hold the codec prores; .* \.mov or \.mkv"),
        ("out.mp4", "av1", "no codec 'av1'; choose one of h264, hevc, prores"),
    ):
        with pytest.raises(InputError, match=message):
            encode.write_video(tmp_path / name, source, video.read_frames(source), codec=codec)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
