"""Control by the pose of the head, fitted to records whose latents are known functions of the pose."""

import json
import shutil
from dataclasses import dataclass, replace

import numpy as np
import pytest

from data_pipelines.puppets.source import puppet_source
from data_pipelines.records import decode
from faceswap_jax.editing.control import FILE, Control, Known, _sound, fit
from faceswap_jax.editing.hearing import Hearing
from faceswap_jax.errors import InputError
from faceswap_jax.faces import mel
from faceswap_jax.faces.pose import head_pose
from faceswap_jax.pretrained import listener
from tests.support.generators import PixelGenerator
from tests.support.listening import EMBEDDING, write_listener

LATENTS, FRAMES = 6, 24


@dataclass
class Turning(PixelGenerator):
    """Latents that are linear in the pose of the landmarks, but for what tells people apart."""

    digest: str = "0123456789abcdef"

    def latents(self, faces):
        return faces.pose @ MATRIX + np.round(faces.pose[:, 2:] / 1e3)


MATRIX = np.random.default_rng(4).standard_normal((3, LATENTS))


@pytest.fixture(scope="module")
def sources():
    return {f"puppet{p}": puppet_source(3, p, 0, FRAMES, 32) for p in range(2)}


@pytest.fixture(scope="module")
def generator():
    return Turning(np.copy, 16, inputs=("pose",), parts={"face": slice(0, LATENTS)}, step=5)


@pytest.fixture(scope="module")
def control(generator, sources):
    return fit(generator, sources)


def poses(source):
    """True poses, and those that the landmarks tell."""
    records = [decode(source.records[i]) for i in range(FRAMES)]
    true = np.stack([record.pose for record in records])
    return true, np.stack([head_pose(record.landmarks) for record in records])


def test_poses_are_told_from_latents(control, sources):
    true, seen = poses(sources["puppet1"])
    errors = np.abs(control.poses(seen @ MATRIX) - true).mean(0)
    assert errors.max() < 6  # one head stands for all in `head_pose`
    assert max(control.errors) < 8 and control.faces == 2 * (FRAMES - 2)
    known = np.concatenate([poses(source)[0][:-2] for source in sources.values()])
    np.testing.assert_allclose(control.reach, np.stack([known.min(0), known.max(0)], 1))


def test_a_shift_turns_latents_as_far_as_wanted(control):
    wanted = np.array([[10.0, 0, 0], [0, 5, 0], [0, 0, -8]])
    source = np.array([3.0, -2, 1])
    shift = control.shift(wanted, source)
    # As latents move with the pose; no constant, whatever a person's own latents are.
    np.testing.assert_allclose(shift, (wanted - source) @ MATRIX, atol=0.35 * np.abs(shift).max())
    np.testing.assert_allclose(control.shift(source[None], source), 0)


def test_sound_moves_a_face_without_turning_it(control, generator):
    """Latents that follow a sound, and turn the head with it."""
    rng = np.random.default_rng(1)
    opens = rng.standard_normal((4, LATENTS))
    features = mel.STEPS * mel.BANDS

    def known(count):
        sounds = np.zeros((count, features))
        sounds[:, :4] = rng.standard_normal((count, 4)) * [1, 2, 3, 4]
        return Known(sounds[:, :4] @ opens, np.zeros((count, 3)), sounds)

    by_sound, explained = _sound(known(50).moving, known(20).moving)
    np.testing.assert_allclose(by_sound[:4], opens, atol=1e-8)
    assert not by_sound[4:].any() and explained == pytest.approx(1)
    assert _sound(known(4), known(4))[0].size == 0

    speaking = replace(control, by_sound=by_sound.tolist())
    heard, source = rng.standard_normal((5, features)), rng.standard_normal(features)
    moved = (heard - source)[:, :4] @ opens
    shift = speaking.sound_shift(heard, source)
    assert np.abs(shift - moved).max() > 0.1
    # As the authors' notebook has it: n + f(p of the source) - f(p of n)
    v = rng.standard_normal((5, LATENTS))
    n = v + moved
    turned = np.float32((speaking.poses(v) - speaking.poses(n)) @ np.array(speaking.to_latents))
    np.testing.assert_allclose(v + shift, n + turned, atol=1e-4)


