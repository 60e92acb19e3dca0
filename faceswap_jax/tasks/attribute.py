"""MC-AAD: the attributes of one picture with the identity, the expression or more of others (US 2023/0252687).

Frozen networks read the features. Encoder and generator learn against a discriminator, in the same step.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import grain
import jax
import jax.numpy as jnp
import ml_collections
import optax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from data_pipelines.batches.assembly import batches
from data_pipelines.batches.roles import Identities
from faceswap_jax.config import (
    at_least,
    below,
    between,
    check,
    multiple,
    one_of,
    positive,
)
from faceswap_jax.errors import InputError
from faceswap_jax.losses import attributes
from faceswap_jax.losses.adversarial import ADVERSARIES
from faceswap_jax.losses.identity import normalised
from faceswap_jax.losses.measures import psnr
from faceswap_jax.models import attribute, discriminator
from faceswap_jax.ops import optimizers, precision, schedules
from faceswap_jax.pretrained import embedder
from faceswap_jax.pretrained.features import FEATURES, shapes_of
from faceswap_jax.state import State
from faceswap_jax.tasks.attribute_losses import (
    PLACES,
    Features,
    Lenders,
    Lending,
    Networks,
    Pictures,
    lenders,
    lent,
    losses,
    neighbours,
    of_neighbours,
)
from faceswap_jax.tasks.base import (
    Batch,
    Evaluator,
    Metrics,
    Phase,
    Preview,
    Step,
    Synthesis,
    mean_of,
)
from faceswap_jax.tasks.open_set import DEMANDS, OpenSetTask, with_identities

OPTIMIZERS = {"adam": optimizers.adam_without_momentum(0.999), "muon": optimizers.MUON}
"""FaceShifter's Adam with betas 0 and 0.999; or Muon (choice), which needs a tenth of the steps."""

AVERAGED = ("encoder", "generator")
"""Groups of weights whose running mean is what is used."""

PREVIEW_COLUMNS = 8
EVALUATED = 4  # batches

TERMS = ("reconstruction", "attributes", "features", "cycle", "adversarial")
"""Of the loss, as `config.loss` has their weights."""

RISING = ("features", "adversarial")
"""Terms whose weights rise over the first steps, for there are no faces yet to be judged."""

IDENTITY = "identity"
"""The role whose feature is taken from pictures of somebody when faces of a clip are changed; the others stay."""


class Swap(NamedTuple):
    """Images with the features that others lend them.

    Attributes:
        maps: of their attributes.
        own: features that they have, by role.
        wanted: features that they are lent, by role.
        made: what the generator makes of these.
    """

    maps: Sequence[Array]
    own: Features
    wanted: Features
    made: attribute.Generated


