"""The oracle: one network that tells all parameters of a puppet from its image, or from its face alone.

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
from jaxtyping import Array, Float, PRNGKeyArray

from data_pipelines.puppets import samples
from data_pipelines.puppets.parameters import DEGREES, EXPRESSION, PERSONA_SPANS
from faceswap_jax.config import Demand, at_least, between, check, positive
from faceswap_jax.errors import InputError
from faceswap_jax.models import oracle
from faceswap_jax.ops import augmentation, optimizers, precision, schedules
from faceswap_jax.ops.masks import masked
from faceswap_jax.state import State
from faceswap_jax.tasks import base
from faceswap_jax.tasks.base import (
    Batch,
    Evaluator,
    Metrics,
    Phase,
    Preview,
    Step,
    image_and_mask,
    mean_of,
)

OPTIMIZER = optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(1e-3))
PREVIEW_COLUMNS = 8
Images = Float[Array, "n h w 3"]
CLOSER = 2.0
"""How many pixels of a detail are as wide as one of the view, about."""
NAMES = list(samples.SPANS)
"""Of the parameters, in the order of the network's values."""


def _factors(*names: str) -> dict[str, float]:
    """What turns errors of normalised values into degrees; 1 for parameters that are no angles."""
    factors = dict.fromkeys(names, 1.0)
    for name in DEGREES.keys() & names:
        span = samples.SPANS[name]
        factors[name] = DEGREES[name] * (span.high - span.low)
    return factors


GROUPS = {
    "pose": _factors("yaw", "pitch", "roll"),
    "gaze": _factors("gaze_x", "gaze_y"),
    **{group: _factors(*names) for group, names in EXPRESSION.items()},
    "persona": _factors(*PERSONA_SPANS),
}
"""Parameters whose errors are shown together, and the factors from normalised values to their common unit."""


