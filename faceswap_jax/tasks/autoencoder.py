"""Autoencoders of several personas: one encoder, and a decoder of each persona's (US 2020/0372621).

Every persona's images are reconstructed. After training, encoding persona q and decoding as persona p gives p's face
with q's performance. The network is given, by `config.model.network`; see `models/autoencoder.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import grain
import jax
import jax.numpy as jnp
import ml_collections
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from data_pipelines import datasets, sources
from data_pipelines.batches.assembly import batches
from data_pipelines.batches.augmentation import Augmentation
from data_pipelines.batches.roles import Personas
from faceswap_jax.config import at_least, below, between, check, inside, one_of, positive
from faceswap_jax.errors import InputError
from faceswap_jax.faces import align
from faceswap_jax.losses import expression, measures, motion, reconstruction
from faceswap_jax.models import iresnet
from faceswap_jax.models.autoencoder import Autoencoder, Params, grow, persona
from faceswap_jax.ops import augmentation, optimizers, precision, schedules
from faceswap_jax.ops.masks import near
from faceswap_jax.parallel import rules
from faceswap_jax.parallel.persona import exchange, merge, sharded
from faceswap_jax.pretrained import embedder
from faceswap_jax.state import State
from faceswap_jax.tasks import autoencoder_start
from faceswap_jax.tasks.autoencoder_losses import (
    COMPARING,
    EXPRESSIVE,
    PARTS,
    READING,
    Examples,
    Losses,
    Shared,
    decode,
    encode,
    encode_back,
)
from faceswap_jax.tasks.autoencoder_start import AVERAGE
from faceswap_jax.tasks.autoencoder_updates import (
    UPDATES,
    Learner,
    chosen_of,
    held,
    init_optimizers,
    of_chosen,
)
from faceswap_jax.tasks.base import (
    OWN,
    Batch,
    Evaluator,
    FaceTask,
    Metrics,
    Phase,
    Preview,
    Step,
    Synthesis,
    abstract_state,
    decoded,
    mean_of,
    with_data,
)
from faceswap_jax.tasks.registry import network_class

# Fields of a batch that show the encoder an input of its network, deformed where the data are.
ENCODER_FIELDS = {"image": "encoder_input", "landmarks": "encoder_landmarks"}

EMBEDDER = ("params", "statistics")  # what a frozen embedder consists of
MOTION_BATCHES = 8  # that the scores of motion are taken from
PREVIEW_PERSONAS = 8  # at most, in a preview
PREVIEW_IMAGES = 3  # held-out images of each of them

# Streams of random numbers; the others are folded from steps and levels, which stay far below.
AUGMENTATION = 2**32 - 1
PARTNER = 2**32 - 2


class Task(FaceTask):
    """One phase per growth level. Batches are [persona, batch, ...]."""

    batch_spec = rules.BATCH
    may_grow = ("final_steps",)

    def __init__(self, config: ml_collections.ConfigDict):
        super().__init__(config)
        _check(config)
        self.embedder = None
        if config.loss.identity:
            self.embedder = embedder.described_shape(config.embedder)
        self.phases = self._phases()
        # The last level needs most, and the network knows best.
        advice = self.network(self.phases[-1]).memory_advice
        self.memory_advice = (
            f"lower config.batch, end config.level_steps with a lower level or {advice}"
        )

    def _phases(self) -> list[Phase]:
        """The levels that are trained; the last one goes on for the final steps."""
        phases = []
        start = 0
        trained = _trained_levels(self.config)
        for level in trained:
            stop = start + self.config.level_steps[level]
            if level == trained[-1]:
                stop += _final_steps(self.config)
            network = self._network_at(level)
            name = f"level {level}, {network.resolution} px"
            phases.append(Phase(name, start, stop, stage=level, cost=network.multiplications))
            start = stop
        return phases

    @classmethod
    def resolve(cls, config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
        """Takes the personas' names from the data, and the embedder's shape from its file."""
        _check(config)
        names = tuple(datasets.open_data(config.data))
        if len(names) < 2:
            raise InputError(
                f"'{config.data.path}' has only the persona '{names[0]}' (all clips of one folder are one persona's); "
                "a swap needs at least two, prepare another."
            )
        if (config.personas_per_step or 0) >= len(names):
            config.personas_per_step = None
        some = config.personas_per_step
        if some and (some < 2 or len(names) % some or config.mesh.persona > 1):
            raise InputError(
                f"config.personas_per_step is {some}; choose a divisor of {len(names)} personas from 2 on, "
                "and config.mesh.persona=1."
            )
        # Each group of devices along the persona axis holds as many decoders.
        if len(names) % config.mesh.persona:
            raise InputError(
                f"config.mesh.persona is {config.mesh.persona}; choose a divisor of {len(names)} personas."
            )
        config = with_data(config, personas=names)
        config.final_steps = _final_steps(config)
        if config.loss.identity:
            given = embedder.load_for(config.loss.embedder, config.alignment)
            config.embedder = embedder.described(given.config)
        if config.freeze.steps:
            cls(config)._check_freeze()
        return config

    def _check_freeze(self) -> None:
        """Raises InputError if the config would hold something still that there is not, or nothing has trained."""
        if not self.config.init:
            raise InputError(
                f"config.freeze.steps is {self.config.freeze.steps}, but nothing is trained yet; name trained weights "
                "by config.init, or set config.freeze.steps=0."
            )
        params = jax.eval_shape(partial(self._fresh, self.phases[0]), jax.random.key(0))
        known = [name for name in params if name != "personas"]
        known += self.config.personas
        for name in self.config.freeze.modules.split(","):
            if name not in known:
                raise InputError(
                    f"config.freeze.modules names '{name}'; choose of {', '.join(known)}."
                )

    def network(self, phase: Phase) -> Autoencoder:
        """The network of a phase."""
        return self._network_at(phase.stage)

    def _network_at(self, level: int) -> Autoencoder:
        c = self.config
        dtype = precision.dtype(c.precision)
        return network_class(c).build(c, level, len(c.personas), dtype)

    # State

    def init_state(self, phase: Phase, key: PRNGKeyArray) -> State:
        """Fresh weights at the phase's level."""
        params = self._fresh(phase, key)
        extras = {}
        if self.embedder:
            params_and_statistics = iresnet.init(self.embedder, key)
            extras["embedder"] = dict(zip(EMBEDDER, params_and_statistics, strict=True))
        opt = init_optimizers(self.optimizer, params)
        if self.config.average:
            extras[AVERAGE] = params
        return State(jnp.int32(phase.start), key, params, opt, extras)

    def _fresh(self, phase: Phase, key: PRNGKeyArray) -> Params:
        """Fresh weights of the network, and of what reads the expression from its latents."""
        network = self.network(phase)
        params = network.init(key)
        if self.config.loss.expression:
            kernel = jnp.zeros((network.latent, len(expression.MEASURES)))
            params |= {READING: {"linear": {"kernel": kernel}}}
        return params

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """Of all weights."""
        return optimizers.OPTIMIZERS[self.config.optimizer]

    def frozen_inputs(self) -> dict[str, PyTree]:
        """The face embedder, if the identity loss needs one."""
        if not self.embedder:
            return {}
        given = embedder.load(Path(self.config.loss.embedder))
        return {"embedder": {name: getattr(given, name) for name in EMBEDDER}}

    def initial_params(self) -> tuple[dict[str, PyTree], str]:
        """What `config.init` names, as far as it fits."""
        if not self.config.init:
            return {}, ""
        phase = self.phases[0]
        given = autoencoder_start.load(self.config.init)
        if given.alignment != self.config.alignment:
            raise InputError(
                f"config.alignment is '{self.config.alignment}', but config.init '{given.name}' knows faces aligned as "
                f"'{given.alignment}'; set config.alignment={given.alignment}."
            )
        wanted = abstract_state(self, phase).params
        fitting = autoencoder_start.fitting(
            given, self.network(phase), self.config.personas, wanted
        )
        return fitting, autoencoder_start.told(given, fitting, wanted)

    def enter(self, phase: Phase, state: State) -> State:
        """Adds a level, whose moments and bias correction start afresh."""
        # Fresh weights of all modules, of which the new level's are kept
        key = jax.random.fold_in(state.key, phase.stage)
        fresh = self._fresh(phase, key)
        extras = state.extras
        if self.config.average:
            extras = extras | {AVERAGE: grow(extras[AVERAGE], fresh)}
        return replace(
            state,
            params=grow(state.params, fresh),
            opt=grow(state.opt, init_optimizers(self.optimizer, fresh)),
            extras=extras,
        )

    # Training

    def steps(self, phase: Phase) -> Mapping[str, Step]:
        """There is one step."""
        return {"train": partial(self._train_step, phase)}

    def _train_step(self, phase: Phase, state: State, batch: Batch) -> tuple[State, Metrics]:
        """One update on all personas together, or one for each in random order (`config.update_order`)."""
        c = self.config
        network = self.network(phase)
        values = self._schedule(state.step)

        # Random light and colour of what the encoder sees
        key = _step_key(state, AUGMENTATION)
        examples = self._examples(network, batch)
        image = augmentation.photometric(key, examples.encoder_input["image"], c.augment)
        examples = examples._replace(encoder_input=examples.encoder_input | {"image": image})

        # Whose performance each decoder shows in swaps
        key = _step_key(state, PARTNER)
        offset = jax.random.randint(key, (), 1, len(examples.image))

        # Update
        losses = Losses(network, c.loss, self.embedder, c.data.together)
        frozen = {"embedder": state.extras["embedder"]} if self.embedder else {}
        learner = Learner(network, losses, self.optimizer, frozen, c.persona_rate)
        update = UPDATES[c.update_order]
        if c.personas_per_step:
            update = partial(of_chosen, update, _chosen(batch))
        updated = update(learner, state, examples, values, offset)

        metrics = {
            "loss": updated.losses.mean(),
            "alpha": values.alpha,
            "learning_rate": values.learning_rate,
        }
        metrics |= {f"term/{name}": term.mean() for name, term in updated.terms.items()}
        if not c.personas_per_step:
            metrics |= {f"loss/{name}": updated.losses[i] for i, name in enumerate(c.personas)}
        if c.freeze.steps:
            moving = state.step >= c.freeze.steps
            updated = held(state, updated, moving, c.freeze.modules.split(","), c.personas)
        state = replace(state, step=state.step + 1, params=updated.params, opt=updated.opt)
        return self._averaged(state), metrics

    def _examples(self, network: Autoencoder, batch: Batch) -> Examples:
        """What the encoder sees of a batch, and what the decoders should make of it."""
        inputs = {name: batch[ENCODER_FIELDS[name]] for name in network.inputs}
        inputs["image"] = precision.from_bytes(inputs["image"])
        image = precision.from_bytes(batch["image"])
        mask = precision.from_bytes(batch["mask"][..., None])
        near_parts = partial(near, parts=PARTS, side=network.resolution)
        parts = jax.vmap(near_parts)(batch["landmarks"])
        shown = None
        if self.config.loss.expression:
            shown = expression.measures(batch["landmarks"], batch["irises"])
        return Examples(inputs, image, mask, parts, batch["landmarks"], shown)

    def _averaged(self, state: State) -> State:
        """The state with the running mean of its weights, if that is wanted."""
        if not self.config.average:
            return state
        average = optimizers.running_mean(
            state.extras[AVERAGE], state.params, state.step, self.config.average
        )
        return replace(state, extras=state.extras | {AVERAGE: average})

    def _schedule(self, step: Array) -> schedules.StepValues:
        c = self.config
        return schedules.growth(step, c.level_steps, c.learning_rate, c.final_learning_rate)

    # Held-out data

    def evaluators(self, phase: Phase) -> Sequence[Evaluator]:
        """PSNR (dB) and dissimilarity of reconstructions inside the face; how eyes and mouth move."""
        return (
            mean_of(partial(self._reconstruction_scores, phase)),
            Evaluator(partial(self._motion, phase), motion.scores, MOTION_BATCHES),
        )

    def _reconstruction_scores(self, phase: Phase, state: State, batch: Batch) -> Metrics:
        network = self.network(phase)
        shared, own = self._trained(phase, state, batch)
        examples = self._examples(network, batch)

        def reconstruct(shared, own, inputs):
            return decode(network, shared, own, encode(network, shared, inputs))

        y = merge(sharded(reconstruct)(shared, own, examples.encoder_input))
        x = merge(examples.image)
        mask = merge(examples.mask)
        pair = reconstruction.compared(x, mask, y, "both")
        loss = reconstruction.dissimilarity(*pair)
        psnr = measures.psnr(x, y, mask)
        return {"psnr": psnr.mean(), "dissimilarity": loss.mean()}

    def _motion(self, phase: Phase, state: State, batch: Batch) -> dict[str, motion.Moments]:
        """Moments of eyes and mouth, in reconstructions and in swaps.

        Where there is no truth of a swap, its face is put into the performer's image and swapped back; that tells how
        much of the expression it had kept.
        """
        network = self.network(phase)
        shared, own = self._trained(phase, state, batch)
        shared = shared._replace(offset=jnp.int32(1))
        examples = self._examples(network, batch)

        def reconstruct(shared, own, examples):
            inputs = examples.encoder_input
            z = encode(network, shared, inputs)
            swapped = decode(network, shared, own, exchange(z, shared.offset))
            if not self.config.data.together:
                # Outside the face nobody has told a decoder what to show.
                image = exchange(examples.image, shared.offset)
                mask = exchange(examples.mask, shared.offset)
                blended = mask * swapped + (1 - mask) * image
                back = encode_back(network, shared, inputs, blended)
                swapped = decode(network, shared, own, back)
            return decode(network, shared, own, z), swapped

        same, swapped = sharded(reconstruct)(shared, own, examples)
        found = {}
        for part, points in EXPRESSIVE.items():
            for name, result in {part: same, f"swapped_{part}": swapped}.items():
                found[name] = motion.moments(examples.image, result, batch["landmarks"], points)
        return found

    def preview(self, phase: Phase) -> Preview:
        """Held-out images of the first personas: as they are, reconstructed, and swapped to each of them."""
        shown = self.config.personas_per_step or PREVIEW_PERSONAS
        names = self.config.personas[: min(shown, PREVIEW_PERSONAS)]
        images = min(self.config.batch, PREVIEW_IMAGES)
        return Preview(
            partial(self._preview, phase),
            rows=("input", "reconstruction", *(f"as {name}" for name in names)),
            columns=[name for name in names for _ in range(images)],
        )

    def _preview(
        self, phase: Phase, state: State, batch: Batch
    ) -> Float[Array, "rows columns h w 3"]:
        network = self.network(phase)
        shared, own = self._trained(phase, state, batch)
        batch = jax.tree.map(lambda a: a[:PREVIEW_PERSONAS, :PREVIEW_IMAGES], batch)
        inputs = self._examples(network, batch).encoder_input
        personas, images = inputs["image"].shape[:2]
        # [persona, image, ...] to [column, ...]
        inputs = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), inputs)

        z = network.encode(shared.weights, inputs, shared.alpha)
        swaps = [
            network.decode(shared.weights, persona(own, p), z, shared.alpha)
            for p in range(personas)
        ]
        # A reconstruction is the swap to oneself.
        own_columns = [slice(p * images, (p + 1) * images) for p in range(personas)]
        same = [swap[columns] for swap, columns in zip(swaps, own_columns, strict=True)]
        return jnp.stack([inputs["image"], jnp.concatenate(same), *swaps])

    def _trained(
        self, phase: Phase, state: State, batch: Batch | None = None
    ) -> tuple[Shared, Params]:
        """Shared and own weights to be used, with the alpha of the last step; of the personas that a batch shows."""
        params = state.extras[AVERAGE] if self.config.average else state.params
        if batch is not None and self.config.personas_per_step:
            params = chosen_of(params, _chosen(batch))
        shared, own = self.network(phase).split(params)
        alpha = self._schedule(jnp.maximum(state.step - 1, 0)).alpha
        return Shared(shared, alpha, jnp.int32(0), {}), own

    # Use

    def synthesis(self, phase: Phase) -> Synthesis:
        """Anybody's aligned crops with the face of a persona, to be blended into the frame."""
        network = self.network(phase)
        others = [name for name in network.inputs if name != "image"]

        def latents(variables, inputs) -> Float[Array, "b latent"]:
            fields = {name: inputs[name] for name in others}
            fields["image"] = precision.from_bytes(inputs["crops"])
            return network.encode(variables["weights"], fields, variables["alpha"])

        def decode(variables, identity, z) -> Float[Array, "b h w 3"]:
            own = network.mix(variables[OWN], identity["weights"])
            return network.decode(variables["weights"], own, z, variables["alpha"])

        return Synthesis(
            alignment=self.config.alignment,
            resolution=network.resolution,
            placement="blended",
            inputs=("crops", *others),
            personas=self.config.personas,
            images=decoded(latents, decode),
            mixes=network.mixes,
            latents=latents,
            decode=decode,
            parts=network.parts,
        )

    def variables(self, phase: Phase, state: State) -> PyTree:
        """Weights of all personas together, and of each; the running mean where there is one."""
        shared, own = self._trained(phase, state)
        return {"weights": shared.weights, "alpha": shared.alpha, OWN: own}

    # Data

    def train_data(self, phase: Phase, host: int, hosts: int) -> grain.MapDataset:
        """Images and masks of all personas at the phase's resolution."""
        c = self.config
        return self._batches(
            phase,
            self._split(0),
            shuffled=True,
            seed=c.seed,
            host=host,
            hosts=hosts,
            augmentation=Augmentation(
                mirror=c.data.mirror,
                warp=c.data.warp,
                alike=c.data.together,
                **c.data.jitter,
            ),
        )

    def eval_data(self, phase: Phase, host: int, hosts: int) -> grain.MapDataset:
        """The same of the records that are never trained on."""
        return self._batches(phase, self._split(1), shuffled=False, seed=0, host=host, hosts=hosts)

    def _split(self, part: int) -> list[sources.PersonaSource]:
        """Every persona's records to train on (0), or the held-out ones (1)."""
        c = self.config
        return [sources.split(self.data[name], c.data.validation)[part] for name in c.personas]

    def _batches(
        self, phase: Phase, personas: list[sources.PersonaSource], shuffled: bool, **options
    ):
        c = self.config
        network = self.network(phase)
        resolution = network.resolution
        stored = min(source.resolution for source in personas)
        if resolution > stored:
            raise InputError(
                f"config.level_steps trains at {resolution} px, but the data have {stored} px; prepare them with "
                f"--resolution={resolution}, or stop before: --config.level_steps={self._steps_until(stored)}."
            )
        needed = [ENCODER_FIELDS[name] for name in network.inputs]
        if c.loss.expression:
            needed.append("irises")
        return batches(
            personas,
            Personas(c.personas_per_step, shuffled, c.data.together),
            fields=("image", "mask", "landmarks", "identity", "record", *needed),
            alignment=c.alignment,
            resolution=resolution,
            batch=c.batch,
            **options,
        )

    def _steps_until(self, resolution: int) -> str:
        """`config.level_steps` without the levels above a resolution, as a flag takes it."""
        last = 0
        for phase in self.phases:
            if self.network(phase).resolution <= resolution:
                last = phase.stage
        steps = self.config.level_steps[: last + 1]
        return f'"{",".join(map(str, steps))}"'


