"""The face embedder: images of one person to near directions, of two people to distant ones (ArcFace, 2019).

It learns to tell the training identities apart. What it is for, and measured on, are identities that it has never seen.
`pretrained/embedder.py` uses the finished network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import grain
import jax
import jax.numpy as jnp
import ml_collections
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from data_pipelines.batches.assembly import batches
from data_pipelines.batches.augmentation import Augmentation
from data_pipelines.batches.roles import Identities
from faceswap_jax.config import at_least, below, between, check, positive
from faceswap_jax.errors import InputError
from faceswap_jax.losses import arcface
from faceswap_jax.losses.measures import roc_area
from faceswap_jax.models import iresnet
from faceswap_jax.ops import augmentation, optimizers, schedules
from faceswap_jax.ops.masks import masked
from faceswap_jax.pretrained import embedder
from faceswap_jax.state import State
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
from faceswap_jax.tasks.open_set import DEMANDS, OpenSetTask, with_identities
from faceswap_jax.tasks.stages import stage_demands

PREVIEW_COLUMNS = 8


class Task(OpenSetTask):
    """One phase. Batches are single images and the numbers of their identities."""

    def __init__(self, config: ml_collections.ConfigDict):
        super().__init__(config)
        _check(config)
        self.model = embedder.shape(config)
        self.optimizer = optax.chain(
            optax.add_decayed_weights(config.weight_decay), optax.trace(config.momentum)
        )
        self.phases = [Phase(f"{config.resolution} px", 0, config.steps, stage=0)]

    @classmethod
    def resolve(cls, config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
        """Takes the identities to train on from the data; the last ones are held out."""
        _check(config)
        return with_identities(config)

    def init_state(self, phase: Phase, key: PRNGKeyArray) -> State:
        """Fresh weights and centres."""
        embedder_key, centres_key = jax.random.split(key)
        weights, statistics = iresnet.init(self.model, embedder_key)
        # Of any length: only their directions count.
        shape = (len(self.config.identities), self.model.embedding)
        centres = 0.01 * jax.random.normal(centres_key, shape)
        params = {"embedder": weights, "head": {"centres": centres}}
        return State(
            step=jnp.int32(phase.start),
            key=key,
            params=params,
            opt=optimizers.init(self.optimizer, params),
            extras={"statistics": statistics},
        )

    def steps(self, phase: Phase) -> Mapping[str, Step]:
        """There is one step."""
        return {"train": self._train_step}

    def _train_step(self, state: State, batch: Batch) -> tuple[State, Metrics]:
        """One update; "accuracy" is the fraction of images that are nearest to the centre of their identity."""
        c = self.config
        key = jax.random.fold_in(state.key, state.step)
        x = self._network_input(key, batch)
        identities = batch["identity"]

        def loss(params):
            embeddings, statistics = iresnet.apply(
                self.model, params["embedder"], state.extras["statistics"], x, train=True
            )
            cosine = arcface.cosines(embeddings, params["head"]["centres"])
            losses = arcface.arcface(cosine, identities, c.loss.scale, c.loss.margin)
            accuracy = (cosine.argmax(1) == identities).mean()
            return losses.mean(), (statistics, accuracy)

        # Update step
        gradient = jax.value_and_grad(loss, has_aux=True)
        (value, auxiliary), gradients = gradient(state.params)
        statistics, accuracy = auxiliary
        rate = schedules.warm_up_cosine(state.step, c.learning_rate, c.warm_up, c.steps)
        params, opt = optimizers.apply(self.optimizer, gradients, state.opt, state.params, rate)

        metrics = {"loss": value, "accuracy": accuracy, "learning_rate": rate}
        extras = state.extras | {"statistics": statistics}
        state = replace(state, step=state.step + 1, params=params, opt=opt, extras=extras)
        return state, metrics

    def _network_input(self, key: PRNGKeyArray, batch: Batch) -> Float[Array, "b s s 3"]:
        """What training shows of a batch: soft and in other light, whole or the face alone."""
        c = self.config
        blur_key, light_key, mask_key = jax.random.split(key, 3)
        x, mask = image_and_mask(batch)
        x = augmentation.photometric(light_key, x, c.augment)
        x = augmentation.blurred(blur_key, x, c.blur * c.resolution)

        # Whole images have a mask of ones.
        alone = jax.random.uniform(mask_key, (len(x), 1, 1)) < c.face_alone
        visible = masked(x, jnp.where(alone, mask, 1.0))
        return embedder.view(visible, c.model.side)

    def evaluators(self, phase: Phase) -> Sequence[Evaluator]:
        """How well it tells held-out identities apart."""
        return (mean_of(self._scores),)

    def _scores(self, state: State, batch: Batch) -> Metrics:
        """Held-out identities, of the "face" alone and of the whole "picture".

        Of all pairs of images: the mean cosines of the "same" and of "different" persons, and the "area" under the
        ROC curve. `experiments/benchmarks/identity.py` measures by a protocol.
        """
        x, face = image_and_mask(batch)
        identity = batch["identity"]
        # [image, image], each pair once
        every = jnp.ones((len(x), len(x)), bool)
        pairs = jnp.triu(every, 1)
        same = pairs & (identity[:, None] == identity)
        different = pairs & ~same

        metrics = {}
        for way, mask in (("face", face), ("picture", jnp.ones_like(face))):
            embeddings = embedder.embed(
                self.model, state.params["embedder"], state.extras["statistics"], x, mask
            )
            cosine = arcface.cosines(embeddings, embeddings)
            metrics[f"{way}/same"] = (cosine * same).sum() / same.sum()
            metrics[f"{way}/different"] = (cosine * different).sum() / different.sum()
            metrics[f"{way}/area"] = roc_area(cosine, same, different)
        return metrics

    def preview(self, phase: Phase) -> Preview:
        """What the network sees of held-out faces."""
        return Preview(self._preview, rows=("whole", "face alone", "as in training"))

    def _preview(self, state: State, batch: Batch) -> Float[Array, "rows columns h w 3"]:
        batch = jax.tree.map(lambda a: a[:PREVIEW_COLUMNS], batch)
        x, mask = image_and_mask(batch)
        whole = embedder.view(x, self.model.side)
        alone = embedder.view(masked(x, mask), self.model.side)
        key = jax.random.fold_in(state.key, state.step)
        trained = self._network_input(key, batch)
        return jnp.stack([whole, alone, trained])

    @property
    def augmentation(self) -> Augmentation:
        """See `OpenSetTask`."""
        return Augmentation(mirror=True, **self.config.data.jitter)

    def batches_of(self, identities, phase, trained, **options) -> grain.MapDataset:
        """Images of them."""
        return batches(
            identities,
            Identities(),
            fields=("image", "mask", "identity", "record"),
            alignment=self.config.alignment,
            resolution=self.config.resolution,
            **options,
        )


def _check(config: ml_collections.ConfigDict) -> None:
    """Raises InputError for values that make no network or no training."""
    demands = DEMANDS | {
        "batch": at_least(2),
        "warm_up": at_least(0),
        "steps": at_least(config.warm_up + 1),
        "blur": at_least(0),
        "face_alone": between(0, 1),
        "learning_rate": positive(),
        "momentum": below(0, 1),
        "weight_decay": at_least(0),
        "resolution": at_least(1),
        "data.test": at_least(2),
        "loss.scale": positive(),
        "loss.margin": below(0, 1.57),
        "model.embedding": at_least(1),
        "model.side": at_least(1),
    }
    check(config, demands | stage_demands(config))

    stages = len(config.model.blocks)
    if config.model.side % 2**stages:
        raise InputError(
            f"config.model.side is {config.model.side}; give a multiple of {2**stages}."
        )
