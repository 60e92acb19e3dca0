"""The oracle: one network that tells all parameters of a puppet from its picture, or from its face alone.

It measures the systems of this project, all by the same measure; `evaluation/oracle.py` reads with it.
"""

from dataclasses import replace
from functools import cached_property, reduce

import grain
import jax
import jax.numpy as jnp
import ml_collections
import optax
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float, Int, PRNGKeyArray

from data_pipelines.puppets import samples
from data_pipelines.puppets.parameters import DEGREES, EXPRESSION, PERSONA_SPANS
from faceswap_jax.errors import InputError
from faceswap_jax.models import oracle
from faceswap_jax.ops import augmentation as augment
from faceswap_jax.ops import optimizers as optim
from faceswap_jax.ops import precision
from faceswap_jax.ops.masks import masked
from faceswap_jax.state import State
from faceswap_jax.tasks.base import Batch, Metrics, Phase

OPTIMIZER = optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(1e-3))
PREVIEW_COLUMNS = 8


class Task:
    """One phase; batches are those of `samples.training_batches`."""

    batch_spec = PartitionSpec("data")
    smaller = "lower config.batch"
    corrupt = 0

    def __init__(self, config: ml_collections.ConfigDict):
        self.config = config
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

    @classmethod
    def resolve(cls, config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
        """The config as it is: the data decide nothing."""
        return config.copy_and_resolve_references()

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

    def frozen(self) -> dict:
        """There are no frozen networks."""
        return {}

    def enter(self, phase: Phase, state: State) -> State:
        """There is one phase."""
        return state

    def train_step(self, phase: Phase, state: State, batch: Batch) -> tuple[State, Metrics]:
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

    def eval_step(self, phase: Phase, state: State, batch: Batch) -> Metrics:
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

    def preview(
        self, phase: Phase, state: State, batch: Batch
    ) -> Float[Array, "rows columns h w 3"]:
        """Rows: whole pictures, and what is seen of them through their masks."""
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
    at_least = {
        "seed": 0,
        "batch": 1,
        "warm_up": 0,
        "blur": 0,
        "mask_blur": 0,
        "noise": 0,
        "data.world_seed": 0,
    }
    at_least |= {
        "data.test_world_seed": 0,
        "data.fresh": 1,
        "data.test": 1,
        "model.stem": 1,
        "model.squeeze": 1,
    }
    at_least |= {"performance_weight": 0, "steps": config.warm_up + 1}
    for name, least in at_least.items():
        value = reduce(getattr, name.split("."), config)
        if value < least:
            raise InputError(f"config.{name} is {value}; give {least} or more.")
    if config.data.fresh > config.batch:
        raise InputError(
            f"config.data.fresh is {config.data.fresh}; give at most config.batch, {config.batch}."
        )
    if config.data.test_world_seed == config.data.world_seed:
        raise InputError(
            "config.data.test_world_seed is that of the training; choose another world."
        )
    if not 1 <= len(config.model.levels) <= 5 or min(config.model.levels) < 1:
        raise InputError(
            f"config.model.levels is {config.model.levels}; give the channels of 1 to 5 levels."
        )
    if not config.learning_rate > 0:
        raise InputError(f"config.learning_rate is {config.learning_rate}; give a positive number.")
