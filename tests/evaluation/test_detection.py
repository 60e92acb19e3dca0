"""How detectable results are."""

import numpy as np
import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.evaluation.bench import evaluate
from faceswap_jax.evaluation.detection import Detector
from faceswap_jax.evaluation.puppet_world import PuppetWorld
from faceswap_jax.faces import align
from faceswap_jax.faces.encode import write_video
from faceswap_jax.faces.video import read_frames
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.training import runs
from tests.support.frozen import write_detector, write_expression
from tests.support.puppets import describe_clips
from tests.support.tiny_run import FRAMES, RATE, SIZE


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detector") / "run"
    write_detector(folder)
    return folder


@pytest.fixture(scope="module")
def world(clips):
    return PuppetWorld(clips, describe_clips(SIZE, FRAMES, RATE))


@pytest.fixture(scope="module")
def detector(workdir, world):
    return Detector(workdir, world.all_clips())


@pytest.fixture(scope="module")
def anew(world, tmp_path_factory):
    """The frames and landmarks of each clip, encoded as results are."""
    folder = tmp_path_factory.mktemp("anew")
    found = []
    for clip in world.all_clips():
        path = folder / clip.path.name
        write_video(path, clip.path, read_frames(clip.path))
        frames = np.stack([frame.image for frame in read_frames(path)])
        found.append((frames, world.landmarks(clip.path)))
    return found


def test_real_faces_that_are_encoded_anew_are_told_from_themselves_by_chance(detector, anew):
    areas = np.concatenate([detector.area(*clip) for clip in anew])
    assert len(areas) == 2 * FRAMES
    assert areas.mean() == pytest.approx(0.5) and areas.std() > 0.2


def test_the_area_falls_as_the_verdict_rises(detector, anew, workdir):
    run = runs.load(workdir, make_mesh())
    frames, landmarks = anew[0]
    darker = np.concatenate([frames // k for k in (1, 2, 3)])
    faces = np.concatenate([landmarks] * 3)
    crops = [align.cut_face(*face, 16, "eyes") for face in zip(darker, faces, strict=True)]
    verdicts = np.asarray(run.task.verdicts(run.state.params, np.stack(crops)))
    areas = detector.area(darker, faces)
    assert areas.min() >= 0 and areas.max() <= 1
    assert (np.diff(areas[verdicts.argsort()]) <= 0).all()


def test_frames_without_a_face_are_not_judged(detector, anew):
    frames, landmarks = anew[0]
    missing = landmarks.copy()
    missing[2] = np.nan
    areas = detector.area(frames, missing)
    assert np.isnan(areas[2]) and np.isfinite(np.delete(areas, 2)).all()
    assert np.isnan(detector.area(frames[:1], missing[2:3])).all()


def test_a_run_that_tells_no_fakes_is_refused(run, clips, tmp_path):
    write_expression(tmp_path / "expression")
    with pytest.raises(InputError, match=r"expression' holds a run of 'expression'.*--detector"):
        evaluate(run, clips, detector=tmp_path / "expression")
