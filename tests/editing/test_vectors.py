"""Adjustment vectors: how they are made of latents, where they may change them, and their files."""

import json

import jax
import numpy as np
import pytest

from experiments import parts as experiment
from faceswap_jax.editing.edits import Edits
from faceswap_jax.editing.keyframes import Curve
from faceswap_jax.editing.keys import Keys
from faceswap_jax.editing.vectors import Key, Vector, first_component, mean_difference, where
from faceswap_jax.errors import InputError
from faceswap_jax.faces.face import Face
from faceswap_jax.faces.video import Frame
from faceswap_jax.inference.batching import Performance, read_inputs
from faceswap_jax.inference.generator import Edit, Who
from faceswap_jax.inference.trained import TrainedGenerator
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.tasks.autoencoder import Task
from faceswap_jax.vector import make
from tests.support.generators import PixelGenerator
from tests.support.made_vectors import vector
from tests.support.performers import show

GROUPS = ["ada"] * 6 + ["ben"] * 4, ["ben"] * 5 + ["ada"] * 5
MAKERS = pytest.mark.parametrize("make", [mean_difference, first_component])


def latents(seed: int, count: int = 10) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 12))


def of_group(groups, offsets) -> np.ndarray:
    return np.stack([offsets[name] for name in groups])


@pytest.fixture(scope="module")
def generator():
    """An untrained network with part encoders."""
    c = experiment.get_config()
    c.personas = ("ada", "ben")
    c.model.update(width=1 / 64, latent=8, part_latent=4)
    c.update(level_steps=(0, 0, 1), final_steps=0)
    task = Task(c)
    (phase,) = task.phases
    variables = task.variables(phase, task.init_state(phase, jax.random.key(0)))
    return TrainedGenerator(task.synthesis(phase), variables, 0, make_mesh())


def key_faces(seed: int) -> Keys:
    """Three puppets, each of whom does something else."""
    shown = [show(seed, i) for i in range(3)]
    frames = [Frame(frame.image, 0.0, i) for i, frame in enumerate(shown)]
    faces = [Face(frame.landmarks, 1.0) for frame in shown]
    keys = [Key(f"{seed} {i}", "") for i in range(3)]
    return Keys("keys", keys, Performance(frames, faces), [""] * 3)


def test_the_mean_difference_of_one_group_is_that_of_the_means():
    a, b = latents(0), latents(1)
    found = mean_difference(a, b, ([""] * 10, [""] * 10))
    np.testing.assert_allclose(found, a.mean(0) - b.mean(0))


@MAKERS
def test_what_tells_people_apart_does_not_get_into_a_vector(make):
    """Whoever has more of the positive faces."""
    a, b = latents(0), latents(1)
    offsets = {"ada": latents(2)[0] * 50, "ben": latents(3)[0] * 50}
    moved = [z + of_group(names, offsets) for z, names in zip((a, b), GROUPS, strict=True)]
    np.testing.assert_allclose(make(*moved, GROUPS), make(a, b, GROUPS), atol=1e-9)


@MAKERS
def test_the_opposite_sides_give_the_opposite_vector(make):
    a, b = latents(0), latents(1)
    np.testing.assert_allclose(make(b, a, GROUPS[::-1]), -make(a, b, GROUPS), atol=1e-12)


def test_the_first_component_is_the_axis_on_which_the_sides_differ_most():
    axis = latents(4)[0]
    axis /= np.linalg.norm(axis)
    noise = 0.01 * latents(5, 40)
    a, b = noise[:20] + 3 * axis, noise[20:]
    found = first_component(a, b, ([""] * 20, [""] * 20))
    np.testing.assert_allclose(found, 3 * axis, atol=0.02)


@pytest.mark.parametrize("method", ["mean", "pca"])
@pytest.mark.parametrize("part", ["left_eye", "right_eye", "mouth", "remainder"])
def test_an_edit_of_one_part_leaves_the_latents_of_the_others_exactly(generator, part, method):
    sides = [key_faces(seed) for seed in range(2)]
    made = make(generator, "trait", *sides, [part], method)
    edits = Edits([Curve("trait", None, [0], [0.7])], {"trait": made})
    z = sides[1].latents(generator)
    shift = edits.of_faces([0])[0](sides[1].performance.frames, z)

    own = np.zeros(z.shape[1], bool)
    own[generator.parts[part]] = True
    np.testing.assert_array_equal((z + shift)[:, ~own], z[:, ~own])
    assert (shift[0, own] != 0).all()


def test_the_image_follows_an_edit(generator):
    faces = read_inputs(generator, key_faces(0).performance)
    ada = generator.identity(Who({"ada": 1.0}))
    shift = np.repeat(200 * where(["mouth"], generator)[None], 3, 0)
    assert (generator(ada, faces, Edit(shift)) != generator(ada, faces)).any()


def test_faces_that_look_the_same_to_the_model_make_no_vector(generator):
    with pytest.raises(InputError, match="Both sides of 'trait' look the same"):
        make(generator, "trait", key_faces(0), key_faces(0))


def test_parts_follow_one_another_and_fill_the_latents(generator):
    assert list(generator.parts) == ["left_eye", "right_eye", "mouth", "remainder"]
    total = sum(where([part], generator) for part in generator.parts)
    np.testing.assert_array_equal(total, np.ones(key_faces(0).latents(generator).shape[1]))


def test_a_part_that_the_model_has_not_is_told(generator):
    with pytest.raises(InputError, match="no part 'nose'; choose of left_eye, right_eye, mouth"):
        where(["nose"], generator)
    with pytest.raises(InputError, match="no latents that can be edited"):
        where([], PixelGenerator(np.copy, 8))


def test_a_saved_vector_is_the_same(tmp_path):
    path = vector().save(tmp_path)
    assert path == tmp_path / "vectors" / "smile.json"
    assert Vector.load(tmp_path, "smile") == vector()


def test_files_that_are_no_vectors_are_told(tmp_path):
    with pytest.raises(InputError, match="has no vector 'smile', there is none yet"):
        Vector.load(tmp_path, "smile")
    path = vector(name="grin").save(tmp_path)
    with pytest.raises(InputError, match="has no vector 'smile', there are grin"):
        Vector.load(tmp_path, "smile")

    content = json.loads(path.read_text())
    for changed, message in (
        (content | {"version": 2}, "version 2, newer than 1"),
        ({"version": 1}, "is damaged .*make the vector again"),
        ([], "is damaged"),
        (content | {"values": [1.0, float("nan")]}, "is damaged"),
        (content | {"values": ["a lot"]}, "is damaged"),
    ):
        path.write_text(json.dumps(changed))
        with pytest.raises(InputError, match=f"{path}.* {message}"):
            Vector.load(tmp_path, "grin")


@pytest.mark.parametrize("name", ["", "../smile", "a/b", ".smile", "a=b", "a,b", " smile"])
def test_names_that_are_no_names_of_files_are_told(tmp_path, name):
    with pytest.raises(InputError, match="cannot be the name of a vector"):
        Vector.load(tmp_path, name)


def test_a_vector_of_other_weights_is_told(generator):
    length = sum(part.stop - part.start for part in generator.parts.values())
    vector(digest=generator.digest, length=length).check(generator)
    with pytest.raises(InputError, match="'smile' was made with the weights of step 3"):
        vector(length=length).check(generator)
    with pytest.raises(InputError, match="'smile' is as long as no latents"):
        vector(digest=generator.digest, length=1).check(generator)
