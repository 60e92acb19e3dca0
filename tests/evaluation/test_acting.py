"""Whole images: who acts, what is copied, and how results are scored with a truth and without."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from data_pipelines.clips import Clip
from data_pipelines.puppets.dataset import PuppetClips
from faceswap_jax.errors import InputError
from faceswap_jax.evaluation import acting
from faceswap_jax.evaluation.acting import COPY, NEAREST, act, identities_of, read_actor
from faceswap_jax.evaluation.whole_with_truth import WholePuppets
from faceswap_jax.evaluation.whole_without_truth import WholeClips
from faceswap_jax.faces import align
from faceswap_jax.inference.batching import at_rest
from tests.support.bench import SEEN, mean
from tests.support.generators import PixelGenerator, PosingGenerator, SidedGenerator

SIDE = 128


@pytest.fixture(scope="module")
def mirror():
    """Shows the driving face."""
    return PixelGenerator(np.copy, 64, "box", "whole", personas=())


@pytest.fixture(scope="module")
def actors(large):
    folder, _ = large
    clips = [Clip(folder / f"{name}.mp4", name, f"{name}.mp4") for name in ("ada", "ben")]
    return {clip.persona: read_actor(clip, "box", SIDE) for clip in clips}


@pytest.fixture(scope="module")
def rows(mirror, actors):
    """What everybody makes of ben's performance."""
    made = {}
    for name, source in actors.items():
        made[name] = act(mirror, identities_of(mirror, source), source, actors["ben"])
    return made


def test_the_beginning_shows_who_it_is_and_the_rest_drives(actors):
    known = [view.frame.index for view in actors["ada"].known]
    driving = [view.frame.index for view in actors["ada"].driving]
    assert max(known) < SEEN // 3 <= min(driving)
    assert known == sorted({*known}) and driving == sorted({*driving})


def test_the_nearest_frame_is_the_one_that_does_the_same(actors):
    views = actors["ada"].known
    assert acting.nearest(views, views).tolist() == list(range(len(views)))


def test_what_is_copied_comes_from_the_beginning(rows, actors):
    known = [view.frame.image for view in actors["ada"].known]
    for row in (COPY, NEAREST):
        for image in rows["ada"][row]:
            assert any(np.array_equal(image, other) for other in known)
    assert len({image.tobytes() for image in rows["ada"][COPY]}) == 1
    assert [*rows["ada"]][2:] == ["1 source", "3 sources", "8 sources"]


def test_puppets_are_scored_against_the_source_in_the_drivers_performance(
    large, mirror, actors, rows
):
    folder, _ = large
    judge = WholePuppets(folder, PuppetClips.load(folder))
    assert [clip.persona for clip in judge.clips()] == ["ada", "ben"]
    own = judge.compare(rows["ben"], actors["ben"], actors["ben"], mirror)
    others = judge.compare(rows["ada"], actors["ada"], actors["ben"], mirror)
    assert own.images.shape == (2, 7, 128, 128, 3)
    # Who drives the own face is as near to the truth as 64 pixels allow, and H.264.
    for name, tolerance in (("l1", 0.01), ("ssim", 0.05), ("yaw", 2), ("roll", 2), ("mouth", 5)):
        expected = mean(own, "ceiling", name)
        assert mean(own, "1 source", name) == pytest.approx(expected, abs=tolerance), name
    assert mean(own, "1 source", "l1") < mean(own, NEAREST, "l1")
    assert mean(own, "1 source", "keypoints") < mean(own, COPY, "keypoints")
    assert mean(own, "1 source", "identity") == 100
    # Of another the performance is right, and the person is wrong.
    assert mean(others, "truth", "l1") == 0 and mean(others, "truth", "identity") == 100
    assert mean(others, COPY, "identity") > 50 > mean(others, "1 source", "identity")
    assert mean(others, "1 source", "yaw") < mean(others, COPY, "yaw")
    assert mean(others, "1 source", "l1") > mean(own, "1 source", "l1")


