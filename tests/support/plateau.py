"""A toy whose learning rate falls when its loss has not for a while; `config.task` names this module."""

from dataclasses import replace

import grain
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from optax import contrib

from faceswap_jax import config as configs
from faceswap_jax.state import State
from faceswap_jax.tasks import base

SGD = optax.sgd(0.9)
PLATEAU = contrib.reduce_on_plateau(factor=0.5, patience=2, rtol=0.05)


def config() -> ml_collections.ConfigDict:
    """Twelve steps."""
    c = ml_collections.ConfigDict({"task": __name__, "seed": 1, "batch": 8})
    c.update(configs.defaults())
    c.mesh.cpu_devices = 8
    c.run.update(log=1, preview=6, checkpoint=4)
    return c


class Task(base.Task):
    """Fits the mean of noise. The plateau's state is a part of `state.opt`, so that it is saved with all else."""

    phases = (base.Phase("all", 0, 12, stage=0),)

    def init_state(self, phase, key):
        params = {"mean": jnp.full(3, 5.0)}
        opt = {"sgd": SGD.init(params), "plateau": PLATEAU.init(params)}
        return State(jnp.int32(0), key, params, opt)

    def steps(self, phase):
        return {"step": self._step}

    def train_data(self, phase, host, hosts):
        return self._data(host, hosts)

    def eval_data(self, phase, host, hosts):
        return self._data(host, hosts)

    def _step(self, state, batch):
        def loss(params):
            return jnp.mean((batch["x"] - params["mean"]) ** 2)

        value, gradients = jax.value_and_grad(loss)(state.params)
        updates, sgd = SGD.update(gradients, state.opt["sgd"])
        updates, plateau = PLATEAU.update(updates, state.opt["plateau"], value=value)
        metrics = {"loss": value, "scale": plateau.scale}
        params = optax.apply_updates(state.params, updates)
        opt = {"sgd": sgd, "plateau": plateau}
        return replace(state, step=state.step + 1, params=params, opt=opt), metrics

    def _data(self, host, hosts):
        def load(index):
            return {"x": np.random.default_rng(index).normal(size=3).astype(np.float32)}

        records = grain.MapDataset.range(1000).map(load)
        return records[host::hosts].batch(self.config.batch // hosts)
