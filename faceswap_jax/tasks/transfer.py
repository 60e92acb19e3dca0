"""Transfer: who a picture shows, with pose and expression of another, in StyleGAN2's latent space (thesis, 2023).

A frozen inversion tells the styles of who is shown, a trained encoder those of the motion; a linear layer makes the
styles of the result of both. Two frames of a track are a pair with a truth; a frame of somebody else, driven by one of
them, has none.

The source's formula compares that one's identity with the inversion of the driving frame, its text asks for the
identity of who is shown. Here it is compared with the INVERSION of who is shown: the picture itself is out of reach.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import grain
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from data_pipelines.batches.assembly import batches
from data_pipelines.batches.roles import Roles
from faceswap_jax.config import Demand, at_least, between, check, one_of, positive
from faceswap_jax.losses import contrastive
from faceswap_jax.losses.expression import correlations
from faceswap_jax.losses.identity import normalised
from faceswap_jax.losses.measures import psnr
from faceswap_jax.losses.perceptual import squared_error
from faceswap_jax.models import psp, restyle, stylegan2, transfer
from faceswap_jax.models.psp import EncoderConfig
from faceswap_jax.models.restyle import Made
from faceswap_jax.models.transfer import TransferConfig
from faceswap_jax.ops import optimizers, precision
from faceswap_jax.pretrained import inversion, judges
from faceswap_jax.pretrained.judges import EXPRESSION, IDENTITY
from faceswap_jax.state import State
from faceswap_jax.tasks.base import (
    Batch,
    Evaluator,
    Metrics,
    Phase,
    Preview,
    Step,
    Synthesis,
    decoded,
)
from faceswap_jax.tasks.open_set import DEMANDS, OpenSetTask, with_identities
from faceswap_jax.tasks.stages import stage_demands

PREVIEW_COLUMNS = 8
EVALUATED = 4  # batches

CENTRE = 188 / 256
"""Side of the middle that the losses of the crop see, of the picture's."""

LAYOUTS = {"styles": False, "joined": True}
"""Of the mapping, by their names in `config.model.mapping`: whether one layer maps all styles."""

TERMS = ("l2", "perceptual", "l2_crop", "perceptual_crop", "identity", "cosface")
"""Of the loss, as `config.loss` has their weights."""

Pictures = Float[Array, "b s s 3"]
Styles = Float[Array, "b styles latent"]
Value = Float[Array, ""]


class Frames(NamedTuple):
    """A batch: for each element a pair of one track, and somebody else.

    Attributes:
        shown: who is driven by a frame of the own track.
        driving: that frame.
        other: who is driven by it, too.
        others_driving: another frame of the other's, which drives nobody; None where no loss needs it.
    """

    shown: Pictures
    driving: Pictures
    other: Pictures
    others_driving: Pictures | None


class Acted(NamedTuple):
    """What the driving frames make.

    Attributes:
        motion: of them.
        by_own: images of the pairs.
        by_other: images of the others.
    """

    motion: Styles
    by_own: Pictures
    by_other: Pictures


