"""How far a set of images is from a set of others, by features that a frozen network sees in them.

Of Inception's features the first two are FID and KID. Sets are compared in double precision, by NumPy.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from scipy.spatial.distance import cdist

Features = Float[np.ndarray, "n d"]

BLOCK = 1_000
"""Rows that are compared with a whole set at once: all pairs of 50,000 would take 20 GB."""

NEIGHBOURS = 3
"""The published choice: how many neighbours a ball around an image reaches."""


def frechet(x: Features, y: Features) -> float:
    """The Fréchet distance of the normal distributions with the means and covariances of two sets (Heusel et al. 2017).

    It falls with the number of images: compare values of equally large sets alone. NaN for sets of one.
    """
    x, y = np.float64(x), np.float64(y)
    if min(len(x), len(y)) < 2:
        return float("nan")
    apart = x.mean(0) - y.mean(0)
    first, second = _covariance(x), _covariance(y)

    # The trace of the root of first @ second, which is no symmetric matrix: root @ second @ root has its eigenvalues.
    root = _symmetric_root(first)
    eigenvalues = np.linalg.eigvalsh(root @ second @ root)
    together = np.sqrt(eigenvalues.clip(0)).sum()
    return float(apart @ apart + np.trace(first) + np.trace(second) - 2 * together)


def kernel_distance(x: Features, y: Features) -> float:
    """The squared maximum mean discrepancy with the kernel (x.y / d + 1)^3, unbiased (KID, Bińkowski et al. 2018).

    Of whole sets, where the source has means over subsets of 1,000, which estimate the same. NaN for sets of one.
    """
    x, y = np.float64(x), np.float64(y)
    if min(len(x), len(y)) < 2:
        return float("nan")
    within = _mean_of_pairs(x) + _mean_of_pairs(y)
    between = sum(_kernel(block, y).sum() for block in _blocks(x)) / (len(x) * len(y))
    return float(within - 2 * between)


def precision_and_recall(
    real: Features, made: Features, neighbours: int = NEIGHBOURS
) -> tuple[float, float]:
    """What part of the made images lies among the real ones, and of the real among the made (Kynkäänniemi et al. 2019).

    A set is where the balls around its images are, each as large as the distance to a near neighbour. NaN for sets of
    no more images than neighbours.

    Args:
        real: features of real images.
        made: of generated ones.
        neighbours: which neighbour the ball reaches.
    """
    real, made = np.float64(real), np.float64(made)
    if min(len(real), len(made)) <= neighbours:
        return float("nan"), float("nan")
    precision = _fraction_among(made, real, neighbours)
    recall = _fraction_among(real, made, neighbours)
    return precision, recall


def compare(real: Features, made: Features) -> dict[str, float]:
    """All of these, by name."""
    precision, recall = precision_and_recall(real, made)
    return {
        "frechet": frechet(real, made),
        "kernel": kernel_distance(real, made),
        "precision": precision,
        "recall": recall,
    }


def _covariance(x):
    about_mean = x - x.mean(0)
    return about_mean.T @ about_mean / (len(x) - 1)


def _symmetric_root(matrix):
    values, vectors = np.linalg.eigh(matrix)
    # Rounding makes zeros negative.
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T


def _kernel(x, y):
    return (x @ y.T / x.shape[1] + 1) ** 3


def _mean_of_pairs(x):
    """Mean of the kernel over all pairs of different images."""
    total = sum(_kernel(block, x).sum() for block in _blocks(x))
    itself = ((x * x).sum(1) / x.shape[1] + 1) ** 3
    return (total - itself.sum()) / (len(x) * (len(x) - 1))


def _fraction_among(x, others, neighbours):
    """Part of x that lies in a ball around one of the others."""
    # An image is its own nearest neighbour, number 0.
    nearest = [
        np.partition(cdist(block, others), neighbours)[:, neighbours] for block in _blocks(others)
    ]
    radii = np.concatenate(nearest)
    inside = [(cdist(block, others) <= radii).any(1) for block in _blocks(x)]
    return float(np.concatenate(inside).mean())


def _blocks(x: Features) -> Iterator[Features]:
    for start in range(0, len(x), BLOCK):
        yield x[start : start + BLOCK]
