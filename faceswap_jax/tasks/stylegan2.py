"""StyleGAN2: faces of nobody from random latents, with adaptive changes of what the discriminator sees (ADA).

Its latent space is what transfer moves in. It makes no images of clips: those are made of its styles, by others.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import grain
import jax
import jax.numpy as jnp
import ml_collections
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from data_pipelines.batches.assembly import batches
from data_pipelines.batches.roles import Identities
from faceswap_jax.config import (
    Demand,
    at_least,
    below,
    between,
    check,
    multiple,
    one_of,
    positive,
)
from faceswap_jax.losses.adversarial import ADVERSARIES
from faceswap_jax.models import residual, stylegan2
from faceswap_jax.models.residual import GROUP
from faceswap_jax.ops import adaptive, optimizers, precision
from faceswap_jax.ops.layout import as_batch
from faceswap_jax.pretrained import embedder, set_features
from faceswap_jax.pretrained import stylegan2 as pretrained
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
from faceswap_jax.tasks.sets import key_of, set_distance
from faceswap_jax.tasks.stylegan2_losses import PATH, PENALTY, losses

OPTIMIZER = optimizers.adam_without_momentum(0.99)
"""ADA's Adam with betas 0 and 0.99, for all networks alike."""

AVERAGED = ("mapping", "synthesis")
"""Groups of weights whose running mean is what is used."""

STYLE_MEMORY = 0.995
"""How much of the mean style stays in a step."""

EVALUATED = 4  # batches
PREVIEW_COLUMNS = 8
TRUNCATIONS = (1.0, 0.7)
"""Of the preview's rows."""
COARSE = 4
"""Layers, up to 8 px, whose styles are those of one image where styles of two are mixed."""
ORDINALS = ("first", "second", "third")

Images = Float[Array, "b r r 3"]


