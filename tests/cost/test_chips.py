"""How fast a step can be at best, and what a schedule takes then."""

import pytest

from faceswap_jax.cost.chips import CHIPS, bound, least
from faceswap_jax.cost.collectives import Collective
from faceswap_jax.cost.program import Cost, TooLarge
from faceswap_jax.cost.topologies import SHAPES
from faceswap_jax.tasks.base import Phase


def of(flops=0.0, traffic=0, exchanged=0, step="train") -> Cost:
    """A step's cost."""
    gathered = Collective("all-gather", ("data",), 2, (), exchanged)
    return Cost("phase", step, 0.0, flops, traffic, 0, 0, 0, (gathered,))


def test_every_generation_has_its_peaks():
    assert CHIPS.keys() == SHAPES.keys()


def test_the_slowest_of_three_binds():
    peaks = CHIPS["v5e"].peaks
    # 1 ms of arithmetic, 4 ms of memory, 2 ms of links, for half of what is gathered comes from others
    limit = bound(of(197e9, 819_000_000 * 4, 800_000_000), peaks)
    assert vars(limit) == pytest.approx({"arithmetic": 1e-3, "memory": 4e-3, "interconnect": 2e-3})
    assert (limit.binding, limit.share) == ("memory", pytest.approx(0.25))
    assert bound(of(197e9), peaks).binding == "arithmetic"
    assert bound(of(exchanged=4), peaks).binding == "interconnect"


class Alternating:
    """A task with a longer step every fourth time."""

    def step_name(self, phase, step):
        """Its name."""
        return "long" if step % 4 == 3 else "short"


def test_time_follows_the_order_of_steps():
    phase = Phase("stage", 0, 7200, stage=0)
    peaks = CHIPS["v5e"].peaks
    second = of(197e12)
    assert least(None, phase, [second], peaks) == pytest.approx(7200)
    steps = [of(197e12, step="short"), of(3 * 197e12, step="long")]
    assert least(Alternating(), phase, steps, peaks) == pytest.approx(1.5 * 7200)
    assert least(None, phase, [TooLarge("stage", "train", 0.0, "")], peaks) is None
