"""A toy that makes images, trained in two steps: the face's colours, tinted by who it is. `config.task` names it.

Its latents are the brightness of the crop's 4 x 4 tiles, its embedded face is the mean of the pictures.
"""

from dataclasses import replace

import grain
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from faceswap_jax import config as configs
from faceswap_jax.state import State
from faceswap_jax.tasks import base
from faceswap_jax.tasks.base import Phase, Synthesis

RESOLUTION = 32
PERSONAS = ("ada", "ben")
WINDOW = 1600  # samples of sound
TILES = 4


def config(placement: str, inputs: tuple[str, ...]) -> ml_collections.ConfigDict:
    c = ml_collections.ConfigDict({"task": __name__, "seed": 3, "batch": 8})
    c.update(placement=placement, inputs=inputs)
    c.update(configs.defaults())
    c.mesh.cpu_devices = 8
    return c


class Task(base.Task):
    """Learns a tint for each persona."""

    phases = (Phase("tints", 0, 2, stage=0),)

    def init_state(self, phase, key):
        tints = jax.random.uniform(key, (len(PERSONAS), 3), minval=0.2, maxval=0.8)
        return State(jnp.int32(0), key, {"tints": tints}, {"none": jnp.zeros(())})

    def steps(self, phase):
        return {"train": self._step}

    def _step(self, state, batch):
        error = state.params["tints"] - batch["x"].mean()
        params = {"tints": state.params["tints"] - 0.1 * error}
        return replace(state, step=state.step + 1, params=params), {"loss": jnp.mean(error**2)}

    def train_data(self, phase, host, hosts):
        data = grain.MapDataset.range(8).repeat().map(lambda i: {"x": np.float32([i / 8])})
        return data[host::hosts].batch(self.config.batch // hosts)

    eval_data = train_data

    def synthesis(self, phase):
        return Synthesis(
            alignment="stable",
            resolution=RESOLUTION,
            placement=self.config.placement,
            inputs=tuple(self.config.inputs),
            personas=PERSONAS,
            images=images,
            identity=identity,
            sound_window=WINDOW,
            latents=latents if "crops" in self.config.inputs else None,
            parts={"face": TILES**2} if "crops" in self.config.inputs else {},
            paintable=True,
        )


def identity(variables, pictures):
    """The mean of the pictures."""
    return {"embedded": pictures.astype(jnp.float32).mean(0) / 255}


def latents(variables, inputs):
    """The brightness of each tile."""
    size = RESOLUTION // TILES
    crops = inputs["crops"].astype(jnp.float32) / 255
    tiles = crops.reshape(-1, TILES, size, TILES, size, 3)
    return tiles.mean((2, 4, 5)).reshape(-1, TILES**2)


def images(variables, identity, inputs, edit):
    """The embedded face, or a persona's tint, times what is done: bright where pixels, yaw and sound are large."""
    known = "weights" in identity
    tint = identity["weights"] @ variables["tints"] if known else 2 * identity["embedded"]
    light = 0.5
    if "crops" in inputs:
        light = inputs["crops"].astype(jnp.float32) / 255
    if "pose" in inputs:
        light = light + inputs["pose"][:, None, None, :1] / 90
    if "sound" in inputs:
        light = light + jnp.abs(inputs["sound"]).mean(1)[:, None, None, None]
    if edit is not None:
        size = RESOLUTION // TILES
        tiles = edit.reshape(-1, TILES, TILES, 1)
        light = light + tiles.repeat(size, 1).repeat(size, 2)
    shape = (next(iter(inputs.values())).shape[0], RESOLUTION, RESOLUTION, 3)
    return jnp.clip(jnp.broadcast_to(light * tint, shape), 0, 1)
