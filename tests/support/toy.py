"""A toy adversarial system that the training loop has never heard of.

It has what such systems have: two optimizers with different schedules, a step that is done only now and then, two
frozen networks, averaged weights, and a score of a whole set. `config.task` names this module.
"""

from dataclasses import replace

import grain
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from faceswap_jax import config as configs
from faceswap_jax.state import State
from faceswap_jax.tasks import base
from faceswap_jax.tasks.base import Evaluator, Phase, Preview

LAZY = 2  # adversarial steps from one regularised to the next
EVALUATED = 3  # batches
OPTIMIZERS = {
    "generator": optax.adam(optax.linear_schedule(0.1, 0.01, 9)),
    "critic": optax.chain(optax.scale_by_rms(), optax.scale_by_learning_rate(0.05)),
}


def config() -> ml_collections.ConfigDict:
    """Four steps of the generator alone and five adversarial ones; what goes wrong is for tests to set."""
    c = ml_collections.ConfigDict({"task": __name__, "seed": 3, "batch": 8})
    c.update(more_steps=0, diverge_at=-1, overflow_at=-1, spike_at=-1, bad_batches=())
    c.update(configs.defaults())
    c.mesh.cpu_devices = 8
    c.run.update(log=2, preview=3, checkpoint=3)
    return c


class Task(base.Task):
    """A generator fits frozen random features, a critic its residual; batches {"x": [b, 3]}."""

    may_grow = ("more_steps",)
    corrupt = 2  # as if two records of the data had been

    def __init__(self, config):
        super().__init__(config)
        last = 9 + config.more_steps
        self.phases = (
            Phase("alone", 0, 4, stage=0),
            Phase("adversarial", 4, last, stage=1, cost=2.0),
        )

    def data_summary(self):
        return "1,000 points"

    def init_state(self, phase, key):
        params = {"generator": {"w": jax.random.normal(key, (3, 3))}}
        if phase.stage:
            params["critic"] = {"w": jnp.full((3, 1), 0.1)}
        return State(
            step=jnp.int32(phase.start),
            key=key,
            params=params,
            opt={name: OPTIMIZERS[name].init(group) for name, group in params.items()},
            extras={
                "features": jnp.zeros((3, 3)),
                "scale": jnp.zeros(3),
                "average": params["generator"],
            },
        )

    def frozen_inputs(self):
        rng = np.random.default_rng(5)
        features = rng.normal(size=(3, 3)).astype(np.float32)
        return {"features": features, "scale": np.ones(3, np.float32)}

    def enter(self, phase, state):
        fresh = self.init_state(phase, state.key)
        params, opt = fresh.params | state.params, fresh.opt | state.opt
        return replace(fresh, params=params, opt=opt, extras=state.extras)

    def steps(self, phase):
        if not phase.stage:
            return {"plain": self._step}
        return {"plain": self._step, "regularised": self._regularised_step}

    def step_name(self, phase, step):
        lazy = phase.stage and (step - phase.start) % LAZY == 0
        return "regularised" if lazy else "plain"

    def evaluators(self, phase):
        return (base.mean_of(self._error), Evaluator(self._residual, spread, EVALUATED))

    def preview(self, phase):
        return Preview(
            lambda state, batch: jnp.full((1, 2, 8, 4, 3), 0.5), ["grey"], ["left", "right"]
        )

    def train_data(self, phase, host, hosts):
        return self._data(self.config.seed, host, hosts)

    def eval_data(self, phase, host, hosts):
        return self._data(self.config.seed + 1, host, hosts)

    def _losses(self, params, extras, x):
        target = jnp.sin(x @ extras["features"]) * extras["scale"]
        residual = x @ params["generator"]["w"] - target
        losses = {"loss_generator": jnp.mean(residual**2)}
        if "critic" in params:
            verdict = jax.lax.stop_gradient(residual) @ params["critic"]["w"]
            losses["loss_critic"] = jnp.mean((verdict - 1) ** 2)
        return losses

    def _step(self, state, batch, regulariser=None):
        noise = jax.random.normal(jax.random.fold_in(state.key, state.step), batch["x"].shape)
        x = batch["x"] + 0.1 * noise

        def total(params):
            losses = self._losses(params, state.extras, x)
            if regulariser:
                losses["penalty"] = regulariser(params, x)
            return sum(losses.values()), losses

        gradients, losses = jax.grad(total, has_aux=True)(state.params)
        spike = jnp.where(self._is_step(state, "spike_at"), 1e30, 1.0)  # its square is infinite
        gradients["generator"]["w"] *= spike

        # Update step
        params, opt = {}, {}
        for name, group in state.params.items():
            updates, opt[name] = OPTIMIZERS[name].update(gradients[name], state.opt[name])
            params[name] = optax.apply_updates(group, updates)
        large = jnp.where(self._is_step(state, "overflow_at"), 1e38, 0.0)
        params["generator"]["w"] += large * large
        average = jax.tree.map(
            lambda a, w: 0.9 * a + 0.1 * w, state.extras["average"], params["generator"]
        )
        losses["loss_generator"] += jnp.where(self._is_step(state, "diverge_at"), jnp.nan, 0.0)
        extras = state.extras | {"average": average}
        return State(state.step + 1, state.key, params, opt, extras), losses

    def _regularised_step(self, state, batch):
        """Also holds the critic's gradients small."""

        def penalty(params, x):
            gradient = jax.grad(lambda x: jnp.sum(jnp.tanh(x @ params["critic"]["w"])))(x)
            return LAZY * jnp.mean(gradient**2)

        return self._step(state, batch, penalty)

    def _is_step(self, state, name):
        return state.step + 1 == self.config[name]

    def _error(self, state, batch):
        return {"error": self._losses(state.params, state.extras, batch["x"])["loss_generator"]}

    def _residual(self, state, batch):
        return batch["x"] @ state.params["generator"]["w"]

    def _data(self, seed, host, hosts):
        def load(index):
            x = np.random.default_rng((seed, index)).normal(size=3).astype(np.float32)
            if index // self.config.batch in self.config.bad_batches and seed == self.config.seed:
                x[1] = np.nan
            return {"x": x, "record": np.array(f"ada: a.mp4, frame {index}")}

        records = grain.MapDataset.range(1000).repeat().map(load)
        return records[host::hosts].batch(self.config.batch // hosts)


def spread(outputs):
    """A score of a whole set, as FID is: of the covariance of all outputs."""
    covariance = np.cov(np.concatenate(outputs), rowvar=False)
    return {"spread": float(np.trace(covariance))}


def trained_by_hand(task, numbers):
    """The state after steps on batches of these numbers, without the training loop and its compiled programs."""
    state = task.init_state(task.phases[0], jax.random.key(task.config.seed))
    state = replace(state, extras=state.extras | task.frozen_inputs())
    data = task.train_data(None, 0, 1)
    for step, number in enumerate(numbers):
        phase = base.phase_of(task, step + 1)
        if step == phase.start > 0:
            state = task.enter(phase, state)
        train_step = task.steps(phase)[task.step_name(phase, step)]
        state, _ = train_step(state, {"x": data[number]["x"]})
    return state
