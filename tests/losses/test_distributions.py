"""Distances of sets: against independent computations, and where the right value is known."""

from itertools import combinations, permutations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from faceswap_jax.losses import distributions


@pytest.fixture(scope="module")
def sets():
    """Features of real and of made images, more of the former, correlated and not centred."""
    rng = np.random.default_rng(0)
    real = rng.normal(0, 1, (40, 6)) @ rng.normal(0, 1, (6, 6)) + 0.3
    made = rng.normal(0, 1, (30, 6)) @ rng.normal(0, 1, (6, 6))
    return np.float32(real), np.float32(made)


def test_the_frechet_distance_is_that_of_scipys_root(sets):
    real, made = sets
    covariances = [np.cov(features, rowvar=False) for features in sets]
    root = sqrtm(covariances[0] @ covariances[1]).real
    apart = real.mean(0, dtype=float) - made.mean(0, dtype=float)
    expected = apart @ apart + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert distributions.frechet(real, made) == pytest.approx(expected, rel=1e-6)


def test_fewer_images_than_features_make_no_trouble():
    """Covariances are singular then."""
    x = np.random.default_rng(0).normal(size=(5, 12))
    assert distributions.frechet(x, x) == pytest.approx(0, abs=1e-6)
    assert distributions.frechet(x, x + 2) == pytest.approx(12 * 4)


def test_the_kernel_distance_is_the_sum_over_all_pairs(sets, monkeypatch):
    real, made = (features.astype(float) for features in sets)

    def kernel(a, b):
        return (a @ b / len(a) + 1) ** 3

    within = [np.mean([kernel(a, b) for a, b in permutations(x, 2)]) for x in (real, made)]
    between = np.mean([kernel(a, b) for a in real for b in made])
    expected = sum(within) - 2 * between
    assert distributions.kernel_distance(real, made) == pytest.approx(expected, rel=1e-9)
    # So it is in blocks that do not divide the sets.
    monkeypatch.setattr(distributions, "BLOCK", 7)
    assert distributions.kernel_distance(real, made) == pytest.approx(expected, rel=1e-9)


def test_the_kernel_distance_of_one_distribution_is_zero_on_average():
    rng = np.random.default_rng(1)
    values = [distributions.kernel_distance(*rng.normal(size=(2, 20, 4))) for _ in range(200)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))


@pytest.mark.parametrize("block", [7, 1_000])
@pytest.mark.parametrize("neighbours", [1, 3])
def test_precision_and_recall_are_those_of_balls_by_brute_force(
    sets, neighbours, block, monkeypatch
):
    monkeypatch.setattr(distributions, "BLOCK", block)

    def among(x, others):
        found = 0
        for point in x:
            for i, centre in enumerate(others):
                rest = np.delete(others, i, axis=0)
                radius = sorted(np.linalg.norm(rest - centre, axis=1))[neighbours - 1]
                if np.linalg.norm(point - centre) <= radius:
                    found += 1
                    break
        return found / len(x)

    real, made = (features.astype(float) for features in sets)
    precision, recall = distributions.precision_and_recall(real, made, neighbours)
    assert precision == pytest.approx(among(made, real))
    assert recall == pytest.approx(among(real, made))
    assert min(precision, recall) > 0 and max(precision, recall) < 1


def test_a_generator_that_shows_little_is_precise_and_recalls_little():
    rng = np.random.default_rng(2)
    real = rng.normal(size=(200, 3))
    precision, recall = distributions.precision_and_recall(real, 0.1 * real[:50])
    assert precision > 0.9 and recall < 0.3


def test_what_is_compared_has_names(sets):
    scores = distributions.compare(*sets)
    precision, recall = distributions.precision_and_recall(*sets)
    assert (scores["precision"], scores["recall"]) == (precision, recall)
    assert scores["frechet"] == distributions.frechet(*sets)
    assert scores["kernel"] == distributions.kernel_distance(*sets)


def test_sets_that_are_too_small_have_no_distance():
    one, two = np.zeros((1, 4)), np.zeros((2, 4))
    assert all(np.isnan(value) for value in distributions.compare(one, two).values())
    for first, second in combinations([two, two], 2):
        assert np.isnan(distributions.precision_and_recall(first, second)).all()
