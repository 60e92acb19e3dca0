"""The comb task at its smallest: four personas, 16 px, two images of each."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from experiments import comb as experiment
from faceswap_jax.losses import reconstruction
from faceswap_jax.models import comb, iresnet
from faceswap_jax.models.autoencoder import persona
from faceswap_jax.parallel.mesh import AXES, make_mesh
from faceswap_jax.tasks.autoencoder import Task

AUGMENTED = {
    "augment.brightness": 0.1,
    "augment.contrast": 0.2,
    "augment.saturation": 0.3,
    "augment.hue": 0.05,
}
SHAPE = {"blocks": [1], "channels": [8], "stem": 8, "embedding": 12, "side": 16}  # as JSON has it
EMBEDDER = iresnet.IResNetConfig(**SHAPE | {"blocks": (1,), "channels": (8,)})
WEIGHTS = {"loss.l1": 0.5, "loss.identity": 0.3, "loss.cycle": 0.7, "loss.latent_cycle": 0.2}


def config(**changes) -> ml_collections.ConfigDict:
    """Four steps at 16 px and ten at 32 px."""
    c = experiment.get_config()
    c.personas = ("a", "b", "c", "d")
    c.model.update(width=1 / 64, latent=8)
    c.update(level_steps=(0, 0, 4, 10), final_steps=3, batch=2, learning_rate=1e-3)
    c.loss.l1 = 0.5
    c.update_from_flattened_dict(changes)
    return c


def noise() -> dict[str, np.ndarray]:
    """A batch of the first phase."""
    image = jax.random.randint(jax.random.key(0), (4, 2, 16, 16, 3), 0, 256).astype(jnp.uint8)
    mask = jnp.zeros((4, 2, 16, 16), jnp.uint8).at[:, :, 3:14, 2:13].set(255)
    landmarks = jax.random.uniform(jax.random.key(1), (4, 2, 68, 2), minval=2.0, maxval=13.0)
    return {
        "image": np.asarray(image),
        "encoder_input": np.asarray(image[..., ::-1]),
        "mask": np.asarray(mask),
        "landmarks": np.asarray(landmarks),
        "identity": np.repeat(np.arange(4, dtype=np.int32)[:, None], 2, axis=1),
    }


def one_device() -> jax.sharding.Mesh:
    """A mesh of the first device."""
    types = make_mesh().axis_types
    return jax.make_mesh((1, 1), AXES, devices=jax.devices()[:1], axis_types=types)


def start(task: Task):
    """The first phase, and a state in the middle of it."""
    phase = task.phases[0]
    state = task.init_state(phase, jax.random.key(1))
    return phase, replace(state, step=jnp.int32(2))


def plain(**changes):
    """A task, its first phase and a state."""
    task = Task(config(**changes))
    return task, *start(task)


def swapping(**changes):
    """The same with every loss, and a state that has the embedder."""
    given = {"loss.embedder": "given", "embedder": SHAPE}
    task, phase, state = plain(**WEIGHTS, **changes, **given)
    params, statistics = iresnet.init(EMBEDDER, jax.random.key(5))
    extras = {"embedder": {"params": params, "statistics": statistics}}
    return task, phase, replace(state, extras=extras)


def plain_loss(task, phase, params, p, encoder_input, x, mask):
    """Loss of persona p, written out for one persona at a time."""
    model = task.network(phase).config
    z = comb.encode(model, params["encoder"], encoder_input)
    y = comb.decode(model, params["tied"], persona(params["personas"], p), z)
    dissimilarity = reconstruction.dissimilarity(x * mask, y * mask)
    l1 = jnp.abs((x - y) * mask).sum((1, 2, 3)) / (3 * mask.sum((1, 2, 3)))
    return (dissimilarity + 0.5 * l1).mean()