class Task(OpenSetTask):
    """One phase. Batches are single images."""

    memory_advice = "lower config.batch or config.model.width"
    may_grow = ("steps",)

    def __init__(self, config: ml_collections.ConfigDict):
        super().__init__(config)
        _check(config)
        self.model = pretrained.shape(config)
        self.sees = None
        if config.networks.sets:
            self.sees = set_features.described_shape(config.shapes.sets)
        self.phases = [Phase(f"{self.model.resolution} px", 0, config.steps, stage=0)]

    @classmethod
    def resolve(cls, config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
        """Takes the identities to train on from the data, and the shape of what compares sets from its file."""
        _check(config)
        config = with_identities(config)
        if config.networks.sets:
            shape, _ = set_features.load_for(config.networks.sets, config.alignment)
            config.shapes = ml_collections.ConfigDict({"sets": embedder.described(shape)})
        return config

    # State

    def init_state(self, phase: Phase, key: PRNGKeyArray) -> State:
        """Fresh weights, which are their own mean; nothing is changed yet."""
        generator_key, discriminator_key = jax.random.split(key)
        average = stylegan2.init(self.model, generator_key)
        params = {name: average[name] for name in AVERAGED}
        params["discriminator"] = residual.init(self.model, discriminator_key)
        extras = {
            "average": average,
            "mean_style": jnp.zeros(self.model.latent),
            "path_length": jnp.float32(0),
            "probability": jnp.float32(self.config.augment.probability),
        }
        if self.sees:
            extras["sets"] = set_features.init(self.sees, key)
        return State(
            step=jnp.int32(phase.start),
            key=key,
            params=params,
            opt=optimizers.init(OPTIMIZER, params),
            extras=extras,
        )

    def initial_params(self) -> tuple[dict[str, PyTree], str]:
        """The weights that `config.weights` names."""
        if not self.config.weights:
            return {}, ""
        given = self._given()
        params = {name: given.params[name] for name in AVERAGED}
        if given.discriminator is None:
            return params, f"Begins with the generator of '{self.config.weights}'."
        params["discriminator"] = given.discriminator
        return params, f"Begins with generator and discriminator of '{self.config.weights}'."

    def frozen_inputs(self) -> dict[str, PyTree]:
        """Their mean, noise and mean style, which the training goes on from; and what compares sets of images."""
        c = self.config
        found = {}
        if c.weights:
            given = self._given()
            found |= {"average": given.params, "mean_style": given.mean}
        if self.sees:
            _, found["sets"] = set_features.load_for(c.networks.sets, c.alignment)
        return found

    def _given(self) -> pretrained.Weights:
        return pretrained.load(Path(self.config.weights), self.model)

    # Training

    def steps(self, phase: Phase) -> Mapping[str, Step]:
        """A step, and those with what is added to it now and then."""
        loss = self.config.loss
        period = math.lcm(loss.penalty_every, loss.path_every)
        found = {}
        for step in range(period):
            due = self._due(step)
            found[_name(due)] = partial(self._train_step, due)
        return found

    def step_name(self, phase: Phase, step: int) -> str:
        """By what is due."""
        return _name(self._due(step))

    def _due(self, step: int) -> tuple[str, ...]:
        """Penalties at the first of every few steps, path lengths in the middle: so seldom both at once."""
        loss = self.config.loss
        due = []
        if (loss.penalty or loss.penalty_made) and step % loss.penalty_every == 0:
            due.append(PENALTY)
        if loss.path and step % loss.path_every == loss.path_every // 2:
            due.append(PATH)
        return tuple(due)

    def _train_step(self, due: Sequence[str], state: State, batch: Batch) -> tuple[State, Metrics]:
        """One update of generator and discriminator, each against the other as it was."""
        c = self.config
        key = jax.random.fold_in(state.key, state.step)
        real = precision.from_bytes(batch["image"])

        def loss(params):
            return losses(self.model, c, due, params, state.extras, real, key)

        # Update step
        gradients, told = jax.grad(loss, has_aux=True)(state.params)
        params, opt = optimizers.apply(
            OPTIMIZER, gradients, state.opt, state.params, c.learning_rate
        )

        # What is running along
        step = state.step + 1
        extras = dict(state.extras)
        old = {name: extras["average"][name] for name in AVERAGED}
        new = {name: params[name] for name in AVERAGED}
        average = optimizers.running_mean(old, new, step, c.average)
        extras["average"] = extras["average"] | average
        moved = told.mean_style - extras["mean_style"]
        extras["mean_style"] = extras["mean_style"] + (1 - STYLE_MEMORY) * moved
        extras["path_length"] = told.path_length
        metrics = told.metrics | {"probability": extras["probability"]}
        if c.augment.target:
            extras["probability"] = adaptive.adjusted(
                extras["probability"], told.sign, c.augment.target, len(real), 1000 * c.augment.kimg
            )
        return replace(state, step=step, params=params, opt=opt, extras=extras), metrics

    # Held-out data

    def evaluators(self, phase: Phase) -> Sequence[Evaluator]:
        """Whether the discriminator knows the people that it is trained on; and how far made images are from others'.

        The latter by held-out people, truncated nowhere: FID and KID where Inception looks at them.
        """
        found = [mean_of(self._scores, EVALUATED)]
        if self.sees:
            batches = self.config.data.sets
            name = set_features.name(self.sees)
            found.append(set_distance(self._features, self._made, batches, name))
        return found

    def _features(self, state: State, images: Images) -> Float[Array, "b d"]:
        return set_features.vectors(self.sees, state.extras["sets"], images)

    def _made(self, state: State, batch: Batch) -> Images:
        """Images of other latents for every batch."""
        count = len(batch["image"])
        z = as_batch(jax.random.normal(key_of(batch), (count, self.model.latent)))
        w = stylegan2.styles(self.model, state.extras["average"], z)
        return self._synthesize(state, stylegan2.everywhere(self.model, w))

    def _scores(self, state: State, batch: Batch) -> Metrics:
        """Mean signs of the verdicts on held-out people and on what averaged weights make, changed as in training.

        Held-out people far below what "sign/real" of the training is: it is learning images by heart. "spread" is how
        far made images are from each other, in parts of how far held-out ones are.
        """
        held_out = precision.from_bytes(batch["image"])
        z = as_batch(self._latents(len(held_out)))
        w = stylegan2.styles(self.model, state.extras["average"], z)
        made = self._synthesize(state, stylegan2.everywhere(self.model, w))

        scores = {"spread": _spread(made) / _spread(held_out)}
        key = jax.random.key(1)
        for name, images in {"held_out": held_out, "made": made}.items():
            shown = adaptive.changed(key, images, state.extras["probability"])
            verdicts = residual.apply(self.model, state.params["discriminator"], shown)
            scores[f"sign/{name}"] = jnp.sign(verdicts).mean()
        return scores

    def _latents(self, count: int) -> Float[Array, "n latent"]:
        """Always the same."""
        return jax.random.normal(jax.random.key(0), (count, self.model.latent))

    def _synthesize(self, state: State, w: stylegan2.Styles) -> Images:
        """Images of averaged weights, with fixed noise."""
        return stylegan2.synthesize(self.model, state.extras["average"], w).clip(0, 1)

    def preview(self, phase: Phase) -> Preview:
        """Held-out people; the same latents always, truncated and not; and their styles mixed.

        In the last rows everybody has the coarse styles of one of them, and their own fine ones.
        """
        truncations = [f"truncation {psi:g}" for psi in TRUNCATIONS]
        coarse = [f"coarse styles of the {name}" for name in ORDINALS]
        return Preview(self._preview, ("held out", *truncations, *coarse))

    def _preview(self, state: State, batch: Batch) -> Float[Array, "rows columns h w 3"]:
        held_out = precision.from_bytes(batch["image"][:PREVIEW_COLUMNS])
        columns = len(held_out)
        z = self._latents(columns)
        w = stylegan2.styles(self.model, state.extras["average"], z)
        rows = []
        for psi in TRUNCATIONS:
            truncated = stylegan2.truncated(w, state.extras["mean_style"], psi)
            rows.append(stylegan2.everywhere(self.model, truncated))

        # Of the last, with coarse styles of one
        own = rows[-1]
        begins = jnp.full(columns, COARSE)
        for i in range(len(ORDINALS)):
            coarse = jnp.broadcast_to(own[i], own.shape)
            rows.append(stylegan2.mixed(coarse, own, begins))

        made = self._synthesize(state, jnp.concatenate(rows))
        made = made.reshape(len(rows), columns, *made.shape[1:])
        return jnp.concatenate([held_out[None], made])

    # Use

    def variables(self, phase: Phase, state: State) -> PyTree:
        """The mean of the generator's weights, and the mean style."""
        return {"params": state.extras["average"], "mean_style": state.extras["mean_style"]}

    # Data

    def batches_of(self, identities, phase, trained, **options) -> grain.MapDataset:
        """Images of them."""
        return batches(
            identities,
            Identities(),
            fields=("image", "record"),
            alignment=self.config.alignment,
            resolution=self.config.model.resolution,
            **options,
        )


def _spread(images: Images) -> Float[Array, ""]:
    """Standard deviation over the images, of all values together."""
    return jnp.sqrt(images.var(0).mean())


def _name(due: Sequence[str]) -> str:
    return " and ".join(due) or "train"


def _check(config: ml_collections.ConfigDict) -> None:
    """Raises InputError for values that make no network or no training."""
    power_of_two = Demand(
        lambda side: side >= 8 and side & (side - 1) == 0, "give a power of two, 8 or more"
    )
    demands = DEMANDS | {
        # Whole groups, of whose images the discriminator sees how alike they are
        "batch": multiple(GROUP),
        "steps": at_least(1),
        "learning_rate": positive(),
        "average": below(0, 1),
        "mixing": between(0, 1),
        "data.test": multiple(GROUP),
        "data.sets": at_least(1),
        "model.resolution": power_of_two,
        "model.latent": at_least(1),
        "model.width": positive(),
        "model.most": at_least(1),
        "model.mapping_layers": at_least(1),
        "loss.adversary": one_of(*ADVERSARIES),
        "augment.probability": between(0, 1),
        "augment.target": between(0, 1),
        "augment.kimg": positive(),
    }
    demands |= {f"loss.{name}": at_least(0) for name in ("penalty", "penalty_made", "path")}
    demands |= {f"loss.{name}_every": at_least(1) for name in ("penalty", "path")}
    check(config, demands)
