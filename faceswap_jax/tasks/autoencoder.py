"""The comb network: reconstruct every persona through one encoder and its own decoder (US 2020/0372621).

After training, encoding persona q and decoding as persona p gives p's face with q's performance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import grain
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree, UInt8

from data_pipelines import datasets, sources
from data_pipelines.batches import pipeline
from faceswap_jax.config import at_least, below, between, check, inside, one_of, positive
from faceswap_jax.errors import InputError
from faceswap_jax.losses import identity, measures, reconstruction
from faceswap_jax.models import comb, iresnet
from faceswap_jax.ops import augmentation as augment
from faceswap_jax.ops import optimizers as optim
from faceswap_jax.ops import precision
from faceswap_jax.ops.masks import masked
from faceswap_jax.parallel import persona, rules
from faceswap_jax.pretrained import embedder
from faceswap_jax.state import State
from faceswap_jax.tasks.base import (
    Batch,
    Evaluator,
    FaceTask,
    Metrics,
    Phase,
    Preview,
    Step,
    Synthesis,
    mean_of,
    with_data,
)

EMBEDDER = ("params", "statistics")  # what a frozen embedder consists of
SWAPPED = ("identity", "cycle", "latent_cycle")
"""Losses of swapped pictures, by their names in `config.loss`."""
PREVIEW_PERSONAS = 8  # in a preview, and how many held-out pictures of each
PREVIEW_COLUMNS = 3
AUGMENTATION, PARTNER = (
    2**32 - 1,
    2**32 - 2,
)  # streams of random numbers; the others are folded from steps and levels


class Moment(NamedTuple):
    """What a step does: the level it trains, its fade-in gain and its learning rate."""

    level: Int[Array, ""]
    alpha: Float[Array, ""]
    learning_rate: Float[Array, ""]


def schedule(config: ml_collections.ConfigDict, step: Int[Array, ""]) -> Moment:
    """Level, alpha and learning rate of a step, as a pure function of its number.

    Alpha rises from 0 at a level's first step to 1 at half of its steps; the lowest level has nothing to fade. The
    learning rate drops for the last `final_steps`, which train the highest level on.
    """
    lengths = np.trim_zeros(config.level_steps, "b")
    stops = np.cumsum(lengths)
    level = jnp.minimum((step >= stops).sum(), len(stops) - 1)
    start = jnp.array(stops - lengths)[level]
    rise = (step - start) / (0.5 * jnp.array(lengths)[level])
    return Moment(
        level,
        alpha=jnp.float32(jnp.where(start == 0, 1.0, jnp.minimum(rise, 1.0))),
        learning_rate=jnp.float32(
            jnp.where(step < stops[-1], config.learning_rate, config.final_learning_rate)
        ),
    )


class Shared(NamedTuple):
    """What all personas share in a step.

    Attributes:
        weights: of the encoder and of the tied levels.
        alpha: fade-in gain of the newest level.
        partner: whose performance every persona's decoder is lent: that of the persona so many places further.
        frozen: networks that are used and not trained.
    """

    weights: comb.Params
    alpha: Float[Array, ""]
    partner: Int[Array, ""]
    frozen: Mapping[str, PyTree]


class Task(FaceTask):
    """One phase per growth level; batches are those of `pipeline.persona_batches`."""

    batch_spec = rules.BATCH
    memory_advice = "lower config.batch, end config.level_steps with a lower level or set config.model.remat=blocks"

    def __init__(self, config: ml_collections.ConfigDict):
        super().__init__(config)
        self.dtype = precision.dtype(config.precision)
        _check(config)
        self.embedder = _shape(config.embedder) if config.loss.identity else None
        self.phases, start = [], 0
        top = max(level for level, count in enumerate(config.level_steps) if count)
        for level, count in enumerate(config.level_steps):
            if count:
                stop = start + count + (config.final_steps if level == top else 0)
                model = self.model(level)
                cost = comb.multiplications(model)
                self.phases.append(
                    Phase(
                        f"level {level}, {model.resolution} px", start, stop, stage=level, cost=cost
                    )
                )
                start = stop

    @classmethod
    def resolve(cls, config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
        """Takes the personas' names from the data, and the embedder's shape from its file."""
        _check(config)
        names = tuple(datasets.open_data(config.data))
        if len(names) < 2:
            raise InputError(
                f"'{config.data.path}' has only the persona '{names[0]}'; a swap needs at least two, prepare another."
            )
        if len(names) % config.mesh.persona:
            raise InputError(
                f"config.mesh.persona is {config.mesh.persona}; choose a divisor of {len(names)} personas."
            )
        config = with_data(config, personas=names)
        if config.loss.identity:
            shape = asdict(embedder.load(Path(config.loss.embedder)).config)
            config.embedder = {name: value for name, value in shape.items() if name != "dtype"}
        return config

    def model(self, level: int) -> comb.CombConfig:
        """Shape of the network at a growth level."""
        c = self.config
        return comb.CombConfig(
            level,
            len(c.personas),
            c.model.width,
            c.model.latent,
            dtype=self.dtype,
            remat=c.model.remat,
        )

    def init_state(self, phase: Phase, key: PRNGKeyArray) -> State:
        """Fresh weights at the phase's level."""
        params, extras = comb.init(self.model(phase.stage), key), {}
        if self.embedder:
            extras["embedder"] = dict(zip(EMBEDDER, iresnet.init(self.embedder, key), strict=True))
        return State(jnp.int32(phase.start), key, params, _init_opt(params), extras)

    def frozen_inputs(self) -> dict[str, PyTree]:
        """The face embedder, if the identity loss needs one."""
        if not self.embedder:
            return {}
        given = embedder.load(Path(self.config.loss.embedder))
        return {"embedder": {name: getattr(given, name) for name in EMBEDDER}}

    def enter(self, phase: Phase, state: State) -> State:
        """Adds a level, whose moments and bias correction start afresh."""
        params = comb.init(self.model(phase.stage), jax.random.fold_in(state.key, phase.stage))
        return replace(
            state,
            params=comb.grow(state.params, params),
            opt=comb.grow(state.opt, _init_opt(params)),
        )

    def steps(self, phase: Phase) -> Mapping[str, Step]:
        """There is one step."""
        return {"train": partial(self._train_step, phase)}

    def _train_step(self, phase: Phase, state: State, batch: Batch) -> tuple[State, Metrics]:
        """One update on all personas together, or one for each in random order (`config.update_order`)."""
        c, model, (_, alpha, learning_rate) = (
            self.config,
            self.model(phase.stage),
            schedule(self.config, state.step),
        )
        seen, x, mask = _pictures(batch)
        augmentation, partner = (
            jax.random.fold_in(jax.random.fold_in(state.key, stream), state.step)
            for stream in (AUGMENTATION, PARTNER)
        )
        pictures = augment.photometric(augmentation, seen, c.augment), x, mask
        partner = jax.random.randint(partner, (), 1, len(c.personas))
        update = self._joint if c.update_order == "joint" else self._sequential
        params, opt, losses, terms = update(model, state, pictures, alpha, partner, learning_rate)
        metrics = {"loss": losses.mean(), "alpha": alpha, "learning_rate": learning_rate}
        metrics |= {f"term/{name}": term.mean() for name, term in terms.items()}
        metrics |= {f"loss/{name}": losses[i] for i, name in enumerate(c.personas)}
        return replace(state, step=state.step + 1, params=params, opt=opt), metrics

    def _joint(self, model, state, pictures, alpha, partner, learning_rate):
        """One update on the mean loss of all personas, each device working on its own personas."""

        def loss(params):
            weights, own = _split(params)
            shared = Shared(weights, alpha, partner, state.extras)
            losses, terms = persona.sharded(partial(self._losses, model))(shared, own, pictures)
            return losses.mean(), (losses, terms)

        gradients, (losses, terms) = jax.grad(loss, has_aux=True)(state.params)
        return *_apply(gradients, state.opt, state.params, learning_rate), losses, terms

    def _sequential(self, model, state, pictures, alpha, partner, learning_rate):
        """The source's iteration: shared weights get P updates, every persona's own weights one.

        Unrolled: gradients of convolutions inside a scan are forty times slower on a CPU.
        """
        order = jax.random.permutation(
            jax.random.fold_in(state.key, state.step), len(self.config.personas)
        )
        params, opt, results = state.params, state.opt, []

        def loss(params, pictures):
            weights, own = _split(params)
            shared = Shared(weights, alpha, partner, {})
            losses, terms = self._losses(
                model, shared, jax.tree.map(lambda w: w[None], own), pictures
            )
            return losses[0], (losses, terms)

        for p in order:
            # Own weights and moments come from the state, in which no persona has had its update yet.
            one = params | {"personas": _take(state.params["personas"], p)}
            one_opt = opt | {"personas": _take(state.opt["personas"], p)}
            gradients, result = jax.grad(loss, has_aux=True)(
                one, jax.tree.map(lambda x, p=p: x[p][None], pictures)
            )
            one, one_opt = _apply(gradients, one_opt, one, learning_rate)
            params = one | {"personas": _put(params["personas"], p, one["personas"])}
            opt = one_opt | {"personas": _put(opt["personas"], p, one_opt["personas"])}
            results.append(result)
        losses, terms = jax.tree.map(
            lambda *parts: jnp.concatenate(parts)[jnp.argsort(order)], *results
        )
        return params, opt, losses, terms

    def _losses(
        self, model, shared, own, pictures
    ) -> tuple[Float[Array, "p"], dict[str, Float[Array, "p"]]]:
        """Each persona's loss: the weighted sum of its terms; and these, by their names in `config.loss`.

        `pictures` are what the encoder sees, the pictures and their masks, all [p, b, h, w, c]; `own` are the weights
        of the decoders, stacked. Pictures, masks and decoders stay on their devices; of swaps only the latents travel,
        and masks at the embedder's size.
        """
        wanted, (seen, x, mask) = self.config.loss, pictures

        def dissimilarity(x, mask, y):
            return reconstruction.dissimilarity(
                *reconstruction.compared(x, mask, y, wanted.masking)
            )

        z = _encode(model, shared, seen)
        y = _decode(model, shared, own, z)
        terms = {"reconstruction": persona.flattened(dissimilarity, x, mask, y)}
        if wanted.l1:
            terms["l1"] = persona.flattened(reconstruction.l1, x, y, mask)
        if any(wanted[name] for name in SWAPPED):
            swapped = _decode(model, shared, own, persona.exchange(z, shared.partner))
        if wanted.identity:
            terms["identity"] = self._identity(shared, x, mask, swapped)
        if wanted.cycle or wanted.latent_cycle:
            back = persona.exchange(_encode(model, shared, swapped), -shared.partner)
        if wanted.cycle:
            terms["cycle"] = persona.flattened(
                reconstruction.l1, x, _decode(model, shared, own, back), mask
            )
        if wanted.latent_cycle:
            terms["latent_cycle"] = jnp.abs(back - z).mean(-1)
        terms = {name: term.mean(1) for name, term in terms.items()}
        return sum(wanted.get(name, 1.0) * term for name, term in terms.items()), terms

    def _identity(self, shared, x, mask, swapped) -> Float[Array, "p b"]:
        """How unlike its persona each swapped picture is, the persona being the mean embedding of its pictures."""
        view = partial(persona.flattened, partial(embedder.view, side=self.embedder.side))
        mask = view(mask)[..., 0]

        def embed(pictures, mask):
            def network(seen):
                return embedder.embed_seen(self.embedder, **shared.frozen["embedder"], seen=seen)

            return persona.flattened(network, masked(view(pictures), mask))

        reference = embed(x, mask).mean(1, keepdims=True)
        return identity.dissimilarity(
            embed(swapped, persona.exchange(mask, shared.partner)), reference
        )

    def evaluators(self, phase: Phase) -> Sequence[Evaluator]:
        """Scores of reconstructions of one held-out batch."""
        return (mean_of(partial(self._reconstruction_scores, phase)),)

    def _reconstruction_scores(self, phase: Phase, state: State, batch: Batch) -> Metrics:
        """PSNR (dB) and dissimilarity of reconstructions inside the face."""
        _, x, mask = _pictures(batch)
        model, shared, own = self._trained(phase, state)

        def local(shared, own, x):
            return _decode(model, shared, own, _encode(model, shared, x))

        x, mask, y = map(persona.merge, (x, mask, persona.sharded(local)(shared, own, x)))
        loss = reconstruction.dissimilarity(*reconstruction.compared(x, mask, y, "both"))
        return {"psnr": measures.psnr(x, y, mask).mean(), "dissimilarity": loss.mean()}

    def preview(self, phase: Phase) -> Preview:
        """Held-out images of the first personas: as they are, reconstructed, and swapped to each of them."""
        names = self.config.personas[:PREVIEW_PERSONAS]
        images = min(self.config.batch, PREVIEW_COLUMNS)
        return Preview(
            partial(self._preview, phase),
            rows=("input", "reconstruction", *(f"as {name}" for name in names)),
            columns=[name for name in names for _ in range(images)],
        )

    def _preview(
        self, phase: Phase, state: State, batch: Batch
    ) -> Float[Array, "rows columns h w 3"]:
        _, x, _ = _pictures(jax.tree.map(lambda a: a[:PREVIEW_PERSONAS, :PREVIEW_COLUMNS], batch))
        swaps = jnp.stack(
            [self._swapped(phase, state, x.reshape(-1, *x.shape[2:]), p) for p in range(len(x))]
        )
        own = [swaps[p].reshape(x.shape)[p] for p in range(len(x))]
        return jnp.concatenate([x.reshape(1, -1, *x.shape[2:]), jnp.concatenate(own)[None], swaps])

    def _trained(self, phase, state):
        """Shape, shared and own weights as the last step left them, with the alpha it was done at."""
        weights, own = _split(state.params)
        alpha = schedule(self.config, jnp.maximum(state.step - 1, 0)).alpha
        return self.model(phase.stage), Shared(weights, alpha, jnp.int32(0), {}), own

    def _swapped(
        self, phase, state, x: Float[Array, "b h w 3"], index: int | Array
    ) -> Float[Array, "b h w 3"]:
        """Pictures with the face of persona number `index`."""
        model, shared, own = self._trained(phase, state)
        one = jax.tree.map(lambda w: w[index][None], own)
        return _decode(model, shared, one, _encode(model, shared, x[None]))[0]

    def train_data(self, phase: Phase, host: int, hosts: int) -> grain.MapDataset:
        """Pictures and masks of all personas at the phase's resolution."""
        c = self.config
        jitter = pipeline.Jitter(**c.data.jitter)
        return self._batches(
            phase, 0, c.seed, host, hosts, mirror=True, jitter=jitter, warp=c.data.warp
        )

    def eval_data(self, phase: Phase, host: int, hosts: int) -> grain.MapDataset:
        """The same of the records that are never trained on."""
        return self._batches(phase, 1, 0, host, hosts, mirror=False)

    def _batches(self, phase, part, seed, host, hosts, **augmentation):
        validation = self.config.data.validation
        return pipeline.persona_batches(
            [sources.split(self.data[name], validation)[part] for name in self.config.personas],
            resolution=comb.resolution(phase.stage),
            batch=self.config.batch,
            seed=seed,
            host=host,
            hosts=hosts,
            **augmentation,
        )

    def synthesis(self, phase: Phase, state: State) -> Synthesis:
        """Anybody's aligned crops with the face of one persona, to be blended into the frame."""

        def images(state, index, inputs, edit=None) -> UInt8[Array, "b h w 3"]:
            x = inputs["crops"].astype(jnp.float32) / 255
            return jnp.round(self._swapped(phase, state, x, index) * 255).astype(jnp.uint8)

        return Synthesis(
            alignment="eyes",
            resolution=comb.resolution(phase.stage),
            placement="blended",
            inputs=("crops",),
            personas=self.config.personas,
            variables=replace(state, opt={}, extras={}),
            identity=self._identity_of,
            images=images,
        )

    def _identity_of(self, who) -> Int[Array, ""]:
        """Index of the persona that `who` names."""
        if who.pictures or len(who.personas) != 1:
            raise InputError(
                "This model shows one persona at a time, whom it was trained on; give the name of one of "
                f"{', '.join(self.config.personas)}."
            )
        ((name, weight),) = who.personas.items()
        if name not in self.config.personas:
            raise InputError(
                f"There is no persona '{name}'; choose one of {', '.join(self.config.personas)}."
            )
        if weight != 1:
            raise InputError(
                f"The weight of persona '{name}' is {weight}; give 1, for this model mixes no personas."
            )
        return jnp.int32(list(self.config.personas).index(name))


