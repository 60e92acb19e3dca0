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

Rows = Sequence[Mapping]
"""Of metrics.jsonl, in order."""


def warnings_of(rows: Rows) -> list[str]:
    """What is wrong, a sentence with a remedy each; nothing of trainings without a discriminator."""
    judged = [row["told_apart"] for row in rows if "told_apart" in row]
    if not judged:
        return []
    scores = [row for row in rows if "eval/psnr" in row]
    return [*_nothing_lent(scores), *_collapsed(scores), *_won(judged)]


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