def test_real_people_are_compared_with_frames_of_their_own_alone(large, mirror, actors, rows):
    folder, _ = large
    judge = WholeClips(folder)
    # Identity networks take their time.
    ben = replace(actors["ben"], driving=actors["ben"].driving[-3:])
    few = {name: {row: frames[-3:] for row, frames in rows[name].items()} for name in rows}
    own = judge.compare(few["ben"], ben, ben, mirror)
    others = judge.compare(few["ada"], actors["ada"], ben, mirror)
    assert mean(own, "driving", "l1") == 0 and mean(own, "driving", "yaw") == 0
    assert mean(own, "1 source", "l1") < mean(own, NEAREST, "l1")
    for name in ("l1", "psnr", "keypoints"):
        assert np.isnan(others.rows["1 source"][name]).all()
    for judge in ("dlib", "SFace"):
        identity, performer = f"identity by {judge}", f"performer by {judge}"
        assert mean(others, COPY, identity) > mean(others, "1 source", identity)
        assert mean(others, "1 source", performer) > mean(others, COPY, performer)


def test_a_control_is_scored_by_the_poses_that_it_tells(large, actors):
    """One that tells a yaw of 7 degrees too much, and no other row's scores."""
    folder, _ = large
    generator = PosingGenerator(np.copy, 64, "box", "whole")
    control = generator.control(too_much=7)

    def told(judge):
        (values,) = acting.told_poses(judge, generator, control, actors["ben"]).values()
        assert set(values) == set(judge.scores) and np.isnan(values["l1"]).all()
        return np.stack([values[name] for name in ("yaw", "pitch", "roll")])

    # Real people's poses are those of their landmarks.
    np.testing.assert_allclose(told(WholeClips(folder)).mean(1), [7, 0, 0], atol=0.05)
    # Puppets' are known; one head stands for all in `head_pose`.
    errors = told(WholePuppets(folder, PuppetClips.load(folder)))
    np.testing.assert_allclose(errors.mean(1), [7, 0, 0], atol=4)
    assert errors.shape == (3, len(actors["ben"].driving)) and errors.std() > 0.1


def test_latent_arithmetic_takes_the_driver_at_rest_off(actors):
    """As the beginning of the driver's clip shows it."""
    sided = SidedGenerator(np.copy, 64, "box", "whole", personas=())
    ben = actors["ben"]
    rest = acting.rest_of(sided, ben)
    np.testing.assert_array_equal(rest, at_rest(sided, acting.performance_of(ben.known)))
    act(sided, {"1 source": None}, actors["ada"], ben, rest)
    for edit in sided.edits:
        np.testing.assert_allclose(edit.shift, np.broadcast_to(-rest, edit.shift.shape))


def test_keypoints_are_measured_where_the_truth_shows_a_face():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 100, (3, 68, 2))
    truth[0] = np.nan
    points = np.add(truth, (3, 4))
    points[1] = np.nan
    measured = acting.keypoints(points, truth)
    eyes = max(np.linalg.norm(np.subtract(*align.eye_centres(face))) for face in truth[1:])
    np.testing.assert_allclose(measured["keypoints"], [np.nan, np.nan, 500 / eyes], rtol=1e-5)
    np.testing.assert_array_equal(measured["found"], [np.nan, 0, 100])


def test_who_hears_or_is_hardly_seen_is_told(large, tmp_path):
    folder, _ = large
    deaf = PixelGenerator(np.copy, 64, "box", "whole", inputs=("sound",))
    with pytest.raises(InputError, match="drives by frames"):
        acting.read_actors([Clip(folder / "ada.mp4", "ada", "ada.mp4")], [deaf])
    short = tmp_path / "ada.mp4"
    shutil.copy(folder / "ada.mp4", short)
    sidecar = (folder / "ada.mp4.landmarks.csv").read_text().splitlines()
    (tmp_path / "ada.mp4.landmarks.csv").write_text("\n".join(sidecar[:3]) + "\n")
    with pytest.raises(InputError, match=f"{short}.* in 2 frames.* at least 3"):
        read_actor(Clip(short, "ada", "ada.mp4"), "box", SIDE)
