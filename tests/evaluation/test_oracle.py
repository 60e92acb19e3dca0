"""Reading with an oracle: files, masks, sizes."""

import dataclasses

import jax
import numpy as np
import pytest

from data_pipelines.puppets import samples
from data_pipelines.puppets.parameters import PERFORMANCE_SPANS, PERSONA_SPANS
from faceswap_jax.errors import InputError
from faceswap_jax.evaluation import oracle
from faceswap_jax.models import oracle as network
from tests.support.puppets import stacked

FRESH_WORLD = 7  # neither that of the training nor that of the test


@pytest.fixture(scope="module")
def fresh():
    """An oracle that has learned nothing."""
    config = network.OracleConfig(
        len(samples.SPANS), stem=4, levels=(4, 4), detail_stem=4, detail_levels=(4,), squeeze=2
    )
    params = network.init(config, jax.random.key(0))
    noise = np.random.default_rng(0)  # for a fresh network tells the same of all pictures
    params = jax.tree.map(
        lambda w: w + 0.1 * noise.standard_normal(w.shape).astype(np.float32), params
    )
    return oracle.Oracle(config, params, {"yaw": 1.0}, {"yaw": 2.0}, oracle.reference())


@pytest.fixture(scope="module")
def frames():
    return [samples.sample_frame(FRESH_WORLD, number, 96) for number in range(4)]


def test_a_stored_oracle_reads_alike(fresh, frames, tmp_path):
    oracle.save_oracle(tmp_path / "oracle.npz", fresh)
    again = oracle.load_oracle(tmp_path / "oracle.npz")
    assert (again.config, again.errors, again.picture_errors) == (
        fresh.config,
        {"yaw": 1.0},
        {"yaw": 2.0},
    )
    pictures, landmarks, _ = stacked(frames)
    readings = (fresh(pictures, landmarks), again(pictures, landmarks))
    for one, other, spans in zip(*readings, (PERSONA_SPANS, PERFORMANCE_SPANS), strict=True):
        assert one.shape == (4, len(spans))
        widths = [span.high - span.low for span in spans.values()]
        assert (np.abs(one - other) / widths).max() < 0.01
    assert again.drift() == 0
    moved = dataclasses.replace(again, reference=np.roll(again.reference, 1, axis=2))
    assert moved.drift() > 1


def test_what_is_outside_of_the_mask_has_no_influence(fresh, frames):
    pictures, landmarks, masks = stacked(frames)
    noise = np.random.default_rng(0).integers(0, 256, pictures.shape).astype(np.uint8)
    changed = np.where(masks[..., None] > 0, pictures, noise)
    for one, other in zip(
        fresh(pictures, landmarks, masks), fresh(changed, landmarks, masks), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert (fresh(pictures, landmarks).performance != fresh(changed, landmarks).performance).any()


def test_pictures_are_read_one_by_one(fresh, frames):
    pictures, landmarks, _ = stacked([frames[number % 4] for number in range(66)])
    many, one = fresh(pictures, landmarks), fresh(pictures[1:2], landmarks[1:2])
    np.testing.assert_allclose(many.persona[65], one.persona[0], atol=1e-5)
    assert fresh(pictures[:0], landmarks[:0]).persona.shape == (0, 26)


def test_faces_are_read_where_the_landmarks_are(fresh, frames):
    """A moved picture with moved landmarks reads the same, but for the translation, in picture widths of 4 units."""
    pictures, landmarks, _ = stacked(frames)
    wide = [
        np.pad(pictures, ((0, 0), (20, 40 - 20), (left, 40 - left), (0, 0)), "edge")
        for left in (20, 32)
    ]
    one, other = (
        fresh(p, landmarks + np.array([left, 20])) for p, left in zip(wide, (20, 32), strict=True)
    )
    np.testing.assert_allclose(one.persona, other.persona, atol=1e-4)
    x = list(PERFORMANCE_SPANS).index("translate_x")
    moved = other.performance - one.performance
    np.testing.assert_allclose(np.delete(moved, x, axis=1), 0, atol=1e-3)
    span = PERFORMANCE_SPANS["translate_x"]
    goal = np.clip(one.performance[:, x] + 12 * 4 / 136, span.low, span.high)
    inside = one.performance[:, x] > span.low + 1e-6
    assert inside.any()
    np.testing.assert_allclose(other.performance[inside, x], goal[inside], atol=1e-4)


def test_readings_lie_in_their_spans(fresh, frames):
    noise = np.random.default_rng(0).integers(0, 256, (4, 96, 96, 3)).astype(np.uint8)
    wild = dataclasses.replace(fresh, params=jax.tree.map(lambda w: 3 * w, fresh.params))
    for values, spans in zip(
        wild(noise, stacked(frames)[1]), (PERSONA_SPANS, PERFORMANCE_SPANS), strict=True
    ):
        low, high = (np.float32([span[end] for span in spans.values()]) for end in (0, 1))
        assert (values >= low).all() and (values <= high).all()
        assert (values == low).any() and (values == high).any()


def test_wrong_pictures(fresh, frames):
    with pytest.raises(InputError, match="The oracle reads square pictures, not 80 x 64 px"):
        fresh(np.zeros((1, 64, 80, 3), np.uint8), frames[0].landmarks[None])


@pytest.mark.parametrize("content", [None, b"", b"no archive at all", b"PK\x03\x04 cut off"])
def test_wrong_files(tmp_path, content):
    path = tmp_path / "oracle.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="is not an oracle"):
        oracle.load_oracle(path)


def test_archives_of_other_things(tmp_path):
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    with pytest.raises(InputError, match="is not an oracle"):
        oracle.load_oracle(tmp_path / "other.npz")


def test_measured_errors_are_those_of_its_readings(fresh, frames):
    result = oracle.measured(fresh, oracle.errors(fresh, FRESH_WORLD, range(4), size=96))
    pictures, landmarks, masks = stacked(frames)
    for errors, shown in ((result.errors, masks), (result.picture_errors, None)):
        yaw = fresh(pictures, landmarks, shown).performance[:, 0] - [
            frame.performance.yaw for frame in frames
        ]
        np.testing.assert_allclose(errors["yaw"], np.abs(yaw).mean(), rtol=1e-4)
    assert (
        list(result.errors) == list(samples.SPANS)
        and result.errors["yaw"] != result.picture_errors["yaw"]
    )
