"""Optimizers: Muon as the autoencoder task uses it, Ranger as its public code has it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceswap_jax.ops import optimizers

KEY = jax.random.key(0)
KERNEL = (3, 3, 8, 6)


def gradients(*shape):
    return jax.random.normal(KEY, shape)


def updated(weights, gradient, steps=1):
    """The changes of the weights by the last of some steps of the same gradient, and the state."""
    state = optimizers.MUON.init(weights)
    for _ in range(steps):
        change, state = jax.jit(optimizers.MUON.update)(gradient, state, weights)
    return change, state


def test_muon_changes_kernels_by_matrices_that_are_nearly_orthogonal():
    gradient = {"kernel": gradients(*KERNEL)}
    change, _ = updated(gradient, gradient)
    singular = np.linalg.svd(change["kernel"].reshape(-1, 6), compute_uv=False)
    assert singular.min() > 0.6 and singular.max() < 1.3
    # Downhill, once the change is subtracted
    assert jnp.vdot(change["kernel"], gradient["kernel"]) > 0


def test_muon_treats_every_kernel_of_a_stack_by_itself():
    stack = gradients(3, *KERNEL)
    change, _ = updated({"kernel": stack}, {"kernel": stack})
    for p in range(3):
        one, _ = updated({"kernel": stack[p]}, {"kernel": stack[p]})
        np.testing.assert_allclose(change["kernel"][p], one["kernel"], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("shape", [(6,), (3, 6), (1, 1, 8, 3), (3, 1, 1, 8, 3)])
def test_muon_leaves_the_rest_to_adam_at_a_tenth_of_the_rate(shape):
    gradient = {"leaf": gradients(*shape)}
    change, _ = updated(gradient, gradient)
    adam, _ = optimizers.ADAM.update(gradient, optimizers.ADAM.init(gradient))
    np.testing.assert_allclose(change["leaf"], 0.1 * adam["leaf"], rtol=1e-5)


def test_states_of_stacked_weights_have_the_leading_axis_or_are_scalars():
    weights = {"kernel": gradients(5, *KERNEL), "bias": gradients(5, 6)}
    for tx in optimizers.OPTIMIZERS.values():
        leaves = jax.tree.leaves(tx.init(weights))
        assert leaves and all(leaf.ndim == 0 or len(leaf) == 5 for leaf in leaves)


def ranger_by_hand(weights, gradients, rate):
    """Ranger's public code, written out for one tensor: Adam's second moment counts once it is known well enough."""
    fast, slow = weights.astype(float), weights.astype(float)
    first, second = np.zeros_like(fast), np.zeros_like(fast)
    longest = 2 / (1 - 0.999) - 1
    for t, gradient in enumerate(gradients, 1):
        first = 0.95 * first + 0.05 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        mean = first / (1 - 0.95**t)
        known = longest - 2 * t * 0.999**t / (1 - 0.999**t)
        if known >= 5:
            rectified = (
                (known - 4) * (known - 2) * longest / ((longest - 4) * (longest - 2) * known)
            )
            mean = np.sqrt(rectified) * mean / (np.sqrt(second / (1 - 0.999**t)) + 1e-5)
        fast = fast - rate * mean
        if t % 6 == 0:
            slow = slow + 0.5 * (fast - slow)
            fast = slow
    return fast, slow


def test_ranger_is_radam_that_is_taken_back_half_of_every_six_steps():
    rng = np.random.default_rng(0)
    start = np.float32(rng.normal(size=5))
    slopes = np.float32(rng.normal(size=(20, 5)))
    tx = optimizers.ranger(0.1)
    weights = {"module": {"leaf": start}}
    opt = optimizers.init(tx, weights)
    step = jax.jit(lambda g, o, w: optimizers.apply(tx, g, o, w, 1.0))
    for t in range(1, 21):
        weights, opt = step({"module": {"leaf": slopes[t - 1]}}, opt, weights)
        fast, slow = ranger_by_hand(start, slopes[:t], 0.1)
        np.testing.assert_allclose(weights["module"]["leaf"], fast, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(opt["module"].slow["leaf"], slow, rtol=1e-3, atol=1e-4)
        assert (fast == slow).all() == (t % 6 == 0)
