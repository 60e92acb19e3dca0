"""ReStyle: pictures of anybody into the latent space of a frozen StyleGAN2 (Alaluf et al., ICCV 2021).

A step refines a batch of pictures five times. Every refinement has a backward pass of its own, for what it begins with
is held still; their gradients together make one update, as in the source.

Two options of e4e (Tov et al., SIGGRAPH 2021) keep styles where the generator was trained. With deltas the encoder
makes one style, and what each other differs from it; the deltas begin one after the other. A discriminator tells the
styles from those of the mapping network, see inversion_game.py.

To people a run is the baseline of transfer: latent arithmetic. Whom pictures show is the mean of their styles and of
those of their mirror images, a face at rest that looks to the front; what a performer's styles differ from the
performer's at rest is added to it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import grain
import jax
import jax.numpy as jnp
import ml_collections
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from data_pipelines.batches.assembly import batches
from data_pipelines.batches.roles import Identities
from faceswap_jax.config import Demand, at_least, check, positive
from faceswap_jax.errors import InputError
from faceswap_jax.losses import latents
from faceswap_jax.losses.measures import psnr
from faceswap_jax.losses.perceptual import squared_error
from faceswap_jax.models import psp, restyle, style_discriminator, stylegan2
from faceswap_jax.models.restyle import Made
from faceswap_jax.models.stylegan2 import StyleGAN2Config
from faceswap_jax.ops import optimizers, precision
from faceswap_jax.pretrained import embedder, generator, inversion, judges
from faceswap_jax.pretrained.judges import IDENTITY
from faceswap_jax.state import State
from faceswap_jax.tasks import inversion_game
from faceswap_jax.tasks.base import (
    Batch,
    Evaluator,
    Metrics,
    Phase,
    Preview,
    Step,
    Synthesis,
    decoded,
    mean_of,
)
from faceswap_jax.tasks.open_set import DEMANDS, OpenSetTask, with_identities
from faceswap_jax.tasks.stages import stage_demands

PREVIEW_COLUMNS = 8
EVALUATED = 4  # batches

Pictures = Float[Array, "b s s 3"]
Styles = Float[Array, "b styles latent"]
Value = Float[Array, ""]


class Task(OpenSetTask):
    """One phase. Batches are single pictures, as large as the encoder reads them."""

    memory_advice = "lower config.batch or config.model.channels"
    may_grow = ("steps",)

    def __init__(self, config: ml_collections.ConfigDict):
        super().__init__(config)
        _check(config)
        c = config
        self.model = inversion.shape(c)
        _check_generator(c, self.model.generator)
        self.judges = judges.described_judges(c.shapes)
        self.optimizer = optimizers.ranger(c.learning_rate)
        self.phases = [Phase(f"{c.model.side} px", 0, c.steps, stage=0)]

    @classmethod
    def resolve(cls, config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
        """Takes the identities to train on from the data, and the shapes of the frozen networks from their files."""
        _check(config)
        config = with_identities(config)
        makes, _ = generator.load_for(config.networks.generator, config.alignment)
        judging, _ = judges.load_for(config.networks, config.alignment)
        shapes = {"generator": embedder.described(makes), **judging.described}
        config.shapes = ml_collections.ConfigDict(shapes)
        return config

    # State

    def init_state(self, phase: Phase, key: PRNGKeyArray) -> State:
        """A fresh encoder, which finds the mean latent in all pictures; and its discriminator, where it has one."""
        weights, statistics = psp.init(self.model.encoder, key)
        params = {"encoder": weights}
        opt = optimizers.init(self.optimizer, params)
        extras = {
            "statistics": statistics,
            "generator": generator.init(self.model.generator, key),
            "judges": self.judges.init(key),
        }
        if self.config.loss.adversarial:
            latent = self.model.generator.latent
            against = {"discriminator": style_discriminator.init(latent, key)}
            params |= against
            opt |= optimizers.init(optimizers.ADAM, against)
            extras["pool"] = jnp.zeros((self.config.discriminator.pool, latent))
        return State(step=jnp.int32(phase.start), key=key, params=params, opt=opt, extras=extras)

    def frozen_inputs(self) -> dict[str, PyTree]:
        """The generator, and the networks that judge what it makes."""
        c = self.config
        _, weights = generator.load_for(c.networks.generator, c.alignment)
        _, judging = judges.load_for(c.networks, c.alignment)
        return {"generator": weights, "judges": judging}

    # Training

    def steps(self, phase: Phase) -> Mapping[str, Step]:
        """A step, and the same with a gradient penalty, if there is a discriminator that has one."""
        found = {"train": partial(self._train_step, False)}
        if self.config.loss.adversarial and self.config.loss.penalty:
            found["regularised"] = partial(self._train_step, True)
        return found

    def step_name(self, phase: Phase, step: int) -> str:
        """The first of every few is regularised."""
        loss = self.config.loss
        lazy = loss.adversarial and loss.penalty and step % loss.penalty_every == 0
        return "regularised" if lazy else "train"

    def _train_step(self, regularised: bool, state: State, batch: Batch) -> tuple[State, Metrics]:
        """All refinements of a batch, then one update; metrics are of the last one, and of the first."""
        key = jax.random.fold_in(state.key, state.step)
        pictures = precision.from_bytes(batch["image"])
        gradient = jax.value_and_grad(self._loss, has_aux=True)

        encoder = {"encoder": state.params["encoder"]}
        found = [restyle.begin(self.model, state.extras["generator"], len(pictures))]
        now, gradients, losses = state, None, []
        # Unrolled: in a loop CPUs are slow at the gradients of convolutions.
        for i in range(self.model.refinements):
            noise_key = jax.random.fold_in(key, i)
            # What has been made so far is given, so no gradient goes through it.
            (loss, auxiliary), slopes = gradient(encoder, now, pictures, found[-1], noise_key)
            made, statistics, terms = auxiliary
            now = replace(now, extras=now.extras | {"statistics": statistics})
            gradients = slopes if gradients is None else jax.tree.map(jnp.add, gradients, slopes)
            found.append(made)
            losses.append(loss)

        # Update step; the optimizer knows the learning rate.
        params, opt = optimizers.apply(self.optimizer, gradients, state.opt, encoder, 1.0)
        extras = now.extras
        metrics = {"loss": losses[-1], "first/loss": losses[0], **terms}

        if self.config.loss.adversarial:
            own_key = jax.random.fold_in(key, self.model.refinements)
            first = found[1].styles
            updated = self._update_discriminator(regularised, state, first, own_key)
            weights, moments, pool, told = updated
            params, opt = params | weights, opt | moments
            extras, metrics = extras | {"pool": pool}, metrics | told
        return replace(state, step=state.step + 1, params=params, opt=opt, extras=extras), metrics

    def _loss(
        self, encoder: PyTree, state: State, pictures: Pictures, made: Made, noise_key: PRNGKeyArray
    ) -> tuple[Value, tuple[Made, psp.Statistics, Metrics]]:
        """Of one refinement; and what it makes, the statistics, and the terms."""
        extras, begun = state.extras, self._begun(state)
        made, statistics = restyle.refine(
            self.model,
            encoder["encoder"],
            extras["statistics"],
            extras["generator"],
            pictures,
            made,
            train=True,
            noise_key=noise_key,
            begun=begun,
        )
        terms = self._terms(extras["judges"], made.seen, pictures)
        names = {"l2": "l2", self.judges.perceptual_name: "perceptual", IDENTITY: "identity"}
        if self.model.encoder.deltas:
            names["delta"] = "delta"
            terms["delta"] = latents.deltas(made.styles)
        if self.config.loss.adversarial:
            names["adversarial"] = "adversarial"
            against = state.params["discriminator"]
            terms["adversarial"] = inversion_game.of_encoder(against, made.styles, begun)
        total = sum(self.config.loss[weight] * terms[name] for name, weight in names.items())
        return total, (made, statistics, terms)

    def _begun(self, state: State) -> Int[Array, ""] | int:
        """How many styles are changed each by itself by now: the first, and those whose deltas have begun."""
        layers = self.model.generator.layers
        if not self.model.encoder.deltas:
            return layers
        when = self.config.deltas
        deltas = (state.step - when.start) // when.every + 1
        return 1 + deltas.clip(0, layers - 1)

    def _update_discriminator(
        self, regularised: bool, state: State, styles: Styles, key: PRNGKeyArray
    ) -> tuple[PyTree, PyTree, Float[Array, "size latent"], Metrics]:
        """One update of the discriminator, against the encoder as it was: weights, their moments, pool, metrics."""
        c, extras = self.config, state.extras
        z_key, single_key, pool_key = jax.random.split(key, 3)

        shape = self.model.generator
        z = jax.random.normal(z_key, (len(styles), shape.latent))
        real = stylegan2.styles(shape, extras["generator"]["params"], z)
        fake = inversion_game.singles(styles, self._begun(state), single_key)
        fake, pool = inversion_game.pooled(extras["pool"], fake, state.step, pool_key)

        # Lazily: what is done now and then counts the more.
        penalty = c.loss.penalty * c.loss.penalty_every if regularised else 0
        old = {"discriminator": state.params["discriminator"]}

        def loss(params):
            return inversion_game.of_discriminator(params["discriminator"], real, fake, penalty)

        # Update step
        gradients, told = jax.grad(loss, has_aux=True)(old)
        rate = c.discriminator.learning_rate
        params, opt = optimizers.apply(optimizers.ADAM, gradients, state.opt, old, rate)
        return params, opt, pool, told

    def _terms(self, judging: PyTree, images: Pictures, pictures: Pictures) -> dict[str, Value]:
        """How far images are from the pictures that they should be."""
        return {
            "l2": squared_error(images, pictures),
            self.judges.perceptual_name: self.judges.unlike(judging, images, pictures).mean(),
            IDENTITY: self.judges.apart(judging, IDENTITY, images, pictures).mean(),
        }

    # Held-out data

    def evaluators(self, phase: Phase) -> Sequence[Evaluator]:
        """People never seen: as they are found in the end, after the "first" refinement, and the "average" for all."""
        return (mean_of(self._scores, EVALUATED),)

    def _scores(self, state: State, batch: Batch) -> Metrics:
        """How far the inversions are from their pictures, and their PSNR."""
        pictures = precision.from_bytes(batch["image"])
        found = self.inverted(self.variables(self.phases[0], state), pictures)
        whole = jnp.ones((*pictures.shape[:3], 1))
        metrics = {}
        for when, made in {"": found[-1], "first/": found[1], "average/": found[0]}.items():
            images = made.seen.clip(0, 1)
            metrics[f"{when}psnr"] = psnr(images, pictures, whole).mean()
            terms = self._terms(state.extras["judges"], images, pictures)
            metrics |= {f"{when}{name}": term for name, term in terms.items()}
        return metrics

    def preview(self, phase: Phase) -> Preview:
        """Held-out people, and what each refinement makes of them."""
        steps = [f"refinement {i}" for i in range(1, self.model.refinements + 1)]
        return Preview(self._preview, ("picture", "average", *steps))

    def _preview(self, state: State, batch: Batch) -> Float[Array, "rows columns h w 3"]:
        pictures = precision.from_bytes(batch["image"][:PREVIEW_COLUMNS])
        found = self.inverted(self.variables(self.phases[0], state), pictures)
        return jnp.stack([pictures, *(made.seen.clip(0, 1) for made in found)])

    # Use

    @property
    def side(self) -> int:
        """Of the pictures that are inverted, pixels."""
        return self.model.encoder.side

    def inverted(self, variables: PyTree, pictures: Pictures) -> list[Made]:
        """What each refinement makes of pictures in [0, 1], of the encoder's side, the average first."""
        return restyle.invert(self.model, **variables, pictures=pictures)

    def synthesis(self, phase: Phase) -> Synthesis:
        """Latent arithmetic; `identity` is {"styles": of the face at rest}."""
        c = self.model

        def styles_of(variables, crops) -> Float[Array, "b styles latent"]:
            pictures = restyle.reduced(precision.from_bytes(crops), self.side)
            return self.inverted(variables, pictures)[-1].styles

        def identity(variables, pictures) -> dict[str, Float[Array, "styles latent"]]:
            both = jnp.concatenate([pictures, pictures[:, :, ::-1]])
            return {"styles": styles_of(variables, both).mean(0)}

        def latents(variables, inputs) -> Float[Array, "b styles*latent"]:
            apart = styles_of(variables, inputs["crops"]) - variables["generator"]["mean"]
            return apart.reshape(apart.shape[0], -1)

        def decode(variables, identity, latents) -> Float[Array, "b r r 3"]:
            apart = latents.reshape(-1, c.generator.layers, c.generator.latent)
            made = restyle.generate(c, variables["generator"], identity["styles"] + apart)
            return made.images.clip(0, 1)

        return Synthesis(
            alignment=self.config.alignment,
            resolution=c.generator.resolution,
            placement="whole",
            inputs=("crops",),
            personas=(),
            images=decoded(latents, decode),
            identity=identity,
            latents=latents,
            decode=decode,
            parts={"styles": c.generator.layers * c.generator.latent},
            relative=True,
        )

    def variables(self, phase: Phase, state: State) -> PyTree:
        """The encoder with its statistics, and the generator."""
        return {
            "params": state.params["encoder"],
            "statistics": state.extras["statistics"],
            "generator": state.extras["generator"],
        }

    # Data

    def batches_of(self, identities, phase, trained, **options) -> grain.MapDataset:
        """Pictures of them."""
        return batches(
            identities,
            Identities(),
            fields=("image", "record"),
            alignment=self.config.alignment,
            resolution=self.config.model.side,
            **options,
        )