def _encode(model, shared, x: Float[Array, "p b h w 3"]) -> Float[Array, "p b latent"]:
    return persona.flattened(
        lambda x: comb.encode(model, shared.weights["encoder"], x, shared.alpha), x
    )


def _decode(model, shared, own, z: Float[Array, "p b latent"]) -> Float[Array, "p b h w 3"]:
    return persona.unrolled(
        lambda own, z: comb.decode(model, shared.weights["tied"], own, z, shared.alpha), own, z
    )


def _check(config: ml_collections.ConfigDict) -> None:
    """Raises InputError for values that make no network or no training."""
    demands = {
        "seed": at_least(0),
        "batch": at_least(1),
        "final_steps": at_least(0),
        "update_order": one_of("joint", "sequential"),
        "learning_rate": positive(),
        "final_learning_rate": positive(),
        "mesh.persona": at_least(1),
        "model.width": positive(),
        "model.latent": at_least(1),
        "data.validation": inside(0, 1),
        "data.warp": at_least(0),
        "data.jitter.rotation": between(0, 180),
        "data.jitter.scale": below(0, 1),
        "data.jitter.shift": below(0, 1),
        "loss.masking": one_of("target", "both"),
    }
    demands |= {f"augment.{name}": below(0, 1) for name in config.augment}
    demands |= {f"loss.{name}": at_least(0) for name in ("l1", *SWAPPED)}
    check(config, demands)
    _check_levels(config.level_steps)
    if config.update_order == "sequential":
        if config.mesh.persona > 1:
            raise InputError(
                "config.update_order=sequential has no work for config.mesh.persona > 1; set it to 1."
            )
        for name in SWAPPED:
            if config.loss[name]:
                raise InputError(
                    f"config.loss.{name} compares personas, but config.update_order=sequential sees one at a time; "
                    "set it to joint."
                )
    if config.loss.identity and not config.loss.embedder:
        raise InputError(
            "config.loss.identity needs a face embedder; set config.loss.embedder to a run of experiments/identity.py "
            "or to InsightFace's weights."
        )


