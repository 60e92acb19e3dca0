"""What goes wrong in trainings against a discriminator, found by rule in what was logged.

The rules are of what users of such code report: nothing is ever swapped, the training collapses late, one side wins.
All limits are choices.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

LENT = 0.9
"""Of the distance that untouched pictures have: with more, nothing is lent."""
EVALUATIONS = 3
"""Before which nothing is said of what has yet to be learned."""
FALLEN = 3.0
"""dB below the best."""
TOLD_APART = 0.95
"""Of the pairs: from here on the discriminator has won."""
RECENT = 10
"""Logged rows whose mean counts."""

# Of StyleGAN2
LEAKING = 0.8
"""Probability of changes up to which, the source of ADA says, what is made hardly ever shows them."""
SURE = 0.9
"""Mean sign of the verdicts, of real images and of made ones, from which on the generator learns nothing."""
BY_HEART = 0.5
"""How far held-out people lie from those that are trained on, in parts of how far made images do."""
ALIKE = 0.25
"""Of the spread that held-out images have: with less, all that is made is the same."""
GROWN = 2.0
"""Times the smallest distance of the sets."""

Rows = Sequence[Mapping]
"""Of metrics.jsonl, in order."""


def warnings_of(rows: Rows) -> list[str]:
    """What is wrong, a sentence with a remedy each; nothing of trainings without a discriminator."""
    return [*_of_swaps(rows), *_of_draws(rows)]


def _of_swaps(rows: Rows) -> list[str]:
    """Where results are of given pictures."""
    judged = [row["told_apart"] for row in rows if "told_apart" in row]
    if not judged:
        return []
    scores = [row for row in rows if "eval/psnr" in row]
    return [*_nothing_lent(scores), *_collapsed(scores), *_won(judged)]


def _of_draws(rows: Rows) -> list[str]:
    """Where they are of nothing, as StyleGAN2's."""
    logged = [row for row in rows if "probability" in row]
    scores = [row for row in rows if "eval/sign/held_out" in row]
    found = [*_all_alike(scores), *_further_away(scores)]
    if len(logged) < RECENT:
        return found
    recent = logged[-RECENT:]
    found += _leaks(recent)
    # A relativistic loss leaves open which verdict counts as real.
    if "sign/real" in recent[-1]:
        found += [*_never_deceived(recent), *_learned_by_heart(recent, scores)]
    return found


def _nothing_lent(scores: Rows) -> Iterator[str]:
    """Features of which results take nothing over."""
    recent = scores[-EVALUATIONS:]
    if len(recent) < EVALUATIONS:
        return
    for name in recent[-1]:
        feature = name.removesuffix("/untouched")
        if feature == name:
            continue
        if all(row[feature] > LENT * row[name] for row in recent):
            yield (
                f"No {feature.removeprefix('eval/')} is lent: results are {recent[-1][feature]:.2f} from it, untouched "
                f"pictures {recent[-1][name]:.2f}; raise config.loss.features, or lower config.data.same."
            )


def _collapsed(scores: Rows) -> Iterator[str]:
    """Pictures as themselves are much worse than they have been."""
    if not scores:
        return
    best = max(scores, key=lambda row: row["eval/psnr"])
    now = scores[-1]["eval/psnr"]
    if now < best["eval/psnr"] - FALLEN:
        yield (
            f"It has collapsed: pictures as themselves have {now:.1f} dB, and had {best['eval/psnr']:.1f} after step "
            f"{best['step']:,}; lower config.learning_rate."
        )


def _won(judged: Sequence[float]) -> Iterator[str]:
    """The discriminator teaches nothing any more."""
    mean = np.mean(judged[-RECENT:])
    if len(judged) >= RECENT and mean > TOLD_APART:
        yield (
            f"The discriminator has won: it tells {100 * mean:.0f} % of the results from real pictures; raise "
            "config.loss.penalty, or lower config.model.discriminator.width."
        )


def _mean(rows: Rows, name: str) -> float:
    return float(np.mean([row[name] for row in rows]))


def _leaks(recent: Rows) -> Iterator[str]:
    """The generator learns the changes of what the discriminator sees."""
    probability = _mean(recent, "probability")
    if probability > LEAKING:
        yield (
            f"Images are changed with a probability of {probability:.2f}, and what is made may come to look changed: "
            "the data are too few; give more of them, or raise config.loss.penalty."
        )


def _never_deceived(recent: Rows) -> Iterator[str]:
    """The discriminator has won, and no more changes come to hold it back."""
    rises = recent[-1]["probability"] > recent[0]["probability"]
    real, made = _mean(recent, "sign/real"), _mean(recent, "sign/made")
    if real > SURE and made < -SURE and not rises:
        yield (
            f"The discriminator has won: mean signs of its verdicts are {real:.2f} on real images, {made:.2f} on made "
            "ones; raise config.loss.penalty, or config.augment.probability where it is fixed."
        )


def _learned_by_heart(recent: Rows, scores: Rows) -> Iterator[str]:
    """To the discriminator people who are not trained on are nearer to made ones than to those who are."""
    scores = scores[-EVALUATIONS:]
    if len(scores) < EVALUATIONS:
        return
    real = _mean(recent, "sign/real")
    held_out = _mean(scores, "eval/sign/held_out")
    made = _mean(scores, "eval/sign/made")
    if real - held_out > BY_HEART * (real - made) > 0:
        yield (
            f"The discriminator knows its images by heart: mean signs are {real:.2f} on them, {held_out:.2f} on people "
            f"held out, {made:.2f} on made ones; give more people, or lower config.augment.target."
        )


def _all_alike(scores: Rows) -> Iterator[str]:
    """Different latents make the same."""
    recent = scores[-EVALUATIONS:]
    if len(recent) == EVALUATIONS and all(row["eval/spread"] < ALIKE for row in recent):
        yield (
            f"All that is made looks alike: it is spread {recent[-1]['eval/spread']:.2f} times as far as people held "
            "out; go back to an earlier checkpoint, with a lower config.learning_rate or a higher config.loss.penalty."
        )


def _further_away(scores: Rows) -> Iterator[str]:
    """Sets of made and of real images are much less alike than they have been."""
    names = [name for name in (scores[-1] if scores else ()) if name.endswith("/frechet")]
    for name in names:
        best = min(scores, key=lambda row: row[name])
        now = scores[-1][name]
        if now > GROWN * best[name]:
            yield (
                f"It has collapsed: {name} is {now:.3g}, and was {best[name]:.3g} after step {best['step']:,}; lower "
                "config.learning_rate, or raise config.loss.penalty."
            )
