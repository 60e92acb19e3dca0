"""Scores of whole sets of images: those that a task makes, against the held-out ones."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from faceswap_jax.losses import distributions
from faceswap_jax.ops import precision
from faceswap_jax.state import State
from faceswap_jax.tasks.base import Batch, Evaluator

Images = Float[Array, "b r r 3"]


def set_distance(
    see: Callable[[State, Images], Float[Array, "b d"]],
    make: Callable[[State, Batch], Images],
    batches: int,
    name: str = "feature_distance",
) -> Evaluator:
    """How far the made images are from the held-out ones, by `distributions.compare`.

    Args:
        see: the features of images in [0, 1].
        make: images, as many for each batch as it has.
        batches: how many of them make the sets.
        name: what comes before the scores' names. Those by other features than Inception's are no FID.
    """

    def measure(state: State, batch: Batch) -> PyTree:
        real = precision.from_bytes(batch["image"])
        made = make(state, batch).clip(0, 1)
        return {"real": see(state, real), "made": see(state, made)}

    def summarise(measured: Sequence[PyTree]) -> dict[str, float]:
        sets = {}
        for kind in ("real", "made"):
            sets[kind] = np.concatenate([features[kind] for features in measured])
        scores = distributions.compare(**sets)
        return {f"{name}/{score}": value for score, value in scores.items()}

    return Evaluator(measure, summarise, batches)


def key_of(batch: Batch) -> PRNGKeyArray:
    """Another key for every batch, and the same whenever it comes: measures are not told a batch's number."""
    values = batch["image"].astype(jnp.uint32)
    # Products, because two batches may have the same pixels in another order.
    places = jnp.arange(values.size, dtype=jnp.uint32).reshape(values.shape)
    return jax.random.key((values * (2 * places + 1)).sum(dtype=jnp.uint32))
