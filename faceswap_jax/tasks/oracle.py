"""The oracle: one network that tells all parameters of a puppet from its picture, or from its face alone.

It measures the systems of this project, all by the same measure; `evaluation/oracle.py` reads with it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import grain
import jax
import jax.numpy as jnp
import ml_collections
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from data_pipelines.puppets import samples
from data_pipelines.puppets.parameters import DEGREES, EXPRESSION, PERSONA_SPANS
from faceswap_jax.config import Demand, at_least, between, check, positive
from faceswap_jax.errors import InputError
from faceswap_jax.models import oracle
from faceswap_jax.ops import augmentation as augment
from faceswap_jax.ops import optimizers as optim
from faceswap_jax.ops import precision
from faceswap_jax.ops.masks import masked
from faceswap_jax.state import State
from faceswap_jax.tasks import base
from faceswap_jax.tasks.base import Batch, Evaluator, Metrics, Phase, Preview, Step, mean_of

OPTIMIZER = optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(1e-3))
PREVIEW_COLUMNS = 8


class Task(base.Task):
    """One phase; batches are those of `samples.training_batches`."""

    def __init__(self, config: ml_collections.ConfigDict):
        super().__init__(config)
        _check(config)
        c = config.model
        self.model = oracle.OracleConfig(
            len(samples.SPANS),
            samples.SIDE,
            c.stem,
            tuple(c.levels),
            c.squeeze,
            precision.dtype(config.precision),
        )
        self.phases = [Phase(f"{samples.SIDE} px", 0, config.steps, stage=0)]

    def learning_rate(self, step: Int[Array, ""]) -> Float[Array, ""]:
        """Rises over `warm_up` steps, then falls to zero along a cosine."""
        c = self.config
        return optax.warmup_cosine_decay_schedule(0.0, c.learning_rate, c.warm_up, c.steps)(step)

    def init_state(self, phase: Phase, key: PRNGKeyArray) -> State:
        """Fresh weights."""
        params = oracle.init(self.model, key)
        return State(
            step=jnp.int32(phase.start), key=key, params=params, opt=optim.init(OPTIMIZER, params)
        )

    def steps(self, phase: Phase) -> Mapping[str, Step]:
        """There is one step."""
        return {"train": self._train_step}

    def _train_step(self, state: State, batch: Batch) -> tuple[State, Metrics]:
        """One update on pictures as soft, noisy and bright as those of swaps and of decoded clips may be."""
        c, keys = self.config, jax.random.split(jax.random.fold_in(state.key, state.step), 5)
        x, mask = _pictures(batch)
        x = augment.photometric(keys[0], augment.blurred(keys[1], x, c.blur), c.augment)
        x += (
            c.noise
            * jax.random.uniform(keys[2], (len(x), 1, 1, 1))
            * jax.random.normal(keys[3], x.shape)
        )
        mask = augment.blurred(keys[4], mask[..., None], c.mask_blur)[..., 0]
        weight = jnp.where(
            jnp.arange(len(samples.SPANS)) < len(PERSONA_SPANS), 1.0, c.performance_weight
        )

        def loss(params):
            error = oracle.apply(self.model, params, masked(x, mask)) - batch["shares"]
            # Squares: absolute errors dwell much longer at the middle of what is hard to see, lids and gaze.
            return (weight * error**2).mean(), jnp.abs(error).mean()

        gradients, error = jax.grad(loss, has_aux=True)(state.params)
        learning_rate = self.learning_rate(state.step)
        params, opt = optim.apply(OPTIMIZER, gradients, state.opt, state.params, learning_rate)
        metrics = {"loss": error, "learning_rate": learning_rate}
        return replace(state, step=state.step + 1, params=params, opt=opt), metrics

    def evaluators(self, phase: Phase) -> Sequence[Evaluator]:
        """Errors on puppets of another world."""
        return (mean_of(self._errors),)

    def _errors(self, state: State, batch: Batch) -> Metrics:
        """Mean absolute errors by group, read of the "face" alone and of the "picture".

        Pose and gaze are in degrees, the others in shares of their spans.
        """
        x, face = _pictures(batch)
        metrics = {}
        for way, mask in (("face", face), ("picture", jnp.ones_like(face))):
            shares = oracle.apply(self.model, state.params, masked(x, mask))
            error = jnp.abs(shares - batch["shares"]).mean(0)
            for group, factors in GROUPS.items():
                chosen = [error[_NAMES.index(name)] * factor for name, factor in factors.items()]
                metrics[f"{way}/{group}"] = jnp.stack(chosen).mean()
        return metrics

    def preview(self, phase: Phase) -> Preview:
        """Whole images, and what is seen of them through their masks."""
        return Preview(self._preview, rows=("whole", "face alone"))

    def _preview(self, state: State, batch: Batch) -> Float[Array, "rows columns h w 3"]:
        x, mask = _pictures(jax.tree.map(lambda a: a[:PREVIEW_COLUMNS], batch))
        return jnp.stack([x, masked(x, mask)])

    @cached_property
    def _training(self) -> samples.Samples:
        return samples.Samples(self.config.data.world_seed)

    @cached_property
    def _test(self) -> samples.Samples:
        return samples.Samples(self.config.data.test_world_seed)

    def train_data(self, phase: Phase, host: int, hosts: int) -> grain.MapDataset:
        """Puppets of one world, rendered as they are needed."""
        c = self.config
        return samples.training_batches(
            self._training, batch=c.batch, fresh=c.data.fresh, seed=c.seed, host=host, hosts=hosts
        )

    def eval_data(self, phase: Phase, host: int, hosts: int) -> grain.MapDataset:
        """Puppets of another world, as they are."""
        return samples.test_batches(self._test, batch=self.config.data.test, host=host, hosts=hosts)


_NAMES = list(samples.SPANS)


def _factors(*names: str) -> dict[str, float]:
    spans = {name: samples.SPANS[name] for name in names}
    return {
        name: DEGREES[name] * (s.high - s.low) if name in DEGREES else 1.0
        for name, s in spans.items()
    }


GROUPS = {
    "pose": _factors("yaw", "pitch", "roll"),
    "gaze": _factors("gaze_x", "gaze_y"),
    **{group: _factors(*names) for group, names in EXPRESSION.items()},
    "persona": _factors(*PERSONA_SPANS),
}
"""Parameters whose errors are shown together, and the factors from shares to their common unit."""


def _pictures(batch: Batch) -> tuple[Float[Array, "b h w 3"], Float[Array, "b h w"]]:
    return batch["image"].astype(jnp.float32) / 255, batch["mask"].astype(jnp.float32) / 255


def _check(config: ml_collections.ConfigDict) -> None:
    """Raises InputError for values that make no network or no training."""
    check(
        config,
        {
            "seed": at_least(0),
            "batch": at_least(1),
            "warm_up": at_least(0),
            "steps": at_least(config.warm_up + 1),
            "blur": at_least(0),
            "mask_blur": at_least(0),
            "noise": at_least(0),
            "learning_rate": positive(),
            "performance_weight": at_least(0),
            "data.world_seed": at_least(0),
            "data.test_world_seed": at_least(0),
            "data.fresh": between(1, config.batch),
            "data.test": at_least(1),
            "model.stem": at_least(1),
            "model.squeeze": at_least(1),
            "model.levels": Demand(
                lambda levels: 1 <= len(levels) <= 5 and min(levels) >= 1,
                "give the channels of 1 to 5 levels",
            ),
        },
    )
    if config.data.test_world_seed == config.data.world_seed:
        raise InputError(
            "config.data.test_world_seed is that of the training; choose another world."
        )
