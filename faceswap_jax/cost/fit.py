"""The largest batch that a chip's memory holds, found by few compilations.

What a step needs is close to a line in its batch. Two compilations give the line; a third one, of the batch that it
promises, confirms it or gives a better line.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product

import ml_collections
from jax.sharding import Mesh

from faceswap_jax import config as configs
from faceswap_jax.cost.program import Cost, TooLarge, batch_of, cost
from faceswap_jax.errors import InputError
from faceswap_jax.reporting.progress import duration
from faceswap_jax.tasks.registry import load_task, task_class

VARIED = {
    "precision": ("precision", ("bfloat16", "float32")),
    "remat": ("model.remat", ("none", "blocks")),
}
"""What can vary beside the batch: a field of the config, and its values."""

EXPECTED = 3
"""Compilations of a variant whose memory is a line: two for the line and one that confirms it."""

ENOUGH = 1.1
"""What was confirmed stands, unless a better line promises so many times as much; what fits stands, if so many times as
much does not."""

FAR = 64
"""How many times as far as the last batch a line is trusted."""

Variant = dict[str, str]
"""Values in place of an experiment's, by field."""


@dataclass(frozen=True)
class Fit:
    """The largest batch of a variant of an experiment.

    Attributes:
        variant: what it has in place of the experiment's values.
        batch: `config.batch`; 0 if not even the least one fits.
        predicted: bytes of a chip that the line had for this batch; None if no line led there.
        cost: of the step that needs most; None if nothing fits.
    """

    variant: Variant
    batch: int
    predicted: float | None
    cost: Cost | None


def variants(config: ml_collections.ConfigDict, varied: Sequence[str]) -> list[Variant]:
    """The values of all fields that vary, combined.

    Args:
        config: of the experiment.
        varied: names of VARIED.

    Raises:
        InputError: there is no such name, or the experiment has no such field.
    """
    choices = {}
    for name in varied:
        if name not in VARIED:
            raise InputError(
                f"--fit cannot vary '{name}'; give batch, and beside it {' or '.join(VARIED)}."
            )
        path, values = VARIED[name]
        if path not in configs.fields(config):
            raise InputError(f"--fit has {name}, but the experiment has no config.{path}.")
        choices[path] = values
    return [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]


def fits(
    config: ml_collections.ConfigDict,
    mesh: Mesh,
    available: int,
    varied: Sequence[str],
    tell: Callable[[str], None],
) -> Iterator[Fit]:
    """The largest batch of each variant, in the last phase, which needs most.

    Args:
        config: of the experiment; its batch is the first one to be compiled.
        mesh: of the chips.
        available: bytes of a chip's memory that a program gets.
        varied: names of VARIED.
        tell: is given what is compiled next, and about how long the rest will take.

    Raises:
        InputError: the config or what varies is wrong, or the batch does not fit the mesh.
    """
    chosen = variants(config, varied)
    progress = _Progress(tell, EXPECTED * len(chosen))
    for number, variant in enumerate(chosen):
        progress.reach(EXPECTED * number)
        yield _fit(config, mesh, available, variant, progress)


def _fit(config, mesh, available, variant, progress) -> Fit:
    """The largest batch of one variant."""
    found = {}

    def peak(batch: int) -> int | None:
        changed = config.copy_and_resolve_references()
        changed.update_from_flattened_dict(variant | {"batch": batch})
        task = load_task(task_class(changed).resolve(changed))
        phase = task.phases[-1]
        described = batch_of(task, phase, mesh)
        title = ", ".join([phase.name, *variant.values(), f"batch {batch}"])

        # A batch fits if all steps do.
        of_steps = []
        for name in task.steps(phase):
            with progress.of(title):
                of_steps.append(cost(task, phase, mesh, described, name))
        if any(isinstance(one, TooLarge) for one in of_steps):
            return None
        largest_step = max(of_steps, key=lambda one: one.peak)
        # Compilers for GPUs refuse nothing.
        if largest_step.peak > available:
            return None
        found[batch] = largest_step
        return largest_step.peak

    unit = mesh.shape["data"]
    first = max(unit, config.batch // unit * unit)
    batch, predicted = largest(peak, first, unit, available)
    return Fit(variant, batch, predicted, found.get(batch))


def largest(
    peak: Callable[[int], int | None], first: int, unit: int, available: int
) -> tuple[int, float | None]:
    """The largest batch that fits, to within a tenth.

    Args:
        peak: tells how many bytes a batch needs; None if it does not fit.
        first: the first batch to ask for.
        unit: what batches are multiples of.
        available: bytes.

    Returns:
        The batch, 0 if none fits, and the bytes that a line had promised for it; None if no line led there.
    """
    fitting = {}
    refused = []
    promised = {}
    batch = first
    while True:
        needed = peak(batch)
        if needed is None:
            refused.append(batch)
        else:
            fitting[batch] = needed

        # A compiler that runs out of memory saves some, so a batch may fit though a smaller one does not.
        best = max(fitting, default=0)
        too_large = min((one for one in refused if one > best), default=math.inf)
        if too_large <= ENOUGH * best:
            return best, promised.get(best)

        batch, promise = _next(fitting, too_large, available)
        batch = batch // unit * unit
        confirmed = promise and best in promised and batch < ENOUGH * best
        if batch <= best or confirmed:
            return best, promised.get(best)
        if promise:
            promised[batch] = promise(batch)


def _next(
    fitting: dict[int, int], too_large: float, available: int
) -> tuple[int, Callable[[int], float] | None]:
    """The batch to ask for next, and the line that promises it, if there is one."""
    *_, before, best = [0, 0, *sorted(fitting)]
    between = (best + too_large) / 2
    if not before:
        return int(min(2 * best or math.inf, between)), None

    slope = (fitting[best] - fitting[before]) / (best - before)

    def line(batch: int) -> float:
        return fitting[best] + slope * (batch - best)

    batch = 2 * best
    if slope > 0:
        batch = best + (available - fitting[best]) / slope
    batch = min(batch, FAR * best)
    if batch >= too_large:
        # More than there is
        return int(between), None
    return int(batch), line


class _Progress:
    """Tells what is compiled, of about how many, and about how long the rest will take."""

    def __init__(self, tell: Callable[[str], None], expected: int):
        self._tell = tell
        self._expected = expected
        self._done = 0
        self._seconds = []

    def reach(self, done: int) -> None:
        """Says how many are done, if not as many as expected were needed."""
        self._done = done

    @contextmanager
    def of(self, title: str) -> Iterator[None]:
        """One compilation."""
        left = ""
        if self._seconds:
            mean = sum(self._seconds) / len(self._seconds)
            remaining = max(1, self._expected - self._done)
            left = f", about {duration(mean * remaining)} left"
        number = f"{self._done + 1} of about {max(self._expected, self._done + 1)}"
        self._tell(f"{title} ({number}{left}) ...")

        began = time.monotonic()
        yield
        self._seconds.append(time.monotonic() - began)
        self._done += 1
