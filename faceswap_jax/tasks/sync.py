"""Sound and mouths: which sound of a track belongs to which frame of it? (SyncNet, Chung and Zisserman 2016)

Only other times of the same track are wrong answers: of others' tracks the voice alone would tell. Tracks without sound
count nothing. What it is for is the network that hears; `pretrained/listener.py` uses it.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

import grain
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from data_pipelines import datasets, sources
from data_pipelines.batches.assembly import batches
from data_pipelines.batches.augmentation import Augmentation
from data_pipelines.batches.described import Described
from data_pipelines.batches.roles import Roles
from data_pipelines.records import decode
from faceswap_jax.config import Demand, at_least, check, positive
from faceswap_jax.errors import InputError
from faceswap_jax.faces import mel
from faceswap_jax.faces.ibug import MOUTH
from faceswap_jax.losses.contrastive import info_nce
from faceswap_jax.losses.identity import normalised
from faceswap_jax.models import sync
from faceswap_jax.ops import optimizers, precision, schedules
from faceswap_jax.ops.windows import window
from faceswap_jax.pretrained import listener
from faceswap_jax.state import State
from faceswap_jax.tasks.base import (
    Batch,
    Evaluator,
    Metrics,
    Phase,
    Preview,
    Step,
    mean_of,
    with_data,
)
from faceswap_jax.tasks.open_set import DEMANDS, OpenSetTask, trained_identities

OPTIMIZER = optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(1e-2))
TRACK = "source"  # the role of a track's frames in a batch
PREVIEW_TRACKS = 2
EVALUATED = 4  # batches

Cosines = Float[Array, "b time time"]
"""Of each mouth of a track with each of its sounds."""


class Task(OpenSetTask):
    """One phase. Batches are times of tracks: images, landmarks and "heard" [batch, time, ...], "speaks" [batch]."""

    memory_advice = "lower config.batch or config.data.times"

    def __init__(self, config: ml_collections.ConfigDict):
        super().__init__(config)
        _check(config)
        self.model = listener.shape(config)
        self.phases = [Phase(f"{config.data.times} times", 0, config.steps, stage=0)]

    @classmethod
    def resolve(cls, config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
        """Takes the identities to train on from the data; the last ones are held out.

        Raises:
            InputError: there are too few, or nobody is heard.
        """
        _check(config)
        data = datasets.open_data(config.data)
        identities = trained_identities(data, config.data.held_out)
        if not any(map(_is_heard, data.values())):
            raise InputError("The data have no sound; prepare clips that have, with --sound.")
        return with_data(config, identities=identities)

    def init_state(self, phase: Phase, key: PRNGKeyArray) -> State:
        """Fresh weights."""
        params = sync.init(self.model, key)
        opt = optimizers.init(OPTIMIZER, params)
        return State(step=jnp.int32(phase.start), key=key, params=params, opt=opt)

    def steps(self, phase: Phase) -> Mapping[str, Step]:
        """There is one step."""
        return {"train": self._train_step}

    def _train_step(self, state: State, batch: Batch) -> tuple[State, Metrics]:
        """One update; "found" is how often the right mouth of a track is nearest to a sound."""
        c = self.config

        def loss(params):
            cosines = self._cosines(params, batch)
            losses = info_nce(cosines, c.loss.temperature)
            return _of_speaking(losses, batch), _found(cosines, batch)

        # Update step
        (value, found), gradients = jax.value_and_grad(loss, has_aux=True)(state.params)
        rate = schedules.warm_up_cosine(state.step, c.learning_rate, c.warm_up, c.steps)
        params, opt = optimizers.apply(OPTIMIZER, gradients, state.opt, state.params, rate)
        metrics = {"loss": value, "found": found, "learning_rate": rate}
        return replace(state, step=state.step + 1, params=params, opt=opt), metrics

    def _cosines(self, params: PyTree, batch: Batch) -> Cosines:
        def embeddings(network, name, x):
            flat = x.reshape(-1, *x.shape[2:])
            found = normalised(network(self.model, params[name], flat))
            return found.reshape(*x.shape[:2], -1)

        mouths = embeddings(sync.look, "mouth", self._mouths(batch))
        sounds = embeddings(sync.hear, "sound", batch["heard"])
        return jnp.einsum("bme,bse->bms", mouths, sounds)

    def _mouths(self, batch: Batch) -> Float[Array, "b time s s 3"]:
        """The mouths of the faces, upright as the alignment has them, in [0, 1]."""
        x = precision.from_bytes(batch["image"])
        centres = batch["landmarks"][..., np.array(MOUTH), :].mean(-2)
        width = self.config.mouth * x.shape[-2]
        flat = x.reshape(-1, *x.shape[2:])
        seen = window(flat, centres.reshape(-1, 2), width, self.model.side)
        return seen.reshape(*x.shape[:2], *seen.shape[1:])

    def evaluators(self, phase: Phase) -> Sequence[Evaluator]:
        """How often the right mouth of a held-out track is found by its sound, and the loss."""
        return (mean_of(self._scores, EVALUATED),)

    def _scores(self, state: State, batch: Batch) -> Metrics:
        cosines = self._cosines(state.params, batch)
        losses = info_nce(cosines, self.config.loss.temperature)
        return {"found": _found(cosines, batch), "loss": _of_speaking(losses, batch)}

    def preview(self, phase: Phase) -> Preview:
        """Mouths of held-out tracks, and those that are found by the sounds of these."""
        return Preview(self._preview, rows=("mouths", "found by their sounds"))

    def _preview(self, state: State, batch: Batch) -> Float[Array, "rows columns h w 3"]:
        batch = jax.tree.map(lambda a: a[:PREVIEW_TRACKS], batch)
        mouths = self._mouths(batch)
        nearest = self._cosines(state.params, batch).argmax(1)
        found = jnp.take_along_axis(mouths, nearest[..., None, None, None], 1)
        return jnp.stack([x.reshape(-1, *x.shape[2:]) for x in (mouths, found)])

    @property
    def augmentation(self) -> Augmentation:
        """See `OpenSetTask`."""
        return Augmentation(mirror=True, **self.config.data.jitter)

    def batches_of(self, identities, phase, trained, **options) -> grain.MapDataset:
        """Tracks of them."""
        return batches(
            identities,
            Roles(source=self.config.data.times, driving=0),
            fields=("image", "landmarks", "sound", "record"),
            alignment=self.config.alignment,
            resolution=self.config.resolution,
            sound_samples=mel.WINDOW,
            **options,
        ).map(Described(_heard, _heard))


def _heard(batch: Batch) -> Batch:
    """A batch of tracks with what is heard in place of the sound."""
    batch = dict(batch[TRACK])
    sound = batch.pop("sound")
    heard = mel.log_mel(sound.reshape(-1, mel.WINDOW))
    return batch | {
        "heard": heard.reshape(*sound.shape[:2], -1),
        "speaks": sound.any((1, 2)).astype(np.float32),
    }


def _of_speaking(values: Float[Array, "b"], batch: Batch) -> Float[Array, ""]:
    """The mean over tracks with sound; 0 if there are none."""
    speaks = batch["speaks"]
    return (values * speaks).sum() / jnp.maximum(speaks.sum(), 1)


def _found(cosines: Cosines, batch: Batch) -> Float[Array, ""]:
    """How often the mouth that is nearest to a sound is its own."""
    right = cosines.argmax(1) == jnp.arange(cosines.shape[1])
    return _of_speaking(right.mean(1), batch)


def _is_heard(source: sources.PersonaSource) -> bool:
    """Whether any track of an identity begins with sound."""

    def sound(data: bytes) -> int:
        return len(decode(data, image=False).sound)

    starts = itertools.accumulate(source.tracks[:-1], initial=0)
    return any(source.read(start, sound) for start in starts)


def _check(config: ml_collections.ConfigDict) -> None:
    """Raises InputError for values that make no network or no training."""
    halvings = 2 ** (1 + len(config.model.levels))
    demands = DEMANDS | {
        "resolution": at_least(1),
        "mouth": positive(),
        "warm_up": at_least(0),
        "steps": at_least(config.warm_up + 1),
        "learning_rate": positive(),
        "data.times": at_least(2),
        "loss.temperature": positive(),
        "model.hidden": at_least(1),
        "model.embedding": at_least(1),
        "model.side": Demand(lambda side: side % halvings == 0, f"give a multiple of {halvings}"),
        "model.stem": at_least(1),
        "model.squeeze": at_least(1),
    }
    check(config, demands)
