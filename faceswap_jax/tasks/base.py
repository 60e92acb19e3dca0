"""What a task is: one trainable system, as the training loop and the generators see it."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from weakref import WeakKeyDictionary

import grain
import jax
import ml_collections
import numpy as np
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from data_pipelines import datasets, sources
from faceswap_jax.faces import align
from faceswap_jax.ops import precision
from faceswap_jax.state import State

Batch = PyTree
Metrics = dict[str, Float[Array, ""]]
Step = Callable[[State, Batch], tuple[State, Metrics]]

# Personas whose images a training counts one by one when it begins.
NAMED = 8


@dataclass(frozen=True)
class Phase:
    """A stretch of the run with the same compiled steps: a growth level or a stage of a curriculum.

    Attributes:
        name: shown to people, e.g. "level 4, 64 px".
        start: first step of the phase.
        stop: first step after it.
        stage: what distinguishes the phase for its task, e.g. the growth level.
        cost: time of one step relative to the other phases, for the estimate of the time left.
    """

    name: str
    start: int
    stop: int
    stage: int
    cost: float = 1.0


@dataclass(frozen=True)
class Evaluator:
    """One way to score a state on held-out data.

    Attributes:
        measure: (state, batch) -> a tree of arrays; compiled once per phase.
        summarise: from what `measure` gave for each batch, in order and as NumPy arrays, to scores by name.
        batches: how many batches of `Task.eval_data`, from the first on, it wants to see: 1, or all that a measure of
            a whole set needs, such as FID.
    """

    measure: Callable[[State, Batch], PyTree]
    summarise: Callable[[Sequence[PyTree]], dict[str, float]]
    batches: int = 1


@dataclass(frozen=True)
class Preview:
    """A grid of images from held-out data.

    Attributes:
        draw: (state, batch) -> images in [0, 1] [rows, columns, h, w, 3]; compiled once per phase.
        rows: what each row shows, for people.
        columns: what each column shows, for people; () where that says nothing.
    """

    draw: Callable[[State, Batch], Float[Array, "rows columns h w 3"]]
    rows: Sequence[str] = ()
    columns: Sequence[str] = ()


OWN = "own"
"""In the variables of a synthesis: weights of single personas, whose leaves have a leading persona axis."""


@dataclass(frozen=True)
class Synthesis:
    """How a task makes images: what `inference/trained.py` turns into a Generator, and an export into programs.

    All functions are pure, read the weights from `Task.variables`, and take batches of any size. Who is shown is a
    dictionary of arrays: {"weights": of each persona} of `personas`, or what `identity` makes of pictures.

    Attributes:
        alignment: how the faces that it reads are cut, one of `faces.align.ALIGNMENTS`.
        resolution: side of its images in pixels.
        placement: "blended" into the performer's frame, or "whole", a picture of its own.
        outline: of the part that is blended, one of `faces.align.OUTLINES`, unless another is asked for.
        inputs: names of the fields of `inference.generator.Faces` that it reads, e.g. ("crops",).
        personas: whom it knows by name; () if it takes anybody's pictures.
        images: (variables, identity, inputs, shift) -> images [batch, r, r, 3] in [0, 1]. `inputs` has the arrays of
            `inputs`, by name, with a leading batch axis; `shift`, [batch, latent], is added to the latents, or None.
        mixes: whether it shows mixes of its personas.
        identity: (variables, pictures) -> whom uint8 pictures [n, r, r, 3] show; None if it shows its personas alone,
            or has `roles`.
        sound_window: how many samples at 16 kHz it reads around each frame, if it reads sound.
        latents: (variables, inputs) -> latents [batch, latent] that tell what the face does; None if there are none.
        decode: (variables, identity, latents) -> what `images` makes of them, if it reads nothing else; see `decoded`.
        parts: length of each part of the latents, by its name, in their order.
        paintable: whether `identity` gives an embedded face, {"embedded": [r, r, 3] in [0, 1]}, which people may paint
            on.
        roles: features that others can lend, see `inference.generator.Generator.roles`. `images` then takes
            {"identity": [d] or [batch, d]} or {}, and `inputs` may have vectors [batch, d] of other roles by name.
        features: (variables, role, pictures) -> what each of uint8 pictures [n, r, r, 3] says of a role, [n, d].
        relative: whether the latents count from those of the performer's face at rest, so that these are to be taken
            off, by a shift.
        sample: (variables, drawn [batch, `drawn`]) -> pictures of nobody, [batch, r, r, 3] in [0, 1], which `identity`
            reads as any others; None if it makes none.
        drawn: how many numbers, of a normal distribution, decide who that is.
    """

    alignment: str
    resolution: int
    placement: str
    inputs: Sequence[str]
    personas: Sequence[str]
    images: Callable[..., Array]
    mixes: bool = False
    identity: Callable[..., dict[str, Array]] | None = None
    sound_window: int = 3200
    latents: Callable[..., Array] | None = None
    decode: Callable[..., Array] | None = None
    parts: Mapping[str, int] = field(default_factory=dict)
    paintable: bool = False
    roles: Sequence[str] = ()
    features: Callable[..., Array] | None = None
    relative: bool = False
    sample: Callable[..., Array] | None = None
    drawn: int = 0
    outline: str = align.DEFAULT_OUTLINE


def decoded(latents: Callable[..., Array], decode: Callable[..., Array]) -> Callable[..., Array]:
    """The `images` of a synthesis that decodes latents."""

    def images(variables, identity, inputs, shift=None):
        z = latents(variables, inputs)
        if shift is not None:
            z = z + shift
        return decode(variables, identity, z)

    return images


class Task(abc.ABC):
    """One trainable system. A subclass writes what is its own; everything else has a default.

    All functions of a state are pure; the loop compiles them once per phase. A GAN keeps two groups in `state.params`
    and in `state.opt`, with a schedule each; a learning rate that waits for a plateau is a part of `state.opt`
    (`optax.contrib.reduce_on_plateau`); frozen networks and running statistics live in `state.extras`.
    """

    phases: Sequence[Phase]
    batch_spec: PartitionSpec = PartitionSpec("data")
    memory_advice: str = "lower config.batch"
    """What to change when the memory does not suffice."""
    may_grow: Sequence[str] = ()
    """Fields of the config that a continued run may raise, because that adds steps to its end and changes none before.
    A schedule that depends on such a field, as a cosine that ends with the run, would change them."""

    def __init__(self, config: ml_collections.ConfigDict):
        self.config = config

    @classmethod
    def resolve(cls, config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
        """The config with all that the data decide filled in, so that the run can be used without the data.

        Raises:
            InputError: a value makes no sense, or the data are missing or do not fit.
        """
        return config.copy_and_resolve_references()

    @abc.abstractmethod
    def init_state(self, phase: Phase, key: PRNGKeyArray) -> State:
        """A fresh state, of the first phase or of any; of frozen networks only the shapes count."""

    def frozen_inputs(self) -> dict[str, PyTree]:
        """Networks that are given, not trained, read from their files: entries of a new run's `state.extras`."""
        return {}

    def initial_params(self) -> tuple[dict[str, PyTree], str]:
        """Trained weights that a new run begins with, by group and module, and what is told about them."""
        return {}, ""

    def enter(self, phase: Phase, state: State) -> State:
        """The state with which `phase` begins, from the one with which the phase before it ended."""
        return state

    @abc.abstractmethod
    def steps(self, phase: Phase) -> Mapping[str, Step]:
        """The step functions of a phase, by name; each is compiled when it is first needed.

        A step that is done only now and then, as a lazy regulariser, is a function of its own: inside `lax.cond`
        convolutions would be slow. The new state's `step` is one more.
        """

    def step_name(self, phase: Phase, step: int) -> str:
        """Which of `steps` makes the step after `step` steps: a pure schedule."""
        (name,) = self.steps(phase)
        return name

    def evaluators(self, phase: Phase) -> Sequence[Evaluator]:
        """How states are scored on held-out data."""
        return ()

    def preview(self, phase: Phase) -> Preview | None:
        """What to show of held-out data."""
        return None

    def synthesis(self, phase: Phase) -> Synthesis | None:
        """How this task makes images for people; None if it makes none."""
        return None

    def variables(self, phase: Phase, state: State) -> PyTree:
        """What the synthesis reads of a state: nested dictionaries of arrays; averaged weights where there are any."""
        return state.params

    @property
    def makes_images(self) -> bool:
        """Whether the task says how it makes images: told without a state."""
        return type(self).synthesis is not Task.synthesis

    @abc.abstractmethod
    def train_data(self, phase: Phase, host: int, hosts: int) -> grain.MapDataset:
        """This host's part of the batch of every step, addressed by step number.

        Arrays of text, which tell people where data come from, stay on the host: the steps find None in their place.
        Its element spec, as Grain has it, is known without reading: see `data_pipelines/batches/described.py`.
        """

    @abc.abstractmethod
    def eval_data(self, phase: Phase, host: int, hosts: int) -> grain.MapDataset:
        """Batches of held-out data, by number."""

    def data_summary(self) -> str:
        """What the data are, in a line for people."""
        return ""

    @property
    def corrupt(self) -> int:
        """Number of corrupt records that were met and skipped so far."""
        return 0


