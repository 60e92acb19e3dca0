"""The comb network: reconstruct every persona through one encoder and its own decoder (US 2020/0372621).

After training, encoding persona q and decoding as persona p gives p's face with q's performance.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property, reduce

import grain
import jax
import jax.numpy as jnp
import ml_collections
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree, UInt8

from data_pipelines import pipeline, sources
from faceswap_jax import augment, optim, precision
from faceswap_jax.errors import InputError
from faceswap_jax.evaluation import scores
from faceswap_jax.losses import reconstruction
from faceswap_jax.models import comb
from faceswap_jax.parallel import persona, rules
from faceswap_jax.state import State
from faceswap_jax.tasks.base import Batch, Metrics, Phase

PREVIEW_COLUMNS = 3  # held-out pictures of each persona in a preview
AUGMENTATION = 2**32 - 1  # stream of random numbers; the others are folded from steps and levels


class Task:
    """One phase per growth level; batches are those of `pipeline.persona_batches`."""

    batch_spec = rules.BATCH

    def __init__(self, config: ml_collections.ConfigDict):
        self.config = config
        self.dtype = precision.dtype(config.precision)
        _check(config)
        self.phases, start = [], 0
        top = max(level for level, count in enumerate(config.level_steps) if count)
        for level, count in enumerate(config.level_steps):
            if count:
                stop = start + count + (config.final_steps if level == top else 0)
                model = comb.CombConfig(level, len(config.personas), config.model.width)
                cost = comb.multiplications(model)
                self.phases.append(Phase(f"level {level}, {model.resolution} px", start, stop, stage=level, cost=cost))
                start = stop

    @classmethod
    def resolve(cls, config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
        """Takes the personas' names from the data."""
        _check(config)
        names = tuple(sources.open_data(config.data))
        if len(names) < 2:
            raise InputError(
                f"'{config.data.path}' has only the persona '{names[0]}'; a swap needs at least two, prepare another."
            )
        if len(names) % config.mesh.persona:
            raise InputError(
                f"config.mesh.persona is {config.mesh.persona}; choose a divisor of {len(names)} personas."
            )
        config = config.copy_and_resolve_references()
        config.personas = names
        return config

    def model(self, phase: Phase) -> comb.CombConfig:
        """Shape of the network of a phase."""
        c = self.config
        return comb.CombConfig(phase.stage, len(c.personas), c.model.width, c.model.latent, dtype=self.dtype)

    def schedule(self, phase: Phase, step: Int[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Fade-in alpha and learning rate of a step.

        Alpha rises from 0 at the level's first step to 1 at half of its steps; the first level has nothing to fade.
        The learning rate drops for the last `final_steps` of the run.
        """
        c = self.config
        rise = (step - phase.start) / (0.5 * c.level_steps[phase.stage])
        alpha = 1.0 if phase.start == 0 else jnp.minimum(rise, 1.0)
        learning_rate = jnp.where(step < self.phases[-1].stop - c.final_steps, c.learning_rate, c.final_learning_rate)
        return jnp.float32(alpha), jnp.float32(learning_rate)

    def init_state(self, phase: Phase, key: PRNGKeyArray) -> State:
        """Fresh weights at the phase's level."""
        params = comb.init(self.model(phase), key)
        return State(step=jnp.int32(phase.start), key=key, params=params, opt=_init_opt(params))

    def enter(self, phase: Phase, state: State) -> State:
        """Adds a level, whose moments and bias correction start afresh."""
        params = comb.init(self.model(phase), jax.random.fold_in(state.key, phase.stage))
        return replace(state, params=comb.grow(state.params, params), opt=comb.grow(state.opt, _init_opt(params)))

    def _losses(self, model, shared, alpha, own, seen, x, mask) -> Float[Array, "p"]:
        """Loss of each persona, of what the encoder sees, the pictures and their masks, all [p, b, h, w, c]."""
        flat, flat_mask = persona.merge(x), persona.merge(mask)
        z = persona.unmerge(comb.encode(model, shared["encoder"], persona.merge(seen), alpha), len(x))
        y = persona.merge(persona.unrolled(lambda own, z: comb.decode(model, shared["tied"], own, z, alpha), own, z))
        loss = reconstruction.dissimilarity(*reconstruction.masked(flat, flat_mask, y, self.config.loss.masking))
        if self.config.loss.l1:
            loss += self.config.loss.l1 * reconstruction.l1(flat, y, flat_mask)
        return persona.unmerge(loss, len(x)).mean(1)

    def train_step(self, phase: Phase, state: State, batch: Batch) -> tuple[State, Metrics]:
        """One update on all personas together, or one for each in random order (`config.update_order`)."""
        alpha, learning_rate = self.schedule(phase, state.step)
        update = self._joint if self.config.update_order == "joint" else self._sequential
        seen, x, mask = _pictures(batch)
        key = jax.random.fold_in(jax.random.fold_in(state.key, AUGMENTATION), state.step)
        pictures = augment.photometric(key, seen, self.config.augment), x, mask
        params, opt, losses = update(self.model(phase), state, pictures, alpha, learning_rate)
        metrics = {"loss": losses.mean(), "alpha": alpha, "learning_rate": learning_rate}
        metrics |= {f"loss/{name}": losses[i] for i, name in enumerate(self.config.personas)}
        return replace(state, step=state.step + 1, params=params, opt=opt), metrics

    def _joint(self, model, state, batch, alpha, learning_rate):
        """One update on the mean loss of all personas, each device working on its own personas."""

        def loss(params):
            shared, own = _split(params)
            per_persona = persona.sharded(lambda shared, own, batch: self._losses(model, *shared, own, *batch))
            losses = per_persona((shared, alpha), own, batch)
            return losses.mean(), losses

        gradients, losses = jax.grad(loss, has_aux=True)(state.params)
        return *_apply(gradients, state.opt, state.params, learning_rate), losses

    def _sequential(self, model, state, batch, alpha, learning_rate):
        """The source's iteration: shared weights get P updates, every persona's own weights one.

        Unrolled: gradients of convolutions inside a scan are forty times slower on a CPU.
        """
        count = len(self.config.personas)
        params, opt, losses = state.params, state.opt, jnp.zeros(count)
        for p in jax.random.permutation(jax.random.fold_in(state.key, state.step), count):

            def loss(params, batch=tuple(a[p][None] for a in batch)):
                shared, own = _split(params)
                return self._losses(model, shared, alpha, jax.tree.map(lambda w: w[None], own), *batch)[0]

            # Own weights and moments come from the state, in which no persona has had its update yet.
            one = params | {"personas": _take(state.params["personas"], p)}
            one_opt = opt | {"personas": _take(state.opt["personas"], p)}
            value, gradients = jax.value_and_grad(loss)(one)
            one, one_opt = _apply(gradients, one_opt, one, learning_rate)
            params = one | {"personas": _put(params["personas"], p, one["personas"])}
            opt = one_opt | {"personas": _put(opt["personas"], p, one_opt["personas"])}
            losses = losses.at[p].set(value)
        return params, opt, losses

    def eval_step(self, phase: Phase, state: State, batch: Batch) -> Metrics:
        """PSNR (dB) and dissimilarity of reconstructions inside the face."""
        _, x, mask = _pictures(batch)
        y = persona.merge(self._reconstruct(phase, state, self._encode(phase, state, x)))
        x, mask = persona.merge(x), persona.merge(mask)
        loss = reconstruction.dissimilarity(*reconstruction.masked(x, mask, y, "both"))
        return {"psnr": scores.psnr(x, y, mask).mean(), "dissimilarity": loss.mean()}

    def preview(self, phase: Phase, state: State, batch: Batch) -> Float[Array, "rows columns h w 3"]:
        """Rows: input, reconstruction, then the swap to every persona."""
        _, x, _ = _pictures(jax.tree.map(lambda a: a[:, :PREVIEW_COLUMNS], batch))
        z = self._encode(phase, state, x)
        own = self._reconstruct(phase, state, z)
        swaps = [self._decode(phase, state, z.reshape(-1, z.shape[-1]), p) for p in range(len(x))]
        return jnp.stack([p.reshape(-1, *x.shape[2:]) for p in (x, own)] + swaps)

    def _encode(self, phase, state, x):
        alpha, _ = self.schedule(phase, state.step)
        return persona.unmerge(comb.encode(self.model(phase), state.params["encoder"], persona.merge(x), alpha), len(x))

    def _decode(self, phase, state, z, p):
        alpha, _ = self.schedule(phase, state.step)
        return comb.decode(self.model(phase), state.params["tied"], comb.persona(state.params["personas"], p), z, alpha)

    def _reconstruct(self, phase, state, z):
        return jnp.stack([self._decode(phase, state, z[p], p) for p in range(len(z))])

    @property
    def corrupt(self) -> int:
        """Number of corrupt records that were met and skipped so far."""
        return sum(len(source.corrupt) for source in self.data.values())

    @cached_property
    def data(self) -> Mapping[str, sources.PersonaSource]:
        """All records of each persona; `corrupt` of a source tells which of them had to be skipped so far."""
        return sources.open_data(self.config.data)

    def train_data(self, phase: Phase, host: int, hosts: int) -> grain.MapDataset:
        """Pictures and masks of all personas at the phase's resolution."""
        c = self.config
        jitter = pipeline.Jitter(**c.data.jitter)
        return self._batches(phase, 0, c.seed, host, hosts, mirror=True, jitter=jitter, warp=c.data.warp)

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

    def resolution(self, phase: Phase) -> int:
        """Side in pixels of the aligned crops that `swap` takes."""
        return comb.resolution(phase.stage)

    def swap(
        self, phase: Phase, state: State, x: UInt8[Array, "b h w 3"], index: int | Array
    ) -> UInt8[Array, "b h w 3"]:
        """Aligned crops of anybody with the face of persona number `index`."""
        z = self._encode(phase, state, x[None].astype(jnp.float32) / 255)[0]
        return jnp.round(self._decode(phase, state, z, index) * 255).astype(jnp.uint8)


def _check(config: ml_collections.ConfigDict) -> None:
    """Raises InputError for values that make no network or no training."""
    steps = config.level_steps
    levels = [level for level, count in enumerate(steps) if count]
    at_least = {"seed": 0, "batch": 1, "final_steps": 0, "model.latent": 1, "mesh.persona": 1, "data.warp": 0}
    shares = ("data.jitter.scale", "data.jitter.shift", *(f"augment.{name}" for name in config.augment))
    demands = {
        "level_steps": (
            len(steps) <= comb.MAX_LEVEL + 1
            and min(steps, default=0) >= 0
            and max(levels, default=0) >= comb.TIED_LEVELS
            and len(levels) == levels[-1] - levels[0] + 1,
            f"give the steps of level 0 and up: 0 for those to skip at the start, then each level's, the last being "
            f"{comb.TIED_LEVELS} to {comb.MAX_LEVEL} (those below {comb.TIED_LEVELS} are one for all personas)",
        ),
        "update_order": (config.update_order in ("joint", "sequential"), "choose joint or sequential"),
        "loss.masking": (config.loss.masking in ("target", "both"), "choose target (Eq. 1) or both (Eq. 2)"),
        "loss.l1": (config.loss.l1 >= 0, "give 0 or more"),
        "model.width": (config.model.width > 0, "give a positive share of the published width"),
        "data.validation": (0 < config.data.validation < 1, "give a share between 0 and 1"),
        "data.jitter.rotation": (0 <= config.data.jitter.rotation <= 180, "give degrees, 0 to 180"),
        "learning_rate": (config.learning_rate > 0, "give a positive number"),
        "final_learning_rate": (config.final_learning_rate > 0, "give a positive number"),
    }
    values = {name: reduce(getattr, name.split("."), config) for name in (*at_least, *shares, *demands)}
    demands |= {name: (0 <= values[name] < 1, "give 0 or more, and less than 1") for name in shares}
    demands |= {name: (values[name] >= least, f"give {least} or more") for name, least in at_least.items()}
    for name, (met, remedy) in demands.items():
        if not met:
            raise InputError(f"config.{name} is {values[name]}; {remedy}.")
    if config.update_order == "sequential" and config.mesh.persona > 1:
        raise InputError("config.update_order=sequential has no work for config.mesh.persona > 1; set it to 1.")


def _pictures(batch: Batch) -> tuple[Float[Array, "p b h w 3"], Float[Array, "p b h w 3"], Float[Array, "p b h w 1"]]:
    """Input, image and mask of a batch, 0..1."""
    return tuple(a.astype(jnp.float32) / 255 for a in (batch["input"], batch["image"], batch["mask"][..., None]))


def _split(params: comb.Params) -> tuple[comb.Params, comb.Params]:
    """Weights that all personas share, and the stacked own ones."""
    return {"encoder": params["encoder"], "tied": params["tied"]}, params["personas"]


def _init_opt(params: comb.Params) -> dict:
    return {group: optim.init(optim.ADAM, modules) for group, modules in params.items()}


def _apply(gradients: comb.Params, opt: dict, params: comb.Params, learning_rate) -> tuple[comb.Params, dict]:
    updated = {g: optim.apply(optim.ADAM, gradients[g], opt[g], params[g], learning_rate) for g in params}
    return {g: weights for g, (weights, _) in updated.items()}, {g: states for g, (_, states) in updated.items()}


def _take(tree: PyTree, p: Int[Array, ""]) -> PyTree:
    """One persona's part of stacked weights or optimizer states, whose counts are common to all personas."""
    return jax.tree.map(lambda leaf: leaf[p] if leaf.ndim else leaf, tree)


def _put(tree: PyTree, p: Int[Array, ""], one: PyTree) -> PyTree:
    """The inverse of `_take`."""
    return jax.tree.map(lambda stacked, leaf: stacked.at[p].set(leaf) if stacked.ndim else leaf, tree, one)
