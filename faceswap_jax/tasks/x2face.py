"""X2Face: whom some pictures show, doing what a driving picture shows (Wiles, Koepke and Zisserman, ECCV 2018).

Frames of one track are source and driving frame, which is also the truth: stage I needs no more. Stage II adds what a
frozen face network sees, also where frames of somebody else drive, of which there is no truth.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import grain
import jax
import jax.numpy as jnp
import ml_collections
import optax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree
from optax import contrib

from data_pipelines.batches.assembly import batches
from data_pipelines.batches.roles import Roles
from faceswap_jax.config import at_least, check, inside, one_of, positive
from faceswap_jax.errors import InputError
from faceswap_jax.losses import content
from faceswap_jax.losses.ssim import ssim
from faceswap_jax.models import x2face
from faceswap_jax.ops import optimizers, precision
from faceswap_jax.ops.sampling import sample
from faceswap_jax.pretrained import embedder, layers
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
    mean_of,
)
from faceswap_jax.tasks.open_set import DEMANDS, OpenSetTask, with_identities

STAGE_I, STAGE_II = 1, 2

OPTIMIZERS = {"sgd": optax.trace(0.9), "adam": optimizers.ADAM}
"""By their names in `config.optimizer`. The source has SGD."""

PREVIEW_COLUMNS = 8
RESOLUTIONS = (16, 32, 64, 128, 256)

Frames = Float[Array, "b n h w 3"]


class Task(OpenSetTask):
    """A phase for each stage. Batches are frames by their roles, [batch, frame, ...]."""

    memory_advice = "lower config.batch, config.data.sources or config.model.width"

    def __init__(self, config: ml_collections.ConfigDict):
        super().__init__(config)
        _check(config)
        c = config
        self.model = x2face.X2FaceConfig(
            channels=x2face.channels_of(c.model.resolution, c.model.width),
            inner=c.model.inner,
            vector=c.model.vector,
            dtype=precision.dtype(c.precision),
        )
        self.embedder = None
        if c.loss.embedder:
            self.embedder = layers.described_shape(c.embedder)
        self.optimizer = OPTIMIZERS[c.optimizer]
        self.plateau = contrib.reduce_on_plateau(
            factor=0.1,
            patience=c.plateau.patience,
            rtol=c.plateau.improvement,
            accumulation_size=c.plateau.steps,
        )
        self.phases = self._phases()
        # Stage II begins where stage I ends.
        self.may_grow = ("content_steps",) if c.content_steps else ("steps",)

    def _phases(self) -> list[Phase]:
        c = self.config
        end = c.steps + c.content_steps
        # About; twice as many images are generated, and seen by another network.
        stages = [
            Phase("stage I", 0, c.steps, stage=STAGE_I),
            Phase("stage II", c.steps, end, stage=STAGE_II, cost=2.0),
        ]
        return [phase for phase in stages if phase.stop > phase.start]

    @classmethod
    def resolve(cls, config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
        """Takes the identities to train on from the data, and the shape of the embedder from its file."""
        _check(config)
        config = with_identities(config)
        if config.loss.embedder:
            shape, _ = layers.load_for(config.loss.embedder, config.alignment)
            config.embedder = embedder.described(shape)
        return config

    # State

    def init_state(self, phase: Phase, key: PRNGKeyArray) -> State:
        """Fresh weights; the learning rate has met no plateau yet."""
        params, statistics = x2face.init(self.model, key)
        opt = optimizers.init(self.optimizer, params)
        extras = {"statistics": statistics}
        if self.embedder:
            extras["embedder"] = layers.init(self.embedder, key)
        return State(
            step=jnp.int32(phase.start),
            key=key,
            params=params,
            opt=opt | {"plateau": self._no_plateau(params)},
            extras=extras,
        )

    def frozen_inputs(self) -> dict[str, PyTree]:
        """The face network, if there is one."""
        if not self.embedder:
            return {}
        _, weights = layers.load_for(self.config.loss.embedder, self.config.alignment)
        return {"embedder": weights}

    def enter(self, phase: Phase, state: State) -> State:
        """Stage II has another loss: what was its best so far says nothing."""
        return replace(state, opt=state.opt | {"plateau": self._no_plateau(state.params)})

    def _no_plateau(self, params: PyTree) -> PyTree:
        """What is known of plateaus at first: no loss was lower than the highest number."""
        # Infinity would be taken for a run that diverged.
        highest = jnp.finfo(jnp.float32).max
        return self.plateau.init(params)._replace(best_value=jnp.float32(highest))

    # Training

    def steps(self, phase: Phase) -> Mapping[str, Step]:
        """There is one step for each stage."""
        return {"train": partial(self._train_step, phase)}

    def _train_step(self, phase: Phase, state: State, batch: Batch) -> tuple[State, Metrics]:
        """One update of both networks; the learning rate is a tenth after each plateau."""
        c = self.config
        loss = self._stage_ii if phase.stage == STAGE_II else self._stage_i
        gradient = jax.value_and_grad(loss, has_aux=True)
        (value, (statistics, terms)), gradients = gradient(state.params, state.extras, batch)

        # Learning rate
        _, plateau = self.plateau.update({}, state.opt["plateau"], value=value)
        of_stage = c.content_rate if phase.stage == STAGE_II else c.learning_rate
        rate = of_stage * plateau.scale

        # Update step
        params, opt = optimizers.apply(self.optimizer, gradients, state.opt, state.params, rate)
        metrics = {"loss": value, "learning_rate": rate} | terms
        state = replace(
            state,
            step=state.step + 1,
            params=params,
            opt=opt | {"plateau": plateau},
            extras=state.extras | {"statistics": statistics},
        )
        return state, metrics

    def _stage_i(self, params, extras, batch):
        """L1 between the generated and the driving frame."""
        shown, driving = _frames(batch, "source"), _frames(batch, "driving")
        made = x2face.reenact(self.model, params, extras["statistics"], shown, driving, train=True)
        return jnp.abs(made.images - driving).mean(), (made.statistics, {})

    def _stage_ii(self, params, extras, batch):
        """The same, and content: like the truth's where there is one, like the source's where another drives."""
        shown, driving = _frames(batch, "source"), _frames(batch, "driving")
        both = jnp.concatenate([driving, _frames(batch, "other")], 1)
        made = x2face.reenact(self.model, params, extras["statistics"], shown, both, train=True)
        by_same, by_other = made.images[:, :-1], made.images[:, -1]
        l1 = jnp.abs(by_same - driving).mean()

        see = partial(layers.features, self.embedder, extras["embedder"])
        same = content.distances(see(_flat(by_same)), see(_flat(driving)))
        other = content.distances(see(by_other), see(shown[:, 0]))
        counted = layers.counted(self.embedder)
        added = content.balanced(l1, same, other, counted, self.config.loss.other)
        to_source = sum(other[i] for i in counted.other)
        return l1 + added, (made.statistics, {"l1": l1, "content/other": to_source})

    # Held-out data

    def evaluators(self, phase: Phase) -> Sequence[Evaluator]:
        """L1 and SSIM of held-out people's frames: of all sources, of one of them, and of that one as it is."""
        return (mean_of(self._scores),)

    def _scores(self, state: State, batch: Batch) -> Metrics:
        shown, driving = _frames(batch, "source"), _frames(batch, "driving")
        made = {"": self._reenact(state, shown, driving).images}
        if shown.shape[1] > 1:
            made["one/"] = self._reenact(state, shown[:, :1], driving).images
        made["copied/"] = shown[:, :1]

        truth = driving[:, 0]
        metrics = {}
        for name, images in made.items():
            metrics[f"{name}l1"] = jnp.abs(images[:, 0] - truth).mean()
            metrics[f"{name}ssim"] = ssim(images[:, 0], truth).mean()
        return metrics

    def _reenact(self, state: State, shown: Frames, driving: Frames) -> x2face.Reenacted:
        return x2face.reenact(self.model, state.params, state.extras["statistics"], shown, driving)

    def preview(self, phase: Phase) -> Preview:
        """Held-out people: driven by themselves, and by the one of the next column."""
        rows = ("source", "embedded face", "driving", "result", "driven by next", "driving, next")
        return Preview(self._preview, rows)

    def _preview(self, state: State, batch: Batch) -> Float[Array, "rows columns h w 3"]:
        batch = jax.tree.map(lambda a: a[:PREVIEW_COLUMNS], batch)
        shown, driving = _frames(batch, "source"), _frames(batch, "driving")
        following = jnp.roll(driving, -1, axis=0)
        both = jnp.concatenate([driving, following], 1)
        made = self._reenact(state, shown, both)
        by_same, by_next = made.images[:, 0], made.images[:, 1]
        return jnp.stack(
            [shown[:, 0], made.embedded, driving[:, 0], by_same, by_next, following[:, 0]]
        )

    # Use

    def synthesis(self, phase: Phase) -> Synthesis:
        """Whole images of anybody; `identity` is {"embedded": the face that they are sampled from, in [0, 1]}."""

        def latents(variables, inputs) -> Float[Array, "b vector"]:
            crops = precision.from_bytes(inputs["crops"])
            return x2face.encode(self.model, **variables, driving=crops)[0]

        def decode(variables, identity, vectors) -> Float[Array, "b h w 3"]:
            places, _ = x2face.drive(self.model, **variables, vectors=vectors)
            embedded = identity["embedded"]
            repeated = jnp.broadcast_to(embedded, (places.shape[0], *embedded.shape))
            return sample(repeated, places)

        def identity(variables, pictures) -> dict[str, Float[Array, "h w 3"]]:
            crops = precision.from_bytes(pictures)
            faces, weights, _ = x2face.embed_each(self.model, **variables, sources=crops)
            return {"embedded": x2face.merged(faces[None], weights[None])[0]}

        return Synthesis(
            alignment=self.config.alignment,
            resolution=self.model.resolution,
            placement="whole",
            inputs=("crops",),
            personas=(),
            images=decoded(latents, decode),
            identity=identity,
            latents=latents,
            decode=decode,
            parts={"driving": self.model.vector},
            paintable=True,
        )

    def variables(self, phase: Phase, state: State) -> PyTree:
        """Both networks, and the statistics of their normalisations."""
        return {"params": state.params, "statistics": state.extras["statistics"]}

    # Data

    def batches_of(self, identities, phase, trained, **options) -> grain.MapDataset:
        """Frames of them; to train stage II, of others among them, too."""
        data = self.config.data
        roles = Roles(
            source=data.sources,
            driving=data.driving if trained else 1,
            other=int(trained and phase.stage == STAGE_II),
        )
        return batches(
            identities,
            roles,
            fields=("image", "record"),
            alignment=self.config.alignment,
            resolution=self.model.resolution,
            **options,
        )


