"""Schedules: pure functions of the step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceswap_jax.ops import schedules


@pytest.mark.parametrize("level_steps", [(0, 0, 4, 10), (3, 5, 8), (2, 4, 6, 7, 0, 0)])
def test_growth_names_level_alpha_and_learning_rate_of_every_step(level_steps):
    values = jax.jit(lambda step: schedules.growth(step, level_steps, 1e-3, 1e-5))
    trained = [level for level, count in enumerate(level_steps) if count]
    step = 0
    for level in trained:
        count = level_steps[level]
        final_steps = 3 if level == trained[-1] else 0
        for i in range(count + final_steps):
            alpha = 1 if level == trained[0] else min(i / (count / 2), 1)
            expected = (level, alpha, 1e-5 if i >= count else 1e-3)
            np.testing.assert_allclose(values(jnp.int32(step)), expected, rtol=1e-6)
            step += 1
    np.testing.assert_allclose(values(jnp.int32(step + 5)), (trained[-1], 1, 1e-5), rtol=1e-6)


def test_warm_up_cosine_rises_and_falls_to_zero():
    rates = [float(schedules.warm_up_cosine(jnp.int32(i), 3e-3, 2, 10)) for i in range(11)]
    np.testing.assert_allclose(rates[:3], [0, 1.5e-3, 3e-3], atol=1e-9)
    assert all(np.diff(rates[2:]) < 0) and abs(rates[10]) < 1e-9


def test_constant_then_linear_falls_to_zero_over_the_last_steps():
    rates = [float(schedules.constant_then_linear(jnp.int32(i), 2.0, 10, 4)) for i in range(12)]
    np.testing.assert_allclose(rates, [2, 2, 2, 2, 2, 2, 2, 1.5, 1, 0.5, 0, 0], rtol=1e-6)
    assert float(schedules.constant_then_linear(jnp.int32(9), 2.0, 10, 0)) == 2
