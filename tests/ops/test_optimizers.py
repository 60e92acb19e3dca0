"""Optimizers: Muon as the autoencoder task uses it."""

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