class FaceTask(Task):
    """A task whose data are the face records that `config.data` names."""

    @cached_property
    def data(self) -> Mapping[str, sources.PersonaSource]:
        """All records of each persona; `corrupt` of a source tells which of them had to be skipped so far."""
        return datasets.open_data(self.config.data)

    def data_summary(self) -> str:
        """How many images there are of whom; of many personas their number alone."""
        counts = {name: len(source) for name, source in self.data.items()}
        text = f"{len(counts):,} personas, {sum(counts.values()):,} images"
        if len(counts) <= NAMED:
            each = [f"{name} {count:,}" for name, count in counts.items()]
            text += f" ({', '.join(each)})"
        return text

    @property
    def corrupt(self) -> int:
        """Number of corrupt records that were met and skipped so far."""
        return sum(len(source.corrupt) for source in self.data.values())


def with_data(config: ml_collections.ConfigDict, **decided: object) -> ml_collections.ConfigDict:
    """The config with what the data decide, and with the digest of their manifest, unless that is given."""
    config = config.copy_and_resolve_references()
    # The command locks its config; what the data decide may be new fields.
    with config.unlocked():
        config.update(decided)
    config.data.manifest = config.data.manifest or datasets.manifest_digest(config.data)
    return config


def image_and_mask(batch: Batch) -> tuple[Float[Array, "b h w 3"], Float[Array, "b h w"]]:
    """Images and masks of a batch, in [0, 1]."""
    return precision.from_bytes(batch["image"]), precision.from_bytes(batch["mask"])


def mean_of(measure: Callable[[State, Batch], Metrics], batches: int = 1) -> Evaluator:
    """An evaluator whose scores are the means of a batch's metrics over the batches."""

    def summarise(measured: Sequence[Metrics]) -> dict[str, float]:
        means = {}
        for name in measured[0]:
            of_batches = [metrics[name] for metrics in measured]
            means[name] = float(np.mean(of_batches))
        return means

    return Evaluator(measure, summarise, batches)


def phase_of(task: Task, step: int) -> Phase:
    """The phase that a state with `step` steps done is of: the one that did its last step."""
    return next(phase for phase in task.phases if step <= phase.stop)


_ABSTRACT: WeakKeyDictionary[Task, dict[Phase, State]] = WeakKeyDictionary()


def abstract_state(task: Task, phase: Phase) -> State:
    """Shapes and types of a state of `phase`. Nothing is executed, so it may be for devices that are not there.

    It is traced once, for that takes a second.
    """
    states = _ABSTRACT.setdefault(task, {})
    if phase not in states:
        states[phase] = jax.eval_shape(lambda: task.init_state(phase, jax.random.key(0)))
    return states[phase]