class Task(base.Task):
    """One phase; batches are those of `samples.training_batches`."""

    def __init__(self, config: ml_collections.ConfigDict):
        super().__init__(config)
        _check(config)
        c = config.model
        self.model = oracle.OracleConfig(
            outputs=len(samples.SPANS),
            side=samples.SIDE,
            detail_side=samples.DETAIL_SIDE,
            stem=c.stem,
            levels=tuple(c.levels),
            detail_stem=c.detail_stem,
            detail_levels=tuple(c.detail_levels),
            squeeze=c.squeeze,
            hidden=c.hidden,
            dtype=precision.dtype(config.precision),
        )
        self.phases = [Phase(f"{samples.SIDE} px", 0, config.steps, stage=0)]

    def init_state(self, phase: Phase, key: PRNGKeyArray) -> State:
        """Fresh weights."""
        params = oracle.init(self.model, key)
        opt = optimizers.init(OPTIMIZER, params)
        return State(step=jnp.int32(phase.start), key=key, params=params, opt=opt)

    def steps(self, phase: Phase) -> Mapping[str, Step]:
        """There is one step."""
        return {"train": self._train_step}

    def _train_step(self, state: State, batch: Batch) -> tuple[State, Metrics]:
        """One update on images as soft, noisy and bright as those of swaps and of decoded clips may be."""
        c = self.config
        key = jax.random.fold_in(state.key, state.step)
        face_key, detail_key = jax.random.split(key)
        x = self._network_input(face_key, *image_and_mask(batch), closer=1.0)
        details = self._network_input(detail_key, *_details(batch), closer=CLOSER)
        details = details.reshape(len(x), -1, *details.shape[1:])

        # The first of the parameters are the persona's.
        is_persona = jnp.arange(len(NAMES)) < len(PERSONA_SPANS)
        weight = jnp.where(is_persona, 1.0, c.performance_weight)

        def loss(params):
            values = oracle.apply(self.model, params, x, details)
            error = values - batch["parameters"]
            # Squares: absolute errors dwell much longer at the middle of what is hard to see, lids and gaze.
            return (weight * error**2).mean(), jnp.abs(error).mean()

        # Update step
        gradients, error = jax.grad(loss, has_aux=True)(state.params)
        rate = schedules.warm_up_cosine(state.step, c.learning_rate, c.warm_up, c.steps)
        params, opt = optimizers.apply(OPTIMIZER, gradients, state.opt, state.params, rate)
        metrics = {"loss": error, "learning_rate": rate}
        return replace(state, step=state.step + 1, params=params, opt=opt), metrics

    def _network_input(
        self, key: PRNGKeyArray, x: Images, mask: Float[Array, "b h w"], closer: float
    ) -> Images:
        """What training shows of images.

        Args:
            key: decides on blur, light and noise.
            x: in [0, 1].
            mask: what may be seen of them.
            closer: how many of their pixels are as wide as one of the view.
        """
        c = self.config
        light_key, blur_key, level_key, noise_key, mask_key = jax.random.split(key, 5)
        x = augmentation.blurred(blur_key, x, closer * c.blur)
        x = augmentation.photometric(light_key, x, c.augment)

        # Noise, of a level of each image's own
        levels = c.noise * jax.random.uniform(level_key, (len(x), 1, 1, 1))
        x += levels * jax.random.normal(noise_key, x.shape)

        # Whatever blending does to the edge of the face
        mask = augmentation.blurred(mask_key, mask[..., None], closer * c.mask_blur)[..., 0]
        return masked(x, mask)

    def evaluators(self, phase: Phase) -> Sequence[Evaluator]:
        """Errors on puppets of another world."""
        return (mean_of(self._errors),)

    def _errors(self, state: State, batch: Batch) -> Metrics:
        """Mean absolute errors by group, read of the "face" alone and of the whole "picture".

        Pose and gaze are in degrees, the others in fractions of their spans.
        """
        seen = [image_and_mask(batch), _details(batch)]
        whole = [(x, jnp.ones_like(mask)) for x, mask in seen]
        metrics = {}
        for way, shown in (("face", seen), ("picture", whole)):
            x, details = (masked(*images) for images in shown)
            details = details.reshape(len(x), -1, *details.shape[1:])
            values = oracle.apply(self.model, state.params, x, details)
            error = jnp.abs(values - batch["parameters"]).mean(0)
            by_name = dict(zip(NAMES, error, strict=True))
            for group, factors in GROUPS.items():
                scaled = [by_name[name] * factor for name, factor in factors.items()]
                metrics[f"{way}/{group}"] = jnp.stack(scaled).mean()
        return metrics

    def preview(self, phase: Phase) -> Preview:
        """Whole images, and what is seen of them through their masks."""
        return Preview(self._preview, rows=("whole", "face alone"))

    def _preview(self, state: State, batch: Batch) -> Float[Array, "rows columns h w 3"]:
        batch = jax.tree.map(lambda a: a[:PREVIEW_COLUMNS], batch)
        x, mask = image_and_mask(batch)
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
            self._training,
            batch=c.batch,
            fresh=c.data.fresh,
            seed=c.seed,
            host=host,
            hosts=hosts,
        )

    def eval_data(self, phase: Phase, host: int, hosts: int) -> grain.MapDataset:
        """Puppets of another world, as they are."""
        return samples.test_batches(self._test, batch=self.config.data.test, host=host, hosts=hosts)


def _details(batch: Batch) -> tuple[Images, Float[Array, "n d d"]]:
    """The details of a batch and their masks, in [0, 1], one after the other."""
    images = precision.from_bytes(batch["details"])
    masks = precision.from_bytes(batch["detail_masks"])
    return images.reshape(-1, *images.shape[2:]), masks.reshape(-1, *masks.shape[2:])


def _check(config: ml_collections.ConfigDict) -> None:
    """Raises InputError for values that make no network or no training."""
    demands = {
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
        "model.hidden": at_least(1),
        "model.levels": Demand(_levels, "give the channels of 1 to 5 levels"),
        "model.detail_stem": at_least(1),
        # 48 px can be halved four times: by the stem and three levels.
        "model.detail_levels": Demand(_detail_levels, "give the channels of 1 to 3 levels"),
    }
    check(config, demands)

    # What is measured must not have been trained on.
    if config.data.test_world_seed == config.data.world_seed:
        raise InputError(
            "config.data.test_world_seed is that of the training; choose another world."
        )


def _levels(channels: Sequence[int]) -> bool:
    return 1 <= len(channels) <= 5 and min(channels) >= 1


def _detail_levels(channels: Sequence[int]) -> bool:
    return 1 <= len(channels) <= 3 and min(channels) >= 1