class Task(OpenSetTask):
    """One phase. Batches are images, of which some may be of the same person."""

    memory_advice = "lower config.batch or config.model.width"
    may_grow = ("steps",)
    masks = "each"
    """Of the generator, see `AttributeConfig`. experiments/benchmarks/one_mask.py tries another one."""

    def __init__(self, config: ml_collections.ConfigDict):
        super().__init__(config)
        _check(config)
        c = config
        frozen = shapes_of(c.shapes)
        lengths = [FEATURES[role].length(shape) for role, shape in frozen.items()]
        dtype = precision.dtype(c.precision)
        self.networks = Networks(
            generator=attribute.AttributeConfig(
                features=tuple(lengths),
                resolution=c.model.resolution,
                levels=c.model.levels,
                width=c.model.width,
                layers=c.model.layers,
                hides=bool(c.model.hidden),
                masks=self.masks,
                dtype=dtype,
            ),
            discriminator=discriminator.DiscriminatorConfig(
                channels=discriminator.channels_of(
                    c.model.discriminator.halvings, c.model.discriminator.width
                ),
                scales=c.model.discriminator.scales,
                dtype=dtype,
            ),
            frozen=frozen,
            hidden=c.model.hidden,
        )
        self.phases = [Phase(f"{c.model.resolution} px", 0, c.steps, stage=0)]

    @classmethod
    def resolve(cls, config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
        """Takes the identities to train on from the data, and the shapes of the frozen networks from their files."""
        _check(config)
        config = with_identities(config, config.data.pictures, config.data.alike)
        shapes = {}
        for role in _roles(config):
            shape, _ = FEATURES[role].load(config.features[role], config.alignment)
            shapes[role] = embedder.described(shape)
        config.shapes = ml_collections.ConfigDict(shapes)
        return config

    # State

    def init_state(self, phase: Phase, key: PRNGKeyArray) -> State:
        """Fresh weights, which are their own mean."""
        generator_key, discriminator_key = jax.random.split(key)
        params = attribute.init(self.networks.generator, generator_key)
        judge = discriminator.init(self.networks.discriminator, discriminator_key)
        params = params | {"discriminator": judge}
        features = {}
        for role, shape in self.networks.frozen.items():
            features[role] = FEATURES[role].init(shape, key)
        return State(
            step=jnp.int32(phase.start),
            key=key,
            params=params,
            opt=optimizers.init(self.optimizer, params),
            extras={"average": {name: params[name] for name in AVERAGED}, "features": features},
        )

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """Of all networks alike."""
        return OPTIMIZERS[self.config.optimizer]

    def frozen_inputs(self) -> dict[str, PyTree]:
        """The networks that read features, by role."""
        c = self.config
        weights = {}
        for role in self.networks.frozen:
            _, weights[role] = FEATURES[role].load(c.features[role], c.alignment)
        return {"features": weights}

    # Training

    def steps(self, phase: Phase) -> Mapping[str, Step]:
        """A step, and the same with gradient penalties, if there are any."""
        found = {"train": partial(self._train_step, False)}
        if self.config.loss.penalty:
            found["regularised"] = partial(self._train_step, True)
        return found

    def step_name(self, phase: Phase, step: int) -> str:
        """The first of every few is regularised."""
        loss = self.config.loss
        lazy = loss.penalty and step % loss.penalty_every == 0
        return "regularised" if lazy else "train"

    def _train_step(self, regularised: bool, state: State, batch: Batch) -> tuple[State, Metrics]:
        """One update of encoder and generator, and one of the discriminator, each against the other as it was."""
        c = self.config
        key = jax.random.fold_in(state.key, state.step)
        pictures = Pictures(precision.from_bytes(batch["image"]), batch["landmarks"])
        count = len(pictures.images)
        lending = Lending(
            others=lenders(key, count, list(self.networks.frozen), c.data.same),
            itself=neighbours(count, c.data.pictures),
            alike=c.data.alike,
            pictures=c.data.pictures,
        )
        risen = {name: _risen(state.step, c.loss[f"{name}_warm_up"]) for name in RISING}

        def loss(params):
            frozen = state.extras["features"]
            return losses(
                self.networks, c.loss, regularised, params, frozen, pictures, lending, risen
            )

        # Update step
        gradients, metrics = jax.grad(loss, has_aux=True)(state.params)
        rate = schedules.constant_then_linear(state.step, c.learning_rate, c.steps, c.final_steps)
        # What judges goes on as fast as ever (choice): so whoever is judged can answer.
        rates = dict.fromkeys(AVERAGED, rate) | {"discriminator": c.learning_rate}
        params, opt = optimizers.apply(self.optimizer, gradients, state.opt, state.params, rates)

        step = state.step + 1
        average = optimizers.running_mean(
            state.extras["average"], {name: params[name] for name in AVERAGED}, step, c.average
        )
        extras = state.extras | {"average": average}
        return replace(state, step=step, params=params, opt=opt, extras=extras), metrics

    # Held-out data

    def evaluators(self, phase: Phase) -> Sequence[Evaluator]:
        """People never seen, as themselves and with each other's features."""
        return (mean_of(self._scores, EVALUATED),)

    def _scores(self, state: State, batch: Batch) -> Metrics:
        """Attributes and features apart, for the training fails in either.

        "psnr" is of pictures as themselves, by their own features. "attributes" is how unlike the attributes of swapped
        pictures are to their own. Of each feature, the distance from what was lent, and of "untouched" pictures.
        "found" is how often a swapped picture's identity is nearer to the one lent than to that of any other picture of
        the batch. Where people have the same attributes, "psnr/alike" is of pictures that are made of another one's,
        and of these "untouched"; they are cut as that other one is, and so are a little worse to read.
        """
        images, landmarks = precision.from_bytes(batch["image"]), batch["landmarks"]
        params = state.extras["average"]
        swap = self._swap(state, images, landmarks)
        itself = self.networks.generate(params, swap.maps, swap.own).images
        told = self.networks.read(state.extras["features"], swap.made.images)
        seen = self.networks.encode(params, swap.made.images, self.networks.mask(landmarks))

        whole = jnp.ones((*images.shape[:3], 1))
        metrics = {
            "psnr": psnr(images, itself, whole).mean(),
            "attributes": attributes.unlike(swap.maps, seen),
        }
        for role in self.networks.frozen:
            distance = FEATURES[role].distance
            metrics[role] = distance(told[role], swap.wanted[role]).mean()
            metrics[f"{role}/untouched"] = distance(swap.own[role], swap.wanted[role]).mean()
        alike = self.config.data.alike
        if alike > 1:
            neighbour = partial(of_neighbours, alike=alike, pictures=1)
            made = self.networks.generate(params, neighbour(swap.maps), swap.own).images
            (untouched,) = neighbour([images])
            metrics["psnr/alike"] = psnr(images, made, whole).mean()
            metrics["psnr/alike/untouched"] = psnr(images, untouched, whole).mean()
        if IDENTITY in told:
            metrics["identity/found"] = _found(told[IDENTITY], swap.wanted[IDENTITY])
        return metrics

    def _swap(
        self, state: State, images: Float[Array, "b r r 3"], landmarks: Float[Array, "b 68 2"]
    ) -> Swap:
        """Every image with features of others."""
        params = state.extras["average"]
        maps = self.networks.encode(params, images, self.networks.mask(landmarks))
        own = self.networks.read(state.extras["features"], images)
        wanted = lent(own, self._all_lend(len(images)))
        return Swap(maps, own, wanted, self.networks.generate(params, maps, wanted))

    def _all_lend(self, batch: int) -> Lenders:
        return lenders(jax.random.key(0), batch, list(self.networks.frozen), same=0.0)

    def preview(self, phase: Phase) -> Preview:
        """Held-out people with each other's features; and for each level, whom its masks let it follow.

        Red is for the attributes, green for the first feature, blue for the second.
        """
        roles = [f"{role} of" for role in ("attributes", *self.networks.frozen)]
        masks = [f"masks, {side} px" for side in self.networks.generator.sides]
        return Preview(self._preview, (*roles, "result", "first row as itself", *masks))

    def _preview(self, state: State, batch: Batch) -> Float[Array, "rows columns h w 3"]:
        images = precision.from_bytes(batch["image"][:PREVIEW_COLUMNS])
        swap = self._swap(state, images, batch["landmarks"][:PREVIEW_COLUMNS])
        itself = self.networks.generate(state.extras["average"], swap.maps, swap.own).images
        lending = [images[by] for by in self._all_lend(len(images)).values()]
        side = self.networks.generator.resolution
        masks = [_coloured(level, side) for level in swap.made.masks]
        return jnp.stack([images, *lending, swap.made.images, itself, *masks])

    # Use

    @property
    def makes_images(self) -> bool:
        """Whether the identity is among the features: nothing else is lent to the faces of a clip."""
        return IDENTITY in self.networks.frozen

    def synthesis(self, phase: Phase) -> Synthesis:
        """The faces that are cut out, with the features that others lend; their own stay otherwise."""
        networks = self.networks

        def features(variables, role, pictures) -> Float[Array, "n d"]:
            crops = precision.from_bytes(pictures)
            return networks.read(variables["features"], crops, [role])[role]

        def images(variables, identity, inputs, edit) -> Float[Array, "b r r 3"]:
            crops = precision.from_bytes(inputs["crops"])
            given = {**identity, **inputs}
            lent = [role for role in networks.frozen if role in given]
            own = [role for role in networks.frozen if role not in given]
            wanted = networks.read(variables["features"], crops, own)
            for role in lent:
                # One vector for all crops, or one for each
                length = given[role].shape[-1]
                wanted[role] = jnp.broadcast_to(given[role], (crops.shape[0], length))
            mask = networks.mask(inputs.get("landmarks"))
            maps = networks.encode(variables["params"], crops, mask)
            return networks.generate(variables["params"], maps, wanted).images

        return Synthesis(
            alignment=self.config.alignment,
            resolution=networks.generator.resolution,
            placement="blended",
            # For the face may have another shape.
            outline="wide",
            inputs=("crops", "landmarks") if networks.hidden else ("crops",),
            personas=(),
            images=images,
            roles=tuple(networks.frozen),
            features=features,
        )

    def variables(self, phase: Phase, state: State) -> PyTree:
        """The mean of the weights, and the networks that read features."""
        return {"params": state.extras["average"], "features": state.extras["features"]}

    # Data

    def batches_of(self, identities, phase, trained, batch, hosts, **options) -> grain.MapDataset:
        """Images of them, so many of each person side by side where they are trained on.

        Raises:
            InputError: the people of a batch do not divide among hosts.
        """
        data = self.config.data
        sampler = Identities(data.pictures if trained else 1, data.alike)
        together = sampler.frames * sampler.neighbours
        if batch % (together * hosts):
            raise InputError(
                f"A batch of {batch} images, of which {together} belong together, does not divide among {hosts} hosts; "
                f"make it a multiple of {together * hosts}."
            )
        return batches(
            identities,
            sampler,
            batch=batch // together,
            hosts=hosts,
            fields=("image", "landmarks", "record"),
            alignment=self.config.alignment,
            resolution=self.config.model.resolution,
            **options,
        )


def _risen(step: Array, warm_up: int) -> Float[Array, ""]:
    """How far a weight has risen that is at its full height after `warm_up` steps, 0 to 1."""
    return jnp.minimum((step + 1) / max(warm_up, 1), 1.0)


def _found(told: Float[Array, "b d"], wanted: Float[Array, "b d"]) -> Float[Array, ""]:
    """How often a direction is nearer to the one that is wanted in its place than to those of all other places."""
    nearest = (normalised(told) @ normalised(wanted).T).argmax(1)
    return (nearest == jnp.arange(len(told))).mean()


def _coloured(masks: Float[Array, "b h w m"], side: int) -> Float[Array, "b side side 3"]:
    """The first three masks as red, green and blue; a level's pixels are squares of the image's."""
    b, h, w, m = masks.shape
    colours = jnp.zeros((b, h, w, 3)).at[..., : min(m, 3)].set(masks[..., :3])
    return colours.repeat(side // h, 1).repeat(side // w, 2)


def _roles(config: ml_collections.ConfigDict) -> list[str]:
    """Of the features that are wanted.

    Raises:
        InputError: there are none, or one that is not known.
    """
    unknown = config.features.keys() - FEATURES.keys()
    if unknown:
        raise InputError(
            f"config.features has '{min(unknown)}'; the features are {', '.join(FEATURES)}."
        )
    roles = [role for role in FEATURES if config.features.get(role)]
    if not roles:
        raise InputError(
            "config.features names no network; set config.features.identity to a run of experiments/identity.py or to "
            "InsightFace's weights, or config.features.expression to a run of experiments/expression.py or to "
            "mediapipe; for rendered faces both to puppets, with config.alignment=stable."
        )
    return roles


def _check(config: ml_collections.ConfigDict) -> None:
    """Raises InputError for values that make no network or no training."""
    check(config, {"data.pictures": at_least(1), "data.alike": at_least(1)})
    each = config.data.pictures
    if each > 1 and IDENTITY not in _roles(config):
        raise InputError(
            f"config.data.pictures is {each}, but others of the same person lend nothing without "
            "config.features.identity; set config.data.pictures=1."
        )
    if config.data.alike > 1 and len(_roles(config)) < len(FEATURES):
        raise InputError(
            f"config.data.alike is {config.data.alike}, but who are alike differ in face and expression, and "
            "config.features has no network for both; name them, or set config.data.alike=1."
        )
    # A picture is lent each feature by another picture, of another person: see `attribute_losses.lenders`.
    together = 2 ** len(_roles(config)) * each * config.data.alike
    judge = config.model.discriminator
    demands = DEMANDS | {
        "batch": multiple(together),
        "steps": at_least(1),
        "final_steps": between(0, config.steps),
        "optimizer": one_of(*OPTIMIZERS),
        "learning_rate": positive(),
        "average": below(0, 1),
        "data.test": multiple(together),
        "data.same": between(0, 1),
        "model.levels": at_least(2),
        "model.width": positive(),
        "model.layers": at_least(1),
        "model.discriminator.halvings": at_least(1),
        "model.discriminator.scales": at_least(1),
        "model.discriminator.width": positive(),
        "loss.adversary": one_of(*ADVERSARIES),
        "loss.penalty": at_least(0),
        "loss.places": at_least(0),
        "loss.penalty_every": at_least(1),
    }
    demands |= {f"loss.{name}": at_least(0) for name in TERMS}
    demands |= {f"loss.{name}_warm_up": at_least(0) for name in RISING}
    demands |= {f"loss.enough.{role}": at_least(0) for role in _roles(config)}
    check(config, demands)
    halvings = max(config.model.levels - 1, judge.halvings + judge.scales - 1)
    check(config, {"model.resolution": multiple(2**halvings)})
    for place in config.model.hidden:
        if place not in PLACES:
            raise InputError(
                f"config.model.hidden has '{place}'; the places are {', '.join(PLACES)}."
            )