def test_what_hardly_varies_in_sound_moves_nothing():
    """Features that lie in one direction, but for noise, as learned ones nearly do; one that is nearly always alike."""
    rng = np.random.default_rng(2)

    def known(count):
        loud = rng.standard_normal((count, 1))
        sounds = loud @ np.ones((1, 8)) + 1e-6 * rng.standard_normal((count, 8))
        sounds = np.column_stack([sounds, 0.01 * rng.standard_normal(count)])
        latents = loud @ np.ones((1, LATENTS)) + 0.1 * rng.standard_normal((count, LATENTS))
        return Known(latents, np.zeros((count, 3)), sounds).moving

    by_sound, explained = _sound(known(50), known(50))
    np.testing.assert_allclose(by_sound[:8], 1 / 8, atol=0.02)
    assert not by_sound[8].any()
    assert explained > 0.9


def test_what_hears_belongs_to_its_control(generator, tmp_path):
    """Features of a network of weights of its own, in the place of log-mel energies."""
    people = {f"puppet{p}": puppet_source(3, p, 0, FRAMES, 32) for p in range(2)}
    fit(generator, people, Hearing.of(write_listener(tmp_path / "sync", 0))).save(tmp_path)
    # They may be moved together.
    tmp_path = tmp_path.rename(tmp_path.with_name("moved"))
    run = tmp_path / "sync"
    control = Control.load(tmp_path)
    assert np.shape(control.by_sound) == (EMBEDDING, LATENTS)
    control.check_sound(tmp_path)
    windows = np.random.default_rng(0).normal(scale=0.1, size=(5, mel.WINDOW))
    shift = control.speech(windows)
    heard = listener.load(run)(windows)
    np.testing.assert_allclose(shift, control.sound_shift(heard, heard.mean(0)), atol=1e-5)
    np.testing.assert_allclose(shift.mean(0), 0, atol=1e-4)

    shutil.rmtree(run)
    write_listener(run, 1)
    with pytest.raises(InputError, match=f"'{run}'.* other weights .*fit-control --sound {run}"):
        Control.load(tmp_path).check_sound(tmp_path)
    shutil.rmtree(run)
    with pytest.raises(InputError, match=f"{run}"):
        Control.load(tmp_path).check_sound(tmp_path)


def test_it_is_kept_beside_the_weights(control, generator, tmp_path):
    control.save(tmp_path)
    again = Control.load(tmp_path)
    np.testing.assert_array_equal(again.to_latents, control.to_latents)
    again.check(generator)
    with pytest.raises(InputError, match=r"weights of step 5.* step 7.*fit-control.*--step"):
        again.check(replace(generator, digest="other", step=7))


def test_a_file_that_is_missing_or_damaged_is_told(control, tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path}' has no control.*fit-control"):
        Control.load(tmp_path)
    path = control.save(tmp_path)
    content = json.loads(path.read_text())
    for wrong, message in (
        ({"version": 9}, "version 9"),
        ({"to_latents": [[1.0]]}, "damaged"),
        ({"reach": "wide"}, "damaged"),
        ({"more": 1}, "damaged"),
    ):
        (tmp_path / FILE).write_text(json.dumps(content | wrong))
        with pytest.raises(InputError, match=f"{path}.*{message}"):
            Control.load(tmp_path)


def test_a_model_without_latents_and_too_few_faces_are_told(generator, sources):
    with pytest.raises(InputError, match="no latents"):
        fit(replace(generator, parts={}), sources)
    few = {"puppet0": puppet_source(3, 0, 0, 5, 32)}
    with pytest.raises(InputError, match=r"4 faces, fewer .*\(6\)"):
        fit(generator, few)