def _frames(batch: Batch, role: str) -> Frames:
    """The images of a role, in [0, 1]."""
    return precision.from_bytes(batch[role]["image"])


def _flat(frames: Frames) -> Float[Array, "b*n h w 3"]:
    """The images of all elements."""
    return frames.reshape(-1, *frames.shape[2:])


def _check(config: ml_collections.ConfigDict) -> None:
    """Raises InputError for values that make no network or no training."""
    demands = DEMANDS | {
        "batch": at_least(2),
        "steps": at_least(0),
        "content_steps": at_least(0),
        "optimizer": one_of(*OPTIMIZERS),
        "learning_rate": positive(),
        "content_rate": positive(),
        "plateau.steps": at_least(1),
        "plateau.patience": at_least(1),
        "plateau.improvement": inside(0, 1),
        "loss.other": at_least(0),
        "data.sources": at_least(1),
        "data.driving": at_least(1),
        "data.test": at_least(2),
        "model.resolution": one_of(*RESOLUTIONS),
        "model.width": positive(),
        "model.inner": at_least(1),
        "model.vector": at_least(1),
    }
    check(config, demands)
    if config.steps + config.content_steps == 0:
        raise InputError("config.steps is 0, and so is config.content_steps; give one of them.")
    if config.content_steps and not config.loss.embedder:
        raise InputError(
            "config.content_steps needs a face network; set config.loss.embedder to a run of experiments/identity.py, "
            "or to InsightFace's or VGG-Face's weights, or config.content_steps=0."
        )
