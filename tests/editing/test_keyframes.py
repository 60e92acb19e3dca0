"""Files of keyframes, and the weights that they give."""

import json
from fractions import Fraction

import av
import numpy as np
import pytest

from faceswap_jax.editing import keyframes
from faceswap_jax.editing.keyframes import Clock, Curve
from faceswap_jax.errors import InputError
from faceswap_jax.faces import video
from tests.support.tiny_run import FRAMES, RATE

NTSC = Fraction(30000, 1001)


def write(path, keys, **fields):
    content = {"version": 1, "edits": [{"vector": "smile", "keys": keys} | fields]}
    path.write_text(json.dumps(content))
    return path


def test_a_curve_passes_through_its_keys_and_stays_outside_them():
    for interpolation in ("linear", "smooth"):
        curve = Curve("smile", None, [1.0, 2.0, 4.0], [0.0, 1.0, -0.5], interpolation)
        found = [curve(time) for time in (0.0, 1.0, 2.0, 4.0, 9.0)]
        np.testing.assert_allclose(found, [0.0, 0.0, 1.0, -0.5, -0.5], atol=1e-12)


def test_a_linear_curve_is_straight_between_keys():
    curve = Curve("smile", None, [0.0, 2.0], [-1.0, 1.0])
    assert curve(0.5) == pytest.approx(-0.5)


def test_a_smooth_curve_never_leaves_the_range_of_its_two_keys_and_has_no_corners():
    curve = Curve("smile", None, [0.0, 1.0, 1.5, 4.0], [0.0, 1.0, 1.0, -0.3], "smooth")
    times = np.linspace(-1, 5, 601)
    weights = np.array([curve(time) for time in times])
    assert weights.min() > -0.3 - 1e-9 and weights.max() < 1.0 + 1e-9
    rising = (times >= 0) & (times <= 1)
    falling = (times >= 1.5) & (times <= 4)
    assert (np.diff(weights[rising]) > 0).all() and (np.diff(weights[falling]) < 0).all()
    slopes = np.diff(weights) / 0.01
    assert np.abs(np.diff(slopes)).max() < 0.1


def test_one_key_holds_all_the_time():
    assert Curve("smile", None, [1.0], [0.7], "smooth")(5.0) == 0.7


def test_keys_by_frame_time_and_timecode_are_the_same_moment(clips, tmp_path):
    clip = clips / "ada.mp4"
    frame = 5
    time = list(video.read_frames(clip))[frame].time
    of_frame, of_time = (
        keyframes.read(write(tmp_path / "keys.json", [{**key, "weight": 0.5}]), clip)[0]
        for key in ({"frame": frame}, {"time": time})
    )
    assert of_frame.times == of_time.times == [pytest.approx(time)]
    clock = Clock([n / 25 for n in range(100)], Fraction(25))
    assert clock.seconds("timecode", "00:00:02:03") == pytest.approx(clock.seconds("frame", 53))


@pytest.mark.parametrize(
    ("timecode", "frame"),
    [("00:01:00:00", 1800), ("00:01:00;02", 1800), ("00:00:59;29", 1799), ("00:00:00:07", 7)],
)
def test_timecode_drops_numbers_where_it_says_so(timecode, frame):
    """SMPTE 12M: a minute that is no tenth begins with frame 2."""
    clock = Clock([float(n / NTSC) for n in range(2000)], NTSC)
    assert clock.seconds("timecode", timecode) == pytest.approx(float(frame / NTSC))