def _step_key(state: State, stream: int) -> PRNGKeyArray:
    """The key of a step in one of the streams of random numbers."""
    return jax.random.fold_in(jax.random.fold_in(state.key, stream), state.step)


def _chosen(batch: Batch) -> Int[Array, "k"]:
    """Numbers of the personas that a batch shows."""
    return batch["identity"][:, 0]


# Config


def _trained_levels(config: ml_collections.ConfigDict) -> list[int]:
    return [level for level, count in enumerate(config.level_steps) if count]


def _final_steps(config: ml_collections.ConfigDict) -> int:
    """Steps at the final learning rate: as many as the last level has, unless they are given."""
    if config.final_steps is None:
        return config.level_steps[_trained_levels(config)[-1]]
    return config.final_steps


def _check(config: ml_collections.ConfigDict) -> None:
    """Raises InputError for values that make no network or no training."""
    demands = {
        "seed": at_least(0),
        "alignment": one_of(*align.ALIGNMENTS),
        "batch": at_least(1),
        "update_order": one_of(*UPDATES),
        "optimizer": one_of(*optimizers.OPTIMIZERS),
        "learning_rate": positive(),
        "final_learning_rate": positive(),
        "persona_rate": positive(),
        "mesh.persona": at_least(1),
        "average": below(0, 1),
        "freeze.steps": at_least(0),
        "data.validation": inside(0, 1),
        "data.warp": at_least(0),
        "data.jitter.rotation": between(0, 180),
        "data.jitter.scale": below(0, 1),
        "data.jitter.shift": below(0, 1),
        "loss.masking": one_of("target", "both"),
    }
    if config.final_steps is not None:
        demands["final_steps"] = at_least(0)
    demands |= {f"augment.{name}": below(0, 1) for name in config.augment}
    demands |= {f"loss.{name}": at_least(0) for name in ("l1", "details", "expression", *COMPARING)}
    demands["loss.parts"] = at_least(1)
    check(config, demands)
    _check_levels(config)
    _check_losses(config)


