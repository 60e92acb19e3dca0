"""The tunable decoder in the autoencoder task: it trains, over devices too, and a swap shows a mix."""

import shutil

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding

from experiments import tunable as experiment
from faceswap_jax.faces import picture
from faceswap_jax.faces.video import read_frames
from faceswap_jax.parallel import rules
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.tasks.autoencoder import Task
from faceswap_jax.tasks.autoencoder_start import AVERAGE
from faceswap_jax.train import train
from tests.support.small_comb import start

SMALL = {"width": 1 / 64, "latent": 8, "part_latent": 4, "code": 4}


def task_of(kind, **changes):
    c = experiment.get_config()
    c.personas = ("a", "b", "c", "d")
    c.model.update(tuning=kind, **SMALL)
    c.update(level_steps=(0, 0, 4, 10), final_steps=3, batch=2, learning_rate=1e-4, average=0.9)
    c.loss.l1 = 0.5
    c.update_from_flattened_dict(changes)
    return Task(c)


@pytest.fixture
def batch(noise):
    """Four images of each of four personas, with the landmarks that the encoders read."""
    noise = noise | {"encoder_landmarks": noise["landmarks"]}
    return jax.tree.map(lambda a: np.concatenate([a] * 2, 1), noise)


@pytest.mark.slow
@pytest.mark.usefixtures("one_device")
@pytest.mark.parametrize("kind", ["persona", "code", "weights"])
def test_two_steps_are_the_same_on_one_device_and_on_eight(kind, batch):
    task = task_of(kind)
    phase, state = start(task)
    step = jax.jit(task.steps(phase)["train"])
    single, _ = step(state, batch)
    single, values = step(single, batch)
    assert values["loss"] < 2 and np.isfinite(values["loss"])

    mesh = make_mesh(4)
    with jax.set_mesh(mesh):
        layout = rules.shardings(jax.eval_shape(lambda: state), mesh)
        step = jax.jit(task.steps(phase)["train"], out_shardings=(layout, None))
        sharded = jax.device_put(state, layout)
        placed = jax.device_put(batch, NamedSharding(mesh, task.batch_spec))
        for _ in range(2):
            sharded, sharded_values = step(sharded, placed)
    np.testing.assert_allclose(sharded_values["loss"], values["loss"], rtol=1e-5)
    pairs = zip(jax.tree.leaves(single.params), jax.tree.leaves(sharded.params), strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(a, b, atol=2e-5)
    for leaf in jax.tree.leaves(sharded.params["personas"]):
        assert leaf.addressable_shards[0].data.shape == (1, *leaf.shape[1:])
    assert sharded.extras[AVERAGE].keys() == state.params.keys()


@pytest.mark.usefixtures("one_device")
def test_the_decoder_and_a_persona_can_be_held_still(batch):
    task = task_of("persona", **{"freeze.steps": 9, "freeze.modules": "decoder,b"})
    phase, state = start(task)
    new, _ = jax.jit(task.steps(phase)["train"])(state, batch)

    def moved(group, p=slice(None)):
        before, after = (jax.tree.leaves(s.params[group]) for s in (state, new))
        return any(bool((x[p] != y[p]).any()) for x, y in zip(before, after, strict=True))

    assert not moved("decoder") and not moved("personas", 1)
    assert moved("encoder") and moved("personas", 0)


@pytest.mark.slow
def test_a_swap_shows_a_mix_of_personas(clips, data, tmp_path, monkeypatch, faceswap):
    monkeypatch.chdir(tmp_path)
    c = experiment.get_config()
    c.data.path = str(data)
    c.model.update(tuning="code", parts=(), **SMALL)
    # Codes move far in a few steps, so that personas differ.
    c.update(level_steps=(0, 0, 4), final_steps=0, batch=8, learning_rate=1e-3, persona_rate=300.0)
    c.mesh.cpu_devices = 8
    c.run.update(log=2, preview=4, checkpoint=3)
    assert train(c, tmp_path / "run")

    # A picture of ben, and the landmarks beside it
    frame = next(iter(read_frames(clips / "ben.mp4")))
    picture.write_picture(tmp_path / "ben.png", frame.image)
    shutil.copy(clips / "ben.mp4.landmarks.csv", tmp_path / "ben.png.landmarks.csv")
    swap = ["swap", "ben.png", "--workdir=run", "--blend=none", "--output=out.png"]

    def face(persona):
        code, _, err = faceswap(*swap, "--persona", persona)
        assert code == 0, err
        return picture.read_picture(tmp_path / "out.png").astype(int)

    def far(one, other):
        return np.abs(one - other).mean()

    ada, ben = face("ada"), face("ben")
    np.testing.assert_array_equal(face("ada:1,ben:0"), ada)
    mixed = face("ada:0.5, ben:0.5")
    assert 0 < far(mixed, ada) < far(ada, ben) and 0 < far(mixed, ben) < far(ada, ben)

    code, _, err = faceswap(*swap, "--persona=ada:0.5")
    assert code == 2 and "sum is 1" in err