class Task(OpenSetTask):
    """One phase. Batches are frames by their roles, [batch, frame, ...]."""

    memory_advice = "lower config.batch or config.model.channels"
    may_grow = ("steps",)

    def __init__(self, config: ml_collections.ConfigDict):
        super().__init__(config)
        _check(config)
        c = config
        frozen = inversion.described_shape(c.shapes.inversion)
        dtype = precision.dtype(c.precision)
        motion = EncoderConfig(
            styles=frozen.encoder.styles,
            latent=frozen.encoder.latent,
            inputs=3,
            side=frozen.encoder.side,
            blocks=tuple(c.model.blocks),
            channels=tuple(c.model.channels),
            stem=c.model.stem,
            dtype=dtype,
        )
        check(config, {"model.blocks": _fitting(motion)})
        generator = replace(frozen.generator, dtype=dtype)
        frozen = replace(frozen, generator=generator)
        self.model = TransferConfig(motion, frozen, LAYOUTS[c.model.mapping])
        self.judges = judges.described_judges(c.shapes)
        self.optimizer = optimizers.ranger(c.learning_rate)
        self.phases = [Phase(f"{motion.side} px", 0, c.steps, stage=0)]

    @classmethod
    def resolve(cls, config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
        """Takes the identities to train on from the data, and the shapes of the frozen networks from their files."""
        _check(config)
        config = with_identities(config)
        frozen, _ = inversion.load_for(config.networks.inversion, config.alignment)
        judging, _ = judges.load_for(config.networks, config.alignment)
        shapes = {"inversion": inversion.described(frozen), **judging.described}
        config.shapes = ml_collections.ConfigDict(shapes)
        return config

    # State

    def init_state(self, phase: Phase, key: PRNGKeyArray) -> State:
        """Fresh motion encoder and mapping; and the generator's weights, if they are trained on."""
        params, statistics = transfer.init(self.model, key)
        frozen = inversion.init(self.model.inversion, key)
        if self.config.tune:
            params = {**params, "generator": frozen["generator"]["params"]["synthesis"]}
        return State(
            step=jnp.int32(phase.start),
            key=key,
            params=params,
            opt=optimizers.init(self.optimizer, params),
            extras={
                "statistics": statistics,
                "inversion": frozen,
                "judges": self.judges.init(key),
            },
        )

    def frozen_inputs(self) -> dict[str, PyTree]:
        """The inversion with its generator, and the networks that judge what is made."""
        c = self.config
        _, frozen = inversion.load_for(c.networks.inversion, c.alignment)
        _, judging = judges.load_for(c.networks, c.alignment)
        return {"inversion": frozen, "judges": judging}

    def initial_params(self) -> tuple[dict[str, PyTree], str]:
        """The generator's weights, where they are trained on."""
        if not self.config.tune:
            return {}, ""
        c = self.config
        _, frozen = inversion.load_for(c.networks.inversion, c.alignment)
        synthesis = frozen["generator"]["params"]["synthesis"]
        return {"generator": synthesis}, f"The generator of {c.networks.inversion} is trained on."

    # Training

    def steps(self, phase: Phase) -> Mapping[str, Step]:
        """There is one step."""
        return {"train": self._train_step}

    def _train_step(self, state: State, batch: Batch) -> tuple[State, Metrics]:
        """One update of motion encoder and mapping, and of the generator where that is tuned."""
        frames = _frames(batch)
        # Of all who are shown, the pairs' first. The inversion is frozen: no gradient goes through it.
        found = self._inverted(state.extras, jnp.concatenate([frames.shown, frames.other]))

        # Update step; the optimizer knows the learning rate.
        gradient = jax.value_and_grad(self._loss, has_aux=True)
        (loss, auxiliary), gradients = gradient(state.params, state.extras, frames, found)
        statistics, terms = auxiliary
        params, opt = optimizers.apply(self.optimizer, gradients, state.opt, state.params, 1.0)
        extras = state.extras | {"statistics": statistics}
        state = replace(state, step=state.step + 1, params=params, opt=opt, extras=extras)
        return state, {"loss": loss, **terms}

    def _loss(
        self, params: PyTree, extras: Mapping[str, PyTree], frames: Frames, found: Made
    ) -> tuple[Value, tuple[psp.Statistics, Metrics]]:
        """The sum of the terms that count; others are left out of the program."""
        acted, statistics = self._act(params, extras, frames.driving, found.styles, train=True)
        weights = self.config.loss
        judging = extras["judges"]
        terms = {}

        # The driving frame is what its pair should be: whole, and the middle, where the expression is.
        for where, cut in (("", lambda images: images), ("_crop", centre)):
            truth, images = cut(frames.driving), cut(acted.by_own)
            if weights[f"l2{where}"]:
                terms[f"l2{where}"] = squared_error(images, truth)
            if weights[f"perceptual{where}"]:
                # A face embedder sees the middle anyway, in crops that it knows.
                if not self.judges.sees_whole:
                    truth, images = frames.driving, acted.by_own
                unlike = self.judges.unlike(judging, images, truth)
                terms[f"perceptual{where}"] = unlike.mean()

        if weights.identity:
            _, inverted = jnp.split(found.seen, 2)
            apart = self.judges.apart(judging, IDENTITY, acted.by_other, inverted)
            terms["identity"] = apart.mean()
        if weights.cosface:
            terms["cosface"] = self._cosface(params, extras, frames, acted).mean()

        total = sum(weights[name] * term for name, term in terms.items())
        return total, (statistics, terms)

    def _act(
        self,
        params: PyTree,
        extras: Mapping[str, PyTree],
        driving: Pictures,
        styles: Styles,
        train: bool = False,
    ) -> tuple[Acted, psp.Statistics]:
        """Everybody driven by the driving frames.

        Args:
            params: trained weights.
            extras: what else a state holds.
            driving: the frames.
            styles: of those who are shown, twice as many: of the frames' own people, then of the others.
            train: whether the batch's own statistics normalise.
        """
        motion, statistics = self._motion(params, extras, driving, train)
        twice = jnp.concatenate([motion, motion])
        mapped = transfer.styles_of(self.model, params, twice, styles)
        generator = tuned(extras["inversion"]["generator"], params)
        made = restyle.generate(self.model.inversion, generator, mapped)
        return Acted(motion, *jnp.split(made.seen, 2)), statistics

    def _motion(self, params, extras, pictures, train) -> tuple[Styles, psp.Statistics]:
        return psp.apply(self.model.motion, params["motion"], extras["statistics"], pictures, train)

    def _cosface(self, params, extras, frames: Frames, acted: Acted) -> Float[Array, "b"]:
        """Motions of the results shall be those of the driving frames, not those of other people's."""

        def direction(motion: Styles) -> Float[Array, "b styles*latent"]:
            return normalised(motion.reshape(len(motion), -1))

        wanted = direction(acted.motion)
        images = (frames.others_driving, acted.by_own, acted.by_other)
        # Each batch by its own statistics; the running ones are of the driving frames.
        unwanted, *told = (
            direction(self._motion(params, extras, pictures, True)[0]) for pictures in images
        )
        c = self.config.cosface
        return contrastive.large_margin(
            jnp.stack([(motion * wanted).sum(-1) for motion in told]),
            jnp.stack([(motion * unwanted).sum(-1) for motion in told]),
            c.scale,
            c.margin,
        )

    def _inverted(self, extras: Mapping[str, PyTree], pictures: Pictures) -> Made:
        """What the frozen inversion finds in pictures of the encoder's side."""
        return restyle.invert(self.model.inversion, **extras["inversion"], pictures=pictures)[-1]

    # Held-out data

    def evaluators(self, phase: Phase) -> Sequence[Evaluator]:
        """People never seen, driven by themselves and by each other."""
        return (Evaluator(self._measure, _summarise, EVALUATED),)

    def _measure(self, state: State, batch: Batch) -> PyTree:
        """Scores, and what the faces do.

        "self" are pairs, which have a truth; "cross" are driven by somebody else. "identity" is 1 - cosine with the
        inversion of who is shown, "picture" that with the picture itself, which the inversion has too: "inverted".
        """
        frames = _frames(batch)
        found = self._inverted(state.extras, jnp.concatenate([frames.shown, frames.other]))
        acted, _ = self._act(state.params, state.extras, frames.driving, found.styles)
        by_own, by_other = acted.by_own.clip(0, 1), acted.by_other.clip(0, 1)
        _, inverted = jnp.split(found.seen.clip(0, 1), 2)

        judging = state.extras["judges"]
        whole = jnp.ones((*by_own.shape[:3], 1))
        unlike = self.judges.unlike(judging, by_own, frames.driving)

        def stranger(images, pictures):
            return self.judges.apart(judging, IDENTITY, images, pictures).mean()

        scores = {
            "self/psnr": psnr(by_own, frames.driving, whole).mean(),
            f"self/{self.judges.perceptual_name}": unlike.mean(),
            "self/identity": stranger(by_own, frames.driving),
            "cross/identity": stranger(by_other, inverted),
            "cross/picture": stranger(by_other, frames.other),
            "inverted/picture": stranger(inverted, frames.other),
        }
        if not self.judges.reads_expressions:
            return {"scores": scores}
        kinds = {
            "driving": frames.driving,
            "self": by_own,
            "cross": by_other,
            "copied": frames.other,
        }
        read = {name: self.judges.read(judging, EXPRESSION, x) for name, x in kinds.items()}
        return {"scores": scores, "expressions": read}

    def preview(self, phase: Phase) -> Preview:
        """Held-out people, driven by themselves and by each other."""
        rows = ("picture", "its inversion", "driving", "result")
        return Preview(self._preview, (*rows, "other", "its inversion", "other, driven"))

    def _preview(self, state: State, batch: Batch) -> Float[Array, "rows columns h w 3"]:
        frames = _frames(jax.tree.map(lambda a: a[:PREVIEW_COLUMNS], batch))
        found = self._inverted(state.extras, jnp.concatenate([frames.shown, frames.other]))
        acted, _ = self._act(state.params, state.extras, frames.driving, found.styles)
        own, other = jnp.split(found.seen, 2)
        rows = [frames.shown, own, frames.driving, acted.by_own]
        rows += [frames.other, other, acted.by_other]
        return jnp.stack(rows).clip(0, 1)

    # Use

    @property
    def side(self) -> int:
        """Of the pictures that are inverted and that drive, pixels."""
        return self.model.motion.side

    def inverted(self, variables: PyTree, pictures: Pictures) -> list[Made]:
        """What each refinement makes of pictures in [0, 1], of the encoder's side, the average first."""
        return restyle.invert(self.model.inversion, **variables["inversion"], pictures=pictures)

    def synthesis(self, phase: Phase) -> Synthesis:
        """Whole images of anybody, or of nobody; `identity` is {"styles": the mean of those that pictures have}."""
        c = self.model
        made_by = c.inversion.generator

        def identity(variables, pictures) -> dict[str, Float[Array, "styles latent"]]:
            reduced = restyle.reduced(precision.from_bytes(pictures), self.side)
            return {"styles": self._inverted(variables, reduced).styles.mean(0)}

        def latents(variables, inputs) -> Float[Array, "b styles*latent"]:
            driving = restyle.reduced(precision.from_bytes(inputs["crops"]), self.side)
            motion, _ = self._motion(variables["params"], variables, driving, False)
            return motion.reshape(motion.shape[0], -1)

        def decode(variables, identity, latents) -> Float[Array, "b r r 3"]:
            motion = latents.reshape(-1, made_by.layers, made_by.latent)
            shown = jnp.broadcast_to(identity["styles"], motion.shape)
            mapped = transfer.styles_of(c, variables["params"], motion, shown)
            generator = tuned(variables["inversion"]["generator"], variables["params"])
            return restyle.generate(c.inversion, generator, mapped).images.clip(0, 1)

        def sample(variables, drawn) -> Float[Array, "b r r 3"]:
            generator = variables["inversion"]["generator"]
            w = stylegan2.styles(made_by, generator["params"], drawn)
            styles = stylegan2.everywhere(made_by, w)
            return restyle.generate(c.inversion, generator, styles).images.clip(0, 1)

        return Synthesis(
            alignment=self.config.alignment,
            resolution=made_by.resolution,
            placement="whole",
            inputs=("crops",),
            personas=(),
            images=decoded(latents, decode),
            identity=identity,
            latents=latents,
            decode=decode,
            parts={"motion": made_by.layers * made_by.latent},
            sample=sample,
            drawn=made_by.latent,
        )

    def variables(self, phase: Phase, state: State) -> PyTree:
        """Trained weights with the motion encoder's statistics, and the inversion with its generator."""
        return {
            "params": state.params,
            "statistics": state.extras["statistics"],
            "inversion": state.extras["inversion"],
        }

    # Data

    def batches_of(self, identities, phase, trained, **options) -> grain.MapDataset:
        """Two frames of a track, and one of somebody else, or two where CosFace needs them."""
        other = 2 if trained and self.config.loss.cosface else 1
        return batches(
            identities,
            Roles(source=1, driving=1, other=other),
            fields=("image", "record"),
            alignment=self.config.alignment,
            resolution=self.side,
            **options,
        )


def centre(images: Pictures) -> Float[Array, "b c c 3"]:
    """The middle of pictures, the face without hair and background."""
    side = images.shape[1]
    edge = round(side * (1 - CENTRE) / 2)
    return images[:, edge : side - edge, edge : side - edge]


def tuned(generator: restyle.Weights, params: PyTree) -> restyle.Weights:
    """A generator with the weights that were trained on, if any were."""
    if "generator" not in params:
        return generator
    return {**generator, "params": {**generator["params"], "synthesis": params["generator"]}}


def _frames(batch: Batch) -> Frames:
    """Images by their roles, in [0, 1]."""
    images = {role: precision.from_bytes(fields["image"]) for role, fields in batch.items()}
    other = images["other"]
    return Frames(
        shown=images["source"][:, 0],
        driving=images["driving"][:, 0],
        other=other[:, 0],
        others_driving=other[:, 1] if other.shape[1] > 1 else None,
    )


def _summarise(measured: Sequence[PyTree]) -> dict[str, float]:
    """Means of the scores, and how what faces do follows the driving frames: the mean correlation of all measures."""
    scores = {}
    for name in measured[0]["scores"]:
        scores[name] = float(np.mean([values["scores"][name] for values in measured]))
    if "expressions" in measured[0]:
        read = {}
        for name in measured[0]["expressions"]:
            read[name] = np.concatenate([values["expressions"][name] for values in measured])
        for name in ("self", "cross", "copied"):
            following = np.asarray(correlations(read[name], read["driving"]))
            # What never moves is not followed.
            scores[f"{name}/expression"] = float(np.nan_to_num(following).mean())
    return scores


def _fitting(motion: EncoderConfig) -> Demand:
    """Whether pictures can be halved so often."""
    return Demand(
        lambda blocks: motion.side >= 2 ** (len(blocks) + 1),
        f"give fewer stages, for the inversion reads pictures of {motion.side} px",
    )


def _check(config: ml_collections.ConfigDict) -> None:
    """Raises InputError for values that make no network or no training."""
    demands = DEMANDS | {
        "steps": at_least(1),
        "learning_rate": positive(),
        "tune": one_of(True, False),
        "networks.inversion": Demand(bool, "give a run of experiments/inversion.py, or weights"),
        "networks.identity": Demand(bool, "give a run of experiments/identity.py"),
        "data.test": at_least(2),
        "cosface.scale": positive(),
        "cosface.margin": between(-1, 1),
        "model.mapping": one_of(*LAYOUTS),
    }
    demands |= {f"loss.{name}": at_least(0) for name in TERMS}
    check(config, demands | stage_demands(config))