def _check_levels(config: ml_collections.ConfigDict) -> None:
    """Raises InputError if these are not the steps of consecutive levels that the network has."""
    steps, trained = config.level_steps, _trained_levels(config)
    allowed = network_class(config).last_levels
    good = (
        min(steps, default=0) >= 0
        and len(trained) > 0
        and trained == list(range(trained[0], trained[-1] + 1))
        and trained[-1] in allowed
    )
    if not good:
        raise InputError(
            f"config.level_steps is {tuple(steps)}; give the steps of level 0 and up: 0 for those to skip at the "
            f"start, then each level's. The last one must be level {allowed[0]} to {allowed[-1]}."
        )


def _check_losses(config: ml_collections.ConfigDict) -> None:
    """Raises InputError for losses that lack what they compare."""
    if config.update_order == "sequential":
        if config.mesh.persona > 1:
            raise InputError(
                "config.update_order=sequential has no work for config.mesh.persona > 1; set it to 1."
            )
        for name in COMPARING:
            if config.loss[name]:
                raise InputError(
                    f"config.loss.{name} compares personas, but config.update_order=sequential sees one at a time; "
                    "set it to joint."
                )
        if config.data.together:
            raise InputError(
                "config.data.together exchanges what personas show, but config.update_order=sequential sees one at a "
                "time; set it to joint."
            )
    if config.loss.identity and not config.loss.embedder:
        raise InputError(
            "config.loss.identity needs a face embedder; set config.loss.embedder to a run of experiments/identity.py "
            "or to InsightFace's weights."
        )
