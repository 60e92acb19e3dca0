"""What a step does, as pure functions of its number."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

Step = Int[Array, ""]
Value = Float[Array, ""]


def warm_up_cosine(step: Step, peak: float, warm_up: int, steps: int) -> Value:
    """Learning rate that rises to `peak` over `warm_up` steps, then falls to zero along a cosine until `steps`."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, peak, warm_up, steps)
    return schedule(step)


def constant_then_linear(step: Step, rate: float, steps: int, final: int) -> Value:
    """Learning rate that is `rate` until the last `final` of all `steps`, then falls to zero along a line."""
    schedule = optax.linear_schedule(rate, 0.0, final, steps - final)
    return schedule(step)


class StepValues(NamedTuple):
    """What a step of a growing network does.

    Attributes:
        level: growth level that it trains.
        alpha: fade-in gain of that level, 0 to 1.
        learning_rate: of all weights.
    """

    level: Int[Array, ""]
    alpha: Value
    learning_rate: Value


def growth(
    step: Step,
    level_steps: Sequence[int],
    learning_rate: float,
    final_learning_rate: float,
) -> StepValues:
    """Level, alpha and learning rate of a step.

    Alpha rises from 0 at a level's first step to 1 at half of its steps. The lowest level has nothing to fade.

    Args:
        step: number of steps done before it.
        level_steps: steps of level 0 and up; zeros at the start skip levels.
        learning_rate: until the steps of the last level are done.
        final_learning_rate: of the steps after them, which train the last level on.
    """
    lengths = np.trim_zeros(level_steps, "b")
    stops = np.cumsum(lengths)
    finished = (step >= stops).sum()
    level = jnp.minimum(finished, len(stops) - 1)

    # Fade-in, over half of the level's steps
    start = jnp.array(stops - lengths)[level]
    fading = 0.5 * jnp.array(lengths)[level]
    risen = (step - start) / fading
    alpha = jnp.where(start == 0, 1.0, jnp.minimum(risen, 1.0))

    rate = jnp.where(step < stops[-1], learning_rate, final_learning_rate)
    return StepValues(level, jnp.float32(alpha), jnp.float32(rate))
