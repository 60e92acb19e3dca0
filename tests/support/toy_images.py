"""A toy that makes images, trained in two steps: the face's colours, tinted by who it is. `config.task` names it."""

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

    def synthesis(self, phase, state):
        return Synthesis(
            alignment="stable",
            resolution=RESOLUTION,
            placement=self.config.placement,
            inputs=tuple(self.config.inputs),
            personas=PERSONAS,
            variables=state.params,
            identity=identity,
            images=images,
            sound_window=WINDOW,
        )


def identity(who):
    """Weights of the personas, and the mean colour of the pictures."""
    weights = np.float32([who.personas.get(name, 0) for name in PERSONAS])
    colour = np.mean(who.pictures, (0, 1, 2)) / 255 if who.pictures else np.zeros(3)
    return {"weights": weights, "colour": np.float32(colour)}


def images(variables, identity, inputs, edit):
    """The tint, times what the face does: as bright as its pixels, its yaw and its sound are large."""
    tint = identity["weights"] @ variables["tints"] + identity["colour"]
    light = 0.5
    if "crops" in inputs:
        light = inputs["crops"].astype(jnp.float32) / 255
    if "pose" in inputs:
        light = light + inputs["pose"][:, None, None, :1] / 90
    if "sound" in inputs:
        light = light + jnp.abs(inputs["sound"]).mean(1)[:, None, None, None]
    shape = (len(next(iter(inputs.values()))), RESOLUTION, RESOLUTION, 3)
    return jnp.round(255 * jnp.clip(jnp.broadcast_to(light * tint, shape), 0, 1)).astype(jnp.uint8)
