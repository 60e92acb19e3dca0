"""What chips can do at most, and how fast a train step can be on them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from faceswap_jax.cost.program import Cost, TooLarge
from faceswap_jax.tasks.base import Phase, Task


@dataclass(frozen=True)
class Peaks:
    """What a chip can do at most.

    Attributes:
        flops: operations per second, bfloat16 in and float32 out.
        bandwidth: bytes per second between its memory and its cores.
        links: bytes per second that leave it for other chips of its slice, over all of its links together.
    """

    flops: float
    bandwidth: float
    links: float


@dataclass(frozen=True)
class Chip:
    """A chip to compile for.

    Attributes:
        name: for people.
        memory: bytes that a program gets.
        peaks: None if its compiler counts nothing that could be held against them.
    """

    name: str
    memory: int
    peaks: Peaks | None = None


CHIPS = {
    "v5e": Chip("TPU v5e", int(15.75 * 2**30), Peaks(197e12, 819e9, 200e9)),
    "v5p": Chip("TPU v5p", int(95.74 * 2**30), Peaks(459e12, 2765e9, 600e9)),
    "v6e": Chip("TPU v6e", int(31.25 * 2**30), Peaks(918e12, 1638e9, 400e9)),
    "h100": Chip("H100", int(0.75 * 84929347584)),
}
"""Peaks as Google's documentation of Cloud TPU has them: docs.cloud.google.com/tpu/docs, pages v5e, v5p-training and
v6e. Its bandwidth between chips is that of both directions together, of which half leaves a chip. Memory is what the
compiler says that there is; of a GPU's, JAX takes three quarters."""

REACHED = 0.4
"""The part of the bound that a good training reaches, by experience with other networks: a choice."""


@dataclass(frozen=True)
class Bound:
    """The least seconds of a step, were all else free.

    Attributes:
        arithmetic: by the peak of bfloat16; float32 is multiplied as bfloat16, too, unless more is asked for.
        memory: by the bandwidth of its memory.
        interconnect: by that of its links, if all were used evenly.
    """

    arithmetic: float
    memory: float
    interconnect: float

    @property
    def seconds(self) -> float:
        """The least of a step in which all three go on at once."""
        return max(vars(self).values())

    @property
    def binding(self) -> str:
        """Which of the three it waits for."""
        return max(vars(self), key=vars(self).get)

    @property
    def share(self) -> float:
        """The part of the arithmetic's peak that is left at best."""
        return self.arithmetic / self.seconds


def bound(cost: Cost, peaks: Peaks) -> Bound:
    """How fast a step can be at best."""
    return Bound(
        arithmetic=cost.flops / peaks.flops,
        memory=cost.traffic / peaks.bandwidth,
        interconnect=sum(one.sent for one in cost.collectives) / peaks.links,
    )


def least(task: Task, phase: Phase, found: Sequence[Cost | TooLarge], peaks: Peaks) -> float | None:
    """The seconds that a phase takes at best; None if a step of it does not fit.

    Args:
        task: that decides on the order of steps.
        phase: of it.
        found: the cost of each of its steps.
        peaks: of the chip that all of them run on.
    """
    if any(isinstance(one, TooLarge) for one in found):
        return None
    if len(found) == 1:
        counts = {found[0].step: phase.stop - phase.start}
    else:
        counts = Counter(task.step_name(phase, step) for step in range(phase.start, phase.stop))
    return sum(counts[one.step] * bound(one, peaks).seconds for one in found)