def _check_levels(level_steps: Sequence[int]) -> None:
    """Raises InputError if these are not the steps of consecutive levels."""
    trained = [level for level, count in enumerate(level_steps) if count]
    good = len(level_steps) <= comb.MAX_LEVEL + 1
    good = good and min(level_steps, default=0) >= 0
    good = good and max(trained, default=0) >= comb.TIED_LEVELS
    good = good and len(trained) == trained[-1] - trained[0] + 1
    if not good:
        raise InputError(
            f"config.level_steps is {tuple(level_steps)}; give the steps of level 0 and up: 0 for those to skip at the "
            f"start, then each level's, the last being {comb.TIED_LEVELS} to {comb.MAX_LEVEL} (those below "
            f"{comb.TIED_LEVELS} are one for all personas)."
        )


def _shape(shape: ml_collections.ConfigDict) -> iresnet.IResNetConfig:
    """An embedder's shape from a config, in which JSON may have made lists of tuples."""
    return iresnet.IResNetConfig(
        **{n: tuple(v) if isinstance(v, list) else v for n, v in shape.to_dict().items()}
    )


def _pictures(
    batch: Batch,
) -> tuple[Float[Array, "p b h w 3"], Float[Array, "p b h w 3"], Float[Array, "p b h w 1"]]:
    """Input, image and mask of a batch, 0..1."""
    return tuple(
        a.astype(jnp.float32) / 255
        for a in (batch["input"], batch["image"], batch["mask"][..., None])
    )


