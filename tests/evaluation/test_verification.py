"""Verification: pairs as the protocol wants them, numbers as brute force gives them."""

import numpy as np
import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.evaluation.verification import (
    FOLDS,
    Pairs,
    accuracy,
    area,
    draw_pairs,
    true_accepts,
)

IDENTITY = np.repeat(np.arange(30), 6)
TRACK = np.repeat(np.arange(60), 3)  # two of each person


def embeddings(noise: float, seed: int = 0) -> np.ndarray:
    """Unit vectors around a direction for each person."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(30, 16))[IDENTITY] + noise * rng.normal(size=(len(IDENTITY), 16))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def scored(noise: float, count: int = 20) -> tuple[np.ndarray, Pairs]:
    pairs, vectors = draw_pairs(IDENTITY, TRACK, count), embeddings(noise)
    return (vectors[pairs.first] * vectors[pairs.second]).sum(1), pairs


def test_pairs_are_balanced_distinct_and_folds_share_nobody():
    pairs = draw_pairs(IDENTITY, TRACK, 20)
    for fold in range(FOLDS):
        here = pairs.fold == fold
        assert (here & pairs.same).sum() == (here & ~pairs.same).sum() == 20
        people = set(IDENTITY[np.concatenate([pairs.first[here], pairs.second[here]])])
        others = set(IDENTITY[np.concatenate([pairs.first[~here], pairs.second[~here]])])
        assert people.isdisjoint(others)
    np.testing.assert_array_equal(IDENTITY[pairs.first] == IDENTITY[pairs.second], pairs.same)
    assert (TRACK[pairs.first] != TRACK[pairs.second]).all()
    assert len({frozenset(pair) for pair in zip(pairs.first, pairs.second, strict=True)}) == len(
        pairs.same
    )


def test_the_seed_decides_on_the_pairs():
    one, again, other = (draw_pairs(IDENTITY, TRACK, 20, seed) for seed in (0, 0, 1))
    assert all(map(np.array_equal, one, again)) and not np.array_equal(one.first, other.first)


def test_a_small_fold_gives_what_it_has():
    """Three people of two tracks of three pictures: 27 pairs of one person across tracks, 108 of two."""
    pairs = draw_pairs(IDENTITY, TRACK, 1000)
    assert (
        np.bincount(pairs.fold[pairs.same]).tolist()
        == [27] * FOLDS
        == np.bincount(pairs.fold[~pairs.same]).tolist()
    )


def test_too_little_to_verify():
    with pytest.raises(InputError, match="needs 20 persons, and the data have 19"):
        draw_pairs(IDENTITY[: 19 * 6], TRACK[: 19 * 6])
    with pytest.raises(
        InputError, match="Nobody in a fold of the verification has two face tracks"
    ):
        draw_pairs(IDENTITY, IDENTITY)


def test_accuracy_is_that_of_the_best_threshold_of_the_other_folds():
    scores, pairs = scored(0.8)
    expected = []
    for fold in range(FOLDS):
        test = pairs.fold == fold
        rights = {
            t: ((scores[~test] > t) == pairs.same[~test]).mean() for t in [-2.0, *scores[~test]]
        }
        best = max(rights.values())
        tied = [t for t, right in rights.items() if right == best]
        expected.append({((scores[test] > t) == pairs.same[test]).mean() for t in tied})
    found = accuracy(scores, pairs)
    # Between the tied thresholds and the next score lies the one in use: it may differ by a pair.
    for value, possible in zip(found, expected, strict=True):
        assert min(abs(value - p) for p in possible) < 1.5 / 40
    assert 0.6 < found.mean() < 0.99


def test_a_threshold_never_sees_its_own_fold():
    """Scores of fold 0 shifted: their best threshold is not that of the others."""
    pairs = draw_pairs(IDENTITY, TRACK, 20)
    scores = pairs.same + np.random.default_rng(0).uniform(-0.4, 0.4, len(pairs.same))
    assert accuracy(scores, pairs).min() == 1
    shifted = accuracy(np.where(pairs.fold == 0, scores + 5, scores), pairs)
    assert shifted[0] == 0.5
    assert true_accepts(np.where(pairs.fold == 0, scores - 5, scores), pairs, 0.1)[0] == 0


def test_perfect_and_blind_scores():
    pairs = draw_pairs(IDENTITY, TRACK, 20)
    perfect = pairs.same.astype(float)
    assert (
        accuracy(perfect, pairs).mean()
        == area(perfect, pairs.same)
        == true_accepts(perfect, pairs, 0.01).mean()
        == 1
    )
    noise = np.random.default_rng(0).normal(size=len(perfect))
    assert abs(accuracy(noise, pairs).mean() - 0.5) < 0.1
    assert abs(area(noise, pairs.same) - 0.5) < 0.1 and area(-perfect, pairs.same) == 0
    constant = np.zeros(len(perfect))
    assert accuracy(constant, pairs).mean() == area(constant, pairs.same) == 0.5


def test_area_is_how_often_the_same_score_higher():
    scores, pairs = scored(1.5)
    scores = np.round(scores, 1)  # with ties
    same, different = scores[pairs.same][:, None], scores[~pairs.same]
    assert area(scores, pairs.same) == pytest.approx(
        ((same > different) + 0.5 * (same == different)).mean()
    )


def test_true_accepts_keep_the_promised_false_ones():
    scores, pairs = scored(1.0)
    for rate in (0.05, 0.2):
        for fold, value in enumerate(true_accepts(scores, pairs, rate)):
            rest = pairs.fold != fold
            different = scores[rest & ~pairs.same]
            same = scores[~rest & pairs.same]
            thresholds = [t for t in different if (different > t).mean() <= rate]
            assert value == max((same > t).mean() for t in thresholds)
    assert np.isnan(true_accepts(scores, pairs, 1e-3)).all()  # 180 pairs of two people do not tell
    assert np.isfinite(true_accepts(scores, pairs, 1 / 180)).all()