def test_timecode_counts_from_that_of_the_file(clips, tmp_path):
    source = tmp_path / "coded.mov"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.metadata["timecode"] = "01:00:00:00"
        stream.width, stream.height = 64, 64
        for _ in range(10):
            picture = np.zeros((64, 64, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())
    clock = Clock.of(source)
    assert clock.seconds("timecode", "01:00:00:04") == pytest.approx(clock.times[4])
    with pytest.raises(InputError, match="is not in the clip"):
        clock.seconds("timecode", "00:00:00:04")


@pytest.mark.parametrize(
    "timecode", ["00:00:61:00", "00:00:00:30", "00:01:00;00", "00:00:00.5", "1:2", "", 7, None]
)
def test_timecodes_that_there_are_not_are_told(timecode):
    clock = Clock([float(n / NTSC) for n in range(2000)], NTSC)
    with pytest.raises(InputError, match=r"is none of 29\.97|counts otherwise"):
        clock.seconds("timecode", timecode)


def test_timecode_that_counts_otherwise_than_the_file_is_told():
    clock = Clock([float(n / NTSC) for n in range(2000)], NTSC, "01:00:00;00")
    assert clock.seconds("timecode", "01:00:10;00") == pytest.approx(float(300 / NTSC))
    with pytest.raises(InputError, match=r"'01:00:10:00' counts otherwise .* 01:00:00;00"):
        clock.seconds("timecode", "01:00:10:00")


def test_times_count_from_the_file_and_timecode_from_its_first_frame():
    clock = Clock([0.5 + n / 25 for n in range(100)], Fraction(25))
    assert clock.seconds("frame", 2) == clock.seconds("time", 0.58) == pytest.approx(0.58)
    assert clock.seconds("timecode", "00:00:00:02") == pytest.approx(0.58)


def test_one_vector_has_one_list_of_keys_for_a_face(clips, tmp_path):
    path = tmp_path / "edit.json"
    keys = [{"frame": 0, "weight": 1}]
    for faces, is_refused in (([None, None], True), ([0, None], True), ([0, 1], False)):
        edits = [{"vector": "smile", "keys": keys, "face": face} for face in faces]
        path.write_text(json.dumps({"version": 1, "edits": edits}))
        if is_refused:
            with pytest.raises(InputError, match="'smile' is edited twice"):
                keyframes.read(path, clips / "ada.mp4")
        else:
            assert [curve.face for curve in keyframes.read(path, clips / "ada.mp4")] == faces


def test_constant_weights_are_curves_without_time():
    smile, lids = keyframes.constant({"smile": 0.5, "lids": -1})
    assert (smile(0.0), smile(99.0), lids(3.0)) == (0.5, 0.5, -1.0)
    assert keyframes.largest([smile, lids]) == 1.0


@pytest.mark.parametrize(
    ("keys", "fields", "message"),
    [
        (
            [{"frame": FRAMES, "weight": 0}],
            {},
            f"frame {FRAMES} is not in the clip.* 0 to {FRAMES - 1}",
        ),
        ([{"time": 99, "weight": 0}], {}, "time 99 is not in the clip.* ends after"),
        ([{"time": -1, "weight": 0}], {}, "time -1 is not in the clip"),
        (
            [{"timecode": "00:00:00:00", "weight": 0}],
            {},
            f"{RATE:g} frames per second has no timecode",
        ),
        ([{"frame": 0.5, "weight": 0}], {}, "frame 0.5 is no whole number"),
        ([{"frame": False, "weight": 0}], {}, "frame False is no whole number"),
        ([{"time": 10**400, "weight": 0}], {}, "is no number of seconds"),
        ([{"frame": 0, "weight": float("nan")}], {}, "weight nan"),
        ([{"frame": 0, "weight": 0}], {"vector": 5}, "vector 5 is no name"),
        ([{"frame": 0, "weight": 0}], {"face": True}, "True is no number of a face"),
        ([{"weight": 0}], {}, "needs one of frame, time, timecode"),
        ([{"frame": 0, "time": 0, "weight": 0}], {}, "needs one of"),
        ([{"frame": 0}], {}, "lacks weight"),
        ([{"frame": 0, "weight": 2.5}], {}, "weight 2.5; give numbers from -2 to 2"),
        ([{"frame": 0, "weight": "1"}], {}, "weight '1'"),
        ([{"frame": 1, "weight": 1}, {"frame": 1, "weight": 0}], {}, "order of time"),
        ([], {}, "'keys' must be a list"),
        ([{"frame": 0, "weight": 1}], {"interpolation": "cubic"}, "choose linear or smooth"),
        ([{"frame": 0, "weight": 1}], {"face": "left"}, "'left' is no number of a face"),
        ([{"frame": 0, "weight": 1}], {"ease": True}, "ease is not known"),
    ],
)
def test_what_makes_no_sense_is_told_with_the_file(clips, tmp_path, keys, fields, message):
    path = write(tmp_path / "edit.json", keys, **fields)
    with pytest.raises(InputError, match=f"{path}: .*{message}.*docs/editing.md"):
        keyframes.read(path, clips / "ada.mp4")


def test_files_that_are_no_keyframes_are_told(clips, tmp_path):
    path = tmp_path / "edit.json"
    for text, message in (
        ("{", "no JSON"),
        ("[" * 10**5, "no JSON that can be read"),
        ('{"version": 1, "version": 1}', "no JSON .*version comes twice in one map"),
        ("[]", "must be a map with edits, version"),
        ('{"version": true, "edits": [1]}', "version is True"),
        ('{"version": 2, "edits": [1]}', "version is 2, but this faceswap reads 1"),
        ('{"version": 1, "edits": [1]}', "1 must be a map with keys, vector"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=f"{path}.*{message}"):
            keyframes.read(path, clips / "ada.mp4")
    with pytest.raises(InputError, match=r"nowhere\.json does not exist"):
        keyframes.read(tmp_path / "nowhere.json", clips / "ada.mp4")