def _split(params: comb.Params) -> tuple[comb.Params, comb.Params]:
    """Weights that all personas share, and the stacked own ones."""
    return {"encoder": params["encoder"], "tied": params["tied"]}, params["personas"]


def _init_opt(params: comb.Params) -> dict:
    return {group: optim.init(optim.ADAM, modules) for group, modules in params.items()}


def _apply(
    gradients: comb.Params, opt: dict, params: comb.Params, learning_rate
) -> tuple[comb.Params, dict]:
    updated = {
        g: optim.apply(optim.ADAM, gradients[g], opt[g], params[g], learning_rate) for g in params
    }
    return {g: weights for g, (weights, _) in updated.items()}, {
        g: states for g, (_, states) in updated.items()
    }


def _take(tree: PyTree, p: Int[Array, ""]) -> PyTree:
    """One persona's part of stacked weights or optimizer states, whose counts are common to all personas."""
    return jax.tree.map(lambda leaf: leaf[p] if leaf.ndim else leaf, tree)


def _put(tree: PyTree, p: Int[Array, ""], one: PyTree) -> PyTree:
    """The inverse of `_take`."""
    return jax.tree.map(
        lambda stacked, leaf: stacked.at[p].set(leaf) if stacked.ndim else leaf, tree, one
    )
