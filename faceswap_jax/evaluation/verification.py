"""Face verification, whether two images show one person: accuracy, true accepts at few false ones, the ROC's area.

The protocol is that of Labeled Faces in the Wild (Huang et al. 2007, view 2): ten folds that share no person, as many
pairs of one person as of two, and every fold is judged with a threshold that the other nine have chosen.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata

from faceswap_jax.errors import InputError

FOLDS = 10
Chosen = Bool[np.ndarray, "n"]
Scores = Float[np.ndarray, "n"]
OfFolds = Float[np.ndarray, "folds"]


class Pairs(NamedTuple):
    """Pairs of images, fold after fold.

    Attributes:
        first: index of one image of each pair.
        second: index of the other one.
        same: whether both show the same person.
        fold: 0 to FOLDS - 1.
    """

    first: Int[np.ndarray, "n"]
    second: Int[np.ndarray, "n"]
    same: Bool[np.ndarray, "n"]
    fold: Int[np.ndarray, "n"]


def draw_pairs(
    identity: Int[np.ndarray, "images"],
    track: Int[np.ndarray, "images"],
    count: int = 300,
    seed: int = 0,
) -> Pairs:
    """Pairs for a verification, the same for the same arguments.

    Persons are dealt out to the folds at random. Two images of one person come from two tracks, for neighbouring
    frames hardly differ.

    Args:
        identity: whom each image shows.
        track: where each image comes from; a number belongs to one track of one person.
        count: pairs of the same, and as many of different persons, in each fold; fewer where a fold has not so many.
        seed: of the draw.

    Raises:
        InputError: there are fewer than two persons for each fold, or a fold has nobody with two tracks.
    """
    rng = np.random.default_rng(seed)
    persons = rng.permutation(np.unique(identity))
    if len(persons) < 2 * FOLDS:
        raise InputError(
            f"Verification in {FOLDS} folds needs {2 * FOLDS} persons, and the data have {len(persons)}; hold out more."
        )
    folds = []
    for fold, members in enumerate(np.array_split(persons, FOLDS)):
        images = np.flatnonzero(np.isin(identity, members))
        # All pairs within the fold
        places, other_places = np.triu_indices(len(images), 1)
        first = images[places]
        second = images[other_places]
        same = identity[first] == identity[second]
        of_one = np.flatnonzero(same & (track[first] != track[second]))
        of_two = np.flatnonzero(~same)
        size = min(count, len(of_one), len(of_two))
        if not size:
            raise InputError(
                "Nobody in a fold of the verification has two face tracks; prepare more clips of each."
            )
        # As many of one person as of two
        drawn = [rng.choice(kind, size, replace=False) for kind in (of_one, of_two)]
        chosen = np.concatenate(drawn)
        numbers = np.full(len(chosen), fold)
        folds.append(Pairs(first[chosen], second[chosen], same[chosen], numbers))
    fields = zip(*folds, strict=True)
    return Pairs(*map(np.concatenate, fields))


def accuracy(scores: Scores, pairs: Pairs) -> OfFolds:
    """Fraction of pairs judged rightly in each fold, by the threshold that is best for the other folds.

    Args:
        scores: of each pair, higher for the same person, e.g. cosines of embeddings.
        pairs: the truth.
    """

    def judged(test: Chosen, rest: Chosen) -> float:
        threshold = _best_threshold(scores[rest], pairs.same[rest])
        accepted = scores[test] > threshold
        return (accepted == pairs.same[test]).mean()

    return _by_fold(judged, pairs)


def true_accepts(scores: Scores, pairs: Pairs, false_accepts: float) -> OfFolds:
    """Fraction of the pairs of one person that each fold accepts (TAR) at a given fraction of false accepts (FAR).

    The threshold is the one at which the other folds accept a fraction `false_accepts` of their pairs of two persons.
    NaN where these are too few to tell.

    Args:
        scores: of each pair, higher for the same person.
        pairs: the truth.
        false_accepts: such as 1e-3.
    """

    def accepted(test: Chosen, rest: Chosen) -> float:
        different = np.sort(scores[rest & ~pairs.same])[::-1]
        # Rounded down, but for the last digits of the fraction
        allowed = int(false_accepts * len(different) + 1e-9)
        if not allowed:
            return math.nan
        threshold = different[allowed]
        return (scores[test & pairs.same] > threshold).mean()

    return _by_fold(accepted, pairs)


def area(scores: Scores, same: Chosen) -> float:
    """Area under the ROC curve: how often a pair of one person scores above a pair of two (Mann-Whitney); 0.5: chance.

    Args:
        scores: of each pair, higher for the same person.
        same: whether it shows one person.
    """
    count = int(same.sum())
    different = len(same) - count
    ranks = rankdata(scores)[same].sum()
    # Less the ranks that they have among themselves: 1 + 2 + ... + count
    above = ranks - count * (count + 1) / 2
    return float(above / (count * different))


def _by_fold(judge: Callable[[Chosen, Chosen], float], pairs: Pairs) -> OfFolds:
    """What `judge` says of the pairs of each fold, given the others to choose a threshold on."""
    results = []
    for fold in range(FOLDS):
        test = pairs.fold == fold
        results.append(judge(test, ~test))
    return np.array(results)


def _best_threshold(scores: Scores, same: Chosen) -> float:
    """Between two scores, or below all: accepting what lies above makes the fewest mistakes."""
    values, place = np.unique(scores, return_inverse=True)
    different = np.bincount(place[~same], minlength=len(values))
    alike = np.bincount(place[same], minlength=len(values))
    # Right are the different up to a value and the same above it.
    right = np.concatenate([[0], np.cumsum(different - alike)])
    # Below all, between neighbours, at the greatest
    between = (values[:-1] + values[1:]) / 2
    thresholds = np.concatenate([[-np.inf], between, values[-1:]])
    return float(thresholds[right.argmax()])