def _check(config: ml_collections.ConfigDict) -> None:
    """Raises InputError for values that make no network or no training."""
    demands = DEMANDS | {
        "steps": at_least(1),
        "refinements": at_least(1),
        "learning_rate": positive(),
        "networks.generator": Demand(bool, "give a run of experiments/stylegan2.py, or weights"),
        "networks.identity": Demand(bool, "give a run of experiments/identity.py"),
        "loss.l2": at_least(0),
        "loss.perceptual": at_least(0),
        "loss.identity": at_least(0),
        "loss.delta": at_least(0),
        "loss.adversarial": at_least(0),
        "loss.penalty": at_least(0),
        "loss.penalty_every": at_least(1),
        "deltas.start": at_least(0),
        "deltas.every": at_least(1),
        "discriminator.learning_rate": positive(),
        "discriminator.pool": at_least(1),
    }
    check(config, demands | stage_demands(config))
    if config.loss.adversarial:
        # A step's styles each have a place of their own in the pool.
        check(config, {"discriminator.pool": at_least(config.batch)})
    # A head halves the last map until it is a pixel.
    least = 2 ** (len(config.model.blocks) + 1)
    halves = Demand(
        lambda side: side >= least and side & (side - 1) == 0,
        f"give a power of two, {least} or more",
    )
    check(config, {"model.side": halves})


def _check_generator(config: ml_collections.ConfigDict, makes: StyleGAN2Config) -> None:
    """Raises InputError if the encoder reads larger pictures than the generator makes."""
    if makes.resolution < config.model.side:
        raise InputError(
            f"config.model.side is {config.model.side}, but the generator makes images of {makes.resolution} px; "
            f"give {makes.resolution} or less."
        )
