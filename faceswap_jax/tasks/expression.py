"""What a face does, read from its image: the measures of its landmarks, by regression.

The images are soft and in other light, as generated ones may be, for the finished network looks at these:
`pretrained/expression.py` uses it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import grain
import jax
import jax.numpy as jnp
import ml_collections
from jaxtyping import Array, Float, PRNGKeyArray

from data_pipelines.batches.assembly import batches
from data_pipelines.batches.augmentation import Augmentation
from data_pipelines.batches.roles import Identities
from faceswap_jax.config import Demand, at_least, check, positive
from faceswap_jax.errors import InputError
from faceswap_jax.losses.expression import from_rest, squared_errors
from faceswap_jax.models import expression
from faceswap_jax.ops import augmentation, optimizers, precision, schedules
from faceswap_jax.pretrained import expression as pretrained
from faceswap_jax.state import State
from faceswap_jax.tasks.base import (
    Batch,
    Evaluator,
    Metrics,
    Phase,
    Preview,
    Step,
    mean_of,
)
from faceswap_jax.tasks.open_set import DEMANDS, OpenSetTask, with_identities

PREVIEW_COLUMNS = 8


class Task(OpenSetTask):
    """One phase. Batches are single images with their landmarks and irises."""

    def __init__(self, config: ml_collections.ConfigDict):
        super().__init__(config)
        _check(config)
        self.model = pretrained.shape(config)
        self.phases = [Phase(f"{config.resolution} px", 0, config.steps, stage=0)]

    @classmethod
    def resolve(cls, config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
        """Takes the identities to train on from the data; the last ones are held out."""
        _check(config)
        return with_identities(config)

    def init_state(self, phase: Phase, key: PRNGKeyArray) -> State:
        """Fresh weights."""
        params = expression.init(self.model, key)
        opt = optimizers.init(optimizers.ADAM, params)
        return State(step=jnp.int32(phase.start), key=key, params=params, opt=opt)

    def steps(self, phase: Phase) -> Mapping[str, Step]:
        """There is one step."""
        return {"train": self._train_step}

    def _train_step(self, state: State, batch: Batch) -> tuple[State, Metrics]:
        """One update on the squared error of all measures that are known, in their spreads."""
        c = self.config
        key = jax.random.fold_in(state.key, state.step)
        x = self._network_input(key, batch)

        def loss(params):
            told = expression.apply(self.model, params, x)
            return squared_errors(told, _wanted(batch)).mean()

        # Update step
        value, gradients = jax.value_and_grad(loss)(state.params)
        rate = schedules.warm_up_cosine(state.step, c.learning_rate, c.warm_up, c.steps)
        params, opt = optimizers.apply(optimizers.ADAM, gradients, state.opt, state.params, rate)
        metrics = {"loss": value, "learning_rate": rate}
        return replace(state, step=state.step + 1, params=params, opt=opt), metrics

    def _network_input(self, key: PRNGKeyArray, batch: Batch) -> Float[Array, "b s s 3"]:
        """What training shows of a batch."""
        c = self.config
        blur_key, light_key = jax.random.split(key)
        x = precision.from_bytes(batch["image"])
        x = augmentation.photometric(light_key, x, c.augment)
        return augmentation.blurred(blur_key, x, c.blur * c.resolution)

    def evaluators(self, phase: Phase) -> Sequence[Evaluator]:
        """Of people never seen: the loss, and which fraction of the measures' variance is told."""
        return (mean_of(self._scores),)

    def _scores(self, state: State, batch: Batch) -> Metrics:
        wanted = _wanted(batch)
        told = expression.apply(self.model, state.params, precision.from_bytes(batch["image"]))
        error = squared_errors(told, wanted)
        variance = squared_errors(jnp.nanmean(wanted, 0), wanted)
        return {"loss": error.mean(), "explained": 1 - error.sum() / variance.sum()}

    def preview(self, phase: Phase) -> Preview:
        """What the network sees of held-out faces."""
        return Preview(self._preview, rows=("face", "as in training"))

    def _preview(self, state: State, batch: Batch) -> Float[Array, "rows columns h w 3"]:
        batch = jax.tree.map(lambda a: a[:PREVIEW_COLUMNS], batch)
        key = jax.random.fold_in(state.key, state.step)
        return jnp.stack([precision.from_bytes(batch["image"]), self._network_input(key, batch)])

    @property
    def augmentation(self) -> Augmentation:
        """See `OpenSetTask`."""
        return Augmentation(mirror=True, **self.config.data.jitter)

    def batches_of(self, identities, phase, trained, **options) -> grain.MapDataset:
        """Images of them."""
        return batches(
            identities,
            Identities(),
            fields=("image", "landmarks", "irises", "record"),
            alignment=self.config.alignment,
            resolution=self.config.resolution,
            **options,
        )


def _wanted(batch: Batch) -> Float[Array, "b k"]:
    return from_rest(batch["landmarks"], batch["irises"])


def _check(config: ml_collections.ConfigDict) -> None:
    """Raises InputError for values that make no network or no training."""
    halvings = 2 ** (1 + len(config.model.levels))
    demands = DEMANDS | {
        "resolution": Demand(
            lambda side: side >= halvings and side % halvings == 0,
            f"give a multiple of {halvings}",
        ),
        "warm_up": at_least(0),
        "steps": at_least(config.warm_up + 1),
        "blur": at_least(0),
        "learning_rate": positive(),
        "data.test": at_least(2),
        "model.stem": at_least(1),
        "model.squeeze": at_least(1),
        "model.hidden": at_least(1),
    }
    check(config, demands)
    if not config.model.levels or min(config.model.levels) < 1:
        raise InputError(
            f"config.model.levels is {config.model.levels}; give the channels of one level or more."
        )
